#include "core/pool.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "base/thread.h"
#include "core/pool_parts.h"
#include "core/pool_threads.h"
#include "core/usage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_VMS 64
#define MAX_WAITERS 256
#define MEMORY_RESERVE (256u << 20)
#define CHECK_MS 10000 /* waking a guest up to ask it costs more than all else that an idle one does */
#define ANSWER_MS 5000
#define ANSWER_LEAST_MS 500 /* shortly before the deadline; a sound VM shall not be lost by that */
#define WARM_MS 20000
#define REPLACE_MS 20 /* several times what starting a small program takes */

/* ---- taking -------------------------------------------------------------------------------------- */

/* The oldest, so that none gets old. */
static struct pool_vm *take_ready(struct pool *p, const struct pool_target *t)
{
    struct pool_vm *oldest = NULL;

    for (unsigned i = 0; i < p->vm_count; i++) {
        struct pool_vm *vm = p->vms[i];
        if (vm->target == t && vm->state == POOL_READY && (!oldest || vm->id < oldest->id))
            oldest = vm;
    }
    if (oldest) {
        pool_unwatch(p, oldest);
        oldest->state = POOL_TAKEN;
        oldest->replace_at = deadline_in_ms(p->options.replace_ms);
        pthread_cond_signal(&p->work);
    }
    return oldest;
}

static int refuse_at_once(const struct pool *p, struct pool_target *t, struct error *e)
{
    if (p->closing)
        return error_set(e, ERROR_CANCELLED, "the pool was closed");
    if (t->failed >= POOL_FAILURES_TOLD && clock_monotonic_ns() < t->retry_at) {
        *e = t->counts.failure;
        return -1;
    }
    if (p->waiting >= p->options.max_waiters)
        return error_set(e, ERROR_BUSY, "%u others wait for a VM already, which is the limit", p->waiting);
    return 0;
}

static int too_late(const struct pool *p, const struct pool_target *t, struct error *e)
{
    return error_set(e, ERROR_BUSY, "no VM became free in time%s",
                     p->memory_bound                       ? "; memory is at its bound"
                     : t->counts.failure.kind && t->failed ? "; the last one could not be restored"
                                                           : "");
}

/* With the lock held, which is given up meanwhile. */
static int wait_turn(struct pool *p, struct pool_target *t, bool in_front, int64_t deadline,
                     const struct cancel *cancel, struct pool_vm **ret, struct error *e)
{
    struct pool_waiter w = {.given = NULL};

    p->waiting++;
    pthread_cond_signal(&p->work);
    int n = waiter_wait(&t->line, &w.waiter, in_front, &p->lock, deadline, cancel, e);
    p->waiting--;
    if (n < 0 && w.given)
        pool_offer(p, w.given);
    if (n <= 0)
        return n < 0 ? -1 : too_late(p, t, e);
    *ret = w.given;
    if (!w.given)
        *e = w.error;
    return w.given ? 0 : -1;
}

/* A VM that is the caller's, but may have died. */
static int acquire(struct pool *p, struct pool_target *t, bool in_front, int64_t deadline,
                   const struct cancel *cancel, struct pool_vm **ret, struct error *e)
{
    if (p->closing)
        return error_set(e, ERROR_CANCELLED, "the pool was closed");
    if ((in_front || !t->line.first) && (*ret = take_ready(p, t)))
        return 0;
    if (refuse_at_once(p, t, e) < 0)
        return -1;
    return wait_turn(p, t, in_front, deadline, cancel, ret, e);
}

/* Asks the VM whether it is alive. */
static bool answers(struct pool *p, struct pool_vm *vm, int64_t deadline, const struct cancel *cancel,
                    struct error *e)
{
    int64_t least = deadline_in_ms(ANSWER_LEAST_MS), most = deadline_in_ms(p->options.check_deadline_ms);
    struct error why = {0};

    deadline = deadline < least ? least : deadline;
    vm->machine.guest.cancel = cancel;
    if (guest_ping(&vm->machine.guest, deadline < most ? deadline : most, &why) == 0)
        return true;
    *e = why;
    return false;
}

int pool_take(struct pool *p, struct pool_target *t, int64_t deadline, const struct cancel *cancel,
              struct pool_vm **ret, struct error *e)
{
    struct pool_vm *vm = NULL;
    bool retry = false, good = false;

    pthread_mutex_lock(&p->lock);
    p->callers++;
    while (!good && acquire(p, t, retry, deadline, cancel, &vm, e) == 0) {
        pthread_mutex_unlock(&p->lock);
        good = answers(p, vm, deadline, cancel, e);
        pthread_mutex_lock(&p->lock);
        if (good)
            break;
        if (e->kind == ERROR_TIMEOUT)
            t->counts.unanswered++;
        else
            t->counts.lost += e->kind == ERROR_VM_LOST;
        life_because_error(&vm->machine.life, e);
        pool_doom(p, vm, NULL, NULL);
        if (e->kind == ERROR_CANCELLED)
            break;
        if (deadline_passed(deadline)) {
            too_late(p, t, e);
            break;
        }
        retry = true; /* it was this caller's turn, and still is */
    }
    if (good) {
        *ret = vm;
        t->counts.served++;
    } else if (e->kind == ERROR_BUSY) {
        t->counts.refused++;
    }
    p->callers--;
    pthread_cond_broadcast(&p->left);
    pthread_mutex_unlock(&p->lock);
    return good ? 0 : -1;
}

