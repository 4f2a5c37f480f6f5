/*
 * firecracker_jail: the directory that one Firecracker process works in, and what is in it.
 *
 * Firecracker is told relative names only, the same for every VM: "image", "kernel", "memory", "state", "disk"
 * and the sockets "api" and "vsock". A snapshot records the names of its image, of its scratch disk and of its vsock
 * socket, so this is what lets a snapshot be restored many times at once, from anywhere, jailed or not. The host reaches the sockets
 * through /proc/self/fd, because a path to them may be longer than a socket's address can be (unix(7)).
 *
 * Without a jailer the directory is the process's working directory, and the files are symbolic links. With one it
 * is the root of its jail, and they are hard links or copies that its user can read. Firecracker's program is bound to a
 * name there, in the mount namespace of that process alone: so all VMs share its pages.
 */
#ifndef CAPSID_FIRECRACKER_JAIL_H
#define CAPSID_FIRECRACKER_JAIL_H

#include "vmm/driver.h"

#include <sched.h>

#define FIRECRACKER_API "api"
#define FIRECRACKER_VSOCK "vsock"
#define FIRECRACKER_IMAGE "image"
#define FIRECRACKER_LAYER "layer%u"
#define FIRECRACKER_KERNEL "kernel"
#define FIRECRACKER_PROGRAM "vmm"               /* with a jailer: Firecracker's own program */
#define FIRECRACKER_TETHER "firecracker-tether" /* in spec->data; what the jailer starts */

struct firecracker_jail {
    char *directory; /* owned; all of it is removed in the end */
    char *root;      /* owned; what the VMM sees as its working directory, in or at directory */
    int root_fd;
    char *program;  /* owned; path of Firecracker's program; NULL: no jailer */
    char *target;   /* owned; what program is bound to */
    const char *id; /* the VM's name, the last part of directory */
    int uid_fd;     /* the lock on uid; -1: no jailer */
    uint32_t uid;   /* also the group id */
};

#define FIRECRACKER_JAIL_NONE ((struct firecracker_jail){.root_fd = -1, .uid_fd = -1})

/* Makes the directory, with a jailer also takes a user id. On failure the caller still ends it. */
int firecracker_jail_open(struct firecracker_jail *j, const struct vm_spec *spec, struct error *e);

/* Removes the directory. Accepts FIRECRACKER_JAIL_NONE and what failed to open. */
void firecracker_jail_close(struct firecracker_jail *j);

/* Gives the VMM the file at path, to read, under that name. */
int firecracker_jail_add(struct firecracker_jail *j, const char *name, const char *path, struct error *e);

/*
 * To be called in the process that becomes the jailer, see struct child_isolation; namespaces are what it must be started
 * with besides those of confine_namespaces().
 */
#define FIRECRACKER_JAIL_NAMESPACES CLONE_NEWNS
int firecracker_jail_enter(const void *jail, const char **ret_step);

/* Moves the file at path, on the same filesystem, to the VMM under that name, to read and write: it is its owner then. */
int firecracker_jail_give(struct firecracker_jail *j, const char *name, const char *path, struct error *e);

/* Takes the name away from a file that the VMM has opened. */
int firecracker_jail_forget(struct firecracker_jail *j, const char *name, struct error *e);

/* Moves a file that the VMM made or was given out into a directory on the same filesystem, as this process's own. */
int firecracker_jail_take(struct firecracker_jail *j, const char *name, const char *directory,
                          struct error *e);

/* Path of a socket in the directory that fits a socket address, as long as the jail is open. The caller frees it. */
char *firecracker_jail_socket(const struct firecracker_jail *j, const char *name);

/* Whether a program cannot start in a jail because it wants libraries, which are not there (elf(5), PT_INTERP). */
bool firecracker_jail_lacks_libraries(const char *program);

#endif
