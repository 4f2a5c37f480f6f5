/*
 * supervisor: what every operation needs: settings, the state directory, the way to cancel. The CLI, and
 * whatever else comes to serve users, makes one and passes it down.
 *
 * Threads: after supervisor_decide_accel() nothing here changes any more. A thread, or a request that can be
 * cancelled by itself, works on a plain copy of the struct in which it sets cancel; the copy is not closed, and
 * ends before the original. VMMs die with the thread that started them (PR_SET_PDEATHSIG), so only threads that
 * outlive their VMs boot or restore.
 */
#ifndef CAPSID_SUPERVISOR_H
#define CAPSID_SUPERVISOR_H

#include "base/deadline.h"
#include "base/error.h"
#include "config/config.h"
#include "confine/confine.h"
#include "store/home.h"
#include "vmm/accel.h"
#include "vmm/driver.h"

struct supervisor {
    struct config config;
    struct home home;
    struct cancel cancel;
    const struct vm_driver *driver;
    struct accel_verdict accel;
    uint64_t tsc_khz; /* with TCG: see vmm/tsc.h */
    bool accel_decided;
    unsigned kvm_given_up; /* how often; changes when work that depends on s->accel must begin anew */
    struct confinement confinement;
    bool confinement_decided;
};

/* Takes config over and opens the state directory. cancel_fd as in struct cancel. */
int supervisor_open(struct supervisor *s, struct config *config, int cancel_fd, struct error *e);
void supervisor_close(struct supervisor *s);

/* Decides KVM or emulation once; the verdict is in s->accel, and what emulation needs to know beside it. */
int supervisor_decide_accel(struct supervisor *s, struct error *e);

/* A guest has become ready: KVM that this machine's owner did not ask for is trusted from now on, or the emulation
 * that replaced it is remembered. */
void supervisor_accel_works(struct supervisor *s);

/*
 * A guest did not become ready, because of *why. Where KVM was chosen by itself and has never worked since the host
 * booted: warns, goes over to emulation and counts s->kvm_given_up. What was begun with KVM, the key of a snapshot
 * for one, is then to be begun anew, once.
 */
void supervisor_accel_failed(struct supervisor *s, const struct error *why);
/* Decides once how VMMs are confined: s->confinement. Says what is missing. */
int supervisor_decide_confinement(struct supervisor *s, struct error *e);

/* Full path of the VMM's binary; the caller frees it. NULL, and an error with the remedy, when it is not
 * installed. */
char *supervisor_find_vmm(const struct supervisor *s, struct error *e);
char *supervisor_find_vmm_of(const struct supervisor *s, const struct vm_driver *driver, struct error *e);

/*
 * The jailer to start that VMM with, for the caller to free; NULL when there is none to use: with another VMM, with
 * jailer = none, and unless configured, when it is not beside the VMM or this is not root. Fails when one is
 * configured that cannot be used.
 */
int supervisor_find_jailer(const struct supervisor *s, const char *vmm, char **ret, struct error *e);

#endif
