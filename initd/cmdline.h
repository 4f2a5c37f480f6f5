/*
 * cmdline: what the kernel command line tells initd.
 *
 *   initd.hostname=NAME     host name; "capsid" without it
 *   initd.layers=vdb,vdc    block devices with read-only layers (EROFS), each above the one before, all above the root
 *   initd.upper=vdd         block device with ext4 that takes the changes; without it they go to memory
 *   initd.root=later        the host says with ROOT what it is made of; the one at boot is initd's own (root.h)
 *   initd.exit_port=0xPORT  at a power-off, the last thing written is the exit status, a byte to this I/O port (power.h)
 *   initd.vsock_peer=N      for tests: the CID that may connect, in place of 2 (the host)
 *
 * and for an appliance, whose main program initd itself starts (service.h):
 *
 *   initd.main=/PROGRAM,ARG,ARG      absolute path and arguments; none may hold a comma or a space (let it be a script then)
 *   initd.main_user=UID:GID          0:0 without it
 *   initd.main_restart=never         or on-failure, or always
 *   initd.main_end=stay              what follows the end of a program that is not restarted; or poweroff, or reboot
 *   initd.main_stop=SECONDS          how long it has between SIGTERM and SIGKILL when the guest is shut down; 5 without it
 *   initd.main_tty=0                 or 1: the console is its standard input too, and its controlling terminal
 */
#ifndef INITD_CMDLINE_H
#define INITD_CMDLINE_H

#include "limits.h"
#include "root.h"

#include <stdbool.h>
#include <stdint.h>

enum service_restart { SERVICE_NEVER, SERVICE_ON_FAILURE, SERVICE_ALWAYS };
enum service_end { SERVICE_STAY, SERVICE_POWEROFF, SERVICE_REBOOT };

struct cmdline {
    char hostname[CMDLINE_NAME_MAX];
    struct root_plan root;
    uint32_t vsock_peer;
    uint16_t exit_port;          /* 0: none */
    char main[CMDLINE_MAIN_MAX]; /* "": none */
    uint32_t main_uid, main_gid;
    enum service_restart main_restart;
    enum service_end main_end;
    uint32_t main_stop_s;
    bool main_tty;
    const char *refused; /* static; the word whose bad value is not to be overlooked; NULL: none */
};

/* Sets everything to its default. */
void cmdline_init(struct cmdline *ret);

/* Takes in the words of text, which is changed. Unknown or bad initd.* words are logged and skipped; but what says on which
 * disks, what program or as whom is `refused`, because without it the guest would do more than it was meant to. */
void cmdline_parse(struct cmdline *c, char *text);

#endif
