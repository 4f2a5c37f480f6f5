#include "store/refs.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>

#define SWAP_DEADLINE_MS (60 * 1000)

char *refs_path(const struct home *h, const struct refs *r, const char *name)
{
    return home_path(h, "%s/%s%s", r->place, name, r->ending);
}

int refs_get(const struct home *h, const struct refs *r, const char *name, struct buffer *ret,
             struct refs_version *ret_version, struct error *e)
{
    cleanup_free char *path = refs_path(h, r, name);
    struct error why = {0};

    if (!text_is_long_name(name) || !file_exists(path))
        return error_set(e, ERROR_NOT_FOUND, "there is no %.64s", name);
    if (file_read(path, r->size_max, ret, &why) < 0) {
        if (!file_exists(path)) /* it was removed meanwhile */
            why.kind = ERROR_NOT_FOUND;
        *e = why;
        return -1;
    }
    buffer_add(ret, "", 0);
    if (ret_version)
        digest_bytes(ret->data, ret->size, ret_version->text);
    return 0;
}

/* Under the lock. */
static int swap(const struct home *h, const struct refs *r, const char *name,
                const struct refs_version *version, const char *text, struct error *e)
{
    cleanup_free char *path = refs_path(h, r, name);
    cleanup_buffer struct buffer ignored = {0};
    struct refs_version now = {0};
    struct error why = {0};

    if (refs_get(h, r, name, &ignored, &now, &why) < 0 && why.kind != ERROR_NOT_FOUND) {
        *e = why;
        return -1;
    }
    if (strcmp(now.text, version->text) != 0)
        return error_set(e, ERROR_BUSY, "another process has changed %s", path);
    if (text)
        return file_replace(path, h->scratch, text, strlen(text), 0600, e);
    return now.text[0] && unlink(path) < 0 ? error_errno(e, "cannot remove %s", path) : 0;
}

int refs_swap(const struct home *h, const struct refs *r, const char *name,
              const struct refs_version *version, const char *text, const struct cancel *cancel,
              struct error *e)
{
    if (!text_is_long_name(name))
        return error_set(e, ERROR_USAGE, "\"%.64s\" is no plain name: letters, digits and . _ + -", name);
    if (text && strlen(text) > r->size_max)
        return error_set(e, ERROR_GENERAL, "what is to be remembered of %s has more than %zu bytes", name,
                         r->size_max);
    cleanup_fd int lock =
        home_lock(h, r->lock, "changing a name", deadline_in_ms(SWAP_DEADLINE_MS), cancel, e);
    return lock < 0 ? -1 : swap(h, r, name, version, text, e);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names that there are, for the caller to free with the list. */
static int list_names(const struct home *h, const struct refs *r, char ***ret, size_t *ret_count,
                      struct error *e)
{
    cleanup_free char *place = home_path(h, "%s", r->place);
    cleanup_dir DIR *dir = opendir(place);
    size_t count = 0, room = 0, end = strlen(r->ending);
    char **names = NULL;

    if (!dir)
        return error_errno(e, "cannot read %s", place);
    for (struct dirent *d; (d = readdir(dir));) {
        size_t size = strlen(d->d_name);
        if (d->d_name[0] == '.' || size <= end || strcmp(d->d_name + size - end, r->ending) != 0)
            continue;
        if (count == room && !(names = realloc(names, (room = room * 2 + 64) * sizeof(names[0]))))
            abort();
        names[count++] = text_format("%.*s", (int)(size - end), d->d_name);
    }
    if (count > 0)
        qsort(names, count, sizeof(names[0]), by_name);
    *ret = names;
    *ret_count = count;
    return 0;
}

int refs_each(const struct home *h, const struct refs *r, int (*visit)(const char *name, void *context),
              void *context, struct error *e)
{
    size_t count = 0;
    char **names = NULL;

    if (list_names(h, r, &names, &count, e) < 0)
        return -1;
    int result = 0;
    for (size_t i = 0; i < count; i++) {
        if (result == 0)
            result = visit(names[i], context);
        free(names[i]);
    }
    free(names);
    return result;
}
