/*
 * root: the writable root filesystem: read-only layers, one above the other, and above them what takes changes; and at its end,
 * what was changed, and how it is kept.
 */
#ifndef INITD_ROOT_H
#define INITD_ROOT_H

#include "limits.h"

#include <stdbool.h>

#define ROOT_UP_INSIDE                                                                                       \
    "/run/initd-upper" /* where a disk that takes the changes stays reachable, for a clean end */

/* A block device in /dev. An EROFS is a layer as it is; an ext4 was the upper disk of another guest, whose changes are the layer. */
struct root_layer {
    char device[DEVICE_NAME_MAX];
    bool ext4;
};

struct root_plan {
    struct root_layer layers[LAYERS_MAX]; /* each above the one before, all above base */
    unsigned layer_count;
    char upper[DEVICE_NAME_MAX]; /* with ext4, takes the changes; "": memory does */
    bool bare;                   /* the root at boot is initd's own, and of it only ROOT_BASE is a layer */
};

/* In a root filesystem that is initd's own: the directories and files that a guest needs and its image may lack. */
#define ROOT_BASE "/base"

/* Mounts all of it below /mnt, and then puts it in the root's place. Both return 0 or -errno, with *ret_step (static) for what
 * failed. The plan is as it was in both. */
int root_make(const struct root_plan *plan, const char **ret_step);
int root_enter(const struct root_plan *plan, const char **ret_step);

/* Whether anything was changed in the root since it was made; directories that only a glance has brought into the writable layer do
 * not count. In doubt, yes. */
bool root_is_changed(void);

/* There is an upper disk, and there are as many layers. */
bool root_can_seal(unsigned fold);

/*
 * Makes the upper disk one that can be a layer: takes in what the fold topmost layers say, as if they were not there any more,
 * and ends all writing to it: whatever writes after that waits for ever. Kills every other process first. Returns 0, or -errno
 * when it is of no use.
 */
int root_seal(unsigned fold);

#endif
