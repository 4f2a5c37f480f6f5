/*
 * config: settings, from the weakest to the strongest source:
 *
 *   built-in defaults; /etc/capsid/capsid.conf; $XDG_CONFIG_HOME/capsid/capsid.conf (or
 * ~/.config/capsid/capsid.conf); the environment (CAPSID_HOME, CAPSID_DATA, CAPSID_ACCEL, ...); command-line
 * flags.
 *
 * The files are INI with one section, [capsid]; keys are the names in CONFIG_SETTINGS. The environment
 * variable of a key is CAPSID_ and the key in capitals.
 */
#ifndef CAPSID_CONFIG_H
#define CAPSID_CONFIG_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum accel_choice { ACCEL_AUTO, ACCEL_KVM, ACCEL_TCG };
enum confine_choice { CONFINE_AUTO, CONFINE_STRICT, CONFINE_OFF };
enum calls_choice { CALLS_LISTED, CALLS_LENIENT };

/*
 * Ids that nobody hands out: useradd(8) gives subordinate ids below SUB_UID_MAX, 600100000 (login.defs(5)), systemd's
 * containers and foreign users have those up to 1879048191 and from 2147352576 on (systemd's "Users, Groups, UIDs and
 * GIDs"). Below 2147483648, for not all of the world takes them for unsigned.
 */
#define CONFIG_VM_UIDS "2000000000-2000065535"

/* Bytes of kernel_args. x86 kernels take a command line of 2,047 (COMMAND_LINE_SIZE), cut without a word, and Firecracker
 * refuses more; 400 are for capsid's own words and for what Firecracker adds. */
#define CONFIG_KERNEL_ARGS_MAX 1600

/* S(key, kind, default, "help"). Kinds: path, words, accel, vmm, confine, calls, flag, u64 with its bounds in config.c. */
#define CONFIG_SETTINGS(S)                                                                                   \
    S(home, path, NULL, "state directory: images, snapshots, scratch")                                       \
    S(data, path, NULL, "directory with the kernel, initd, language definitions and the image builder")      \
    S(kernel, path, NULL, "guest kernel, an uncompressed vmlinux with a PVH note")                           \
    S(kernel_args, words, "", "further words for the guest's kernel command line")                           \
    S(qemu, path, "qemu-system-x86_64", "QEMU binary")                                                       \
    S(mirror, path, "", "Debian mirror for images; empty: as the image builder chooses")                     \
    S(npm_registry, path, "", "npm registry for images; empty: the one that npm uses here, or npm's own")    \
    S(pip_index, path, "", "Python package index for images; empty: the one that pip uses here")             \
    S(accel, accel, "auto", "auto, kvm or tcg")                                                              \
    S(timeout, u64, "30", "seconds that a program may run")                                                  \
    S(max_output, u64, "1048576", "bytes of stdout, and of stderr, kept for the JSON result")                \
    S(boot_timeout, u64, "60", "seconds that a guest may take to become ready")                              \
    S(vmm, vmm, "qemu", "qemu or firecracker")                                                               \
    S(firecracker, path, "firecracker", "Firecracker binary")                                                \
    S(jailer, path, "",                                                                                      \
      "Firecracker's jailer, for root; empty: the one beside Firecracker; none: no jailer")                  \
    S(confine, confine, "auto", "confinement of the VMM: auto (what this machine allows), strict or off")    \
    S(vmm_calls, calls, "listed",                                                                            \
      "system calls of a confined VMM: listed (what it needs) or lenient (all but dangerous ones)")          \
    S(vm_uids, path, CONFIG_VM_UIDS, "user ids for VMs, where capsid runs as root: FIRST-LAST")              \
    S(files_max, u64, "10240",                                                                               \
      "MiB that uploaded files and directory states may take in all, of this user or of a server")           \
    S(files_owner_max, u64, "0", "MiB of these that one client of a server may have; 0: all")                \
    S(pool, path, "",                                                                                        \
      "capsid api: languages of which VMs are kept ready from the start, LANG[=N],...; off: no pool")        \
    S(pool_max, u64, "0", "capsid api: VMs of the pool, in whatever state; 0: 8 a processor, at most 64")    \
    S(pool_memory, u64, "0",                                                                                 \
      "capsid api: MiB that the pool's VMs may take together; 0: what the machine has")                      \
    S(make_packages, flag, "no",                                                                             \
      "capsid api: yes: an image with packages that a client names is made, where it is not there")          \
    S(api, path, "",                                                                                         \
      "server that capsid run uses: http://HOST:PORT, https://HOST:PORT or unix:/PATH; empty: none")         \
    S(api_token_file, path, "", "file with the bearer token for it")                                         \
    S(api_patience, u64, "900",                                                                              \
      "seconds that it may take beside the program's own time: for others, images, snapshots")

struct config {
    char *home;         /* owned */
    char *data;         /* owned */
    char *kernel;       /* owned */
    char *kernel_args;  /* owned */
    char *qemu;         /* owned */
    char *mirror;       /* owned */
    char *npm_registry; /* owned */
    char *pip_index;    /* owned */
    enum accel_choice accel;
    uint64_t timeout;
    uint64_t max_output;
    uint64_t boot_timeout;
    char *vmm;         /* owned */
    char *firecracker; /* owned */
    char *jailer;      /* owned */
    enum confine_choice confine;
    enum calls_choice vmm_calls;
    char *vm_uids; /* owned */
    uint64_t files_max;
    uint64_t files_owner_max;
    char *pool; /* owned */
    uint64_t pool_max;
    uint64_t pool_memory;
    bool make_packages;
    char *api;            /* owned */
    char *api_token_file; /* owned */
    uint64_t api_patience;
};

/* Reads all sources but the flags. On failure *c is empty. The caller ends it with config_done(). */
int config_load(struct config *c, struct error *e);
void config_done(struct config *c);

/* A copy with strings of its own; the caller ends it with config_done(). */
void config_copy(struct config *ret, const struct config *c);

/* Calls visit with the name of each setting that differs. */
void config_compare(const struct config *a, const struct config *b,
                    void (*visit)(const char *key, void *context), void *context);

/* Sets one key; source names where the value comes from, for messages. */
int config_set(struct config *c, const char *key, const char *value, const char *source, struct error *e);

/* In ms: boot_timeout, or least_ms when that is longer. For steps of a guest that has booted within boot_timeout, which says
 * how slow this machine may be. */
int64_t config_patience_ms(const struct config *c, int64_t least_ms);

const char *config_accel_name(enum accel_choice accel);

#endif
