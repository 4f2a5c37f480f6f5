/*
 * setup: prepares a machine for capsid, and undoes it.
 *
 * Setup is a list of steps. Each knows whether what it wants is there already, how to make it and how to undo that.
 * Before a step changes anything it writes into setup.json in the state directory what it is about to make; so
 * removal undoes what setup made, never what was there before, also after setup was killed in the middle.
 */
#ifndef CAPSID_SETUP_H
#define CAPSID_SETUP_H

#include "base/deadline.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum setup_kvm { SETUP_KVM_NONE, SETUP_KVM_GROUP, SETUP_KVM_UDEV };

/* What is to be installed: a file or a URL, and what it must be. */
struct setup_source {
    const char *from;   /* borrowed; a path, or a URL; NULL: nothing is wanted */
    const char *sha256; /* borrowed; of the file as it is at its source, lower-case hex */
};

enum { SETUP_KERNEL, SETUP_FIRECRACKER, SETUP_JAILER, SETUP_SOURCES };

struct setup_options {
    const char *root;  /* borrowed, as all strings here; the tree that is set up, "" for the running system */
    const char *home;  /* state directory, as seen from within root */
    const char *fetch; /* the program that fetches and unpacks (host/fetch.c) */
    uint64_t first, last; /* user ids of VMs; both 0: a free range is chosen */
    enum setup_kvm kvm;
    struct setup_source sources[SETUP_SOURCES];
    bool dry_run; /* say what would be done, and change nothing */
    json_t *told; /* borrowed array; what is said is added to it instead of printed; NULL: print */
};

/* Needs root unless it is a dry run. cancel is borrowed. */
int setup_install(const struct setup_options *o, const struct cancel *cancel, struct error *e);
int setup_remove(const struct setup_options *o, const struct cancel *cancel, struct error *e);

/* Name of a source as it is called in options and settings. */
const char *setup_source_name(int source);

#endif
