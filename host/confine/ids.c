#include "confine/ids.h"

#include "base/accounts.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define IDS_DIRECTORY "/run/capsid" /* all state directories of this machine share the ids */

static int parse_of_ids(struct confinement *c, const char *text, struct error *e)
{
    cleanup_free char *copy = text_copy(text);
    char *dash = strchr(copy, '-');
    uint64_t first = 0, last = 0;

    if (dash)
        *dash = '\0';
    if (!dash || !text_to_u64(copy, 1, INT32_MAX, &first) || !text_to_u64(dash + 1, first, INT32_MAX, &last))
        return error_set(e, ERROR_USAGE,
                         "vm_uids is \"%.64s\", but must be two user ids, as in " CONFIG_VM_UIDS, text);
    c->first_id = (uint32_t)first;
    c->last_id = (uint32_t)last;
    return 0;
}

/* What capsid setup reserves in the service's name is for VMs. */
static bool is_reservation(const struct account_ids *ids)
{
    return strcmp(ids->name, ACCOUNTS_SERVICE) == 0 && strncmp(ids->file, "/etc/sub", 8) == 0;
}

static void add_held(const struct account_ids *ids, void *context)
{
    struct confinement *c = context;

    if (ids->last < c->first_id || ids->first > c->last_id || is_reservation(ids))
        return;
    if (c->held.size == 0) {
        snprintf(c->holder, sizeof(c->holder), "%s in %s", ids->name, ids->file);
        text_make_plain(c->holder);
    }
    const struct confine_ids held = {.first = ids->first < c->first_id ? c->first_id : (uint32_t)ids->first,
                                     .last = ids->last > c->last_id ? c->last_id : (uint32_t)ids->last};
    buffer_add(&c->held, &held, sizeof(held));
}

/* The last id of a row that has this one, 0: nobody has it. */
static uint32_t held_until(const struct confinement *c, uint32_t id)
{
    const struct confine_ids *held = (const void *)c->held.data;

    for (size_t i = 0; i < c->held.size / sizeof(*held); i++)
        if (held[i].first <= id && id <= held[i].last)
            return held[i].last;
    return 0;
}

uint32_t confine_free_ids(const struct confinement *c)
{
    uint32_t count = 0;

    if (c->held.size == 0)
        return c->last_id - c->first_id + 1;
    for (uint64_t id = c->first_id; id <= c->last_id; id++) {
        uint32_t last = held_until(c, (uint32_t)id);
        count += last == 0;
        id = last ? last : id;
    }
    return count;
}

int ids_decide(struct confinement *c, const char *vm_uids, struct error *e)
{
    if (parse_of_ids(c, vm_uids, e) < 0)
        return -1;
    if (geteuid() != 0)
        return 0;
    accounts_each("", add_held, c);
    if (confine_free_ids(c) == 0)
        return error_set(e, ERROR_USAGE,
                         "all ids of vm_uids, %u-%u, belong to others (%s); set it to ids that nobody has",
                         c->first_id, c->last_id, c->holder);
    return 0;
}

/* Byte N of a file is locked as long as the id N is in use; the lock ends with its holder. */
int confine_take_id(const struct confinement *c, uint32_t *ret_id, struct error *e)
{
    uint32_t count = c->last_id - c->first_id + 1, start = (uint32_t)clock_monotonic_ns() % count;

    if (mkdir(IDS_DIRECTORY, 0700) < 0 && errno != EEXIST)
        return error_errno(e, "cannot create " IDS_DIRECTORY);
    cleanup_fd int fd = file_open(IDS_DIRECTORY "/ids", O_RDWR | O_CREAT | O_NOFOLLOW, e);
    if (fd < 0)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = c->first_id + (start + i) % count;
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)id, .l_len = 1};
        if (held_until(c, id))
            continue;
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
            *ret_id = id;
            return take_fd(&fd);
        }
        if (errno != EAGAIN && errno != EACCES)
            return error_errno(e, "cannot lock " IDS_DIRECTORY "/ids");
    }
    return error_set(e, ERROR_GENERAL, "all user ids for VMs are in use; widen the setting vm_uids (%u-%u)",
                     c->first_id, c->last_id);
}
