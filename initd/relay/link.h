/*
 * link: the connections that go through here. A program's connection to the proxy has a number from 1 on; what the host wants to
 * reach in the guest has one that the host chose.
 */
#ifndef RELAY_LINK_H
#define RELAY_LINK_H

#include "relay.h"

#include <poll.h>

/* A program's new connection, which is taken over. When there is no room, the one goes that has waited longest without naming
 * a host; when there is none of those, fd is closed. */
void link_accept(int fd);

/* Whether link_accept() would find a place. */
bool link_has_place(void);

/* Fills in what is to be waited for, and which links these are; how many, and in *ret_ms for how long at most (-1: for ever). */
unsigned link_polled(struct pollfd *ret, uint16_t *ret_links, int *ret_ms);

/* What poll(2) said of one of them. */
void link_ready(uint16_t link, short events);

/* Those whose time is over. */
void link_tick(void);

/* What the host says. */
void link_take(const struct relay_message *m);

#endif
