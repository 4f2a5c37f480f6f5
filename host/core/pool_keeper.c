/* The keepers: threads that restore and destroy VMs. */
#include "core/pool_parts.h"
#include "core/pool_threads.h"

#include "base/text.h"
#include "core/program.h"
#include "core/usage.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 30000
#define MEMORY_RETRY_MS 500
#define VMM_OVERHEAD (64u << 20)    /* bytes that a VMM may take beside its guest's memory */
#define MEMORY_EXPECTED (16u << 20) /* bytes of a VM whose like was never measured */

/* Bytes of an idle VM of the target, as far as one was seen. */
static uint64_t expected_memory(const struct pool *p, const struct pool_target *t)
{
    uint64_t most = 0;

    for (unsigned i = 0; i < p->vm_count; i++) {
        const struct pool_vm *vm = p->vms[i];
        if (vm->target == t && vm->state == POOL_READY && vm->memory > most)
            most = vm->memory;
    }
    return most ? most : MEMORY_EXPECTED;
}

/* Whether one more VM of the target keeps within memory_max. */
static bool within_memory_max(const struct pool *p, const struct pool_target *t)
{
    uint64_t sum = expected_memory(p, t);

    for (unsigned i = 0; i < p->vm_count; i++)
        sum += p->vms[i]->state == POOL_WARMING ? expected_memory(p, p->vms[i]->target) : p->vms[i]->memory;
    return p->options.memory_max == 0 || sum <= p->options.memory_max;
}

/* Whether the machine has the memory that the VM may come to take, and those that are being restored. */
static bool machine_has_memory(const struct pool *p, const struct pool_target *t)
{
    uint64_t needed = (t->run.spec.shape.memory_mib << 20) + VMM_OVERHEAD,
             available = usage_memory_available();

    for (unsigned i = 0; i < p->vm_count; i++)
        if (p->vms[i]->state == POOL_WARMING)
            needed += (p->vms[i]->target->run.spec.shape.memory_mib << 20) + VMM_OVERHEAD;
    return available >= needed && available - needed >= p->options.memory_reserve;
}

/*
 * VMs that were taken a moment ago and are not replaced yet, so that who took one has the processors; not when the next
 * to come would find none. Looks at the clock again at *wake.
 */
static unsigned postponed(const struct pool *p, const struct pool_target *t, int64_t now, int64_t *wake)
{
    unsigned count = 0;

    if (t->line.first || pool_count(p, t, POOL_READY) == 0)
        return 0;
    for (unsigned i = 0; i < p->vm_count; i++) {
        const struct pool_vm *vm = p->vms[i];
        if (vm->target != t || vm->state != POOL_TAKEN || vm->replace_at <= now)
            continue;
        *wake = vm->replace_at < *wake ? vm->replace_at : *wake;
        count++;
    }
    return count;
}

/* More VMs are wanted than are ready or on the way. */
static bool wants(const struct pool *p, const struct pool_target *t, int64_t now, bool *ret_waited_for,
                  int64_t *wake)
{
    unsigned waiters = t->line.count, warming = pool_count(p, t, POOL_WARMING);

    *ret_waited_for = waiters > warming;
    return (waiters > t->size ? waiters : t->size) >
           warming + pool_count(p, t, POOL_READY) + postponed(p, t, now, wake);
}

/* The target to restore a VM of: one that is waited for, or else one that is short; of several the one whose turn was
 * longest ago. */
static struct pool_target *choose_keeper(const struct pool *p, int64_t now, bool *ret_waited_for,
                                         int64_t *wake)
{
    struct pool_target *best = NULL;

    *ret_waited_for = false;
    for (struct pool_target *t = p->targets; t; t = t->next) {
        bool waited_for;
        if (!wants(p, t, now, &waited_for, wake))
            continue;
        if (t->retry_at > now) {
            *wake = t->retry_at < *wake ? t->retry_at : *wake;
            continue;
        }
        if (!best || waited_for > *ret_waited_for ||
            (waited_for == *ret_waited_for && t->filled < best->filled)) {
            best = t;
            *ret_waited_for = waited_for;
        }
    }
    return best;
}

