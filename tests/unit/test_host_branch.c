/* image/branch, image/tags: images by UUID and tag, and what stands on what. */
#include "base/cleanup.h"
#include "base/file.h"
#include "image/branch.h"
#include "image/catalog.h"
#include "image/files.h"
#include "image/ids.h"
#include "image/manifest.h"
#include "image/remove.h"
#include "image/tags.h"

#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SPARSE_BYTES (64 << 20)
#define OPERATION "0b8f4e7a-1111-4222-8333-444455556666"

static char root[] = "/tmp/capsid-branch-XXXXXX";
static struct home home;
static struct error e;

/* What a guest left: a few bytes in a file that is long. */
static char *make_layer(const struct home *h, const char *bytes)
{
    char *path = text_format("%s/layer", h->scratch);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert(fd >= 0 && pwrite(fd, bytes, strlen(bytes), 1 << 20) > 0 && ftruncate(fd, SPARSE_BYTES) == 0);
    close(fd);
    return path;
}

/* An image with a name, as it is on disk; extra: more of its manifest. */
static void make_named(const char *name, const char *bytes, const char *extra)
{
    char digest[DIGEST_HEX_SIZE];

    digest_bytes(bytes, strlen(bytes), digest);
    cleanup_free char *file = home_path(&home, "images/%s.erofs", digest);
    cleanup_free char *reference = home_path(&home, "images/names/%s.json", name);
    cleanup_free char *manifest = text_format(
        "{\"name\": \"%s\", \"digest\": \"%s\", \"inputs\": \"%s\", \"size\": %zu, \"created\": 7%s}", name,
        digest, digest, strlen(bytes), extra);
    ck_assert_int_eq(file_replace(file, home.scratch, bytes, strlen(bytes), 0600, &e), 0);
    ck_assert_int_eq(file_replace(reference, home.scratch, manifest, strlen(manifest), 0600, &e), 0);
}

