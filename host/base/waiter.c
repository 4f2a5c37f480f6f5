#include "base/waiter.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <sys/eventfd.h>

static void leave(struct waiter_line *line, struct waiter *w)
{
    struct waiter **place = &line->first;

    while (*place != w)
        place = &(*place)->next;
    *place = w->next;
    line->count--;
}

void waiter_serve(struct waiter_line *line, struct waiter *w)
{
    leave(line, w);
    w->served = true;
    if (eventfd_write(w->fd, 1) < 0)
        abort(); /* an eventfd that nobody wrote to takes this, unless the program is broken */
}

int waiter_wait(struct waiter_line *line, struct waiter *w, bool in_front, pthread_mutex_t *lock,
                int64_t deadline, const struct cancel *cancel, struct error *e)
{
    cleanup_fd int fd = eventfd(0, EFD_CLOEXEC);
    struct waiter **place = &line->first;

    if (fd < 0)
        return error_errno(e, "eventfd");
    while (*place && !in_front)
        place = &(*place)->next;
    w->fd = fd;
    w->next = *place;
    *place = w;
    line->count++;
    pthread_mutex_unlock(lock);
    int n = deadline_wait_fd(fd, POLLIN, deadline, cancel, e);
    pthread_mutex_lock(lock);
    if (!w->served)
        leave(line, w);
    if (n < 0)
        return -1;
    return w->served;
}
