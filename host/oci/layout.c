#include "oci/layout.h"

#include "base/cleanup.h"
#include "oci/tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define OCI "application/vnd.oci.image."
#define DOCKER "application/vnd.docker."
#define INDEX_DEPTH_MAX 3
#define CREATED_MAX 4102444800 /* the year 2100 */

static void unref(json_t **j)
{
    json_decref(*j);
}
#define cleanup_json __attribute__((cleanup(unref)))

static json_t *parse_layout(const char *text, size_t size, const char *what, struct error *e)
{
    char shown[TREE_SHOWN_MAX + 8];
    json_error_t why;
    json_t *j = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);

    if (j && json_is_object(j))
        return j;
    error_set(e, ERROR_CORRUPT, "the %s is not a JSON object: %s", what,
              j ? "" : tree_shown(why.text, shown));
    json_decref(j);
    return NULL;
}

/* A member that is a string, or "". */
static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : "";
}

static int refuse_type(const char *what, const char *type, struct error *e)
{
    char shown[TREE_SHOWN_MAX + 8];

    return error_set(e, ERROR_GENERAL, "the %s has the media type \"%s\", which capsid does not know", what,
                     tree_shown(type, shown));
}

static int parse_digest(const char *text, char ret[static DIGEST_HEX_SIZE], const char *what, struct error *e)
{
    static const char prefix[] = "sha256:";
    const char *hex = text + sizeof(prefix) - 1;

    if (strncmp(text, prefix, sizeof(prefix) - 1) != 0 || !digest_is_hex(hex))
        return error_set(e, ERROR_GENERAL, "the digest of the %s is not sha256 and 64 hex digits", what);
    memcpy(ret, hex, DIGEST_HEX_SIZE);
    return 0;
}

static int parse_blob(const json_t *descriptor, struct layout_blob *ret, const char *what, struct error *e)
{
    const json_t *size = json_object_get(descriptor, "size");

    if (!json_is_object(descriptor) || !json_is_integer(size) || json_integer_value(size) < 0)
        return error_set(e, ERROR_CORRUPT, "the %s has no size", what);
    if (json_array_size(json_object_get(descriptor, "urls")) > 0)
        return error_set(e, ERROR_GENERAL, "the %s is kept elsewhere (\"urls\"), which capsid does not fetch",
                         what);
    ret->size = (uint64_t)json_integer_value(size);
    return parse_digest(text_of(descriptor, "digest"), ret->digest, what, e);
}

/* ---- index ----------------------------------------------------------------------------------------- */

enum suits { SUITS_NOT, SUITS_UNKNOWN, SUITS };

/* What a descriptor says about the platform; attestations say "unknown". */
static enum suits suits(const json_t *descriptor)
{
    const json_t *platform = json_object_get(descriptor, "platform");

    if (!json_is_object(platform))
        return SUITS_UNKNOWN;
    return strcmp(text_of(platform, "os"), "linux") == 0 &&
                   strcmp(text_of(platform, "architecture"), "amd64") == 0
               ? SUITS
               : SUITS_NOT;
}

int layout_choose(const char *index, size_t size, struct layout_blob *ret, bool *ret_nested, struct error *e)
{
    cleanup_json json_t *j = parse_layout(index, size, "index", e);
    const json_t *all = json_object_get(j, "manifests"), *chosen = NULL, *unnamed = NULL;
    size_t unnamed_count = 0;

    if (!j)
        return -1;
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *d = json_array_get(all, i);
        enum suits s = suits(d);
        if (s == SUITS && !chosen)
            chosen = d;
        if (s == SUITS_UNKNOWN && unnamed_count++ == 0)
            unnamed = d;
    }
    if (!chosen && unnamed_count == 1)
        chosen = unnamed;
    if (!chosen)
        return error_set(e, ERROR_GENERAL, "the index has no image for linux/amd64");
    const char *type = text_of(chosen, "mediaType");
    *ret_nested = strcmp(type, OCI "index.v1+json") == 0 ||
                  strcmp(type, DOCKER "distribution.manifest.list.v2+json") == 0;
    if (!*ret_nested && strcmp(type, OCI "manifest.v1+json") != 0 &&
        strcmp(type, DOCKER "distribution.manifest.v2+json") != 0)
        return refuse_type("manifest", type, e);
    return parse_blob(chosen, ret, "manifest", e);
}

/* ---- manifest -------------------------------------------------------------------------------------- */

