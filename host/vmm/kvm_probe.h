/* kvm_probe: times a loop in a guest of a few bytes. Private to vmm/. */
#ifndef CAPSID_KVM_PROBE_H
#define CAPSID_KVM_PROBE_H

#include <stdint.h>

/* Rounds of the guest's loop. Hardware takes well under a millisecond for them. */
#define KVM_PROBE_ROUNDS 100000

/* Where the guest's loop runs: as a kernel would, or as a program. A paravirtual KVM carries out the second only. */
enum kvm_probe_mode { KVM_PROBE_KERNEL, KVM_PROBE_USER };

/*
 * Runs the guest once. 0: *ret_ns is how long it took. -1: /dev/kvm is not usable; errno says why, and
 * *ret_step names what failed. May take very long where KVM is broken; call it in a process that can be
 * killed.
 */
int kvm_probe_run(enum kvm_probe_mode mode, int64_t *ret_ns, const char **ret_step);

#endif
