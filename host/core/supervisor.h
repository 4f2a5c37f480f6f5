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
};

/* Takes config over and opens the state directory. cancel_fd as in struct cancel. */
int supervisor_open(struct supervisor *s, struct config *config, int cancel_fd, struct error *e);
void supervisor_close(struct supervisor *s);

/* Decides KVM or emulation once; the verdict is in s->accel, and what emulation needs to know beside it. */
int supervisor_decide_accel(struct supervisor *s, struct error *e);

/* Full path of the VMM's binary; the caller frees it. NULL, and an error with the remedy, when it is not
 * installed. */
char *supervisor_find_vmm(const struct supervisor *s, struct error *e);

#endif
