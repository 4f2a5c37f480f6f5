#include "image/tags.h"

#include "base/cleanup.h"
#include "image/adopt.h"
#include "image/files.h"
#include "image/ids.h"
#include "image/manifest.h"
#include "store/refs.h"

#include <ctype.h>
#include <string.h>

#define TAG_BEGIN "tag:"

#define NOTE_MAX 1024 /* bytes of what is written down of one */

/* A tag is longer than a file's name may be, and has / in it: so the file is called by its SHA-256, and holds both. */
static const struct refs tags = {
    .place = "images/tags", .ending = ".json", .lock = "tags-of-images", .size_max = NOTE_MAX};

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

bool image_is_tag(const char *s)
{
    size_t size = strlen(s);

    if (size > IMAGE_TAG_MAX || !isalnum((unsigned char)s[0]) || !is_word(s[size - 1]))
        return false;
    for (size_t i = 1; i < size; i++)
        if (!is_word(s[i]) && (!strchr(":/.", s[i]) || !is_word(s[i - 1])))
            return false;
    return true;
}

static const char *behind(const char *s, const char *beginning)
{
    size_t size = strlen(beginning);

    return s && strncmp(s, beginning, size) == 0 ? s + size : NULL;
}

int image_check_tag(const char *tag, struct error *e)
{
    if (!image_is_tag(tag))
        return error_set(e, ERROR_USAGE,
                         "\"%.64s\" is no tag: letters, digits, _ and -, with : / . between them, at most %d",
                         tag, IMAGE_TAG_MAX);
    if (behind(tag, LANGUAGE_BEGIN))
        return error_set(e, ERROR_USAGE,
                         "%.80s is the image of a language, which is no tag that can be changed", tag);
    return 0;
}

/* ---- what is written down ------------------------------------------------------------------------ */

static char *format_note(const char *tag, const char *uuid)
{
    json_t *j = json_pack("{s:s, s:s}", "tag", tag, "image", uuid);
    char *text = json_dumps(j, JSON_INDENT(2) | JSON_SORT_KEYS);

    json_decref(j);
    return text;
}

/* The tag that a file of that name is of, which the caller frees, and its image; ret_version may be NULL. */
static char *read_note(const struct home *h, const char *file, char ret[static IMAGE_UUID_SIZE],
                       struct refs_version *ret_version, struct error *e)
{
    cleanup_buffer struct buffer text = {0};
    char digest[DIGEST_HEX_SIZE];
    const char *tag, *uuid;
    char *found = NULL;

    if (refs_get(h, &tags, file, &text, ret_version, e) < 0)
        return NULL;
    json_t *j = json_loads(text.data, 0, NULL);
    if (json_unpack(j, "{s:s, s:s}", "tag", &tag, "image", &uuid) == 0 && image_is_uuid(uuid) &&
        image_is_tag(tag)) {
        digest_bytes(tag, strlen(tag), digest);
        memcpy(ret, uuid, IMAGE_UUID_SIZE);
        found = strcmp(digest, file) == 0 ? text_copy(tag) : NULL;
    }
    json_decref(j);
    if (!found) {
        cleanup_free char *path = refs_path(h, &tags, file);
        error_set(e, ERROR_CORRUPT, "%s is no valid tag of an image; remove it", path);
    }
    return found;
}

static int find_version(char ret[static IMAGE_UUID_SIZE], const struct home *h, const char *tag,
                        struct refs_version *ret_version, struct error *e)
{
    char file[DIGEST_HEX_SIZE];
    struct error why = {0};

    if (image_check_tag(tag, e) < 0)
        return -1;
    digest_bytes(tag, strlen(tag), file);
    cleanup_free char *found = read_note(h, file, ret, ret_version, &why);
    if (found)
        return 0;
    if (why.kind == ERROR_NOT_FOUND)
        return error_set(e, ERROR_NOT_FOUND, "no image has the tag %s; see: capsid images list --tagged",
                         tag);
    *e = why;
    return -1;
}

int image_find_tag(char ret[static IMAGE_UUID_SIZE], const struct home *h, const char *tag, struct error *e)
{
    return find_version(ret, h, tag, NULL, e);
}

/* ---- moves --------------------------------------------------------------------------------------- */

