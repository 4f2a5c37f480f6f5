/* image/catalog: what is known of images follows what is on disk, and is made anew from it. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "image/catalog.h"
#include "image/ids.h"
#include "image/manifest.h"
#include "image/tags.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char root[] = "/tmp/capsid-catalog-XXXXXX";
static struct home home;
static struct error e;

static void setup(void)
{
    strcpy(root, "/tmp/capsid-catalog-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    e = (struct error){0};
    ck_assert_msg(home_open(&home, root, &e) == 0, "%s", e.text);
}

static void teardown(void)
{
    home_close(&home);
    file_remove_tree(root, &e);
}

static void write_file(const char *path, const char *text)
{
    cleanup_file FILE *f = fopen(path, "we");

    ck_assert_ptr_nonnull(f);
    ck_assert(fputs(text, f) >= 0);
}

/* An image of these bytes with that name, as it is on disk; extra: more of its manifest. */
static void make_image(const char *name, const char *bytes, const char *extra)
{
    char digest[DIGEST_HEX_SIZE];

    digest_bytes(bytes, strlen(bytes), digest);
    cleanup_free char *file = home_path(&home, "images/%s.erofs", digest);
    cleanup_free char *reference = home_path(&home, "images/names/%s.json", name);
    cleanup_free char *manifest =
        text_format("{\"name\": \"%s\", \"digest\": \"%s\", \"inputs\": \"%s\", \"initd\": \"0.1.0\", "
                    "\"size\": %zu, \"created\": 7%s}",
                    name, digest, digest, strlen(bytes), extra);
    write_file(file, bytes);
    write_file(reference, manifest);
}

static void remove_file(const char *name, const char *bytes)
{
    char digest[DIGEST_HEX_SIZE];

    digest_bytes(bytes, strlen(bytes), digest);
    cleanup_free char *file = home_path(&home, "images/%s.erofs", digest);
    cleanup_free char *reference = home_path(&home, "images/names/%s.json", name);
    unlink(file);
    unlink(reference);
}

static void expect_counts(bool repair, int wanted, unsigned images, unsigned names, unsigned nameless)
{
    struct catalog_count c = {0};
    char *aside;

    int result = catalog_compare(&home, repair, &c, &aside, &e);
    ck_assert_msg(result == wanted, "%d %s", result, e.text);
    ck_assert_msg(c.images == images && c.names == names && c.nameless == nameless, "%d %d %d", (int)c.images,
                  (int)c.names, (int)c.nameless);
    ck_assert_ptr_null(aside);
}

START_TEST(a_uuid_is_that_of_the_bytes)
{
    char uuid[IMAGE_UUID_SIZE];

    digest_uuid("0d45e840508e884b09cec5ba4be0ad5c12292488e886036914770341adba5586", uuid);
    ck_assert_str_eq(uuid, "0d45e840-508e-884b-89ce-c5ba4be0ad5c");
}
END_TEST

START_TEST(it_follows_names)
{
    make_image("a", "one", "");
    catalog_follow(&home, "a");
    make_image("b", "two", ", \"oci\": {\"image\": \"docker://docker.io/library/x:1\"}");
    catalog_follow(&home, "b");
    expect_counts(false, 0, 2, 2, 0);
    make_image("c", "two", "");
    catalog_follow(&home, "c");
    expect_counts(false, 0, 2, 3, 0);
    make_image("a", "three", ""); /* nothing stands on the first */
    catalog_follow(&home, "a");
    expect_counts(false, 0, 2, 3, 0);
    remove_file("a", "three");
    catalog_follow(&home, "a");
    expect_counts(false, 0, 1, 2, 0);
    catalog_follow(&home, "never was");
    expect_counts(false, 0, 1, 2, 0);
}
END_TEST

START_TEST(it_follows_tags_and_branches)
{
    struct image a = {0};

    make_image("a", "one", "");
    catalog_follow(&home, "a");
    ck_assert_int_eq(image_find(&a, &home, "a", &e), 0);
    ck_assert_int_eq(image_tag(&a, &home, "mine:1", NULL, NULL, &e), 0);
    catalog_follow_tag(&home, "mine:1");
    make_image("a", "two", ""); /* the tag holds the first */
    catalog_follow(&home, "a");
    expect_counts(false, 0, 2, 1, 0);
    ck_assert_int_eq(image_untag(&home, "mine:1", NULL, &e), 0);
    catalog_follow_tag(&home, "mine:1");
    expect_counts(false, 0, 2, 1, 1);
    image_unpin(a.uuid, &home, NULL, &e);
    catalog_follow_id(&home, a.uuid);
    expect_counts(false, 0, 1, 1, 0);
    image_done(&a);
}
END_TEST

/* As it is where an earlier version made everything, or another process did while the catalog could not be written. */
START_TEST(what_it_missed_is_seen_and_mended)
{
    make_image("a", "one", "");
    make_image("b", "two", "");
    expect_counts(false, 0, 2, 2, 0); /* there was none */
    make_image("c", "three", "");
    remove_file("b", "two");
    expect_counts(false, 1, 2, 2, 0);
    expect_counts(false, 1, 2, 2, 0); /* looking changes nothing */
    expect_counts(true, 1, 2, 2, 0);
    expect_counts(true, 0, 2, 2, 0);
}
END_TEST

START_TEST(a_damaged_one_is_made_anew)
{
    cleanup_free char *file = home_path(&home, "images/records.db");
    cleanup_free char *log = text_format("%s-wal", file);
    struct catalog_count c = {0};
    char *aside;

    make_image("a", "one", "");
    catalog_follow(&home, "a");
    ck_assert_int_eq(unlink(log), 0);
    write_file(file, "no database, and longer than the hundred bytes that the header of a database has, so "
                     "that it is read");
    ck_assert_int_lt(catalog_compare(&home, false, &c, &aside, &e), 0);
    ck_assert(e.kind == ERROR_CORRUPT && strstr(e.text, "doctor --repair"));
    catalog_follow(&home, "a"); /* says so, and no more */
    ck_assert_int_eq(catalog_compare(&home, true, &c, &aside, &e), 1);
    ck_assert(c.images == 1 && c.names == 1 && aside && file_exists(aside));
    free(aside);
    expect_counts(false, 0, 1, 1, 0);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("catalog");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, a_uuid_is_that_of_the_bytes);
    unit_add(&u, it_follows_names);
    unit_add(&u, it_follows_tags_and_branches);
    unit_add(&u, what_it_missed_is_seen_and_mended);
    unit_add(&u, a_damaged_one_is_made_anew);
    return unit_end(&u);
}
