#include "entries.h"

#include <string.h>

void entries_start(struct entries *e, int dir_fd)
{
    e->dir_fd = dir_fd;
    e->size = e->at = 0;
}

const struct sys_dirent *entries_next(struct entries *e)
{
    for (;;) {
        if (e->at >= e->size) {
            e->size = sys_getdents(e->dir_fd, e->buffer, sizeof(e->buffer));
            e->at = 0;
        }
        if (e->size <= 0)
            return NULL;
        const struct sys_dirent *entry = (const void *)(e->buffer + e->at);
        e->at += entry->size;
        if (strcmp(entry->name, ".") != 0 && strcmp(entry->name, "..") != 0)
            return entry;
    }
}