/* One attempt. ERROR_BUSY: it is not as from says, or changed meanwhile. */
static int move_once(const struct image *i, const struct home *h, const char *tag, const char *from,
                     const struct cancel *cancel, struct error *e)
{
    struct refs_version version = {0};
    char file[DIGEST_HEX_SIZE], now[IMAGE_UUID_SIZE] = "";
    struct error why = {0};

    if (find_version(now, h, tag, &version, &why) < 0 && why.kind != ERROR_NOT_FOUND &&
        why.kind != ERROR_CORRUPT) {
        *e = why;
        return -1;
    }
    if (from && strcmp(now, from) != 0)
        return error_set(e, ERROR_BUSY, "%s is the tag of %s meanwhile", tag, now[0] ? now : "no image");
    digest_bytes(tag, strlen(tag), file);
    cleanup_free char *text = format_note(tag, i->uuid);
    return refs_swap(h, &tags, file, &version, text, cancel, e);
}

int image_tag(const struct image *i, const struct home *h, const char *tag, const char *from,
              const struct cancel *cancel, struct error *e)
{
    struct error why;
    int result;

    if (image_check_tag(tag, e) < 0)
        return -1;
    cleanup_fd int lock = image_lock_all(h, cancel, e);
    if (lock < 0)
        return -1;
    if (!image_has_all_files(i))
        return error_set(e, ERROR_NOT_FOUND, "the image %s was removed meanwhile", image_label(i));
    if (image_pin(i, h, cancel, e) < 0)
        return -1;
    do {
        why = (struct error){0};
        result = move_once(i, h, tag, from, cancel, &why);
    } while (result < 0 && why.kind == ERROR_BUSY && !from);
    if (result < 0)
        *e = why;
    return result;
}

int image_untag(const struct home *h, const char *tag, const struct cancel *cancel, struct error *e)
{
    char file[DIGEST_HEX_SIZE], uuid[IMAGE_UUID_SIZE];
    struct error why;
    int result;

    digest_bytes(tag, strlen(tag), file);
    do {
        struct refs_version version = {0};
        why = (struct error){0};
        result = find_version(uuid, h, tag, &version, &why);
        if (result == 0)
            result = refs_swap(h, &tags, file, &version, NULL, cancel, &why);
    } while (result < 0 && why.kind == ERROR_BUSY);
    if (result < 0)
        *e = why;
    return result;
}

struct tag_walk {
    const struct home *home;
    int (*visit)(const char *tag, const char *uuid, void *context);
    void *context;
    struct error *error;
};

static int visit_tag(const char *file, void *context)
{
    struct tag_walk *w = context;
    char uuid[IMAGE_UUID_SIZE];
    struct error why = {0};
    cleanup_free char *tag = read_note(w->home, file, uuid, NULL, &why);

    if (tag)
        return w->visit(tag, uuid, w->context);
    if (why.kind == ERROR_NOT_FOUND) /* removed since it was listed */
        return 0;
    *w->error = why;
    return -1;
}

int image_each_tag(const struct home *h, int (*visit)(const char *tag, const char *uuid, void *context),
                   void *context, struct error *e)
{
    struct tag_walk w = {h, visit, context, e};

    return refs_each(h, &tags, visit_tag, &w, e);
}

/* ---- what a user may call an image --------------------------------------------------------------- */

const char *image_reference_tag(const char *reference)
{
    return behind(reference, TAG_BEGIN);
}

const char *image_reference_language(const char *reference)
{
    return behind(image_reference_tag(reference), LANGUAGE_BEGIN);
}

static int resolve_tag(struct image *ret, const struct home *h, const char *tag, struct error *e)
{
    char uuid[IMAGE_UUID_SIZE];

    if (image_find_tag(uuid, h, tag, e) < 0)
        return -1;
    return image_find_id(ret, h, uuid, e) < 0 ? error_wrap(e, "the tag %s", tag) : 0;
}

int image_resolve(struct image *ret, const struct home *h, const char *reference, struct error *e)
{
    const char *tag = image_reference_tag(reference), *language = image_reference_language(reference);
    char uuid[IMAGE_UUID_SIZE];

    if (tag)
        return language ? image_find(ret, h, language, e) : resolve_tag(ret, h, tag, e);
    snprintf(uuid, sizeof(uuid), "%s", reference);
    for (char *c = uuid; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    if (strlen(reference) != IMAGE_UUID_SIZE - 1 || !image_is_uuid(uuid))
        return error_set(
            e, ERROR_USAGE,
            "\"%.64s\" is no image: give its UUID, tag:NAME, or tag:lang/NAME for a language's; see: "
            "capsid images list",
            reference);
    return image_find_id(ret, h, uuid, e);
}
