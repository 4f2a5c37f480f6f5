/* links: host */
/*
 * By the first byte: a manifest of an image, as anything might have written it; what is taken is written again as the same image. Or a
 * tag, or a time.
 */
#include "base/moment.h"
#include "image/manifest.h"
#include "image/tags.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int ok)
{
    if (!ok)
        abort();
}

static void check_image(const struct image *i)
{
    check(image_is_uuid(i->uuid) && (!i->parent || image_is_uuid(i->parent)));
    check(digest_is_hex(i->digest) && i->layer_count <= IMAGE_LAYERS_MAX);
    for (unsigned n = 0; n < i->layer_count; n++)
        check(digest_is_hex(i->layers[n].digest));
    for (char **v = i->defaults.env; v && *v; v++)
        check(strlen(*v) < IMAGE_MANIFEST_MAX);
}

static void read_manifest(const char *text)
{
    struct image i, again;
    struct error e = {0};

    if (image_parse_manifest(&i, text, &e) < 0) {
        check(e.kind == ERROR_CORRUPT);
        return;
    }
    check_image(&i);
    char *written = image_format_manifest(&i);
    check(written && image_parse_manifest(&again, written, &e) == 0);
    check(strcmp(i.uuid, again.uuid) == 0 && i.origin == again.origin && i.layer_count == again.layer_count);
    free(written);
    image_done(&again);
    struct image copy = image_copy(&i);
    image_done(&i);
    check_image(&copy);
    image_done(&copy);
}

static void read_tag(const char *text)
{
    bool good = image_is_tag(text);

    check(!good ||
          (strlen(text) <= IMAGE_TAG_MAX && !strstr(text, "..") && !strchr(text, '\n') && text[0] != '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t seconds;

    if (size < 1)
        return -1;
    char *text = memory_allocate(size);
    memcpy(text, data + 1, size - 1);
    if (data[0] == 't')
        read_tag(text);
    else if (data[0] == 's')
        moment_parse(text, 1000000000, &seconds);
    else if (data[0] == 'm')
        read_manifest(text);
    free(text);
    return 0;
}