/* Dooms an idle VM of another target that nobody waits for, of the one with the most. */
static bool evict_for(struct pool *p, const struct pool_target *t)
{
    struct pool_vm *victim = NULL;
    unsigned most = 0;

    for (unsigned i = 0; i < p->vm_count; i++) {
        struct pool_vm *vm = p->vms[i];
        unsigned ready =
            vm->state == POOL_READY && vm->target != t ? pool_count(p, vm->target, POOL_READY) : 0;
        if (ready > most) {
            most = ready;
            victim = vm;
        }
    }
    if (victim) {
        victim->target->counts.evicted++;
        pool_doom(p, victim, "evicted", NULL);
    }
    return victim;
}

/* The target of which a VM may be restored now; NULL: none, look again at *wake or when something changes. */
static struct pool_target *find_work(struct pool *p, int64_t *wake)
{
    int64_t now = clock_monotonic_ns();
    bool waited_for;
    struct pool_target *t = choose_keeper(p, now, &waited_for, wake);

    p->memory_bound = false;
    if (!t)
        return NULL;
    if (p->vm_count >= p->options.max_vms || !within_memory_max(p, t)) {
        p->memory_bound = p->vm_count < p->options.max_vms;
        /* One is enough at a time: what is being destroyed makes room soon. */
        bool soon = pool_count(p, NULL, POOL_DOOMED) + pool_count(p, NULL, POOL_ENDING) > 0;
        if (!soon && waited_for && pool_count(p, t, POOL_WARMING) == 0 && evict_for(p, t))
            *wake = now;
        else if (p->memory_bound)
            *wake = now + (int64_t)MEMORY_RETRY_MS * 1000000;
        return NULL;
    }
    if (!machine_has_memory(p, t)) {
        p->memory_bound = true;
        *wake = now + (int64_t)MEMORY_RETRY_MS * 1000000;
        return NULL;
    }
    return t;
}

static void forget(struct pool *p, struct pool_vm *vm)
{
    for (unsigned i = 0; i < p->vm_count; i++)
        if (p->vms[i] == vm)
            p->vms[i] = p->vms[--p->vm_count];
    free(vm);
}

static void restore_failed(struct pool *p, struct pool_target *t, const struct error *e)
{
    int64_t wait = BACKOFF_MIN_MS;
    struct event v;

    if (p->closing)
        return;
    for (unsigned i = 0; i < t->failed && wait < BACKOFF_MAX_MS; i++)
        wait *= 2;
    wait = wait < BACKOFF_MAX_MS ? wait : BACKOFF_MAX_MS;
    t->failed++;
    t->counts.failures++;
    t->counts.failure = *e;
    t->retry_at = deadline_in_ms(wait);
    event_begin(&v, "restore_failed");
    event_text(&v, "language", t->run.language.name);
    event_number(&v, "failures", t->failed);
    event_number(&v, "retry_ms", wait);
    event_text(&v, "why", e->text);
    event_end(&v);
    if (t->failed >= POOL_FAILURES_TOLD)
        pool_refuse(p, t, e);
}

static int drop(void *context, int channel, const void *data, size_t size, struct error *e)
{
    (void)context, (void)channel, (void)data, (void)size, (void)e;
    return 0;
}

/* A guest that refused it is still there. */
static bool is_lost(int result, const struct error *e)
{
    return result < 0 && e->kind != ERROR_REFUSED && e->kind != ERROR_NOT_FOUND;
}

/*
 * The first program that an emulated guest is given and starts costs several times what later ones do, because QEMU
 * translates the guest's code as it is met. So a VM that nobody waits for does both once before it is given out. A
 * waiting interpreter starts nothing. A guest that refuses a step, an image without that program for one, is as warm
 * after failing.
 */