struct machine *pool_machine(struct pool_vm *vm)
{
    return &vm->machine;
}

void pool_discard(struct pool *p, struct pool_vm *vm)
{
    pthread_mutex_lock(&p->lock);
    pool_doom(p, vm, NULL, NULL);
    pthread_mutex_unlock(&p->lock);
}

int pool_run(struct pool *p, struct pool_target *t, const struct call *call, const struct run_request *r,
             const struct pool_turn *turn, struct run_result *ret, struct error *e)
{
    struct pool_vm *vm = NULL;
    int64_t start = clock_monotonic_ns();

    *ret = (struct run_result){0};
    if (run_check(r, &t->run.language, e) < 0)
        return -1;
    int result = pool_take(p, t, turn->deadline, &call->cancel, &vm, e);
    ret->load_ns = clock_monotonic_ns() - start;
    if (result < 0)
        return -1;
    if (turn->came)
        turn->came(turn->context);
    result = run_on_machine(&vm->machine, p->host, call, &t->run, r, ret, e);
    pool_discard(p, vm);
    run_log(ret, call, t->run.language.name);
    return result;
}

/* ---- opening and closing ------------------------------------------------------------------------- */

static struct pool_options complete(const struct pool_options *given, const struct config *c)
{
    struct pool_options o = *given;

    o.max_vms = o.max_vms ? o.max_vms : MAX_VMS;
    o.max_waiters = o.max_waiters ? o.max_waiters : MAX_WAITERS;
    o.keepers = o.keepers ? o.keepers : usage_processors();
    o.memory_reserve = o.memory_reserve ? o.memory_reserve : MEMORY_RESERVE;
    o.check_interval_ms = o.check_interval_ms ? o.check_interval_ms : CHECK_MS;
    o.replace_ms = o.replace_ms ? o.replace_ms : REPLACE_MS;
    o.check_deadline_ms = o.check_deadline_ms ? o.check_deadline_ms : ANSWER_MS;
    o.warm_deadline_ms = o.warm_deadline_ms ? o.warm_deadline_ms : config_patience_ms(c, WARM_MS);
    return o;
}

static int start_threads(struct pool *p, struct error *e)
{
    if (thread_start(&p->watcher, pool_watch, p, e) < 0)
        return -1;
    p->watched = true;
    for (unsigned i = 0; i < p->options.keepers; i++) {
        p->keepers[i].pool = p;
        if (thread_start(&p->keepers[i].thread, pool_keep, &p->keepers[i], e) < 0)
            return -1;
        p->keeper_count++;
    }
    return 0;
}

