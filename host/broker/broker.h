/*
 * broker: the part of a server that holds VMs, images and snapshots, and the rights for them; it does what is asked on the line
 * (broker/line.h) and knows no HTTP.
 *
 * A VM comes out of the pool when one like those there will do: with the memory, processors and disk that its language has, and
 * a language for which the pool has room. Others are made for whoever asks. Either way it is admitted first (core/admission.h).
 *
 * Threads: one listens on the line, and each lease has one while it lives; a VMM dies with the thread that started it. Those
 * of the pool are its own.
 */
#ifndef CAPSID_BROKER_H
#define CAPSID_BROKER_H

#include "broker/options.h"
#include "config/config.h"
#include "core/host.h"

#include <jansson.h>

struct broker;

/* VMs that the pool may have, as the settings say; 0: there is no pool. */
unsigned broker_pool_max(const struct config *config);

/* Copies config. Languages of the pool are not made before broker_warm(). */
int broker_open(struct broker **ret, const struct config *config, const struct broker_options *options,
                struct error *e);

/* broker/state.h, for those who may see all of it. */
json_t *broker_state(struct broker *b);

/* Reads the policy for networks anew; a failure leaves what there was. */
int broker_reload(struct broker *b, struct error *e);

/* Borrowed. */
struct host *broker_host(struct broker *b);

/* Makes the languages that the settings want in the pool; says in the log what became of each. Takes minutes. */
void broker_warm(struct broker *b, int cancel_fd);

/* Serves what comes over the socket, until the other end is closed; then all leases have been closed, too. */
void broker_serve(struct broker *b, int line_fd);

/* Accepts NULL. */
void broker_close(struct broker *b);

#endif
