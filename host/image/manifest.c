#include "image/manifest.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN_MAX 1200 /* bytes; a reference in a registry has at most 1024 */

static const char *const layer_kinds[] = {[IMAGE_LAYER_EROFS] = "erofs", [IMAGE_LAYER_EXT4] = "ext4"};
static const char *const origins[] = {
    [IMAGE_BUILT] = "built", [IMAGE_IMPORTED] = "imported", [IMAGE_BRANCH] = "branch"};

/* The place of a word in a list; -1: it is not there, or no word. */
static int find_word(const json_t *word, const char *const *list, int count)
{
    const char *text = json_string_value(word);

    for (int i = 0; text && i < count; i++)
        if (strcmp(text, list[i]) == 0)
            return i;
    return -1;
}

const char *image_origin_name(enum image_origin origin)
{
    return origins[origin];
}

/* ---- which image it is --------------------------------------------------------------------------- */

bool image_is_uuid(const char *s)
{
    size_t i = 0;

    for (; s[i] && i < IMAGE_UUID_SIZE; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s[i] != '-' : !isdigit((unsigned char)s[i]) && (s[i] < 'a' || s[i] > 'f'))
            return false;
    }
    return i == IMAGE_UUID_SIZE - 1;
}

static json_t *defaults_json(const struct image_defaults *d)
{
    json_t *env = json_array();

    for (char **v = d->env; v && *v; v++)
        json_array_append_new(env, json_string(*v));
    return json_pack("{s:o, s:s, s:s}", "env", env, "workdir", d->workdir ? d->workdir : "", "user",
                     d->user ? d->user : "");
}

static bool has_defaults(const struct image_defaults *d)
{
    return d->env || d->workdir || d->user;
}

void image_identify(struct image *i)
{
    char digest[DIGEST_HEX_SIZE];

    if (i->layer_count == 0 && !has_defaults(&i->defaults)) {
        digest_uuid(i->digest, i->uuid);
        return;
    }
    json_t *layers = json_array();
    for (unsigned n = 0; n < i->layer_count; n++)
        json_array_append_new(layers,
                              json_pack("[s, s]", layer_kinds[i->layers[n].kind], i->layers[n].digest));
    json_t *all = json_pack("{s:s, s:o, s:o}", "base", i->digest, "layers", layers, "defaults",
                            defaults_json(&i->defaults));
    char *text = json_dumps(all, JSON_SORT_KEYS | JSON_COMPACT);
    digest_bytes(text, strlen(text), digest);
    digest_uuid(digest, i->uuid);
    free(text);
    json_decref(all);
}

/* ---- reading ------------------------------------------------------------------------------------- */

/* A layer of earlier versions is a digest alone. */
static int parse_layer(struct image_layer *ret, const json_t *j)
{
    const json_t *word = json_is_object(j) ? json_object_get(j, "digest") : j;
    const char *digest = json_string_value(word);
    json_int_t size = json_integer_value(json_object_get(j, "size"));
    int kind = json_is_object(j) ? find_word(json_object_get(j, "kind"), layer_kinds, 2) : IMAGE_LAYER_EROFS;

    if (!digest || !digest_is_hex(digest) || kind < 0 || size < 0)
        return -1;
    *ret = (struct image_layer){
        .kind = (enum image_layer_kind)kind, .digest = text_copy(digest), .size = (uint64_t)size};
    return 0;
}

/* Without their paths, which are for who knows the store. j may be NULL: none. */
static int parse_layers(struct image *i, const json_t *j)
{
    json_t *one;
    size_t n;

    if (j && (!json_is_array(j) || json_array_size(j) > IMAGE_LAYERS_MAX))
        return -1;
    json_array_foreach(j, n, one)
    {
        if (parse_layer(&i->layers[n], one) < 0)
            return -1;
        i->layer_count++;
    }
    return 0;
}

static char *copy_filled(const json_t *j)
{
    const char *text = json_string_value(j);

    return text && *text ? text_copy(text) : NULL;
}

/* Of an imported image they are what its configuration says. */
static void parse_defaults(struct image_defaults *ret, const json_t *j)
{
    const json_t *env = json_object_get(j, "env"), *one;
    size_t n, count = 0, room = json_array_size(env);

    *ret = (struct image_defaults){.workdir = copy_filled(json_object_get(j, "workdir")),
                                   .user = copy_filled(json_object_get(j, "user")),
                                   .env = room ? memory_allocate((room + 1) * sizeof(char *)) : NULL};
    json_array_foreach(env, n, one)
    {
        const char *variable = json_string_value(one);
        if (variable)
            ret->env[count++] = text_copy(variable);
    }
    if (count == 0) {
        free(ret->env);
        ret->env = NULL;
    }
}