static void setup(void)
{
    strcpy(root, "/tmp/capsid-branch-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    e = (struct error){0};
    ck_assert_msg(home_open(&home, root, &e) == 0, "%s", e.text);
    make_named("python", "one",
               ", \"oci\": {\"image\": \"docker://python:3\", \"env\": [\"A=1\", \"B=2\"], "
               "\"workdir\": \"/app\", \"user\": \"1000\"}");
}

static void teardown(void)
{
    home_close(&home);
    file_remove_tree(root, &e);
}

static struct image resolve(const char *reference)
{
    struct image i = {0};

    ck_assert_msg(image_resolve(&i, &home, reference, &e) == 0, "%s", e.text);
    return i;
}

static void expect_none(const char *reference, enum error_kind kind, const char *words)
{
    struct image i;

    e = (struct error){0};
    ck_assert_int_lt(image_resolve(&i, &home, reference, &e), 0);
    ck_assert_msg(e.kind == kind && strstr(e.text, words), "%d %s", e.kind, e.text);
}

static struct image branch_off(const struct image *parent, const char *bytes, unsigned replaces)
{
    cleanup_free char *file = make_layer(&home, bytes);
    struct image i = {0};

    ck_assert_msg(image_adopt_branch(&i, &home, &(struct image_branch){parent, file, replaces, OPERATION},
                                     NULL, &e) == 0,
                  "%s", e.text);
    ck_assert(!file_exists(file));
    return i;
}

START_TEST(a_name_of_a_language_is_a_tag)
{
    struct image i = resolve("tag:lang/python");

    ck_assert(i.origin == IMAGE_IMPORTED && strcmp(i.origin_of, "docker://python:3") == 0);
    ck_assert_str_eq(i.defaults.env[1], "B=2");
    ck_assert_ptr_null(i.defaults.env[2]);
    ck_assert(strcmp(i.defaults.workdir, "/app") == 0 && strcmp(i.defaults.user, "1000") == 0);
    struct image again = resolve(i.uuid);
    ck_assert_str_eq(again.name, "python");
    image_done(&again);
    make_named("same", "one", "");
    struct image other = resolve("tag:lang/same"); /* the same bytes, but not the same defaults */
    ck_assert_str_ne(other.uuid, i.uuid);
    ck_assert(image_is_uuid(other.uuid) && image_is_uuid(i.uuid));
    image_done(&other);
    image_done(&i);
    expect_none("tag:lang/ruby", ERROR_NOT_FOUND, "rootfs create --name ruby");
    expect_none("0d45e840-508e-884b-89ce-c5ba4be0ad5c", ERROR_NOT_FOUND, "capsid images list");
    expect_none("tag:none", ERROR_NOT_FOUND, "capsid images list");
    expect_none("python", ERROR_USAGE, "tag:lang/");
    expect_none("../../../../../etc/passwd-000000000000", ERROR_USAGE, "UUID");
    expect_none("tag:../x", ERROR_USAGE, "no tag");
}
END_TEST

START_TEST(a_branch_is_an_image)
{
    struct image parent = resolve("tag:lang/python");
    struct image one = branch_off(&parent, "changed", 0);

    ck_assert(!one.name && strcmp(one.parent, parent.uuid) == 0 && one.layer_count == 1);
    struct image found = resolve(one.uuid);
    ck_assert(found.origin == IMAGE_BRANCH && strcmp(found.origin_of, OPERATION) == 0);
    ck_assert(strcmp(found.parent, parent.uuid) == 0 && found.layers[0].kind == IMAGE_LAYER_EXT4);
    ck_assert_str_eq(found.defaults.env[0], "A=1");
    ck_assert_str_eq(found.defaults.workdir, "/app");
    ck_assert_str_eq(found.layers[0].path, one.layers[0].path);
    ck_assert(found.layers[0].size > 0 && found.layers[0].size < 1 << 20);
    ck_assert_uint_eq(file_allocated(found.layers[0].path), found.layers[0].size);
    ck_assert_int_eq(image_check(&found, NULL, &e), 0);
    ck_assert_int_eq(image_verify(&found, &home, &e), 0);
    image_done(&found);

    struct image two = branch_off(&one, "and again", 0), merged = branch_off(&two, "both", 2);
    ck_assert(two.layer_count == 2 && merged.layer_count == 1 && strcmp(merged.parent, two.uuid) == 0);
    struct image same = branch_off(&parent, "changed", 0);
    ck_assert_str_eq(same.uuid, one.uuid); /* the same content is the same image */
    image_done(&same);
    image_done(&merged);
    image_done(&two);
    image_done(&one);
    image_done(&parent);
}
END_TEST

START_TEST(no_more_layers_than_can_be_stacked)
{
    struct image at = resolve("tag:lang/python");
    cleanup_free char *file = NULL;
    struct image none;

    for (unsigned n = 0; n < IMAGE_LAYERS_MAX; n++) {
        char bytes[] = "change 0";
        bytes[7] = (char)('0' + n);
        struct image next = branch_off(&at, bytes, 0);
        image_done(&at);
        at = next;
    }
    file = make_layer(&home, "one more");
    ck_assert_int_lt(image_adopt_branch(&none, &home, &(struct image_branch){&at, file, 0, NULL}, NULL, &e),
                     0);
    ck_assert(e.kind == ERROR_USAGE && strstr(e.text, "layers"));
    struct image merged = branch_off(&at, "one more", 3);
    ck_assert_uint_eq(merged.layer_count, IMAGE_LAYERS_MAX - 2);
    image_done(&merged);
    image_done(&at);
}
END_TEST

START_TEST(a_branch_outlives_the_name_of_its_parent)
{
    struct image parent = resolve("tag:lang/python");
    struct image one = branch_off(&parent, "changed", 0);

    make_named("python", "built anew", "");
    struct image now = resolve("tag:lang/python"), old = resolve(parent.uuid);
    ck_assert_str_ne(now.uuid, parent.uuid);
    ck_assert(!old.name && old.origin == IMAGE_IMPORTED);
    ck_assert_int_eq(image_remove(&home, "python", NULL, &e), 0);
    ck_assert(image_has_all_files(&old) && image_has_all_files(&one) && !image_has_all_files(&now));
    image_done(&now);
    image_done(&old);
    unlink(parent.path);
    cleanup_free char *file = make_layer(&home, "late");
    struct image none;
    ck_assert_int_lt(
        image_adopt_branch(&none, &home, &(struct image_branch){&parent, file, 0, NULL}, NULL, &e), 0);
    ck_assert(e.kind == ERROR_NOT_FOUND && strstr(e.text, "removed"));
    image_done(&one);
    image_done(&parent);
}
END_TEST

static const struct {
    const char *tag;
    bool good;
} tag_names[] = {{"a", true},
                 {"A-b_c", true},
                 {"python:3.12-alpine", true},
                 {"ghcr.io/x/y:1_2", true},
                 {"", false},
                 {"-a", false},
                 {"a/", false},
                 {"a//b", false},
                 {"a.:b", false},
                 {"a b", false},
                 {".a", false},
                 {"a/../b", false},
                 {"a\nb", false},
                 {"\xc3\xa4", false},
                 {"a/-b", true},
                 {"_a", false}};

START_TEST(what_a_tag_may_be)
{
    char longest[IMAGE_TAG_MAX + 2];

    ck_assert_msg(image_is_tag(tag_names[_i].tag) == tag_names[_i].good, "%s", tag_names[_i].tag);
    memset(longest, 'x', sizeof(longest));
    longest[IMAGE_TAG_MAX + 1] = '\0';
    ck_assert(!image_is_tag(longest));
    longest[IMAGE_TAG_MAX] = '\0';
    ck_assert(image_is_tag(longest));
}
END_TEST

static int count_tag(const char *tag, const char *uuid, void *context)
{
    ck_assert(image_is_tag(tag) && image_is_uuid(uuid));
    ++*(unsigned *)context;
    return 0;
}

START_TEST(tags_move)
{
    struct image parent = resolve("tag:lang/python");
    struct image one = branch_off(&parent, "changed", 0);
    char longest[IMAGE_TAG_MAX + 1], uuid[IMAGE_UUID_SIZE];
    unsigned count = 0;

    memset(longest, 'x', sizeof(longest));
    longest[100] = ':';
    longest[IMAGE_TAG_MAX] = '\0';
    ck_assert_int_eq(image_tag(&parent, &home, "base/python:3", NULL, NULL, &e), 0);
    ck_assert_int_eq(image_tag(&parent, &home, longest, "", NULL, &e), 0);
    ck_assert_int_lt(image_tag(&one, &home, longest, "", NULL, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_BUSY);
    ck_assert_int_lt(image_tag(&one, &home, longest, one.uuid, NULL, &e), 0);
    ck_assert_int_eq(image_tag(&one, &home, longest, parent.uuid, NULL, &e), 0);
    ck_assert_int_eq(image_find_tag(uuid, &home, longest, &e), 0);
    ck_assert_str_eq(uuid, one.uuid);
    cleanup_free char *reference = text_format("tag:%s", longest);
    struct image found = resolve(reference);
    ck_assert_str_eq(found.uuid, one.uuid);
    image_done(&found);
    ck_assert_int_eq(image_each_tag(&home, count_tag, &count, &e), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(image_remove(&home, "python", NULL, &e), 0); /* the tag holds what the name did */
    found = resolve("tag:base/python:3");
    ck_assert(image_has_all_files(&found));
    image_done(&found);
    ck_assert_int_eq(image_untag(&home, longest, NULL, &e), 0);
    ck_assert_int_lt(image_untag(&home, longest, NULL, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_NOT_FOUND);
    ck_assert_int_lt(image_tag(&one, &home, "lang/python", NULL, NULL, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_USAGE);
    image_done(&one);
    image_done(&parent);
}
END_TEST

static void count_gone(const struct image *i, uint64_t own, void *context)
{
    ck_assert(i->origin == IMAGE_BRANCH && own > 0);
    ++*(unsigned *)context;
}

static struct image_collected collect(bool dry_run, unsigned wanted)
{
    unsigned gone = 0;
    json_t *needed = json_object();
    struct image_gc gc = {.dry_run = dry_run, .needed = needed, .report = count_gone, .context = &gone};
    struct image_collected c;

    ck_assert_msg(image_collect(&home, &gc, &c, NULL, &e) == 0, "%s", e.text);
    json_decref(needed);
    ck_assert_uint_eq(gone, wanted);
    ck_assert_uint_eq(c.images, wanted);
    return c;
}

static uint64_t delete_image(const struct image *i)
{
    uint64_t freed = 0;

    ck_assert_msg(image_delete(&home, i, &freed, NULL, &e) == 0, "%s", e.text);
    return freed;
}

static void expect_needed(const struct image *i, const char *words)
{
    uint64_t freed;

    e = (struct error){0};
    ck_assert_int_lt(image_delete(&home, i, &freed, NULL, &e), 0);
    ck_assert_msg(e.kind == ERROR_NEEDED && strstr(e.text, words), "%d %s", e.kind, e.text);
}

START_TEST(what_is_needed_stays)
{
    struct image parent = resolve("tag:lang/python");
    struct image one = branch_off(&parent, "one", 0), two = branch_off(&one, "two", 0),
                 other = branch_off(&parent, "other", 0);

    expect_needed(&parent, "rootfs rm");
    expect_needed(&one, two.uuid);
    int hold = image_hold(&two, &e);
    expect_needed(&two, "a VM uses it");
    ck_assert_uint_eq(collect(true, 1).freed, other.layers[0].size);
    close(hold);
    ck_assert_int_eq(image_tag(&one, &home, "kept", NULL, NULL, &e), 0);
    collect(true, 2);
    struct image_collected c = collect(false, 2);
    ck_assert(c.files == 2 && c.freed == two.layers[1].size + other.layers[0].size);
    ck_assert(!image_has_all_files(&two) && image_has_all_files(&one));
    ck_assert_int_lt(image_hold(&two, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_NOT_FOUND);
    ck_assert_uint_eq(delete_image(&one), one.layers[0].size);
    ck_assert_int_lt(image_find_tag(one.uuid, &home, "kept", &e), 0);
    collect(false, 0);
    ck_assert(image_has_all_files(&parent));
    image_done(&other);
    image_done(&two);
    image_done(&one);
    image_done(&parent);
}
END_TEST

/* What a crash left, and what had a name before, has no manifest; a snapshot may need it still. */
START_TEST(files_of_no_image_go)
{
    char lost[DIGEST_HEX_SIZE], wanted[DIGEST_HEX_SIZE];
    unsigned gone = 0;

    digest_bytes("lost", 4, lost);
    digest_bytes("wanted", 6, wanted);
    cleanup_free char *lost_path = blobs_path(&home, image_layer_files(IMAGE_LAYER_EXT4), lost);
    cleanup_free char *wanted_path = blobs_path(&home, &image_files, wanted);
    ck_assert_int_eq(file_replace(lost_path, home.scratch, "lost", 4, 0600, &e), 0);
    ck_assert_int_eq(file_replace(wanted_path, home.scratch, "wanted", 6, 0600, &e), 0);
    json_t *needed = json_pack("{s:b}", wanted, 1);
    struct image_gc gc = {.needed = needed, .report = count_gone, .context = &gone};
    struct image_collected c;
    ck_assert_int_eq(image_collect(&home, &gc, &c, NULL, &e), 0);
    ck_assert(c.files == 1 && c.images == 0 && !file_exists(lost_path) && file_exists(wanted_path));
    json_object_clear(needed);
    ck_assert_int_eq(image_collect(&home, &gc, &c, NULL, &e), 0);
    ck_assert(c.files == 1 && !file_exists(wanted_path));
    json_decref(needed);
}
END_TEST

/* In a process of its own: says the UUID when the image is there. */
static void adopt_and_tell(int out, const char *bytes)
{
    struct image parent = {0}, one = {0};
    struct home own;

    if (home_open(&own, root, &e) < 0 || image_find(&parent, &own, "python", &e) < 0)
        _exit(1);
    cleanup_free char *file = make_layer(&own, bytes);
    if (write(out, "!", 1) == 1 &&
        image_adopt_branch(&one, &own, &(struct image_branch){&parent, file, 0, NULL}, NULL, &e) == 0)
        (void)!write(out, one.uuid, sizeof(one.uuid));
    _exit(0);
}

static int check_whole(const struct image *i, void *context)
{
    struct error why = {0};

    ck_assert_msg(image_check(i, NULL, &why) == 0, "%s", why.text);
    ++*(unsigned *)context;
    return 0;
}

/* kill -9 at many moments: what was told is there, and nothing is there by half. */
START_TEST(killed_at_any_moment)
{
    unsigned told = 0, whole = 0;

    for (int n = 0; n < 60; n++) {
        char bytes[32], begun, uuid[IMAGE_UUID_SIZE] = "";
        int pipes[2];
        snprintf(bytes, sizeof(bytes), "change %d", n);
        ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0)
            adopt_and_tell(pipes[1], bytes);
        close(pipes[1]);
        ck_assert_int_eq(read(pipes[0], &begun, 1), 1);
        usleep((useconds_t)n * 100);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        if (read(pipes[0], uuid, sizeof(uuid)) == sizeof(uuid)) {
            struct image i = resolve(uuid);
            image_done(&i);
            told++;
        }
        close(pipes[0]);
    }
    ck_assert_msg(image_each_known(&home, check_whole, &whole, &e) == 0, "%s", e.text);
    ck_assert_msg(whole >= told + 1, "%u of %u", whole, told); /* and the named one */
}
END_TEST

/* The allocated bytes of all that is in the state directory, but for the database, which keeps its size. */
static uint64_t bytes_in_home(void)
{
    static const char *const places[] = {"images", "images/ids", "images/tags", "cache", "run"};
    uint64_t bytes = 0;

    for (size_t n = 0; n < sizeof(places) / sizeof(places[0]); n++) {
        cleanup_free char *place = home_path(&home, "%s", places[n]);
        cleanup_dir DIR *dir = opendir(place);
        for (struct dirent *d; (d = readdir(dir));) {
            cleanup_free char *path = text_format("%s/%s", place, d->d_name);
            if (d->d_type == DT_REG && strncmp(d->d_name, "records.db", 10) != 0)
                bytes += file_allocated(path);
        }
    }
    return bytes;
}

#define WRITERS 8
#define BRANCHES_EACH 25

static void adopt_many(int writer)
{
    struct image parent = {0}, one;
    struct home own;

    if (home_open(&own, root, &e) < 0 || image_find(&parent, &own, "python", &e) < 0)
        _exit(1);
    for (int n = 0; n < BRANCHES_EACH; n++) {
        char bytes[32];
        snprintf(bytes, sizeof(bytes), "branch %d %d", writer, n);
        cleanup_free char *file = make_layer(&own, bytes);
        if (image_adopt_branch(&one, &own, &(struct image_branch){&parent, file, 0, NULL}, NULL, &e) < 0)
            _exit(1);
        image_done(&one);
    }
    image_done(&parent);
    home_close(&own);
    _exit(0);
}

/* None is lost, and nothing of them is left in the end. */
START_TEST(a_crowd_of_branches)
{
    struct catalog_count counts;
    struct image parent = resolve("tag:lang/python");
    uint64_t before = bytes_in_home();
    pid_t pids[WRITERS];
    char *aside;
    int status;

    for (int n = 0; n < WRITERS; n++)
        if ((pids[n] = fork()) == 0)
            adopt_many(n);
    for (int n = 0; n < WRITERS; n++)
        ck_assert(waitpid(pids[n], &status, 0) == pids[n] && status == 0);
    ck_assert_int_eq(catalog_compare(&home, false, &counts, &aside, &e), 0);
    ck_assert_uint_eq(counts.nameless, WRITERS * BRANCHES_EACH);
    collect(false, WRITERS * BRANCHES_EACH);
    image_unpin(parent.uuid, &home, NULL, &e);
    ck_assert_uint_eq(bytes_in_home(), before);
    ck_assert_int_eq(catalog_compare(&home, false, &counts, &aside, &e), 0);
    ck_assert_uint_eq(counts.images, 1);
    image_done(&parent);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("branch");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, a_name_of_a_language_is_a_tag);
    unit_add(&u, a_branch_is_an_image);
    unit_add(&u, no_more_layers_than_can_be_stacked);
    unit_add(&u, a_branch_outlives_the_name_of_its_parent);
    unit_add_loop(&u, what_a_tag_may_be, sizeof(tag_names) / sizeof(tag_names[0]));
    unit_add(&u, tags_move);
    unit_add(&u, what_is_needed_stays);
    unit_add(&u, files_of_no_image_go);
    unit_add(&u, a_crowd_of_branches);
    unit_add(&u, killed_at_any_moment);
    return unit_end(&u);
}
