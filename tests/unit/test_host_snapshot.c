/* core/manifest, the locks of core/snapshot, and what base/file does for snapshots: keys, manifests that anyone may have
 * written, holes. */
#include "base/cleanup.h"
#include "base/file.h"
#include "core/manifest.h"
#include "core/snapshot.h"

#include "unit.h"

#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error e;

static void setup(void)
{
    e = (struct error){0};
}

static json_t *make_inputs(void)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:s}", "language", "python", "memory_mib", (json_int_t)256,
                     "vcpus", (json_int_t)1, "disk_mib", (json_int_t)64, "kernel_arguments",
                     "quiet \xc3\xa4");
}

/* A sound manifest as text; the caller frees it. */
static char *make_text(char key[static DIGEST_HEX_SIZE])
{
    struct manifest m = {
        .inputs = make_inputs(), .shape.disk_mib = 64, .created = 1234567890, .primed_job = 7};

    for (size_t i = 0; i < MANIFEST_FILES; i++) {
        m.files[i].size = 4096 * (i + 1);
        digest_bytes(&i, sizeof(i), m.files[i].sha256);
    }
    manifest_key(m.inputs, key);
    char *text = manifest_format(&m, key);
    manifest_done(&m);
    return text;
}

/* ---- the key ------------------------------------------------------------------------------------ */

START_TEST(the_key_is_the_digest_of_the_canonical_text)
{
    static const char canonical[] =
        "{\"disk_mib\":64,\"kernel_arguments\":\"quiet \\u00E4\",\"language\":\"python\","
        "\"memory_mib\":256,\"vcpus\":1}";
    char key[DIGEST_HEX_SIZE], wanted[DIGEST_HEX_SIZE];
    json_t *inputs = make_inputs();

    manifest_key(inputs, key);
    digest_bytes(canonical, strlen(canonical), wanted);
    ck_assert_str_eq(key, wanted);
    json_decref(inputs);
}
END_TEST

START_TEST(the_order_of_inputs_does_not_matter_and_every_value_does)
{
    static const char *const texts[] = {
        "{\"a\": \"1\", \"b\": 2}",
        "{\"b\": 2,\n \"a\": \"1\"}",
        "{\"a\": 1, \"b\": 2}",
        "{\"a\": \"1\", \"b\": 3}",
        "{\"a\": \"1\", \"b\": 2, \"c\": \"\"}",
        "{\"a\": \"1\"}",
        "{\"A\": \"1\", \"b\": 2}",
    };
    enum { COUNT = sizeof(texts) / sizeof(texts[0]) };
    char keys[COUNT][DIGEST_HEX_SIZE];

    for (size_t i = 0; i < COUNT; i++) {
        json_t *j = json_loads(texts[i], 0, NULL);
        manifest_key(j, keys[i]);
        json_decref(j);
    }
    ck_assert_str_eq(keys[0], keys[1]);
    for (size_t i = 1; i < COUNT; i++)
        for (size_t k = i + 1; k < COUNT; k++)
            ck_assert_str_ne(keys[i], keys[k]);
}
END_TEST

START_TEST(differences_are_named)
{
    json_t *old = json_loads("{\"kernel\": \"a\", \"n\": 1, \"gone\": \"x\"}", 0, NULL);
    json_t *now = json_loads("{\"kernel\": \"b\", \"n\": 1, \"new\": 5}", 0, NULL);
    char *text = manifest_compare(old, now), *none = manifest_compare(old, old);

    ck_assert_str_eq(none, "");
    ck_assert_ptr_nonnull(strstr(text, "kernel (was \"a\", is \"b\")"));
    ck_assert_ptr_nonnull(strstr(text, "gone (was \"x\", is nothing)"));
    ck_assert_ptr_nonnull(strstr(text, "new (was nothing, is 5)"));
    ck_assert_ptr_null(strstr(text, "n (was 1"));
    free(text);
    free(none);
    json_decref(old);
    json_decref(now);
}
END_TEST

/* ---- manifests ---------------------------------------------------------------------------------- */

