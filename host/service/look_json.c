#include "service/look_json.h"

#include "service/answer_view.h"
#include "service/schema.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static enum file_kind kind_of_look(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return FILE_IS_REGULAR;
    case S_IFDIR:
        return FILE_IS_DIRECTORY;
    case S_IFLNK:
        return FILE_IS_SYMLINK;
    case S_IFIFO:
        return FILE_IS_FIFO;
    case S_IFSOCK:
        return FILE_IS_SOCKET;
    case S_IFCHR:
        return FILE_IS_CHARACTER;
    case S_IFBLK:
        return FILE_IS_BLOCK;
    default:
        return FILE_IS_OTHER;
    }
}

static struct buffer view_of(const void *data, size_t size)
{
    return (struct buffer){.data = (char *)(uintptr_t)data, .size = size};
}

json_t *look_file_json(const struct look_file *f, const char *name)
{
    char mode[8];
    const struct file_view view = {.name = view_of(name, strlen(name)),
                                   .kind = kind_of_look(f->mode),
                                   .mode = mode,
                                   .uid = f->uid,
                                   .gid = f->gid,
                                   .size = f->size & INT64_MAX,
                                   .modified = f->mtime_s > 0 ? (uint64_t)f->mtime_s : 0,
                                   .target = f->target ? view_of(f->target, strlen(f->target))
                                                       : (struct buffer){0}};

    snprintf(mode, sizeof(mode), "%04o", f->mode & 07777);
    return schema_json(SCHEMA_OBJECT_IMAGE_FILE, SCHEMA_OF_FILE, &view, NULL);
}

json_t *look_match_json(const struct look_match *m, const char *path)
{
    const struct match_view view = {.path = view_of(path, strlen(path)),
                                    .text = view_of(m->text, m->size),
                                    .line = m->line,
                                    .cut = m->cut};

    return schema_json(SCHEMA_OBJECT_IMAGE_MATCH, SCHEMA_OF_MATCH, &view, NULL);
}

static json_t *all_json(enum schema_object object, json_t *items, const struct look_end *end)
{
    const struct listing_view view = {.items = items,
                                      .count = json_array_size(items),
                                      .truncated = end->truncated,
                                      .skipped = end->skipped & INT64_MAX};

    return schema_json(object, SCHEMA_OF_LISTING, &view, NULL);
}

json_t *look_files_json(json_t *items, const struct look_end *end)
{
    return all_json(SCHEMA_OBJECT_IMAGE_FILES, items, end);
}

json_t *look_matches_json(json_t *items, const struct look_end *end)
{
    return all_json(SCHEMA_OBJECT_IMAGE_MATCHES, items, end);
}
