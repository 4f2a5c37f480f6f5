/*
 * supervisor: what every operation needs: settings, the state directory, the way to cancel. The CLI, and
 * whatever else comes to serve users, makes one and passes it down. A struct supervisor belongs to one
 * thread.
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
    struct confinement confinement;
    bool confinement_decided;
};

/* Takes config over and opens the state directory. cancel_fd as in struct cancel. */
int supervisor_open(struct supervisor *s, struct config *config, int cancel_fd, struct error *e);
void supervisor_close(struct supervisor *s);

/* Decides KVM or emulation once; the verdict is in s->accel, and what emulation needs to know beside it. */
int supervisor_decide_accel(struct supervisor *s, struct error *e);

/* Decides once how VMMs are confined: s->confinement. Says what is missing. */
int supervisor_decide_confinement(struct supervisor *s, struct error *e);

/* Full path of the VMM's binary; the caller frees it. NULL, and an error with the remedy, when it is not
 * installed. */
char *supervisor_find_vmm(const struct supervisor *s, struct error *e);

#endif