static void init_locks(struct pool *p)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, &attributes);
    pthread_cond_init(&p->left, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void pool_free(struct pool *p)
{
    for (struct pool_target *t = p->targets, *next; t; t = next) {
        next = t->next;
        target_done(&t->run);
        template_unref(t->template);
        free(t);
    }
    pthread_cond_destroy(&p->left);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    close_fd(&p->stop_fd);
    close_fd(&p->watch_fd);
    free(p->keepers);
    free(p->vms);
    free(p);
}

int pool_open(struct pool **ret, struct host *host, const struct pool_options *options, struct error *e)
{
    struct accelerator accelerator;

    if (host_accelerator(host, &accelerator, e) < 0 || !host_confinement(host, e))
        return -1;
    struct pool *p = memory_allocate(sizeof(*p));
    p->options = complete(options, &host->config);
    p->host = host;
    p->vms = memory_allocate(p->options.max_vms * sizeof(struct pool_vm *));
    p->keepers = memory_allocate(p->options.keepers * sizeof(*p->keepers));
    p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    p->call = CALL(p->stop_fd);
    init_locks(p);
    int result =
        p->stop_fd < 0 || p->watch_fd < 0 ? error_errno(e, "cannot open the pool") : start_threads(p, e);
    if (result < 0) {
        pool_close(p);
        return -1;
    }
    *ret = p;
    return 0;
}

void pool_close(struct pool *p)
{
    const struct error closed = {.kind = ERROR_CANCELLED, .text = "the pool was closed"};

    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    for (struct pool_target *t = p->targets; t; t = t->next)
        pool_refuse(p, t, &closed);
    for (unsigned i = 0; i < p->vm_count; i++)
        if (p->vms[i]->state == POOL_READY)
            pool_doom(p, p->vms[i], "pool closed", NULL);
    if (p->stop_fd >= 0 && eventfd_write(p->stop_fd, 1) < 0)
        abort(); /* see waiter_serve() */
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    if (p->watched)
        pthread_join(p->watcher, NULL);
    for (unsigned i = 0; i < p->keeper_count; i++)
        pthread_join(p->keepers[i].thread, NULL);
    pthread_mutex_lock(&p->lock);
    while (p->callers > 0)
        pthread_cond_wait(&p->left, &p->lock);
    pthread_mutex_unlock(&p->lock);
    pool_free(p);
}

/* ---- targets ------------------------------------------------------------------------------------- */

/* The template of another target with the same snapshot, not one that was made anew. */
static struct template *find_template(struct pool *p, const struct snapshot *s)
{
    struct template *found = NULL;

    pthread_mutex_lock(&p->lock);
    for (struct pool_target *t = p->targets; t && !found; t = t->next)
        if (!t->retired && strcmp(t->run.snapshot.key, s->key) == 0 && t->run.snapshot.created == s->created)
            found = template_ref(t->template);
    pthread_mutex_unlock(&p->lock);
    return found;
}

int pool_add(struct pool *p, const struct call *call, struct run_target *target, unsigned size,
             struct pool_target **ret, struct error *e)
{
    struct run_target run = *target;

    *target = (struct run_target){0};
    /* The snapshot was made with this accelerator: no other can restore it, so none is tried. */
    run.spec.accelerator.on_trial = false;
    if (!run.snapshot.directory) {
        target_done(&run);
        return error_set(e, ERROR_USAGE, "a pool needs a snapshot to restore from");
    }
    bool takes_template = p->host->driver->takes_template;
    struct template *template = takes_template ? find_template(p, &run.snapshot) : NULL;
    if (takes_template && !template && template_load(&template, &run.snapshot, &call->cancel, e) < 0) {
        error_wrap(e, "the snapshot of %s cannot be used", run.language.name);
        target_done(&run);
        return -1;
    }
    /* What is in no template is read anew for each VM, such as its scratch disk: it must stay. */
    if (takes_template && run.spec.shape.disk_mib == 0)
        snapshot_unlock(&run.snapshot);
    struct pool_target *t = memory_allocate(sizeof(*t)), **place;
    *t = (struct pool_target){.run = run, .template = template, .size = size};
    pthread_mutex_lock(&p->lock);
    for (place = &p->targets; *place; place = &(*place)->next)
        ;
    *place = t;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    *ret = t;
    return 0;
}

void pool_retire(struct pool *p, struct pool_target *t)
{
    pthread_mutex_lock(&p->lock);
    struct template *template = t->template;
    t->template = NULL;
    t->retired = true;
    t->size = 0;
    for (unsigned i = 0; i < p->vm_count; i++)
        if (p->vms[i]->target == t && p->vms[i]->state == POOL_READY)
            pool_doom(p, p->vms[i], "retired", NULL);
    pthread_mutex_unlock(&p->lock);
    template_unref(template);
}

const struct run_target *pool_run_target(const struct pool_target *t)
{
    return &t->run;
}

/* ---- what there is ------------------------------------------------------------------------------- */

static void count_pool(const struct pool *p, const struct pool_target *t, struct pool_stats *ret)
{
    int64_t retry = t->retry_at - clock_monotonic_ns();

    *ret = t->counts;
    ret->size = t->size;
    ret->ready = pool_count(p, t, POOL_READY);
    ret->warming = pool_count(p, t, POOL_WARMING);
    ret->taken = pool_count(p, t, POOL_TAKEN);
    ret->ending = pool_count(p, t, POOL_DOOMED) + pool_count(p, t, POOL_ENDING);
    ret->waiting = t->line.count;
    ret->template_size = t->template ? template_size(t->template) : 0;
    ret->retry_ms = t->retry_at && retry > 0 ? retry / 1000000 + 1 : 0;
    ret->memory_bound = p->memory_bound;
    for (unsigned i = 0; i < p->vm_count; i++)
        if (p->vms[i]->target == t)
            ret->memory += p->vms[i]->memory;
}

void pool_stats(struct pool *p, const struct pool_target *t, struct pool_stats *ret)
{
    pthread_mutex_lock(&p->lock);
    count_pool(p, t, ret);
    pthread_mutex_unlock(&p->lock);
}

void pool_each(struct pool *p,
               void (*visit)(const struct pool_target *t, const struct pool_stats *s, void *context),
               void *context)
{
    struct pool_stats s;

    pthread_mutex_lock(&p->lock);
    for (struct pool_target *t = p->targets; t; t = t->next) { /* targets stay as long as the pool */
        if (t->retired)
            continue;
        count_pool(p, t, &s);
        pthread_mutex_unlock(&p->lock);
        visit(t, &s, context);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
}

size_t pool_pids(struct pool *p, const struct pool_target *t, bool idle, pid_t *ret, size_t max)
{
    size_t used = 0;

    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < p->vm_count && used < max; i++) {
        const struct pool_vm *vm = p->vms[i];
        if (vm->target == t && (vm->state == POOL_READY || (!idle && vm->state == POOL_TAKEN)))
            ret[used++] = vm->machine.vm.vmm.pid;
    }
    pthread_mutex_unlock(&p->lock);
    return used;
}
