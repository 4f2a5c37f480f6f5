/*
 * snapshot: what is needed so that several copies can run on from one moment (PROTOCOL.md 7).
 */
#ifndef INITD_SNAPSHOT_H
#define INITD_SNAPSHOT_H

#include "messages.h"

#include <stdbool.h>

/* At boot. Opens what RESUME needs, for a job of root can take away or cover /dev. */
void snapshot_init(void);

/* QUIESCE has been answered and RESUME has not come. */
bool snapshot_quiesced(void);

/* Everything is written back: nothing is started any more until snapshot_resume(). */
void snapshot_quiesce(void);

/* Everything is ready, and RESUME is expected to come at any moment; at most SNAPSHOT_AWAKE_MS, then it can take long. */
bool snapshot_awake(uint64_t now);

/* RESUME: does the steps in their order, each on its own; ret->done says which succeeded. */
void snapshot_resume(const struct msg_resume *m, struct msg_resumed *ret);

/* There is no root that could hold the machine's id: RESUME keeps it until snapshot_place_machine_id(), which is called when there is
 * one; then it is a file in /run that lies over the root's, which is not changed. */
void snapshot_await_root(void);
void snapshot_place_machine_id(void);

/* After the answers were sent, and before the next request: what RESUME need not do at once. */
void snapshot_tidy(void);

#endif