static int warm(struct machine *m, const struct accelerator *with, int64_t deadline,
                const struct cancel *cancel, struct error *e)
{
    static const char program[] = "/bin/echo", file[] = "/tmp/.capsid-warm";
    const struct job_io io = {.stdin_fd = -1, .on_output = drop};
    const struct msg_exec exec = {.argv = {.data = program, .size = sizeof(program)},
                                  .cwd = "/",
                                  .uid = PROGRAM_UID,
                                  .gid = PROGRAM_UID};
    struct msg_exit end;

    if (with->choice != ACCEL_TCG)
        return 0;
    m->guest.cancel = cancel;
    if (is_lost(guest_write_file(&m->guest, file, S_IFREG | 0600, 0, PROGRAM_UID, PROGRAM_UID, "\n", 1,
                                 deadline, e),
                e) ||
        is_lost(guest_run_job(&m->guest, &exec, NULL, &io, deadline, &end, e), e) ||
        is_lost(guest_remove(&m->guest, file, deadline, e), e))
        return error_wrap(e, "the VM could not be warmed");
    return 0;
}

/* With the lock held, which is given up meanwhile. */
static void restore(struct pool_keeper *k, struct pool_target *t)
{
    struct pool *p = k->pool;
    struct pool_vm *vm = memory_allocate(sizeof(*vm));
    struct template *template = t->template ? template_ref(t->template) : NULL;
    struct error e = {0};

    *vm = (struct pool_vm){.machine = MACHINE_NONE, .target = t, .state = POOL_WARMING, .id = ++p->last_id};
    p->vms[p->vm_count++] = vm;
    t->filled = vm->id;
    bool to_warm = !t->line.first && !t->unwarmed && t->run.snapshot.primed_job == 0, late = false;
    pthread_mutex_unlock(&p->lock);
    int result =
        target_load(&vm->machine, p->host, &p->call, &t->run, template ? template_files(template) : NULL, &e);
    template_unref(template);
    if (result == 0 && to_warm) {
        result = warm(&vm->machine, &t->run.spec.accelerator, deadline_in_ms(p->options.warm_deadline_ms),
                      &p->call.cancel, &e);
        late = result < 0 && e.kind == ERROR_TIMEOUT;
    }
    if (result < 0) {
        life_because_error(&vm->machine.life, &e);
        machine_destroy(&vm->machine);
    }
    uint64_t memory = result == 0 ? usage_anonymous(vm->machine.vm.vmm.pid) : 0;
    pthread_mutex_lock(&p->lock);
    if (result < 0) {
        forget(p, vm);
        if (late) /* nothing is wrong with the snapshot; the machine may be busy */
            t->unwarmed = true;
        else
            restore_failed(p, t, &e);
        return;
    }
    t->unwarmed = false;
    t->failed = 0;
    t->retry_at = 0;
    t->counts.restored++;
    vm->memory = memory;
    vm->machine.guest.cancel = &p->call.cancel;
    if (p->closing)
        pool_doom(p, vm, "pool closed", NULL);
    else
        pool_offer(p, vm);
}

static struct pool_vm *find_doomed(const struct pool *p)
{
    for (unsigned i = 0; i < p->vm_count; i++)
        if (p->vms[i]->state == POOL_DOOMED)
            return p->vms[i];
    return NULL;
}

static void destroy(struct pool *p, struct pool_vm *vm)
{
    vm->state = POOL_ENDING;
    pthread_mutex_unlock(&p->lock);
    machine_destroy(&vm->machine);
    pthread_mutex_lock(&p->lock);
    vm->target->counts.destroyed++;
    forget(p, vm);
    pthread_cond_broadcast(&p->work);
}

static void wait_for_work(struct pool *p, int64_t wake)
{
    const struct timespec until = {.tv_sec = wake / 1000000000, .tv_nsec = wake % 1000000000};

    if (wake == DEADLINE_NEVER)
        pthread_cond_wait(&p->work, &p->lock);
    else if (wake > clock_monotonic_ns())
        pthread_cond_timedwait(&p->work, &p->lock, &until);
}

/* Ends only when there is no VM any more, because VMMs die with the thread that started them. */
void *pool_keep(void *keeper)
{
    struct pool_keeper *k = keeper;
    struct pool *p = k->pool;

    pthread_mutex_lock(&p->lock);
    while (!p->closing || p->vm_count > 0) {
        struct pool_vm *vm = find_doomed(p);
        int64_t wake = DEADLINE_NEVER;
        struct pool_target *t = vm || p->closing ? NULL : find_work(p, &wake);
        if (vm)
            destroy(p, vm);
        else if (t)
            restore(k, t);
        else
            wait_for_work(p, wake);
    }
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}
