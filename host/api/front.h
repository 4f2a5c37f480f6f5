/* front: the front's end of the leash (api/api.h). */
#ifndef CAPSID_API_FRONT_H
#define CAPSID_API_FRONT_H

#include "api/api.h"
#include "base/message.h"

/* Descriptors that came with an order, the receiver's to close. */
struct front_passed {
    int fds[MESSAGE_FDS_MAX];
    size_t count;
};

/* 1: an order; 0: who started the front is gone; -1: there is none. */
int front_receive_order(int leash, struct front_order *ret, struct front_passed *passed, struct error *e);

/* passed: what goes with it, -1: nothing. */
int front_send_answer(int leash, enum front_answer_word word, int passed, const struct error *why,
                      struct error *e);

#endif
