/* thread: threads of this program get no signals: their handlers belong to the program's first thread. */
#ifndef CAPSID_THREAD_H
#define CAPSID_THREAD_H

#include "base/error.h"

#include <pthread.h>

/* As of the program's first thread, where deep calls are to be had; only what is used takes memory. */
#define THREAD_STACK_SIZE (8u << 20)

int thread_start(pthread_t *ret, void *(*run)(void *), void *context, struct error *e);

#endif
