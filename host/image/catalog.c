#include "image/catalog.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "image/ids.h"
#include "image/inventory.h"
#include "image/tags.h"
#include "store/records.h"

#include <string.h>

/* What is in it follows from what is on disk: so a version that has other tables drops those before, and all is written anew. */
static const char *const migrations[] = {
    "CREATE TABLE images (uuid TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE,"
    " parent TEXT REFERENCES images (uuid), origin TEXT NOT NULL, created INTEGER NOT NULL, size INTEGER NOT "
    "NULL) STRICT;"
    "CREATE TABLE tags (name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images (uuid)) STRICT;"
    "CREATE INDEX tags_of_image ON tags (image);"
    "CREATE INDEX children_of_image ON images (parent);",
    "DROP TABLE tags; DROP TABLE images;"
    "CREATE TABLE images (uuid TEXT PRIMARY KEY, digest TEXT NOT NULL, parent TEXT, origin TEXT NOT NULL, "
    "origin_of TEXT,"
    " created INTEGER NOT NULL, size INTEGER NOT NULL) STRICT;"
    "CREATE INDEX children_of_image ON images (parent);"
    "CREATE INDEX images_of_file ON images (digest);"
    "CREATE TABLE names (name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images (uuid)) STRICT;"
    "CREATE INDEX names_of_image ON names (image);"
    "CREATE TABLE tags (name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images (uuid)) STRICT;"
    "CREATE INDEX tags_of_image ON tags (image);",
    NULL};

static const struct records_schema schema = {
    .file = "records.db", .application_id = 0x43417049, .migrations = migrations};

static int open_catalog(const struct home *h, struct records **ret, struct error *e)
{
    cleanup_free char *directory = home_path(h, "images");

    return records_open(ret, directory, &schema, e);
}

typedef int follow_step(const struct home *h, struct records *r, const char *what, struct error *e);

/* ---- changes ------------------------------------------------------------------------------------- */

static int put_image(struct records *r, const struct image *i, struct error *e)
{
    return records_do(r,
                      "INSERT INTO images (uuid, digest, parent, origin, origin_of, created, size)"
                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (uuid) DO UPDATE SET"
                      " parent = ?3, origin = ?4, origin_of = ?5, created = ?6, size = ?7",
                      RECORDS_VALUES(records_text(i->uuid), records_text(i->digest), records_text(i->parent),
                                     records_text(image_origin_name(i->origin)), records_text(i->origin_of),
                                     records_number(i->created), records_number((int64_t)image_own_bytes(i))),
                      e) < 0
               ? -1
               : 0;
}

static int put_name(struct records *r, const char *name, const char *uuid, struct error *e)
{
    return records_do(r, "INSERT OR REPLACE INTO names VALUES (?, ?)",
                      RECORDS_VALUES(records_text(name), records_text(uuid)), e) < 0
               ? -1
               : 0;
}

static int put_tag(struct records *r, const char *tag, const char *uuid, struct error *e)
{
    return records_do(r, "INSERT OR REPLACE INTO tags VALUES (?, ?)",
                      RECORDS_VALUES(records_text(tag), records_text(uuid)), e) < 0
               ? -1
               : 0;
}

static int drop_row(struct records *r, const char *statement, const char *key, struct error *e)
{
    return records_do(r, statement, RECORDS_VALUES(records_text(key)), e) < 0 ? -1 : 0;
}

/* Of the image with that UUID, as it is now, whoever changed it last. */
static int follow_id(const struct home *h, struct records *r, const char *uuid, struct error *e)
{
    struct image i = {0};
    struct error why = {0};
    int result = image_find_id(&i, h, uuid, &why);

    if (result == 0)
        result = put_image(r, &i, e);
    else if (why.kind == ERROR_NOT_FOUND)
        result = drop_row(r, "DELETE FROM tags WHERE image = ?", uuid, e) < 0
                     ? -1
                     : drop_row(r, "DELETE FROM images WHERE uuid = ?", uuid, e);
    else
        *e = why;
    image_done(&i);
    return result;
}

