/*
 * target: what VMs are launched from: a language with its image, or any image; and, unless they are booted, a snapshot. One serves any
 * number of VMs, of any threads.
 */
#ifndef CAPSID_TARGET_H
#define CAPSID_TARGET_H

#include "core/machine.h"
#include "core/resident.h"
#include "core/snapshot.h"
#include "language/language.h"

struct run_target {
    struct language language;
    struct image image;
    int hold;                 /* of the image, so that it is not removed; owned, where there is an image */
    struct snapshot snapshot; /* directory NULL: there is none, VMs are booted */
    const char
        *layers[IMAGE_LAYERS_MAX + 2]; /* paths, of the image's; of a bare VM its own file is the first */
    enum image_layer_kind layer_kinds[IMAGE_LAYERS_MAX + 1];
    struct resident resident; /* whose programs they are, where nobody says otherwise */
    char *bare_root;          /* owned; the image file of a bare VM, NULL: it is none */
    struct machine_spec spec; /* borrows from the image, the snapshot and the host's settings */
    bool made;                /* the snapshot was made now */
};

enum target_start {
    TARGET_BOOT,         /* no snapshot: VMs are booted */
    TARGET_RESTORE,      /* from the snapshot, which is made where it is missing */
    TARGET_RESTORE_ANEW, /* from one that is made now, whatever there is */
};

/* What VMs of a language are wanted. */
struct target_wish {
    const char *language;  /* a name or an alias; borrowed, as the next ones; NULL: image */
    const char *image;     /* any, in which commands are run: image_resolve(); NULL: language */
    const char *disk;      /* of an image: a scratch disk that stays the caller's; NULL: a new one, if any */
    struct vm_shape shape; /* what is 0 is as language and image say */
    enum target_start start;
    bool make_nothing; /* image and snapshot must be there: ERROR_NOT_MADE */
};

/* Makes image and snapshot where they are missing. */
int target_open(struct run_target *ret, struct host *host, const struct call *call,
                const struct target_wish *wish, struct error *e);

/* The first VM of a target that was opened so. Where KVM turns out not to run guests, the target is opened anew without it. The
 * caller destroys the machine before it closes the target; after a failure the target is closed. */
int target_load_first(struct run_target *t, struct machine *ret_machine, struct host *host,
                      const struct call *call, const struct target_wish *wish, struct error *e);

/* Both. */
int target_open_and_load(struct run_target *ret, struct machine *ret_machine, struct host *host,
                         const struct call *call, const struct target_wish *wish, struct error *e);

/* Accepts {0}. */
void target_done(struct run_target *t);

/* Boots or restores one more VM; template as in struct vm_spec. The caller destroys the machine. */
int target_load(struct machine *m, struct host *host, const struct call *call, const struct run_target *t,
                const struct vm_template *template, struct error *e);

#endif
