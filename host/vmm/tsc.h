/*
 * tsc: how fast the processor's time stamp counter runs. An emulated guest sees the host's counter, but
 * cannot measure it well; told its rate, it has a precise clock from its first instruction on.
 */
#ifndef CAPSID_TSC_H
#define CAPSID_TSC_H

#include "store/home.h"

#include <stdint.h>

/*
 * The rate in kHz, rounded to MHz so that it is the same at every measurement; 0 where the processor has no
 * counter of constant rate. Measured in some milliseconds, then remembered for this boot.
 */
int tsc_khz(uint64_t *ret, const struct home *h, struct error *e);

#endif