START_TEST(a_manifest_comes_back_as_it_was)
{
    char key[DIGEST_HEX_SIZE];
    char *text = make_text(key);
    struct manifest m;

    ck_assert_int_eq(manifest_parse(&m, key, text, strlen(text), &e), 0);
    ck_assert_str_eq(m.language, "python");
    ck_assert_uint_eq(m.shape.memory_mib, 256);
    ck_assert_uint_eq(m.shape.vcpus, 1);
    ck_assert_int_eq(m.created, 1234567890);
    ck_assert_uint_eq(m.primed_job, 7);
    ck_assert_uint_eq(m.files[MANIFEST_STATE].size, 8192);
    char *again = manifest_format(&m, key);
    ck_assert_str_eq(text, again);
    free(again);
    manifest_done(&m);
    free(text);
}
END_TEST

static void refuse(const char *key, const char *text, size_t size, const char *what)
{
    struct manifest m;
    void *exact = unit_exact(text, size);

    e = (struct error){0};
    ck_assert_msg(manifest_parse(&m, key, exact, size, &e) < 0, "%s was taken", what);
    ck_assert_int_eq(e.kind, ERROR_CORRUPT);
    ck_assert_msg(!strchr(e.text, '\n'), "%s: more than a line", what);
    free(exact);
    ck_assert_ptr_null(m.inputs);
    ck_assert_ptr_null(m.language);
}

START_TEST(another_key_is_refused)
{
    char key[DIGEST_HEX_SIZE], other[DIGEST_HEX_SIZE];
    char *text = make_text(key);

    digest_bytes("", 0, other);
    refuse(other, text, strlen(text), "the manifest of another snapshot");
    free(text);
}
END_TEST

START_TEST(every_truncation_is_refused)
{
    char key[DIGEST_HEX_SIZE];
    char *text = make_text(key);

    for (size_t size = 0; size < strlen(text); size++)
        refuse(key, text, size, "a part");
    free(text);
}
END_TEST

/* A path of names, separated by slashes, and what is put there; NULL: the name is removed. */
static const struct change {
    const char *path, *value;
} changes[] = {
    {"key", NULL},
    {"key", "1"},
    {"inputs", NULL},
    {"inputs", "\"format 1\\n\""},
    {"inputs", "[]"},
    {"inputs/vcpus", NULL},
    {"inputs/vcpus", "2"}, /* not the inputs that the key is made of */
    {"inputs/extra", "\"x\""},
    {"created", NULL},
    {"created", "-1"},
    {"created", "1.5"},
    {"primed_job", NULL},
    {"primed_job", "-1"},
    {"primed_job", "4294967296"},
    {"primed_job", "true"},
    {"files", NULL},
    {"files", "{}"},
    {"files/memory", NULL},
    {"files/memory", "\"x\""},
    {"files/state/size", "-1"},
    {"files/state/size", "\"1\""},
    {"files/state/extra", "1"},
    {"files/state/sha256", "\"\""},
    {"files/state/sha256", "\"../../../../../../../../../../../../../../../../../../../../../etc/pw\""},
    {"files/state/sha256", "\"ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ\""},
};

