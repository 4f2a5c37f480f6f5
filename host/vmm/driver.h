/*
 * driver: what a VMM can do, behind one vtable, so that nothing above knows which VMM it is.
 *
 * Life of a VM:  start -> (guest talks) -> snapshot -> destroy
 *                restore -> (guest talks) -> destroy
 */
#ifndef CAPSID_DRIVER_H
#define CAPSID_DRIVER_H

#include "base/child.h"
#include "base/deadline.h"
#include "base/error.h"
#include "base/shape.h"
#include "base/text.h"
#include "config/config.h"
#include "confine/confine.h"
#include "store/home.h"

#include <stdbool.h>
#include <stdint.h>

/* Names of the files of a snapshot, in its directory. */
#define SNAPSHOT_MEMORY "memory"
#define SNAPSHOT_STATE "state"
#define SNAPSHOT_DISK "disk" /* of a VM that has a scratch disk */

/*
 * On every guest's command line.
 *
 * The kernel looks twice a second whether memory should be compacted ahead of demand
 * (proactive compaction, Linux 5.9, Documentation/admin-guide/sysctl/vm.rst); this made nearly all the processor time
 * of idle VMs.
 *
 * IPv6 is for ::1: initd turns it on for the loopback interface. A network interface, where there is one, has IPv4 only.
 */
#define GUEST_OPTIONS " sysctl.vm.compaction_proactiveness=0 ipv6.disable_ipv6=1"

/* What the files of a snapshot hold, verified, in memory files that nobody can write any more (memfd_create(2),
 * sealed). Borrowed fds; core/template.h makes them. */
struct vm_template {
    int memory_fd;
    int state_fd;
};

/* Read-only layers above an image. QEMU's microvm without ACPI has places for 8 devices (hw/i386/microvm.c), of which the root, the
 * scratch disk and the serial port have three. */
#define VM_LAYERS_MAX 5

struct vm_spec {
    const struct confinement
        *confine;            /* NULL: none; with a jailer never, which takes its user ids from there */
    const char *vmm;         /* the VMM's binary */
    const char *kernel;      /* vmlinux */
    const char *kernel_args; /* further words for its command line */
    const char *image;       /* read-only root filesystem */
    const char *const *
        layers; /* further ones, each above the one before, all above the image; ends with NULL; NULL: none */
    bool
        bare; /* initd waits to be told of the layers and the disk (initd.root=later): there are VM_LAYERS_MAX, and one, even
                  where they are not used, and in each restore other ones */
    struct vm_shape shape;
    uint64_t tsc_khz;        /* of the host, for an emulated guest; 0: unknown */
    enum accel_choice accel; /* ACCEL_KVM or ACCEL_TCG, decided */
    int disk_fd;             /* scratch disk (vmm/disk.h), borrowed; -1: changes go to the guest's memory */
    const char *disk;        /* the same by name, on scratch's filesystem, for a driver with disk_by_name */
    const char *scratch;     /* an existing directory for the VM's small files */
    const char *data;        /* the directory with the programs that belong to capsid */
    const char *jailer;      /* Firecracker's jailer; NULL: not used */
    struct home *home;       /* with a jailer: the state directory */
    const struct vm_template *template; /* restore from this; NULL: from the files of the snapshot */
};

struct vm {
    const struct vm_driver *driver;
    struct child vmm;
    struct confined confined;
    int channel_fd;    /* the host's end of the guest channel, until connect hands it out */
    int control_fd;    /* the VMM's control connection */
    bool control_open; /* its greeting was taken */
    int events_fd;     /* borrowed; of a VMM that may stop its guest: where it says so; else -1 */
    int state_fd;      /* where a snapshot's device state goes, or comes from */
    int log_fd;        /* what the VMM prints */
    struct firecracker_vm *firecracker; /* owned; what only that driver knows */
};

#define VM_NONE                                                                                              \
    ((struct vm){.vmm = CHILD_NONE,                                                                          \
                 .confined = CONFINED_NONE,                                                                  \
                 .channel_fd = -1,                                                                           \
                 .control_fd = -1,                                                                           \
                 .events_fd = -1,                                                                            \
                 .state_fd = -1,                                                                             \
                 .log_fd = -1})

struct vm_driver {
    const char *name;    /* as in the setting "vmm" */
    const char *title;   /* for people */
    const char *install; /* what to do where it is not installed, for people */
    /* Its program, as the settings say: a name for PATH, or a path. */
    const char *(*program)(const struct config *config);
    /* What is known against a version, the first line of its --version: one line for people in *ret_fault, or NULL. Fails when it
     * is not one that can be used. NULL: any will do. */
    int (*judge)(const char *version, const char **ret_fault, struct error *e);
    bool needs_kvm;
    bool has_jailer;     /* a program that confines it, which root may start it with (struct vm_spec) */
    bool takes_template; /* it restores from spec->template; others read the snapshot's files each time */
    bool disk_by_name;   /* it wants spec->disk, which it moves away, and not disk_fd */
    bool connects_again; /* connect() can be called more than once */

    /*
     * Adds what makes the machine that it boots for a snapshot, as its VMM is told it, and the guest's whole command
     * line: a snapshot fits only a machine that is described in the same bytes. What the files are called is no part
     * of it. Of the spec: accel, shape, tsc_khz, kernel_args, how many layers, and whether there is a disk.
     */
    void (*describe)(const struct vm_spec *spec, struct buffer *ret);

    /* Boots. With snapshot_directory (existing and empty), the VM is one that snapshot can be called on. */
    int (*start)(struct vm *vm, const struct vm_spec *spec, const char *snapshot_directory, int64_t deadline,
                 const struct cancel *cancel, struct error *e);

    /* Stops the VM and completes the files in its snapshot directory. The VM can only be destroyed
     * afterwards. */
    int (*snapshot)(struct vm *vm, int64_t deadline, const struct cancel *cancel, struct error *e);

    /* A new running VM from a snapshot; its memory is a private copy. */
    int (*restore)(struct vm *vm, const struct vm_spec *spec, const char *snapshot_directory,
                   int64_t deadline, const struct cancel *cancel, struct error *e);

    /* The connection to initd; the caller owns the fd. Where it connects again, that is good for another one when the
     * caller has closed the last. */
    int (*connect)(struct vm *vm, int64_t deadline, const struct cancel *cancel, struct error *e);

    /* Takes what events_fd has: whether the VMM stopped its guest and does not go on with it, or has ended. NULL: there is no
     * events_fd. */
    bool (*stopped)(int events_fd);

    /* Adds what the VMM and the guest's console last said, for an error message. */
    void (*diagnose)(struct vm *vm, struct buffer *ret);

    /* Ends the VMM whatever it does. Accepts VM_NONE and half-started VMs. */
    void (*destroy)(struct vm *vm);
};

extern const struct vm_driver qemu_driver, firecracker_driver;

/* All there are; ends with NULL. The settings' parser knows their names: config/config.c. */
extern const struct vm_driver *const vm_drivers[];

/* NULL: there is none of that name. */
const struct vm_driver *vm_driver_find(const char *name);

/* How many layers a spec has. */
unsigned vm_layer_count(const struct vm_spec *spec);

/* For the kernel's command line: where initd finds the scratch disk and the layers, which are the guest's block devices in this
 * order, after the root's vda; or that it will be told. */
void vm_name_disks(const struct vm_spec *spec, bool disk, struct buffer *ret);

#endif
