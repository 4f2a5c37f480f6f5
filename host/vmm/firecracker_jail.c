#include "vmm/firecracker_jail.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static int prepare_program(struct firecracker_jail *j, const char *vmm, struct error *e)
{
    struct stat st;

    j->program = realpath(vmm, NULL);
    if (!j->program || stat(j->program, &st) < 0)
        return error_errno(e, "cannot find %s", vmm);
    if ((st.st_mode & 0005) != 0005)
        return error_set(e, ERROR_GENERAL, "the jailed user cannot execute %s; it needs the mode 755",
                         j->program);
    j->target = text_format("%s/" FIRECRACKER_PROGRAM, j->root);
    cleanup_fd int fd =
        openat(j->root_fd, FIRECRACKER_PROGRAM, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? error_errno(e, "cannot create %s", j->target) : 0;
}

int firecracker_jail_enter(const void *jail, const char **ret_step)
{
    const struct firecracker_jail *j = jail;
    const unsigned long to_read = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV;

    *ret_step = "bind Firecracker's program";
    return mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0 ||
                   mount(j->program, j->target, NULL, MS_BIND, NULL) < 0 ||
                   mount(NULL, j->target, NULL, to_read, NULL) < 0
               ? -1
               : 0;
}

int firecracker_jail_open(struct firecracker_jail *j, const struct vm_spec *spec, struct error *e)
{
    *j = FIRECRACKER_JAIL_NONE;
    /* "The maximum length is 64 characters", letters, digits and hyphens (Firecracker's docs/jailer.md, --id). */
    cleanup_free char *template = text_format("%s/vm-XXXXXX", spec->scratch);
    if (!mkdtemp(template))
        return error_errno(e, "cannot create a directory in %s", spec->scratch);
    j->directory = realpath(template, NULL);
    if (!j->directory) {
        rmdir(template);
        return error_errno(e, "cannot find %s", template);
    }
    j->id = strrchr(j->directory, '/') + 1;
    if (spec->jailer) {
        j->root = text_format("%s/" FIRECRACKER_TETHER "/%s/root", j->directory, j->id);
        j->uid_fd = confine_take_id(spec->confine, &j->uid, e);
        if (j->uid_fd < 0)
            return -1;
    } else {
        j->root = text_copy(j->directory);
    }
    if (file_make_directories(j->root, e) < 0)
        return -1;
    j->root_fd = open(j->root, O_DIRECTORY | O_PATH | O_CLOEXEC);
    if (j->root_fd < 0)
        return error_errno(e, "cannot open %s", j->root);
    return spec->jailer ? prepare_program(j, spec->vmm, e) : 0;
}

void firecracker_jail_close(struct firecracker_jail *j)
{
    struct error e = {0};

    if (j->directory && file_remove_tree(j->directory, &e) < 0)
        log_warning("%s", e.text);
    close_fd(&j->root_fd);
    close_fd(&j->uid_fd);
    free(j->directory);
    free(j->root);
    free(j->program);
    free(j->target);
    *j = FIRECRACKER_JAIL_NONE;
}

static int copy_into(const struct firecracker_jail *j, const char *name, int from, struct error *e)
{
    cleanup_fd int to = openat(j->root_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    ssize_t n;

    if (to < 0 || fchmod(to, 0444) < 0)
        return error_errno(e, "cannot create %s/%s", j->root, name);
    do
        n = sendfile(to, from, NULL, 1 << 30);
    while (n > 0);
    return n < 0 ? error_errno(e, "cannot write %s/%s", j->root, name) : 0;
}

/*
 * The jail's user must be able to read the file. Whoever else could then read it is kept off by the directories
 * above it, which are this user's alone; in the jail there is no other way to it than the link.
 */
static int link_into(const struct firecracker_jail *j, const char *name, const char *path, struct error *e)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(e, "cannot open %s", path);
    if ((st.st_mode & S_IROTH) == 0 && fchmod(fd, (st.st_mode & 07777) | 0444) < 0)
        return error_errno(e, "cannot make %s readable for the jailed VMM", path);
    if (linkat(AT_FDCWD, path, j->root_fd, name, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    if (errno == EXDEV || errno == EMLINK)
        return copy_into(j, name, fd, e);
    return error_errno(e, "cannot link %s into %s", path, j->root);
}

int firecracker_jail_add(struct firecracker_jail *j, const char *name, const char *path, struct error *e)
{
    cleanup_free char *real = realpath(path, NULL);

    if (!real)
        return error_errno(e, "cannot open %s", path);
    if (j->uid_fd >= 0)
        return link_into(j, name, real, e);
    return symlinkat(real, j->root_fd, name) < 0 ? error_errno(e, "cannot link %s into %s", real, j->root)
                                                 : 0;
}

int firecracker_jail_give(struct firecracker_jail *j, const char *name, const char *path, struct error *e)
{
    if (renameat(AT_FDCWD, path, j->root_fd, name) < 0)
        return error_errno(e, "cannot move %s into %s", path, j->root);
    /* No VMM runs there yet, so the names are still what they seem. */
    if (fchmodat(j->root_fd, name, 0600, 0) < 0 ||
        (j->uid_fd >= 0 && fchownat(j->root_fd, name, j->uid, j->uid, AT_SYMLINK_NOFOLLOW) < 0))
        return error_errno(e, "cannot give %s/%s to the VMM", j->root, name);
    return 0;
}

int firecracker_jail_forget(struct firecracker_jail *j, const char *name, struct error *e)
{
    return unlinkat(j->root_fd, name, 0) < 0 ? error_errno(e, "cannot remove %s/%s", j->root, name) : 0;
}

int firecracker_jail_take(struct firecracker_jail *j, const char *name, const char *directory,
                          struct error *e)
{
    cleanup_free char *to = text_format("%s/%s", directory, name);
    struct stat st;

    if (renameat(j->root_fd, name, AT_FDCWD, to) < 0)
        return error_errno(e, "cannot create %s", to);
    if (j->uid_fd < 0)
        return 0;
    /* What the VMM made belongs to it; from now on it must not be able to change it. It owns the jail, so whatever it
     * likes can have that name: a link to a file of ours, too. Here it cannot change that any more. */
    cleanup_fd int fd = open(to, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(e, "cannot open %s, which was the VMM's", to);
    if (!S_ISREG(st.st_mode) || st.st_uid != j->uid)
        return error_set(e, ERROR_GENERAL, "%s, which was the VMM's, is no file of its own", to);
    if (fchown(fd, geteuid(), getegid()) < 0 || fchmod(fd, 0444) < 0)
        return error_errno(e, "cannot take over %s", to);
    return 0;
}

char *firecracker_jail_socket(const struct firecracker_jail *j, const char *name)
{
    return text_format("/proc/self/fd/%d/%s", j->root_fd, name);
}

bool firecracker_jail_lacks_libraries(const char *program)
{
    cleanup_fd int fd = open(program, O_RDONLY | O_CLOEXEC);
    Elf64_Ehdr head;
    Elf64_Phdr part;

    if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
        memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_phentsize != sizeof(part))
        return false;
    for (unsigned i = 0; i < head.e_phnum; i++) {
        off_t at = (off_t)(head.e_phoff + i * sizeof(part));
        if (pread(fd, &part, sizeof(part), at) != sizeof(part))
            return false;
        if (part.p_type == PT_INTERP)
            return true;
    }
    return false;
}