static void apply(json_t *j, const struct change *c)
{
    char *path = text_copy(c->path), *name = path, *slash;
    json_t *at = j;

    for (; (slash = strchr(name, '/')); name = slash + 1) {
        *slash = '\0';
        at = json_object_get(at, name);
    }
    if (c->value)
        json_object_set_new(at, name, json_loads(c->value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(at, name);
    free(path);
}

START_TEST(a_changed_field_is_refused)
{
    char key[DIGEST_HEX_SIZE];
    char *text = make_text(key);
    json_t *j = json_loads(text, 0, NULL);

    apply(j, &changes[_i]);
    char *changed = json_dumps(j, JSON_INDENT(2));
    refuse(key, changed, strlen(changed), changed);
    free(changed);
    json_decref(j);
    free(text);
}
END_TEST

/* Inputs that fit their key are checked all the same: what is in them is printed, and sizes a machine. */
static const char *const bad_inputs[] = {
    "{}",
    "{\"language\": \"python\", \"memory_mib\": 0, \"vcpus\": 1}",
    "{\"language\": \"python\", \"memory_mib\": 9223372036854775807, \"vcpus\": 1}",
    "{\"language\": \"python\", \"memory_mib\": 256, \"vcpus\": -1}",
    "{\"language\": \"../x\", \"memory_mib\": 256, \"vcpus\": 1}",
    "{\"language\": \"python\", \"memory_mib\": 256, \"vcpus\": 1, \"vmm\": \"\\u001b[2J\"}",
    "{\"language\": \"python\", \"memory_mib\": 256, \"vcpus\": 1, \"vmm\": \"two\\nlines\"}",
    "{\"language\": \"python\", \"memory_mib\": 256, \"vcpus\": 1, \"\\u001b\": \"x\"}",
    "{\"language\": \"python\", \"memory_mib\": 256, \"vcpus\": 1, \"vmm\": {\"a\": 1}}",
    "{\"language\": \"python\", \"memory_mib\": 256, \"vcpus\": 1, \"vmm\": 1.5}",
};

START_TEST(inputs_that_make_no_sense_are_refused)
{
    char key[DIGEST_HEX_SIZE];
    char *text = make_text(key);
    json_t *j = json_loads(text, 0, NULL), *inputs = json_loads(bad_inputs[_i], 0, NULL);

    ck_assert_ptr_nonnull(inputs);
    manifest_key(inputs, key);
    json_object_set_new(j, "inputs", inputs);
    json_object_set_new(j, "key", json_string(key));
    char *changed = json_dumps(j, 0);
    refuse(key, changed, strlen(changed), bad_inputs[_i]);
    free(changed);
    json_decref(j);
    free(text);
}
END_TEST

START_TEST(what_is_not_one_json_object_is_refused)
{
    static const char *const texts[] = {
        "", "null", "[]", "1", "{} {}", "{\"key\": \"a\", \"key\": \"b\"}", "\xff\xfe"};
    char key[DIGEST_HEX_SIZE];
    char *text = make_text(key);

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        refuse(key, texts[i], strlen(texts[i]), texts[i]);
    refuse(key, text, strlen(text) + 1, "a NUL at the end");
    char *deep = memory_allocate(MANIFEST_MAX);
    memset(deep, '[', MANIFEST_MAX);
    refuse(key, deep, MANIFEST_MAX, "many brackets");
    free(deep);
    free(text);
}
END_TEST

/* ---- holes -------------------------------------------------------------------------------------- */

static int open_temporary(void)
{
    char path[] = "/tmp/capsid-holes-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    unlink(path);
    return fd;
}

static uint64_t allocated(int fd)
{
    struct stat st;

    fsync(fd); /* blocks are counted when they have a place */
    ck_assert_int_eq(fstat(fd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void digest_of(int fd, char ret[static DIGEST_HEX_SIZE])
{
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    ck_assert_int_eq(digest_fd(fd, NULL, ret, &e), 0);
}

/* Pages of zeros, of data, with one byte at either end, in no order; a hole; a last part of zeros. */
START_TEST(pages_of_zeros_become_holes_and_nothing_else_changes)
{
    enum { PAGES = 1500, PAGE = 4096, TAIL = 100 };
    char before[DIGEST_HEX_SIZE], after[DIGEST_HEX_SIZE];
    uint8_t page[PAGE];
    uint64_t state = 5;
    size_t zeros = 0;
    int fd = open_temporary();

    for (int i = 0; i < PAGES; i++) {
        memset(page, 0, sizeof(page));
        uint32_t kind = unit_random(&state) % 6;
        if (kind == 0)
            page[0] = 1;
        else if (kind == 1)
            page[PAGE - 1] = 1;
        else if (kind == 2)
            page[unit_random(&state) % PAGE] = 0x80;
        else
            zeros++;
        ck_assert_int_eq(pwrite(fd, page, PAGE, (off_t)i * PAGE), PAGE);
    }
    ck_assert_int_eq(ftruncate(fd, (off_t)(PAGES + 100) * PAGE), 0);
    ck_assert_int_eq(pwrite(fd, page, TAIL, (off_t)(PAGES + 100) * PAGE), TAIL);
    digest_of(fd, before);
    uint64_t full = allocated(fd);
    ck_assert_int_eq(file_punch_zeros(fd, "test", &e), 0);
    digest_of(fd, after);
    ck_assert_str_eq(before, after);
    /* Holes cost some blocks for the list of what is left. */
    ck_assert_uint_le(allocated(fd) + zeros * PAGE, full + 65536);
    ck_assert_int_eq(file_punch_zeros(fd, "test", &e), 0);
    digest_of(fd, after);
    ck_assert_str_eq(before, after);
    close(fd);
}
END_TEST

START_TEST(files_without_zeros_or_without_anything_are_left_alone)
{
    char before[DIGEST_HEX_SIZE], after[DIGEST_HEX_SIZE];
    int fd = open_temporary();
    char data[10000];

    ck_assert_int_eq(file_punch_zeros(fd, "test", &e), 0);
    memset(data, 'x', sizeof(data));
    ck_assert_int_eq(pwrite(fd, data, sizeof(data), 0), (int)sizeof(data));
    digest_of(fd, before);
    uint64_t full = allocated(fd);
    ck_assert_int_eq(file_punch_zeros(fd, "test", &e), 0);
    digest_of(fd, after);
    ck_assert_str_eq(before, after);
    ck_assert_uint_eq(allocated(fd), full);
    close(fd);
}
END_TEST

START_TEST(a_file_that_cannot_have_holes_is_an_error)
{
    int pipes[2];

    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    ck_assert_int_lt(file_punch_zeros(pipes[0], "the pipe", &e), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "the pipe"));
    close(pipes[0]);
    close(pipes[1]);
}
END_TEST

START_TEST(the_digest_of_a_sparse_file_is_that_of_its_data)
{
    char one[DIGEST_HEX_SIZE], other[DIGEST_HEX_SIZE];
    int fds[2] = {memfd_create("a", MFD_CLOEXEC), memfd_create("b", MFD_CLOEXEC)};
    static char zeros[1 << 20];

    /* A terabyte with two words in it: reading all of it would take half an hour. */
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ftruncate(fds[i], 1ll << 40), 0);
        ck_assert_int_eq(pwrite(fds[i], "here", 4, 5000), 4);
        ck_assert_int_eq(pwrite(fds[i], "there", 5, (1ll << 39) + 4095), 5);
    }
    ck_assert_int_eq(pwrite(fds[1], zeros, sizeof(zeros), 1 << 22), sizeof(zeros)); /* stored zeros */
    ck_assert_int_eq(digest_sparse_fd(fds[0], NULL, one, &e), 0);
    ck_assert_int_eq(digest_sparse_fd(fds[1], NULL, other, &e), 0);
    ck_assert_str_eq(one, other);
    /* The same data elsewhere, other data, another size. */
    ck_assert_int_eq(pwrite(fds[1], "x", 1, 1 << 22), 1);
    ck_assert_int_eq(digest_sparse_fd(fds[1], NULL, other, &e), 0);
    ck_assert_str_ne(one, other);
    ck_assert_int_eq(pwrite(fds[1], "", 1, 1 << 22), 1);
    ck_assert_int_eq(ftruncate(fds[1], (1ll << 40) + 1), 0);
    ck_assert_int_eq(digest_sparse_fd(fds[1], NULL, other, &e), 0);
    ck_assert_str_ne(one, other);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* Whoever reads much, or waits for what never comes, hears of the user's wish to stop. */
START_TEST(digests_and_reads_can_be_cancelled)
{
    int fd = memfd_create("a", MFD_CLOEXEC), wish[2], input[2];
    char digest[DIGEST_HEX_SIZE];
    struct buffer text = {0};

    ck_assert_int_eq(pwrite(fd, "here", 4, 5000), 4);
    ck_assert_int_eq(pipe2(wish, O_CLOEXEC) | pipe2(input, O_CLOEXEC), 0);
    const struct cancel cancel = {.fd = wish[0]};
    ck_assert_int_eq(digest_fd(fd, &cancel, digest, &e), 0);
    ck_assert_int_eq(digest_sparse_fd(fd, &cancel, digest, &e), 0);
    ck_assert_int_eq(write(input[1], "some", 4), 4);
    ck_assert_int_eq(write(wish[1], "", 1), 1);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    ck_assert_int_eq(digest_fd(fd, &cancel, digest, &e), -1);
    ck_assert_int_eq(e.kind, ERROR_CANCELLED);
    e = (struct error){0};
    ck_assert_int_eq(digest_sparse_fd(fd, &cancel, digest, &e), -1);
    ck_assert_int_eq(e.kind, ERROR_CANCELLED);
    e = (struct error){0};
    ck_assert_int_eq(file_read_input(input[0], "input", 100, &cancel, &text, &e), -1);
    ck_assert_int_eq(e.kind, ERROR_CANCELLED);
    /* Without a wish it reads to the end, however that is reached. */
    char byte;
    ck_assert_int_eq(read(wish[0], &byte, 1), 1);
    close(input[1]);
    ck_assert_int_eq(file_read_input(input[0], "input", 100, &cancel, &text, &e), 0);
    ck_assert_str_eq(text.data, "some");
    buffer_free(&text);
    close(input[0]);
    close(wish[0]);
    close(wish[1]);
    close(fd);
}
END_TEST

static bool no_holes;

/* In place of the C library's. */
off_t lseek(int fd, off_t offset, int whence)
{
    if (no_holes && whence == SEEK_HOLE) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_lseek, fd, offset, whence);
}

START_TEST(a_file_whose_holes_cannot_be_found_has_no_digest)
{
    char digest[DIGEST_HEX_SIZE];
    int fd = open_temporary();

    ck_assert_int_eq(pwrite(fd, "here", 4, 5000), 4);
    no_holes = true;
    ck_assert_int_lt(digest_sparse_fd(fd, NULL, digest, &e), 0);
    ck_assert_msg(strstr(e.text, strerror(EIO)), "%s", e.text);
    close(fd);
}
END_TEST

/* ---- locks -------------------------------------------------------------------------------------- */

#define KEY "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static char home[] = "/tmp/capsid-locks-XXXXXX";
static struct host host;

/* An open snapshots/KEY below a new home. */
static int open_directory(void)
{
    cleanup_free char *directory = NULL;

    ck_assert_ptr_nonnull(mkdtemp(home));
    host.home.path = home;
    directory = home_path(&host.home, "snapshots/" KEY);
    ck_assert_int_eq(file_make_directories(directory, &e), 0);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* A child that has what is open here for so long, as one does that has not come to exec. */
static pid_t start_child(unsigned ms)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        usleep(ms * 1000);
        _exit(0);
    }
    return pid;
}

static void end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(file_remove_tree(home, &e), 0);
}