static int parse_layer(const json_t *descriptor, struct layout_layer *ret, struct error *e)
{
    const struct {
        const char *type;
        enum layer_compression compression;
    } known[] = {
        {OCI "layer.v1.tar", LAYER_PLAIN},
        {OCI "layer.v1.tar+gzip", LAYER_GZIP},
        {OCI "layer.v1.tar+zstd", LAYER_ZSTD},
        {DOCKER "image.rootfs.diff.tar", LAYER_PLAIN},
        {DOCKER "image.rootfs.diff.tar.gzip", LAYER_GZIP},
        {DOCKER "image.rootfs.diff.tar.zstd", LAYER_ZSTD},
    };
    const char *type = text_of(descriptor, "mediaType");

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(type, known[i].type) != 0)
            continue;
        ret->compression = known[i].compression;
        return parse_blob(descriptor, &ret->blob, "layer", e);
    }
    return refuse_type("layer", type, e);
}

int layout_parse_manifest(struct layout *l, const char *text, size_t size, struct error *e)
{
    cleanup_json json_t *j = parse_layout(text, size, "manifest", e);
    const json_t *config = json_object_get(j, "config"), *layers = json_object_get(j, "layers");

    if (!j)
        return -1;
    if (json_integer_value(json_object_get(j, "schemaVersion")) != 2)
        return error_set(e, ERROR_GENERAL, "the manifest is not of schema version 2");
    const char *type = text_of(config, "mediaType");
    if (strcmp(type, OCI "config.v1+json") != 0 && strcmp(type, DOCKER "container.image.v1+json") != 0)
        return refuse_type("configuration", type, e);
    if (parse_blob(config, &l->config, "configuration", e) < 0)
        return -1;
    l->layer_count = json_array_size(layers);
    if (l->layer_count == 0 || l->layer_count > LAYOUT_LAYERS_MAX) {
        size_t count = l->layer_count;
        l->layer_count = 0;
        return error_set(e, ERROR_GENERAL, "the image has %zu layers; 1 to %d are possible", count,
                         LAYOUT_LAYERS_MAX);
    }
    for (size_t i = 0; i < l->layer_count; i++)
        if (parse_layer(json_array_get(layers, i), &l->layers[i], e) < 0)
            return error_wrap(e, "layer %zu", i + 1);
    return 0;
}

/* ---- configuration --------------------------------------------------------------------------------- */

/* A list of strings as it is, or an empty list where there is none. */
static json_t *strings_of(const json_t *config, const char *key, bool assignments, struct error *e)
{
    json_t *list = json_object_get(config, key);
    size_t bytes = 0;

    if (!list || json_is_null(list))
        return json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        bytes += s ? strlen(s) + 1 : 0;
        if (!s || (assignments && (s[0] == '=' || !strchr(s, '=')))) {
            error_set(e, ERROR_CORRUPT, "the configuration's %s is not a list of %s", key,
                      assignments ? "NAME=VALUE" : "strings");
            return NULL;
        }
    }
    if (!json_is_array(list) || json_array_size(list) > LAYOUT_STRINGS_MAX || bytes > LAYOUT_STRINGS_BYTES) {
        error_set(e, ERROR_GENERAL,
                  "the configuration's %s is no list, or longer than %d entries and %d bytes", key,
                  LAYOUT_STRINGS_MAX, LAYOUT_STRINGS_BYTES);
        return NULL;
    }
    return json_incref(list);
}

static json_t *short_text(const json_t *config, const char *key, struct error *e)
{
    const char *s = text_of(config, key);

    if (strlen(s) <= TREE_PATH_MAX)
        return json_string(s);
    error_set(e, ERROR_GENERAL, "the configuration's %s is longer than %d bytes", key, TREE_PATH_MAX);
    return NULL;
}

static int parse_defaults(struct layout *l, const json_t *config, struct error *e)
{
    const struct {
        const char *name, *key;
        bool list, assignments;
    } fields[] = {{"env", "Env", true, true},
                  {"entrypoint", "Entrypoint", true, false},
                  {"cmd", "Cmd", true, false},
                  {"workdir", "WorkingDir", false, false},
                  {"user", "User", false, false}};

    json_decref(l->defaults);
    l->defaults = json_object();
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        json_t *value = fields[i].list ? strings_of(config, fields[i].key, fields[i].assignments, e)
                                       : short_text(config, fields[i].key, e);
        if (!value)
            return -1;
        json_object_set_new(l->defaults, fields[i].name, value);
    }
    return 0;
}

/* RFC 3339 in UTC; anything else gets the fixed time, and so does year 1, which some tools write. */
static int64_t parse_created(const char *text)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

    if (!rest || (*rest != '.' && *rest != 'Z') || text[strlen(text) - 1] != 'Z')
        return LAYOUT_CREATED_UNKNOWN;
    time_t t = timegm(&tm);
    return t < 0 || t > CREATED_MAX ? LAYOUT_CREATED_UNKNOWN : t;
}