/* Which image had the name until now; the caller frees it. *ret NULL: none. */
static int find_row(struct records *r, const char *name, char **ret, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};

    *ret = NULL;
    if (records_ask(&rows, r, "SELECT image FROM names WHERE name = ?", RECORDS_VALUES(records_text(name)),
                    e) < 0)
        return -1;
    int there = records_next(&rows, e);
    if (there > 0)
        *ret = text_copy(records_get_text(&rows, 0, NULL));
    return there < 0 ? -1 : 0;
}

static int follow_name(const struct home *h, struct records *r, const char *name, struct error *e)
{
    cleanup_free char *before = NULL;
    struct image i = {0};
    struct error why = {0};

    if (find_row(r, name, &before, e) < 0)
        return -1;
    int result = image_find(&i, h, name, &why);
    if (result == 0)
        result = follow_id(h, r, i.uuid, e) < 0 ? -1 : put_name(r, name, i.uuid, e);
    else if (why.kind == ERROR_NOT_FOUND)
        result = drop_row(r, "DELETE FROM names WHERE name = ?", name, e);
    else
        *e = why;
    if (result == 0 && before && strcmp(before, i.uuid) != 0)
        result = follow_id(h, r, before, e);
    image_done(&i);
    return result;
}

static int follow_tag(const struct home *h, struct records *r, const char *tag, struct error *e)
{
    char uuid[IMAGE_UUID_SIZE];
    struct error why = {0};

    if (image_find_tag(uuid, h, tag, &why) == 0)
        return follow_id(h, r, uuid, e) < 0 ? -1 : put_tag(r, tag, uuid, e);
    if (why.kind == ERROR_NOT_FOUND)
        return drop_row(r, "DELETE FROM tags WHERE name = ?", tag, e);
    *e = why;
    return -1;
}

/* ---- from what is on disk ------------------------------------------------------------------------ */

struct putting {
    struct records *records;
    const char *uuid;
    struct error *error;
};

static int put_visited_name(const char *name, void *context)
{
    const struct putting *p = context;

    return put_name(p->records, name, p->uuid, p->error);
}

static int put_visited_tag(const char *tag, void *context)
{
    const struct putting *p = context;

    return put_tag(p->records, tag, p->uuid, p->error);
}

static int put_entry(struct records *r, const struct image_entry *entry, struct error *e)
{
    struct putting p = {r, entry->image.uuid, e};

    return put_image(r, &entry->image, e) < 0 || inventory_each_word(&entry->names, put_visited_name, &p) < 0
               ? -1
               : inventory_each_word(&entry->tags, put_visited_tag, &p);
}

/* All that the catalog says, as one text for the caller to free; NULL with an error. */
static char *print_catalog(struct records *r, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};
    struct buffer all = {0};
    int more = records_ask(
        &rows, r,
        "SELECT quote(uuid) || quote(digest) || quote(parent) || quote(origin) || quote(origin_of) ||"
        " created || ' ' || size AS line FROM images"
        " UNION ALL SELECT 'name ' || name || ' ' || image FROM names"
        " UNION ALL SELECT 'tag ' || name || ' ' || image FROM tags ORDER BY line",
        NULL, e);

    buffer_add(&all, "", 0);
    while (more >= 0 && (more = records_next(&rows, e)) > 0)
        buffer_add_text(&all, "%s\n", records_get_text(&rows, 0, NULL));
    if (more < 0)
        buffer_free(&all);
    return all.data;
}

static int write_all(struct records *r, const struct inventory *all, struct error *e)
{
    if (records_do(r, "DELETE FROM tags", NULL, e) < 0 || records_do(r, "DELETE FROM names", NULL, e) < 0 ||
        records_do(r, "DELETE FROM images", NULL, e) < 0)
        return -1;
    for (size_t n = 0; n < all->count; n++)
        if (put_entry(r, &all->entries[n], e) < 0)
            return -1;
    return 0;
}

/* In a transaction. 1: that changed something. */
static int rebuild(struct records *r, const struct inventory *all, struct error *e)
{
    cleanup_free char *before = print_catalog(r, e);

    if (!before || write_all(r, all, e) < 0)
        return -1;
    cleanup_free char *after = print_catalog(r, e);
    return !after ? -1 : strcmp(before, after) != 0;
}

static int rebuild_from_disk(const struct home *h, struct records *r, struct error *e)
{
    struct inventory all;

    if (inventory_read(&all, h, e) < 0)
        return -1;
    int result = rebuild(r, &all, e);
    inventory_done(&all);
    return result < 0 ? -1 : 0;
}

