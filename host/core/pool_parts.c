#include "core/pool_parts.h"

#include <sys/epoll.h>

#define CHECKED_AT_FULL_RATE 16 /* VMs; more of them share the rate */

unsigned pool_count(const struct pool *p, const struct pool_target *t, enum pool_vm_state state)
{
    unsigned count = 0;

    for (unsigned i = 0; i < p->vm_count; i++)
        count += p->vms[i]->state == state && (!t || p->vms[i]->target == t);
    return count;
}

/* ---- VMs that become ready, and those who wait for them ------------------------------------------ */

/* Both what the guest says and the end of the VMM wake the watcher. */
static int watch_pool_parts(struct pool *p, struct pool_vm *vm)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = vm->id}};

    if (epoll_ctl(p->watch_fd, EPOLL_CTL_ADD, vm->machine.guest.fd, &event) < 0)
        return -1;
    return vm->machine.guest.vmm_pidfd < 0
               ? 0
               : epoll_ctl(p->watch_fd, EPOLL_CTL_ADD, vm->machine.guest.vmm_pidfd, &event);
}

void pool_unwatch(struct pool *p, const struct pool_vm *vm)
{
    epoll_ctl(p->watch_fd, EPOLL_CTL_DEL, vm->machine.guest.fd, NULL);
    if (vm->machine.guest.vmm_pidfd >= 0)
        epoll_ctl(p->watch_fd, EPOLL_CTL_DEL, vm->machine.guest.vmm_pidfd, NULL);
}

/* The first of the line, which it leaves: it has been served. */
static struct pool_waiter *serve_first(struct pool_target *t)
{
    struct waiter *first = t->line.first;

    waiter_serve(&t->line, first);
    return (struct pool_waiter *)first; /* of which it is the first member; it runs when the lock is free */
}

void pool_check_later(struct pool *p, struct pool_vm *vm)
{
    int64_t share = p->vm_count > CHECKED_AT_FULL_RATE ? p->vm_count : CHECKED_AT_FULL_RATE;

    vm->next_check = deadline_in_ms(p->options.check_interval_ms * share / CHECKED_AT_FULL_RATE);
}

void pool_offer(struct pool *p, struct pool_vm *vm)
{
    struct pool_target *t = vm->target;

    if (t->line.first) {
        vm->state = POOL_TAKEN;
        serve_first(t)->given = vm;
        return;
    }
    vm->state = POOL_READY;
    pool_check_later(p, vm);
    vm->ping_deadline = 0;
    /* More than are wanted there are when those who waited have given up. */
    if (p->closing || pool_count(p, t, POOL_READY) > t->size || watch_pool_parts(p, vm) < 0)
        pool_doom(p, vm, p->closing ? "pool closed" : "surplus", NULL);
}

void pool_doom(struct pool *p, struct pool_vm *vm, const char *why, const char *detail)
{
    if (why)
        life_because(&vm->machine.life, why, detail);
    if (vm->state == POOL_READY)
        pool_unwatch(p, vm);
    vm->state = POOL_DOOMED;
    pthread_cond_signal(&p->work);
}

void pool_refuse(struct pool *p, struct pool_target *t, const struct error *e)
{
    (void)p;
    while (t->line.first)
        serve_first(t)->error = *e;
}
