/* vmm/: the files that go into and come out of the directory of one Firecracker, which may belong to it. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "vmm/firecracker_jail.h"

#include "unit.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define JAIL_UID 65533 /* any that is not this process's */

static char root[64];
static struct error e;
static struct firecracker_jail jail;
static char *out; /* where what the VMM made goes */

static void setup(void)
{
    e = (struct error){0};
    strcpy(root, "/tmp/capsid-jail-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    out = text_format("%s/out", root);
    jail = FIRECRACKER_JAIL_NONE;
    jail.directory = text_format("%s/jail", root);
    jail.root = text_copy(jail.directory);
    ck_assert_int_eq(mkdir(out, 0700), 0);
    ck_assert_int_eq(mkdir(jail.root, 0700), 0);
    jail.root_fd = open(jail.root, O_DIRECTORY | O_PATH | O_CLOEXEC);
    if (geteuid() != 0) /* only root can have a jailer */
        return;
    jail.uid = JAIL_UID;
    jail.uid_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void teardown(void)
{
    firecracker_jail_close(&jail);
    file_remove_tree(root, &e);
    free(out);
}

static char *make_file(const char *directory, const char *name, uid_t owner, mode_t mode)
{
    char *path = text_format("%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "x", 1), 1);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    if (geteuid() == 0)
        ck_assert_int_eq(fchown(fd, owner, owner), 0);
    close(fd);
    return path;
}

static struct stat look(const char *directory, const char *name)
{
    char *path = text_format("%s/%s", directory, name);
    struct stat st;

    ck_assert_msg(lstat(path, &st) == 0, "%s", path);
    free(path);
    return st;
}

START_TEST(what_the_vmm_made_becomes_ours)
{
    free(make_file(jail.root, "memory", JAIL_UID, 0600));
    ck_assert_msg(firecracker_jail_take(&jail, "memory", out, &e) == 0, "%s", e.text);
    struct stat st = look(out, "memory");
    ck_assert_uint_eq(st.st_uid, geteuid());
    if (jail.uid_fd >= 0)
        ck_assert_uint_eq(st.st_mode & 07777, 0444);
}
END_TEST

START_TEST(what_the_vmm_only_names_is_not_taken)
{
    static const char *const names[] = {"link", "pipe", "file", "directory"};
    char *victim = make_file(root, "victim", 0, 0600);

    if (jail.uid_fd < 0)
        return free(victim); /* it runs as this process's user, who owns it all */
    ck_assert_int_eq(symlinkat(victim, jail.root_fd, "link"), 0);
    ck_assert_int_eq(mkfifoat(jail.root_fd, "pipe", 0600), 0);
    ck_assert_int_eq(mkdirat(jail.root_fd, "directory", 0700), 0);
    ck_assert_int_eq(linkat(AT_FDCWD, victim, jail.root_fd, "file", 0), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        e = (struct error){0};
        ck_assert_msg(firecracker_jail_take(&jail, names[i], out, &e) < 0, "%s", names[i]);
        ck_assert_msg(strstr(e.text, names[i]), "%s", e.text);
    }
    struct stat st = look(root, "victim");
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    free(victim);
}
END_TEST

START_TEST(what_is_given_belongs_to_the_vmm_and_comes_back)
{
    char *path = make_file(root, "disk-abc", geteuid(), 0644);
    struct stat before = look(root, "disk-abc");

    ck_assert_msg(firecracker_jail_give(&jail, "disk", path, &e) == 0, "%s", e.text);
    ck_assert(!file_exists(path));
    struct stat st = look(jail.root, "disk");
    ck_assert_uint_eq(st.st_ino, before.st_ino);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert_uint_eq(st.st_uid, jail.uid_fd >= 0 ? JAIL_UID : geteuid());
    ck_assert_msg(firecracker_jail_take(&jail, "disk", out, &e) == 0, "%s", e.text);
    st = look(out, "disk");
    ck_assert_uint_eq(st.st_ino, before.st_ino);
    ck_assert_uint_eq(st.st_uid, geteuid());
    free(path);
}
END_TEST

START_TEST(what_is_open_needs_no_name)
{
    char *path = make_file(root, "disk-abc", geteuid(), 0600);

    ck_assert_msg(firecracker_jail_give(&jail, "disk", path, &e) == 0, "%s", e.text);
    ck_assert_msg(firecracker_jail_forget(&jail, "disk", &e) == 0, "%s", e.text);
    ck_assert_int_lt(faccessat(jail.root_fd, "disk", F_OK, AT_SYMLINK_NOFOLLOW), 0);
    ck_assert_int_lt(firecracker_jail_forget(&jail, "disk", &e), 0);
    ck_assert_int_lt(firecracker_jail_give(&jail, "disk", path, &e), 0);
    free(path);
}
END_TEST

START_TEST(knows_programs_that_want_libraries)
{
    cleanup_free char *script = make_file(root, "script", geteuid(), 0755),
                      *alone = make_file(root, "static", geteuid(), 0755);
    cleanup_fd int from = open("/bin/sh", O_RDONLY | O_CLOEXEC), to = open(alone, O_WRONLY | O_CLOEXEC);
    Elf64_Ehdr head;

    ck_assert_int_eq(read(from, &head, sizeof(head)), sizeof(head));
    head.e_phnum = 0;
    ck_assert_int_eq(write(to, &head, sizeof(head)), sizeof(head));
    ck_assert(firecracker_jail_lacks_libraries("/bin/sh"));
    ck_assert(!firecracker_jail_lacks_libraries(alone));
    ck_assert(!firecracker_jail_lacks_libraries(script));
    ck_assert(!firecracker_jail_lacks_libraries("/nonexistent"));
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("firecracker_jail");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, what_the_vmm_made_becomes_ours);
    unit_add(&u, what_the_vmm_only_names_is_not_taken);
    unit_add(&u, what_is_given_belongs_to_the_vmm_and_comes_back);
    unit_add(&u, what_is_open_needs_no_name);
    unit_add(&u, knows_programs_that_want_libraries);
    return unit_end(&u);
}
