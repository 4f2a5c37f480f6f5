/*
 * host: this machine as VMs need it: settings, the state directory, the VMM, the accelerator, the confinement. Whoever serves
 * users, the CLI or a server, opens one and passes it down; what belongs to one call is in core/call.h.
 *
 * Threads: config, home and driver never change. The accelerator and the confinement are decided with the first call for
 * them; all functions may be called by any thread. VMMs die with the thread that started them (PR_SET_PDEATHSIG), so only
 * threads that outlive their VMs boot or restore.
 */
#ifndef CAPSID_HOST_H
#define CAPSID_HOST_H

#include "base/error.h"
#include "config/config.h"
#include "confine/confine.h"
#include "store/home.h"
#include "vmm/accel.h"
#include "vmm/driver.h"

#include <pthread.h>

struct host {
    struct config config;
    struct home home;
    const struct vm_driver *driver;

    pthread_mutex_t lock; /* of what follows; files are locked under it (vmm/accel.h, vmm/tsc.h) */
    struct accel_verdict verdict;
    bool accel_decided;
    unsigned kvm_given_up; /* how often */
    uint64_t tsc_khz;      /* once tsc_known; only emulation asks for it */
    bool tsc_known;
    struct confinement confinement;
    bool confinement_decided;
};

/* What VMs run on, as it was when something began: a snapshot made with it is restored with it. */
struct accelerator {
    enum accel_choice choice; /* ACCEL_KVM or ACCEL_TCG */
    uint64_t tsc_khz;         /* with ACCEL_TCG: see vmm/tsc.h */
    bool
        on_trial; /* KVM that was chosen here, and that no guest has become ready with since the host booted */
    unsigned given_up; /* struct host's kvm_given_up */
};

/* Takes config over and opens the state directory. */
int host_open(struct host *host, struct config *config, struct error *e);
void host_close(struct host *host);

/* Decides KVM or emulation with the first call; what it says may change when KVM is given up. */
int host_accelerator(struct host *host, struct accelerator *ret, struct error *e);

/* Why, one line for people; of an accelerator that was decided. */
void host_accelerator_reason(struct host *host, char *ret, size_t size);

/* A guest has become ready: KVM that this machine's owner did not ask for is trusted from now on, or the emulation
 * that replaced it is remembered. */
void host_accelerator_works(struct host *host, const struct accelerator *with);

/*
 * A guest did not become ready, because of *why. Where KVM is on trial: warns, and goes over to emulation. What was begun with
 * KVM, the key of a snapshot for one, is then to be begun anew: host_accelerator_changed().
 */
void host_accelerator_failed(struct host *host, const struct accelerator *with, const struct error *why);
bool host_accelerator_changed(struct host *host, const struct accelerator *since);

/* How VMMs are confined, decided with the first call, which says what is missing; borrowed. NULL with an error. */
const struct confinement *host_confinement(struct host *host, struct error *e);

/* Full path of the VMM's binary; the caller frees it. NULL, and an error with the remedy, when it is not
 * installed. */
char *host_find_vmm(const struct host *host, struct error *e);
char *host_find_vmm_of(const struct host *host, const struct vm_driver *driver, struct error *e);

/*
 * The jailer to start that VMM with, for the caller to free; NULL when there is none to use: with another VMM, with
 * jailer = none, and unless configured, when it is not beside the VMM or this is not root. Fails when one is
 * configured that cannot be used.
 */
int host_find_jailer(const struct host *host, const char *vmm, char **ret, struct error *e);

#endif
