/* options: what setup is asked for. */
#ifndef CAPSID_SETUP_OPTIONS_H
#define CAPSID_SETUP_OPTIONS_H

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

/* Name of a source as it is called in options and settings. */
const char *setup_source_name(int source);

#endif
