#include "image/sbom.h"

#include "base/cleanup.h"
#include "base/jsontext.h"
#include "base/text.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

/* As the time stamps in the image: fixed, so that equal images have equal documents. */
#define CREATED "2023-11-14T22:13:20Z"

/* Percent-encodes what the package URL specification does not leave as it is; kept is left, too. */
static void add_encoded(struct buffer *b, const char *s, const char *kept)
{
    for (; *s; s++) {
        if (isalnum((unsigned char)*s) || strchr("._~-", *s) || strchr(kept, *s))
            buffer_add(b, s, 1);
        else
            buffer_add_text(b, "%%%02X", (unsigned char)*s);
    }
}

/* https://github.com/package-url/purl-spec: pkg:deb/debian/NAME@VERSION, pkg:apk/alpine/NAME@VERSION,
 * pkg:npm/%40SCOPE/NAME@VERSION, pkg:pypi/NAME@VERSION. NULL: it is no package. The caller frees it. */
static char *package_url(const struct package *p)
{
    struct buffer b = {0};

    if (strcmp(p->kind, "layer") == 0)
        return NULL;
    buffer_add_text(&b, "pkg:%s/",
                    strcmp(p->kind, "deb") == 0   ? "deb/debian"
                    : strcmp(p->kind, "apk") == 0 ? "apk/alpine"
                    : strcmp(p->kind, "pip") == 0 ? "pypi"
                                                  : p->kind);
    add_encoded(&b, p->name, "/");
    buffer_add_text(&b, "@");
    add_encoded(&b, p->version, "");
    return b.data;
}

static json_t *describe_sbom(const char *id, const char *name, const char *version, const char *sha256,
                             const char *url)
{
    json_t *j =
        json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:s}", "SPDXID", id, "name", name, "versionInfo",
                  version, "downloadLocation", "NOASSERTION", "filesAnalyzed", 0, "licenseConcluded",
                  "NOASSERTION", "licenseDeclared", "NOASSERTION", "copyrightText", "NOASSERTION");
    if (strcmp(sha256, "-") != 0)
        json_object_set_new(j, "checksums",
                            json_pack("[{s:s, s:s}]", "algorithm", "SHA256", "checksumValue", sha256));

    if (url)
        json_object_set_new(j, "externalRefs",
                            json_pack("[{s:s, s:s, s:s}]", "referenceCategory", "PACKAGE-MANAGER",
                                      "referenceType", "purl", "referenceLocator", url));
    return j;
}

static json_t *relation(const char *from, const char *kind, const char *to)
{
    return json_pack("{s:s, s:s, s:s}", "spdxElementId", from, "relationshipType", kind, "relatedSpdxElement",
                     to);
}

char *sbom_make(const char *digest, const struct packages *packages, const char *initd_build,
                const char *initd_digest)
{
    cleanup_free char *space = text_format("https://spdx.org/spdxdocs/capsid-image-%s", digest);
    cleanup_free char *name = text_format("capsid-image-%.16s", digest);
    json_t *all = json_array(), *relations = json_array();

    json_array_append_new(all, describe_sbom("SPDXRef-image", name, digest, digest, NULL));
    json_array_append_new(relations, relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image"));
    json_array_append_new(all, describe_sbom("SPDXRef-initd", "initd", initd_build, initd_digest, NULL));
    json_array_append_new(relations, relation("SPDXRef-image", "CONTAINS", "SPDXRef-initd"));
    for (size_t i = 0; i < packages->count; i++) {
        const struct package *p = &packages->list[i];
        cleanup_free char *id = text_format("SPDXRef-package-%zu", i + 1);
        cleanup_free char *url = package_url(p);
        cleanup_free char *layer = url ? NULL : text_format("layer-%s", p->name);
        json_array_append_new(all, describe_sbom(id, url ? p->name : layer, p->version, p->sha256, url));
        json_array_append_new(relations, relation("SPDXRef-image", "CONTAINS", id));
    }
    json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s, s:[s]}, s:o, s:o}", "spdxVersion", "SPDX-2.3",
                          "dataLicense", "CC0-1.0", "SPDXID", "SPDXRef-DOCUMENT", "name", name,
                          "documentNamespace", space, "creationInfo", "created", CREATED, "creators",
                          "Tool: capsid-" CAPSID_VERSION, "packages", all, "relationships", relations);
    char *text = jsontext_format(j, JSON_INDENT(2));
    json_decref(j);
    return text;
}
