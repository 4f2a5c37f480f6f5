/*
 * power: the end of the machine. Decides; main.c alone calls reboot(2).
 */
#ifndef INITD_POWER_H
#define INITD_POWER_H

#include <stdbool.h>

/* Kills every other process and waits for a moment until they are gone. */
void power_kill_all(void);

/* True when something on this machine can switch it off. Otherwise a halted kernel would spin for ever inside
 * its VMM, and a restart is the way to end: VMMs for microVMs take a reset for the end (Firecracker always,
 * QEMU with -no-reboot). */
bool power_can_switch_off(void);

#endif