int layout_parse_config(struct layout *l, const char *text, size_t size, struct error *e)
{
    cleanup_json json_t *j = parse_layout(text, size, "configuration", e);
    const json_t *diff_ids = json_object_get(json_object_get(j, "rootfs"), "diff_ids");
    char os[TREE_SHOWN_MAX + 8], architecture[TREE_SHOWN_MAX + 8];

    if (!j)
        return -1;
    tree_shown(text_of(j, "os"), os);
    tree_shown(text_of(j, "architecture"), architecture);
    if (strcmp(os, "linux") != 0 || strcmp(architecture, "amd64") != 0)
        return error_set(e, ERROR_GENERAL, "the image is for %s/%s; capsid runs linux/amd64", os,
                         architecture);
    if (json_array_size(diff_ids) != l->layer_count)
        return error_set(e, ERROR_CORRUPT, "the manifest has %zu layers, the configuration %zu",
                         l->layer_count, json_array_size(diff_ids));
    for (size_t i = 0; i < l->layer_count; i++) {
        const char *id = json_string_value(json_array_get(diff_ids, i));
        if (parse_digest(id ? id : "", l->layers[i].diff_id, "unpacked layer", e) < 0)
            return -1;
    }
    l->created = parse_created(text_of(j, "created"));
    return parse_defaults(l, json_object_get(j, "config"), e);
}

/* ---- files ----------------------------------------------------------------------------------------- */

int layout_open_blob(const struct layout *l, const struct layout_blob *blob, struct error *e)
{
    cleanup_free char *path = text_format("%s/blobs/sha256/%s", l->directory, blob->digest);
    cleanup_fd int fd = file_open(path, O_RDONLY | O_NOFOLLOW, e);
    char digest[DIGEST_HEX_SIZE];
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return error_wrap(e, "blob sha256:%.16s", blob->digest);
    if ((uint64_t)st.st_size != blob->size)
        return error_set(e, ERROR_CORRUPT, "blob sha256:%.16s has %lld bytes instead of %llu; pull it again",
                         blob->digest, (long long)st.st_size, (unsigned long long)blob->size);
    if (digest_fd(fd, NULL, digest, e) < 0)
        return -1;
    if (strcmp(digest, blob->digest) != 0)
        return error_set(e, ERROR_CORRUPT, "blob sha256:%.16s has the SHA-256 %.16s...; pull it again",
                         blob->digest, digest);
    return lseek(fd, 0, SEEK_SET) < 0 ? error_errno(e, "seek") : take_fd(&fd);
}

static int read_json_blob(const struct layout *l, const struct layout_blob *blob, const char *what,
                          struct buffer *ret, struct error *e)
{
    if (blob->size > LAYOUT_JSON_MAX)
        return error_set(e, ERROR_GENERAL, "the %s has %llu bytes; %u is the limit", what,
                         (unsigned long long)blob->size, LAYOUT_JSON_MAX);
    cleanup_fd int fd = layout_open_blob(l, blob, e);
    return fd < 0 ? error_wrap(e, "%s", what) : file_read_fd(fd, what, LAYOUT_JSON_MAX, ret, e);
}

/* From index.json, over indexes within it, to the manifest. */
static int find_manifest(struct layout *l, struct error *e)
{
    cleanup_free char *path = text_format("%s/index.json", l->directory);
    cleanup_buffer struct buffer text = {0};
    bool nested = true;

    if (file_read(path, LAYOUT_JSON_MAX, &text, e) < 0 ||
        layout_choose(text.data, text.size, &l->manifest, &nested, e) < 0)
        return -1;
    for (int depth = 1; nested; depth++) {
        if (depth > INDEX_DEPTH_MAX)
            return error_set(e, ERROR_GENERAL, "the index is nested more than %d times", INDEX_DEPTH_MAX);
        buffer_free(&text);
        text = (struct buffer){0};
        if (read_json_blob(l, &l->manifest, "index", &text, e) < 0 ||
            layout_choose(text.data, text.size, &l->manifest, &nested, e) < 0)
            return -1;
    }
    return 0;
}

int layout_read(struct layout *ret, const char *directory, struct error *e)
{
    cleanup_buffer struct buffer manifest = {0}, config = {0};

    *ret = (struct layout){.directory = directory, .created = LAYOUT_CREATED_UNKNOWN};
    if (find_manifest(ret, e) < 0 || read_json_blob(ret, &ret->manifest, "manifest", &manifest, e) < 0 ||
        layout_parse_manifest(ret, manifest.data, manifest.size, e) < 0 ||
        read_json_blob(ret, &ret->config, "configuration", &config, e) < 0)
        return -1;
    return layout_parse_config(ret, config.data, config.size, e);
}

void layout_done(struct layout *l)
{
    json_decref(l->defaults);
    l->defaults = NULL;
}
