#include "core/account.h"

#include "base/cleanup.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20)
#define FIELDS_MAX 7
#define NAME_MAX_BYTES 256

/* A number that a user or group can have; -1 is nobody's (chown(2)). */
static bool parse_id(const char *text, size_t size, uint32_t *ret)
{
    uint64_t v = 0;

    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || v > UINT32_MAX)
            return false;
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    if (size == 0 || v >= UINT32_MAX)
        return false;
    *ret = (uint32_t)v;
    return true;
}

struct line {
    const char *field[FIELDS_MAX];
    size_t size[FIELDS_MAX];
    unsigned count;
};

static const char *split_line(struct line *ret, const char *text)
{
    size_t left = strcspn(text, "\n");
    const char *end = text + left;

    *ret = (struct line){0};
    while (ret->count < FIELDS_MAX) {
        size_t size = strcspn(text, ":\n");
        ret->field[ret->count] = text;
        ret->size[ret->count++] = size;
        text += size;
        if (text >= end)
            break;
        text++;
    }
    return *end ? end + 1 : end;
}

/* The line whose name is that, or else whose number (the third field) is. */
static bool find_line(struct line *ret, const char *text, const char *name, unsigned fields)
{
    uint32_t wanted = 0, number = 0;
    bool by_number = parse_id(name, strlen(name), &wanted);

    while (*text) {
        text = split_line(ret, text);
        if (ret->count < fields || !parse_id(ret->field[2], ret->size[2], &number))
            continue;
        if (by_number ? number == wanted
                      : ret->size[0] == strlen(name) && memcmp(ret->field[0], name, ret->size[0]) == 0)
            return true;
    }
    return false;
}

bool account_parse_user(struct account *ret, const char *passwd, const char *user)
{
    struct line l;
    uint32_t gid;

    if (!find_line(&l, passwd, user, 6) || !parse_id(l.field[3], l.size[3], &gid) ||
        !parse_id(l.field[2], l.size[2], &ret->uid))
        return false;
    ret->gid = gid;
    if (l.size[5] > 0 && l.size[5] < PATH_MAX && l.field[5][0] == '/')
        ret->home = text_format("%.*s", (int)l.size[5], l.field[5]);
    return true;
}

bool account_parse_group(uint32_t *ret, const char *group, const char *name)
{
    struct line l;

    return find_line(&l, group, name, 3) && parse_id(l.field[2], l.size[2], ret);
}

bool account_is_valid(const char *user)
{
    size_t size = strcspn(user, ":");

    for (const char *p = user; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f || *p == '/')
            return false;
    return size > 0 && size < NAME_MAX_BYTES && strlen(user) < 2 * NAME_MAX_BYTES &&
           (!user[size] || (user[size + 1] && !strchr(user + size + 1, ':')));
}

/* An image may have none. */
static int read_file(struct guest *g, const char *path, struct buffer *ret, int64_t deadline, struct error *e)
{
    struct guest_file info;
    struct error why = {0};

    buffer_add(ret, "", 0);
    if (guest_read_file(g, path, 0, FILE_MAX, &info, ret, deadline, &why) == 0)
        return 0;
    if (why.kind == ERROR_VM_LOST || why.kind == ERROR_TIMEOUT || why.kind == ERROR_CANCELLED) {
        *e = why;
        return -1;
    }
    return 0;
}

static int find_group(uint32_t *ret, struct guest *g, const char *name, int64_t deadline, struct error *e)
{
    cleanup_buffer struct buffer group = {0};

    if (parse_id(name, strlen(name), ret))
        return 0;
    if (read_file(g, "/etc/group", &group, deadline, e) < 0)
        return -1;
    return account_parse_group(ret, group.data, name)
               ? 0
               : error_set(e, ERROR_USAGE, "the image has no group %.64s", name);
}

int account_find(struct account *ret, struct guest *g, const char *user, int64_t deadline, struct error *e)
{
    cleanup_buffer struct buffer passwd = {0};
    cleanup_free char *name = text_format("%.*s", (int)strcspn(user, ":"), user);
    const char *group = strchr(user, ':');

    *ret = (struct account){0};
    if (!account_is_valid(user))
        return error_set(e, ERROR_USAGE, "user \"%.64s\" is not UID[:GID] or NAME[:GROUP]", user);
    if (read_file(g, "/etc/passwd", &passwd, deadline, e) < 0)
        return -1;
    if (!account_parse_user(ret, passwd.data, name) && !parse_id(name, strlen(name), &ret->uid))
        return error_set(e, ERROR_USAGE, "the image has no user %.64s", name);
    int result = group ? find_group(&ret->gid, g, group + 1, deadline, e) : 0;
    if (result < 0)
        account_done(ret);
    return result;
}

void account_done(struct account *a)
{
    free(a->home);
    a->home = NULL;
}