/* Earlier versions knew images of packages, and imported ones. */
static int parse_origin(struct image *i, const json_t *j, const json_t *oci)
{
    const json_t *of = j ? json_object_get(j, "of") : json_object_get(oci, "image");
    int origin = j ? find_word(json_object_get(j, "kind"), origins, 3) : oci ? IMAGE_IMPORTED : IMAGE_BUILT;

    if (origin < 0 || (of && json_string_length(of) > ORIGIN_MAX))
        return -1;
    i->origin = (enum image_origin)origin;
    i->origin_of = copy_filled(of);
    return 0;
}

void image_set_oci(struct image *i, const json_t *oci)
{
    i->oci = json_dumps(oci, JSON_SORT_KEYS);
    parse_defaults(&i->defaults, oci);
    parse_origin(i, NULL, oci);
    image_identify(i);
}

static int parse_parts(struct image *i, const json_t *j)
{
    const json_t *oci = json_object_get(j, "oci");

    i->oci = json_dumps(oci, JSON_SORT_KEYS);
    i->parent = copy_filled(json_object_get(j, "parent"));
    parse_defaults(&i->defaults, oci ? oci : json_object_get(j, "defaults"));
    if (parse_layers(i, json_object_get(j, "layers")) < 0 ||
        parse_origin(i, json_object_get(j, "origin"), oci) < 0 || (i->parent && !image_is_uuid(i->parent)))
        return -1;
    image_identify(i);
    return 0;
}

int image_parse_manifest(struct image *ret, const char *text, struct error *e)
{
    const char *digest, *inputs, *initd = "";
    json_int_t size, created, disk = 0;
    json_t *j = json_loads(text, 0, NULL);

    if (json_unpack(j, "{s:s, s:s, s:I, s:I, s?s, s?I}", "digest", &digest, "inputs", &inputs, "size", &size,
                    "created", &created, "initd", &initd, "disk_mib", &disk) < 0 ||
        !digest_is_hex(digest) || !digest_is_hex(inputs) || size < 0 || created < 0 || strlen(initd) > 64 ||
        disk < 0) {
        json_decref(j);
        return error_set(e, ERROR_CORRUPT, "not a valid image reference");
    }
    *ret = (struct image){.digest = text_copy(digest),
                          .inputs = text_copy(inputs),
                          .initd = text_copy(initd),
                          .size = (uint64_t)size,
                          .created = created,
                          .disk_mib = (uint64_t)disk};
    int result = parse_parts(ret, j);
    json_decref(j);
    if (result == 0)
        return 0;
    image_done(ret);
    return error_set(e, ERROR_CORRUPT, "not a valid image reference");
}

/* ---- writing ------------------------------------------------------------------------------------- */

static json_t *layers_json(const struct image *i)
{
    json_t *all = json_array();

    for (unsigned n = 0; n < i->layer_count; n++)
        json_array_append_new(all,
                              json_pack("{s:s, s:s, s:I}", "kind", layer_kinds[i->layers[n].kind], "digest",
                                        i->layers[n].digest, "size", (json_int_t)i->layers[n].size));
    return all;
}

char *image_format_manifest(const struct image *i)
{
    json_t *j = json_pack("{s:s*, s:s, s:s*, s:s, s:s, s:s, s:I, s:I, s:I}", "name", i->name, "uuid", i->uuid,
                          "parent", i->parent, "digest", i->digest, "inputs", i->inputs, "initd", i->initd,
                          "size", (json_int_t)i->size, "created", (json_int_t)i->created, "disk_mib",
                          (json_int_t)i->disk_mib);

    json_object_set_new(j, "origin",
                        json_pack("{s:s, s:s*}", "kind", origins[i->origin], "of", i->origin_of));
    if (i->oci)
        json_object_set_new(j, "oci", json_loads(i->oci, 0, NULL));
    else if (has_defaults(&i->defaults))
        json_object_set_new(j, "defaults", defaults_json(&i->defaults));
    if (i->layer_count > 0)
        json_object_set_new(j, "layers", layers_json(i));
    char *text = json_dumps(j, JSON_INDENT(2));
    json_decref(j);
    return text;
}
