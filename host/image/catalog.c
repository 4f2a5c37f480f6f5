#include "image/catalog.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "image/manifest.h"
#include "store/records.h"

#include <string.h>

static const char *const migrations[] = {
    "CREATE TABLE images (uuid TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE,"
    " parent TEXT REFERENCES images (uuid), origin TEXT NOT NULL, created INTEGER NOT NULL, size INTEGER NOT "
    "NULL) STRICT;"
    "CREATE TABLE tags (name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images (uuid)) STRICT;"
    "CREATE INDEX tags_of_image ON tags (image);"
    "CREATE INDEX children_of_image ON images (parent);",
    NULL};

static const struct records_schema schema = {
    .file = "records.db", .application_id = 0x43417049, .migrations = migrations};

static int open_catalog(const struct home *h, struct records **ret, bool *ret_fresh, struct error *e)
{
    cleanup_free char *directory = home_path(h, "images");
    cleanup_free char *path = text_format("%s/%s", directory, schema.file);

    *ret_fresh = !file_exists(path);
    return records_open(ret, directory, &schema, e);
}

/* ---- changes ------------------------------------------------------------------------------------- */

/* Where an image comes from: "packages", the reference of an image in a registry, or which run it is a branch by. */
static const char *find_origin(const struct image *i)
{
    return i->origin_of ? i->origin_of : "packages";
}

/* One that is there already keeps what is known of it; origin "" is not known. */
static int put_image(struct records *r, const char *digest, const char *origin, int64_t created,
                     uint64_t size, struct error *e)
{
    char uuid[IMAGE_UUID_SIZE];

    image_uuid(digest, uuid);
    return records_do(r,
                      "INSERT INTO images (uuid, digest, origin, created, size) VALUES (?1, ?2, ?3, ?4, ?5)"
                      " ON CONFLICT (uuid) DO UPDATE SET size = ?5, origin = iif(?3 = '', origin, ?3),"
                      " created = iif(?3 = '', created, ?4)",
                      RECORDS_VALUES(records_text(uuid), records_text(digest), records_text(origin),
                                     records_number(created), records_number((int64_t)size)),
                      e) < 0
               ? -1
               : 0;
}

static int put_named(struct records *r, const struct image *i, struct error *e)
{
    const char *origin = find_origin(i);
    char uuid[IMAGE_UUID_SIZE];

    image_uuid(i->digest, uuid);
    return put_image(r, i->digest, origin, i->created, i->size, e) < 0 ||
                   records_do(r, "INSERT OR REPLACE INTO tags VALUES (?, ?)",
                              RECORDS_VALUES(records_text(i->name), records_text(uuid)), e) < 0
               ? -1
               : 0;
}

/* The file of the image that has that record is gone, and nothing comes from it. */
static int drop_image(struct records *r, const char *uuid, struct error *e)
{
    return records_do(
               r,
               "DELETE FROM images WHERE uuid = ?1 AND NOT EXISTS (SELECT 1 FROM tags WHERE image = ?1)"
               " AND NOT EXISTS (SELECT 1 FROM images AS child WHERE child.parent = ?1)",
               RECORDS_VALUES(records_text(uuid)), e) < 0
               ? -1
               : 0;
}

static int drop_name(const struct home *h, struct records *r, const char *name, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};

    if (records_ask(&rows, r, "SELECT uuid, digest FROM tags JOIN images ON uuid = image WHERE name = ?",
                    RECORDS_VALUES(records_text(name)), e) < 0)
        return -1;
    int there = records_next(&rows, e);
    if (there <= 0)
        return there;
    cleanup_free char *uuid = text_copy(records_get_text(&rows, 0, NULL));
    bool kept = blobs_have(h, &image_files, records_get_text(&rows, 1, NULL));
    records_done(&rows);
    if (records_do(r, "DELETE FROM tags WHERE name = ?", RECORDS_VALUES(records_text(name)), e) < 0)
        return -1;
    return kept ? 0 : drop_image(r, uuid, e);
}

/* ---- from what is on disk ------------------------------------------------------------------------ */

struct rebuild {
    const struct home *home;
    struct records *records;
    struct error *error;
};

static int put_visited(const struct image *i, void *context)
{
    struct rebuild *b = context;

    return blobs_have(b->home, &image_files, i->digest) ? put_named(b->records, i, b->error) : 0;
}

/* Images without names, too. */
static int put_file(const struct blob *one, void *context)
{
    struct rebuild *b = context;

    return put_image(b->records, one->digest, "", one->created, one->size, b->error);
}

static int drop_lost(struct rebuild *b)
{
    cleanup_rows struct records_rows rows = {0};
    int more = records_ask(&rows, b->records, "SELECT uuid, digest FROM images", NULL, b->error);

    while (more >= 0 && (more = records_next(&rows, b->error)) > 0) {
        if (!blobs_have(b->home, &image_files, records_get_text(&rows, 1, NULL)) &&
            drop_image(b->records, records_get_text(&rows, 0, NULL), b->error) < 0)
            return -1;
    }
    return more;
}

