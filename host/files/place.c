#include "files/place.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* One tree, and how far it is read. */
struct place_tree {
    const struct files *files;
    struct state_list list;
    char *path; /* owned; of the directory */
    uint32_t uid, gid;
    size_t next;    /* the entry that follows the one at hand */
    uint64_t left;  /* bytes of its content */
    const char *at; /* of a symlink's target; NULL: content comes from fd */
    int fd;
    uint8_t head[32 + STATES_PATH_MAX];
    size_t head_size, head_sent;
};

/* ---- reading --------------------------------------------------------------------------------------- */

static uint64_t content_size(const struct state_entry *i)
{
    return i->target ? strlen(i->target) : i->size;
}

static int begin_entry(struct place_tree *t, struct error *e)
{
    const struct state_entry *one = &t->list.entries[t->next++];
    struct file_item item = {.size = one->size};

    close_fd(&t->fd);
    t->left = content_size(one);
    t->at = one->target;
    t->head_sent = 0;
    t->head_size = guest_put_entry(t->head, sizeof(t->head), one->mode, t->uid, t->gid, t->left, one->path);
    if (!S_ISREG(one->mode))
        return 0;
    memcpy(item.digest, one->digest, sizeof(item.digest));
    t->fd = files_open_content(t->files, &item, e);
    return t->fd < 0 ? -1 : 0;
}

/* At least one byte. */
static ssize_t read_content(struct place_tree *t, void *out, size_t size, struct error *e)
{
    size_t n = size < t->left ? size : (size_t)t->left;
    ssize_t got = (ssize_t)n;

    if (t->at) {
        memcpy(out, t->at, n);
        t->at += n;
    } else {
        do
            got = read(t->fd, out, n);
        while (got < 0 && errno == EINTR);
    }
    if (got <= 0)
        return error_set(e, ERROR_CORRUPT, "the content of %.200s is not what it was",
                         t->list.entries[t->next - 1].path);
    t->left -= (uint64_t)got;
    return got;
}

static int read_tree(void *context, uint64_t offset, void *out, size_t size, struct error *e)
{
    struct place_tree *t = context;
    uint8_t *to = out;

    if (offset == 0)
        t->next = t->head_size = t->head_sent = t->left = 0;
    while (size > 0) {
        ssize_t n = 0;
        if (t->head_sent < t->head_size) {
            n = (ssize_t)(t->head_size - t->head_sent < size ? t->head_size - t->head_sent : size);
            memcpy(to, t->head + t->head_sent, (size_t)n);
            t->head_sent += (size_t)n;
        } else if (t->left > 0) {
            n = read_content(t, to, size, e);
        } else if (begin_entry(t, e) < 0) {
            n = -1;
        }
        if (n < 0)
            return -1;
        to += n;
        size -= (size_t)n;
    }
    return 0;
}

static void finish_tree(struct guest_tree *ret, struct place_tree *t, const struct files *f)
{
    t->files = f;
    t->fd = -1;
    *ret = (struct guest_tree){.path = t->path, .read = read_tree, .context = t};
    for (size_t i = 0; i < t->list.count; i++)
        ret->size += GUEST_ENTRY_SIZE(t->list.entries[i].path) + content_size(&t->list.entries[i]);
}

/* ---- texts ----------------------------------------------------------------------------------------- */

/* A path that a directory has, where others are put; "" is the program's. */
static int check_directory(const char *path, struct error *e)
{
    for (const char *p = path; (p = strstr(p, "..")); p += 2)
        if ((p == path || p[-1] == '/') && (!p[2] || p[2] == '/'))
            return error_set(e, ERROR_USAGE, "the path of files has a \"..\"");
    return strlen(path) < STATES_PATH_MAX ? 0 : error_set(e, ERROR_USAGE, "the path of files is too long");
}

static int open_state(struct place_tree *t, struct files *f, const char *owner, const char *text,
                      struct error *e)
{
    const char *colon = strchr(text, ':');
    cleanup_free char *number = text_format("%.*s", (int)(colon ? colon - text : (long)strlen(text)), text);
    uint64_t n;
    struct state s;

