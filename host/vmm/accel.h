/*
 * accel: whether guests can run on the processor itself (KVM) or must be emulated (TCG).
 *
 * That /dev/kvm can be opened proves nothing: some hosts offer a paravirtual KVM, which carries out user code but
 * emulates kernel code, and lacks instructions that every kernel uses; others emulate all. So a tiny guest is timed.
 */
#ifndef CAPSID_ACCEL_H
#define CAPSID_ACCEL_H

#include "config/config.h"
#include "store/home.h"

#include <stdbool.h>

struct accel_verdict {
    enum accel_choice accel; /* ACCEL_KVM or ACCEL_TCG */
    char reason[320];        /* one line for people */
    bool open;               /* chosen here, and no guest has become ready with it since the host booted */
};

/*
 * auto: what the probe says, remembered for this boot of this kernel unless it failed for want of something that may be
 * there the next time. kvm: KVM, or an error when it is not
 * there at all; it is used even when the probe finds it emulated. tcg: TCG.
 */
int accel_decide(struct accel_verdict *ret, const struct home *h, enum accel_choice choice, struct error *e);

/* Closes a verdict, because a guest is ready with it, and remembers it for this boot of the host's kernel; not that one
 * was ready without KVM, when another process has seen one that was ready with it. */
void accel_confirm(struct accel_verdict *v, const struct home *h);

#endif
