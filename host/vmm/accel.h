/*
 * accel: whether guests can run on the processor itself (KVM) or must be emulated (TCG).
 *
 * That /dev/kvm can be opened proves nothing: some hosts offer a KVM that emulates every guest instruction.
 * So a tiny guest is timed.
 */
#ifndef CAPSID_ACCEL_H
#define CAPSID_ACCEL_H

#include "config/config.h"
#include "store/home.h"

struct accel_verdict {
    enum accel_choice accel; /* ACCEL_KVM or ACCEL_TCG */
    char reason[200];        /* one line for people */
};

/*
 * auto: what the probe says, remembered for this boot of this kernel. kvm: KVM, or an error when it is not
 * there at all; it is used even when the probe finds it emulated. tcg: TCG.
 */
int accel_decide(struct accel_verdict *ret, const struct home *h, enum accel_choice choice, struct error *e);

#endif
