#include "base/thread.h"

#include <errno.h>
#include <signal.h>

int thread_start(pthread_t *ret, void *(*run)(void *), void *context, struct error *e)
{
    pthread_attr_t attributes;
    sigset_t all, before;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(ret, &attributes, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    errno = failed;
    return failed ? error_errno(e, "cannot start a thread") : 0;
}
