/*
 * power: the end of the machine. Decides; main.c alone calls reboot(2).
 */
#ifndef INITD_POWER_H
#define INITD_POWER_H

#include <stdbool.h>
#include <stdint.h>

/* A job cannot switch the machine off, nor reset it: it asks initd to. Without a way to switch off, reboot(2) would halt the
 * processor, and the VMM could not tell that from sleep. For what initd starts from now on. */
void power_keep_to_initd(void);

/* A signal to process 1 from root: what init(8) understands (sysvinit, BusyBox). True: it asks for the end of the guest. */
bool power_signal_asks(int signal, uint8_t *ret_action);

/* Kills every other process and waits for a moment until they are gone. */
void power_kill_all(void);

/* True when something on this machine can switch it off. Otherwise a halted kernel would spin for ever inside
 * its VMM, and a restart is the way to end: VMMs for microVMs take a reset for the end (Firecracker always,
 * QEMU with -no-reboot). */
bool power_can_switch_off(void);

/*
 * Where the VMM takes an exit status: an I/O port, such as that of QEMU's device isa-debug-exit, which ends QEMU with
 * (status << 1) | 1. Opened at boot, because nobody knows what becomes of /dev. A kernel without /dev/port
 * (CONFIG_DEVPORT) costs a warning.
 */
void power_open_exit_port(uint16_t port);

/* Returns when there is no such port, or the VM goes on all the same. */
void power_write_exit_port(uint8_t status);

#endif