/* A catalog that says nothing was made now, or is of an earlier version. */
static int is_empty(struct records *r, struct error *e)
{
    int64_t images;

    return records_ask_number(r, "SELECT count(*) FROM (SELECT 1 FROM images LIMIT 1)", NULL, &images, e) < 0
               ? -1
               : images == 0;
}

static int follow(const struct home *h, struct records *r, follow_step *step, const char *what,
                  struct error *e)
{
    int empty = is_empty(r, e);

    return empty < 0 ? -1 : empty || !step ? rebuild_from_disk(h, r, e) : step(h, r, what, e);
}

/* step NULL: all. */
static void change_catalog(const struct home *h, follow_step *step, const char *what)
{
    struct records *r = NULL;
    struct error e = {0};
    int result = open_catalog(h, &r, &e);

    if (result == 0)
        result = records_begin(r, &e);
    if (result == 0)
        result = records_end(r, follow(h, r, step, what, &e), &e);
    if (result == 0)
        records_tidy(r);
    else
        log_warning("the catalog of images is not up to date, which capsid doctor --repair mends: %s",
                    e.text);
    records_close(r);
}

void catalog_follow(const struct home *h, const char *name)
{
    change_catalog(h, follow_name, name);
}

void catalog_follow_id(const struct home *h, const char *uuid)
{
    change_catalog(h, follow_id, uuid);
}

void catalog_follow_tag(const struct home *h, const char *tag)
{
    change_catalog(h, follow_tag, tag);
}

void catalog_follow_all(const struct home *h)
{
    change_catalog(h, NULL, NULL);
}

/* ---- is it right --------------------------------------------------------------------------------- */

static int count_word(const char *word, void *count)
{
    (void)word;
    ++*(uint64_t *)count;
    return 0;
}

static void count_all(const struct inventory *all, struct catalog_count *ret)
{
    *ret = (struct catalog_count){.images = all->count};
    for (size_t n = 0; n < all->count; n++) {
        const struct image_entry *entry = &all->entries[n];
        bool nameless = entry->names.size + entry->tags.size == 0;
        inventory_each_word(&entry->names, count_word, &ret->names);
        inventory_each_word(&entry->tags, count_word, &ret->tags);
        ret->nameless += nameless;
        ret->nameless_bytes += nameless ? image_own_bytes(&entry->image) : 0;
    }
}

/* 2: there was none. */
static int compare_open(const struct inventory *all, struct records *r, bool repair, struct error *e)
{
    struct error ignored = {0};

    if (records_check(r, e) < 0 || records_begin(r, e) < 0)
        return -1;
    int empty = is_empty(r, e), changed = empty < 0 ? -1 : rebuild(r, all, e);
    if (changed > 0 && (repair || empty))
        return records_end(r, 0, e) < 0 ? -1 : empty ? 2 : 1;
    records_end(r, -1, &ignored); /* it was only to see */
    return changed;
}

static int compare_file(const struct home *h, const struct inventory *all, bool repair, struct error *e)
{
    struct records *r = NULL;
    int result = open_catalog(h, &r, e) < 0 ? -1 : compare_open(all, r, repair, e);

    records_close(r);
    return result;
}

static int compare_all(const struct home *h, const struct inventory *all, bool repair, char **ret_aside,
                       struct error *e)
{
    cleanup_free char *directory = home_path(h, "images");
    int result = compare_file(h, all, repair, e);

    if (result >= 0)
        return result == 1;
    if (!repair || e->kind != ERROR_CORRUPT)
        return -1;
    *e = (struct error){0};
    if (records_put_aside(directory, &schema, ret_aside, e) < 0 || compare_file(h, all, true, e) < 0)
        return -1;
    return 1;
}

int catalog_compare(const struct home *h, bool repair, struct catalog_count *ret, char **ret_aside,
                    struct error *e)
{
    struct inventory all;

    *ret_aside = NULL;
    if (inventory_read(&all, h, e) < 0)
        return -1;
    count_all(&all, ret);
    int result = compare_all(h, &all, repair, ret_aside, e);
    inventory_done(&all);
    return result;
}
