/* connect: connections for a guest, which the broker's side alone decides on and makes. Private to broker/. */
#ifndef CAPSID_BROKER_CONNECT_H
#define CAPSID_BROKER_CONNECT_H

#include "broker/errand.h"

/* LINE_NETWORK, until its lease is closed. */
void connect_guest(struct errand *r);

#endif
