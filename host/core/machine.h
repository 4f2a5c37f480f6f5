/* machine: a VM whose guest has answered: booted or restored, greeted, and made unique. */
#ifndef CAPSID_MACHINE_H
#define CAPSID_MACHINE_H

#include "core/call.h"
#include "core/event.h"
#include "core/host.h"
#include "guest/guest.h"
#include "image/image.h"

struct machine_spec {
    const char *kernel;        /* borrowed, as all strings here */
    const char *image;         /* path of the image file */
    const char *const *layers; /* paths of those above it, as in struct vm_spec; NULL: none */
    bool
        bare; /* its root is said when it is ready (vmm/driver.h): layers are all of that, and there are types of them */
    const enum image_layer_kind *layer_kinds; /* one for each of layers; borrowed */
    const char *placeholder; /* what is behind places for layers that have none; NULL: the image */
    const char *
        disk; /* of a bare VM: a scratch disk that is there, and stays the caller's; NULL: a new one, if any */
    struct vm_shape shape;
    struct accelerator accelerator;
    const char *language;               /* for events, as the next two; NULL: none */
    const char *snapshot;               /* its key */
    const struct vm_template *template; /* restores from it; NULL: from the files of the snapshot */
};

struct machine {
    struct vm vm;
    struct guest guest;
    struct vm_life life;
    struct home *home; /* borrowed; where the VMM is recorded */
};

#define MACHINE_NONE ((struct machine){.vm = VM_NONE, .guest = {.fd = -1, .vmm_pidfd = -1}})

/*
 * Both of the following tell the host when a guest does not become ready with KVM, and fail; host_accelerator_changed()
 * tells the caller that it can begin anew without. *host and *call outlive the machine.
 */

/* Boots; with snapshot_directory, so that a snapshot can be made. Returns when the guest is ready and has
 * confirmed RESUME. */
int machine_boot(struct machine *m, struct host *host, const struct call *call,
                 const struct machine_spec *spec, const char *snapshot_directory, struct error *e);

/* The same from a snapshot. */
int machine_restore(struct machine *m, struct host *host, const struct call *call,
                    const struct machine_spec *spec, const char *snapshot_directory, struct error *e);

/* Says so in *e when the VMM was ended for a system call (confine_explain), and adds to an error of a VM that is lost, or
 * does not answer, what its VMM and its guest's console said last, which often is why. Once for an error. */
void machine_explain(struct machine *m, struct error *e);

/* Ends the VM, and tells so with what life_because() said. Accepts MACHINE_NONE. */
void machine_destroy(struct machine *m);

#endif