    if (!text_to_u64(number, 1, INT64_MAX, &n) || (colon && !colon[1]))
        return error_set(e, ERROR_USAGE, "a directory state is NUMBER or NUMBER:PATH, not \"%.100s\"", text);
    t->path = text_copy(colon ? colon + 1 : "");
    t->uid = t->gid = GUEST_NO_ID;
    return check_directory(t->path, e) < 0 ? -1 : states_find(f, owner, (int64_t)n, &s, &t->list, e);
}

/* Cuts ":NUMBER" from the end; false: there is none. */
static bool cut_number(char *text, int base, uint64_t max, uint64_t *ret)
{
    char *colon = strrchr(text, ':'), *end;

    if (!colon || colon[1] < '0' || colon[1] > '9')
        return false;
    errno = 0;
    *ret = strtoull(colon + 1, &end, base);
    if (*end || errno || *ret > max)
        return false;
    *colon = '\0';
    return true;
}

/* The path is what is left of the text. */
static void cut_manner(struct place_tree *t, char *path, uint32_t *ret_mode)
{
    cleanup_free char *whole = text_copy(path);
    uint64_t uid, gid, mode = 0644;

    t->uid = t->gid = GUEST_NO_ID;
    if (cut_number(path, 10, UINT32_MAX - 1, &gid) && cut_number(path, 10, UINT32_MAX - 1, &uid) &&
        cut_number(path, 8, 07777, &mode)) {
        t->uid = (uint32_t)uid;
        t->gid = (uint32_t)gid;
    } else {
        strcpy(path, whole);
        mode = 0644;
        cut_number(path, 8, 07777, &mode);
    }
    *ret_mode = (uint32_t)mode;
}

static int open_file(struct place_tree *t, struct files *f, const char *owner, const char *text,
                     struct error *e)
{
    const char *colon = strchr(text, ':');
    cleanup_free char *name = text_format("%.*s", (int)(colon ? colon - text : 0), text);
    cleanup_free char *path = text_copy(colon ? colon + 1 : "");
    struct state_entry one = {0};
    struct file_item item;
    uint32_t mode;

    cut_manner(t, path, &mode);
    if (!path[0])
        return error_set(e, ERROR_USAGE, "a file is UUID:PATH[:MODE[:UID:GID]], not \"%.100s\"", text);
    char *slash = path[0] == '/' ? strrchr(path, '/') : NULL;
    t->path = slash == path ? text_copy("/")
              : slash       ? text_format("%.*s", (int)(slash - path), path)
                            : text_copy("");
    if (check_directory(t->path, e) < 0 || files_find(f, owner, name, &item, e) < 0)
        return -1;
    one = (struct state_entry){
        .path = text_copy(slash ? slash + 1 : path), .mode = S_IFREG | mode, .size = item.size};
    memcpy(one.digest, item.digest, sizeof(one.digest));
    return state_list_add(&t->list, &one, e);
}

int place_open(struct place *ret, struct files *f, const char *owner, const char *state,
               const char *const *files, struct error *e)
{
    size_t count = 0;
    int result = 0;

    while (files && files[count])
        count++;
    *ret = (struct place){0};
    if (count > PLACE_FILES_MAX)
        return error_set(e, ERROR_USAGE, "more than %d files are to be placed; a directory state holds more",
                         PLACE_FILES_MAX);
    ret->count = (state ? 1 : 0) + count;
    if (ret->count == 0)
        return 0;
    ret->hold = memory_allocate(ret->count * sizeof(ret->hold[0]));
    ret->trees = memory_allocate(ret->count * sizeof(ret->trees[0]));
    for (size_t i = 0; i < ret->count; i++)
        ret->hold[i].fd = -1;
    if (state)
        result = open_state(&ret->hold[0], f, owner, state, e);
    for (size_t i = 0; result == 0 && i < count; i++)
        result = open_file(&ret->hold[ret->count - count + i], f, owner, files[i], e);
    for (size_t i = 0; result == 0 && i < ret->count; i++)
        finish_tree(&ret->trees[i], &ret->hold[i], f);
    if (result < 0)
        place_done(ret);
    return result;
}

void place_done(struct place *p)
{
    for (size_t i = 0; i < p->count; i++) {
        close_fd(&p->hold[i].fd);
        state_list_done(&p->hold[i].list);
        free(p->hold[i].path);
    }
    free(p->hold);
    free(p->trees);
    *p = (struct place){0};
}
