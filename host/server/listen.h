/* listen: the sockets of the server, and what it tells systemd. */
#ifndef CAPSID_SERVER_LISTEN_H
#define CAPSID_SERVER_LISTEN_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define LISTEN_MAX 4

struct listen_wish {
    const char *address; /* borrowed, as the next; numeric */
    const char *socket;  /* Unix socket; NULL: none */
    uint64_t port;       /* 0: any free one */
    bool no_tcp;
};

/*
 * Opens the sockets that are wanted; or takes those that systemd hands in (LISTEN_FDS, sd_listen_fds(3)),
 * and then no others. The caller closes them.
 */
int listen_open(const struct listen_wish *w, int ret[static LISTEN_MAX], int *ret_count, struct error *e);

/* "http://127.0.0.1:8080" or "unix:/PATH"; the caller frees it. */
char *listen_name(int fd);

/* Prints where they listen on standard output. */
int listen_print(const int *fds, int count, struct error *e);

/* Closes them and removes the Unix socket that listen_open() made at that path; NULL: it made none. */
void listen_close(const char *path, const int *fds, int count);

/* True when others than this machine's users can reach one of them. */
bool listen_is_public(const int *fds, int count);

/* Tells systemd the state, as sd_notify(3) does; does nothing without it. */
void listen_notify(const char *state);

#endif
