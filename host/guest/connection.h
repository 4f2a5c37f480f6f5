/* connection: the state of a connection to one guest; what goes over it is in guest/guest.h. */
#ifndef CAPSID_GUEST_CONNECTION_H
#define CAPSID_GUEST_CONNECTION_H

#include "base/deadline.h"
#include "base/error.h"
#include "frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guest {
    int fd;        /* owned; the connection */
    int vmm_pidfd; /* borrowed; readable when the VMM has ended, -1: unknown */
    int vmm_fd;    /* borrowed; readable when the VMM says something unasked, -1: it never does */
    bool (*vmm_stopped)(int fd); /* takes what vmm_fd has: whether the VMM stopped the guest, or has ended */
    const struct cancel *cancel; /* borrowed */
    struct frame_reader reader;
    uint8_t *buffer; /* owned; FRAME_MAX bytes */
    uint32_t last_stream;
    uint8_t state;              /* of WELCOME: PROTO_STATE_... */
    uint64_t features;          /* of WELCOME: PROTO_FEATURE_... */
    uint64_t init_ns, ready_ns; /* of WELCOME */
    char build[64];             /* of WELCOME */
    uint32_t resume;            /* stream of a RESUME under way; 0: none */
    uint32_t ping;              /* the same of a PING */
    unsigned late;              /* how often what had arrived was taken after a deadline */
};

/* Takes fd over and makes it non-blocking. */
void guest_open(struct guest *g, int fd, int vmm_pidfd, const struct cancel *cancel);
void guest_close(struct guest *g);

#endif