/* All that the catalog says, as one text for the caller to free; NULL with an error. */
static char *print_catalog(struct records *r, struct error *e)
{
    cleanup_rows struct records_rows rows = {0};
    struct buffer all = {0};
    int more =
        records_ask(&rows, r,
                    "SELECT uuid || ' ' || digest || ' ' || origin || ' ' || created || ' ' || size AS line"
                    " FROM images UNION ALL SELECT name || ' ' || image FROM tags ORDER BY line",
                    NULL, e);

    buffer_add(&all, "", 0);
    while (more >= 0 && (more = records_next(&rows, e)) > 0)
        buffer_add_text(&all, "%s\n", records_get_text(&rows, 0, NULL));
    if (more < 0)
        buffer_free(&all);
    return all.data;
}

static int count_all(struct records *r, struct catalog_count *ret, struct error *e)
{
    static const char nameless[] = " FROM images WHERE uuid NOT IN (SELECT image FROM tags)";
    cleanup_free char *count = text_format("SELECT count(*)%s", nameless);
    cleanup_free char *bytes = text_format("SELECT sum(size)%s", nameless);
    const struct {
        const char *question;
        uint64_t *ret;
    } questions[] = {{"SELECT count(*) FROM images", &ret->images},
                     {"SELECT count(*) FROM tags", &ret->names},
                     {count, &ret->nameless},
                     {bytes, &ret->nameless_bytes}};

    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        int64_t answer;
        if (records_ask_number(r, questions[i].question, NULL, &answer, e) < 0)
            return -1;
        *questions[i].ret = (uint64_t)answer;
    }
    return 0;
}

/* In a transaction. 1: that changed something. */
static int rebuild(const struct home *h, struct records *r, struct catalog_count *ret, struct error *e)
{
    struct rebuild b = {h, r, e};
    cleanup_free char *before = print_catalog(r, e);

    if (!before || records_do(r, "DELETE FROM tags", NULL, e) < 0 || image_each(h, put_visited, &b, e) < 0 ||
        blobs_each(h, &image_files, put_file, &b, e) < 0 || drop_lost(&b) < 0 || count_all(r, ret, e) < 0)
        return -1;
    cleanup_free char *after = print_catalog(r, e);
    return !after ? -1 : strcmp(before, after) != 0;
}

/* As the name is now, whoever changed it last. */
static int follow(const struct home *h, struct records *r, const char *name, struct error *e)
{
    struct image i = {0};
    struct error why = {0};
    int result = image_find(&i, h, name, &why);

    if (result == 0)
        result = put_named(r, &i, e);
    else if (why.kind == ERROR_NOT_FOUND)
        result = drop_name(h, r, name, e);
    else
        *e = why;
    image_done(&i);
    return result;
}

void catalog_follow(const struct home *h, const char *name)
{
    struct records *r = NULL;
    struct error e = {0};
    struct catalog_count ignored;
    bool fresh;
    int result = open_catalog(h, &r, &fresh, &e);

    if (result == 0)
        result = records_begin(r, &e);
    if (result == 0) {
        result = fresh ? rebuild(h, r, &ignored, &e) : follow(h, r, name, &e);
        result = records_end(r, result < 0 ? -1 : 0, &e);
    }
    if (result == 0)
        records_tidy(r);
    else
        log_warning("the catalog of images is not up to date, which capsid doctor --repair mends: %s",
                    e.text);
    records_close(r);
}

static int compare_open(const struct home *h, struct records *r, bool repair, struct catalog_count *ret,
                        struct error *e)
{
    struct error ignored = {0};

    if (records_check(r, e) < 0 || records_begin(r, e) < 0)
        return -1;
    int changed = rebuild(h, r, ret, e);
    if (changed > 0 && repair)
        return records_end(r, 0, e) < 0 ? -1 : 1;
    records_end(r, -1, &ignored); /* it was only to see */
    return changed;
}

int catalog_compare(const struct home *h, bool repair, struct catalog_count *ret, char **ret_aside,
                    struct error *e)
{
    cleanup_free char *directory = home_path(h, "images");
    struct records *r = NULL;
    bool fresh;

    *ret_aside = NULL;
    int result = open_catalog(h, &r, &fresh, e) < 0 ? -1 : compare_open(h, r, repair || fresh, ret, e);
    records_close(r);
    if (result >= 0)
        return fresh ? 0 : result;
    if (!repair || e->kind != ERROR_CORRUPT)
        return -1;
    *e = (struct error){0};
    r = NULL;
    result = records_put_aside(directory, &schema, ret_aside, e) < 0 || open_catalog(h, &r, &fresh, e) < 0
                 ? -1
                 : compare_open(h, r, true, ret, e);
    records_close(r);
    return result < 0 ? -1 : 1;
}
