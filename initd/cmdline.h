/*
 * cmdline: what the kernel command line tells initd.
 *
 *   initd.hostname=NAME     host name; "capsid" without it
 *   initd.layers=vdb,vdc    block devices with read-only layers (EROFS), each above the one before, all above
 * the root initd.upper=vdd         block device with ext4 that takes the changes; without it they go to
 * memory initd.vsock_peer=N      for tests: the CID that may connect, in place of 2 (the host)
 *
 * A program that initd itself runs and restarts (initd.main=) is for later; its keys will be read here.
 */
#ifndef INITD_CMDLINE_H
#define INITD_CMDLINE_H

#include "limits.h"

#include <stdint.h>

struct cmdline {
    char hostname[CMDLINE_NAME_MAX];
    char layers[LAYERS_MAX][DEVICE_NAME_MAX];
    unsigned layer_count;
    char upper[DEVICE_NAME_MAX]; /* "": none */
    uint32_t vsock_peer;
};

/* Sets everything to its default. */
void cmdline_init(struct cmdline *ret);

/* Takes in the words of text, which is changed. Unknown or bad initd.* words are logged and skipped. */
void cmdline_parse(struct cmdline *c, char *text);

#endif
