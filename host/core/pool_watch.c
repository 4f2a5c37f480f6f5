/* The watcher: a thread that sees when an idle VM ends or does not answer any more. It never waits for a guest. */
#include "core/pool_parts.h"
#include "core/pool_threads.h"

#include "core/usage.h"

#include <sys/epoll.h>

#define EVENTS 32

static struct pool_vm *find_ready(const struct pool *p, uint64_t id)
{
    for (unsigned i = 0; i < p->vm_count; i++)
        if (p->vms[i]->id == id && p->vms[i]->state == POOL_READY)
            return p->vms[i];
    return NULL;
}

/* Something came from an idle VM: the answer to PING, or the end of the VMM or of the connection. */
static void on_event(struct pool *p, uint64_t id)
{
    struct pool_vm *vm = find_ready(p, id);
    struct error e = {0};

    if (!vm)
        return; /* taken meanwhile */
    int result = deadline_wait_fd(vm->machine.guest.vmm_pidfd, POLLIN, 0, NULL, &e) > 0
                     ? error_set(&e, ERROR_VM_LOST, "the VMM ended unexpectedly")
                     : guest_ping_poll(&vm->machine.guest, &e);
    if (result < 0) {
        vm->target->counts.lost++;
        life_because_error(&vm->machine.life, &e);
        pool_doom(p, vm, NULL, NULL);
    } else if (result > 0) {
        vm->ping_deadline = 0;
        pool_check_later(p, vm);
        vm->memory = usage_anonymous(vm->machine.vm.vmm.pid);
    }
}

static void check(struct pool *p, struct pool_vm *vm, int64_t now)
{
    struct error e = {0};

    if (vm->state == POOL_TAKEN)
        vm->memory = usage_anonymous(vm->machine.vm.vmm.pid);
    if (vm->state != POOL_READY)
        return;
    if (vm->ping_deadline && now >= vm->ping_deadline) {
        vm->target->counts.unanswered++;
        pool_doom(p, vm, "health check", "the guest did not answer in time");
    } else if (!vm->ping_deadline && now >= vm->next_check) {
        if (guest_ping_begin(&vm->machine.guest, &e) < 0) {
            vm->target->counts.unanswered++;
            pool_doom(p, vm, "health check", e.text);
        } else {
            vm->ping_deadline = deadline_in_ms(p->options.check_deadline_ms);
        }
    }
}

/* Checks what is due; returns when to look again. */
static int64_t check_all(struct pool *p)
{
    int64_t now = clock_monotonic_ns(), next = deadline_in_ms(p->options.check_interval_ms);

    for (unsigned i = 0; i < p->vm_count; i++) {
        struct pool_vm *vm = p->vms[i];
        check(p, vm, now);
        int64_t due = vm->ping_deadline ? vm->ping_deadline : vm->next_check;
        if (vm->state == POOL_READY && due < next)
            next = due;
    }
    return next;
}

void *pool_watch(void *pool)
{
    struct pool *p = pool;
    struct epoll_event events[EVENTS];
    int64_t next = deadline_in_ms(p->options.check_interval_ms);
    struct error e = {0};

    /* deadline_wait_fd() fails when the pool is closed. */
    while (deadline_wait_fd(p->watch_fd, POLLIN, next, &p->call.cancel, &e) >= 0) {
        int n = epoll_wait(p->watch_fd, events, EVENTS, 0);
        pthread_mutex_lock(&p->lock);
        for (int i = 0; i < n; i++)
            on_event(p, events[i].data.u64);
        next = check_all(p);
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}