START_TEST(a_lock_that_was_given_back_is_held_by_no_child)
{
    struct snapshot s = {.locked = true, .lock_fd = open_directory()};

    ck_assert_int_eq(flock(s.lock_fd, LOCK_SH), 0);
    pid_t child = start_child(20000);
    snapshot_unlock(&s);
    ck_assert_msg(snapshot_check_unused(&host, KEY, &e) == 0, "%s", e.text);
    end_child(child);
}
END_TEST

START_TEST(a_lock_that_outlasts_its_holder_is_waited_for)
{
    int fd = open_directory();

    ck_assert_int_eq(flock(fd, LOCK_SH), 0);
    pid_t child = start_child(50);
    close(fd); /* as when the process is killed */
    ck_assert_msg(snapshot_check_unused(&host, KEY, &e) == 0, "%s", e.text);
    end_child(child);
}
END_TEST

START_TEST(a_lock_that_is_held_is_told)
{
    int fd = open_directory();

    ck_assert_int_eq(flock(fd, LOCK_SH), 0);
    pid_t child = start_child(20000);
    ck_assert_int_lt(snapshot_check_unused(&host, KEY, &e), 0);
    ck_assert_ptr_nonnull(strstr(e.text, "is used by another process"));
    close(fd);
    end_child(child);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_snapshot");

    unit_fixture(&u, setup, NULL);
    unit_add(&u, the_key_is_the_digest_of_the_canonical_text);
    unit_add(&u, the_order_of_inputs_does_not_matter_and_every_value_does);
    unit_add(&u, differences_are_named);
    unit_add(&u, a_manifest_comes_back_as_it_was);
    unit_add(&u, another_key_is_refused);
    unit_add(&u, every_truncation_is_refused);
    unit_add_loop(&u, a_changed_field_is_refused, sizeof(changes) / sizeof(changes[0]));
    unit_add_loop(&u, inputs_that_make_no_sense_are_refused, sizeof(bad_inputs) / sizeof(bad_inputs[0]));
    unit_add(&u, what_is_not_one_json_object_is_refused);
    unit_add(&u, pages_of_zeros_become_holes_and_nothing_else_changes);
    unit_add(&u, files_without_zeros_or_without_anything_are_left_alone);
    unit_add(&u, a_file_that_cannot_have_holes_is_an_error);
    unit_add(&u, the_digest_of_a_sparse_file_is_that_of_its_data);
    unit_add(&u, digests_and_reads_can_be_cancelled);
    unit_add(&u, a_file_whose_holes_cannot_be_found_has_no_digest);
    unit_add(&u, a_lock_that_was_given_back_is_held_by_no_child);
    unit_add(&u, a_lock_that_outlasts_its_holder_is_waited_for);
    unit_add(&u, a_lock_that_is_held_is_told);
    return unit_end(&u);
}
