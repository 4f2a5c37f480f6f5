#include "broker/broker.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/gate.h"
#include "base/log.h"
#include "base/thread.h"
#include "broker/line.h"
#include "broker/state.h"
#include "broker/stock.h"
#include "broker/warm.h"
#include "core/pool.h"
#include "core/program.h"
#include "core/target.h"
#include "core/usage.h"
#include "image/ensure.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define POOL_MAX_EACH 8 /* VMs of the pool for each processor */
#define POOL_MAX 64
/* Threads of leases. A front asks for as many VMs as there are places and programs that may wait, and a few lists. */
#define LEASES_MAX 4096

struct broker {
    struct broker_options options;
    struct host host;
    struct warm *warm;
    struct admission *admission;
    struct gate makers;
    unsigned pool_max; /* 0: no pool */

    pthread_mutex_t lock;
    pthread_cond_t left;
    unsigned leases; /* threads of them */
};

/* One thing that is wanted. */
struct errand {
    struct broker *broker;
    struct line_request request;
    struct call call; /* cancelled by the lease, which is readable when it was closed */
    int lease;        /* owned */
};

/* ---- answers ------------------------------------------------------------------------------------- */

static void tell(const struct errand *r, const struct line_reply *reply, const void *env, int passed)
{
    struct error gone = {0};

    if (line_send_reply(r->lease, reply, env, passed, &gone) < 0)
        log_debug("trace_id=%s: %s", r->call.trace_id, gone.text);
}

static void tell_failure(const struct errand *r, const struct error *e)
{
    tell(r, &(struct line_reply){.answer = LINE_FAILED, .error = *e}, NULL, -1);
}

/* Takes the reference; NULL: e says why. */
static void tell_json(const struct errand *r, json_t *j, struct error *e)
{
    cleanup_free char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    cleanup_fd int fd = text ? memfd_create("answer", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;

    json_decref(j);
    if (text && (fd < 0 || file_write_fd(fd, text, strlen(text)) < 0 || file_seal(fd) < 0))
        error_errno(e, "cannot hold the answer");
    if (e->kind)
        tell_failure(r, e);
    else
        tell(r, &(struct line_reply){.answer = LINE_JSON}, NULL, fd);
}

/* ---- what VMs are made from ---------------------------------------------------------------------- */

/* The next power of two, or max, which n is not above. */
static uint64_t round_up(uint64_t n, uint64_t max)
{
    uint64_t ret = 1;

    while (ret < n)
        ret *= 2;
    return ret < max ? ret : max;
}

/* Every shape of a restored VM is a snapshot in the store, and clients choose: so there are few shapes. */
static void choose_shape(const struct broker *b, const struct language *l, struct vm_shape *wish)
{
    const struct vm_shape *max = &b->options.shape_max;

    if (wish->memory_mib && wish->memory_mib != l->shape.memory_mib)
        wish->memory_mib = round_up(wish->memory_mib, max->memory_mib);
    if (wish->vcpus && wish->vcpus != l->shape.vcpus)
        wish->vcpus = round_up(wish->vcpus, max->vcpus);
    if (wish->disk_mib)
        wish->disk_mib = round_up(wish->disk_mib, max->disk_mib);
}

/* A VM that does not come up in less memory than its language has: the request makes no sense. */
static void blame_size(const struct target_wish *wish, const struct language *l, struct error *e)
{
    uint64_t memory = wish->shape.memory_mib;

    if (memory == 0 || memory >= l->shape.memory_mib ||
        (e->kind != ERROR_GENERAL && e->kind != ERROR_VM_LOST))
        return;
    error_wrap(e, "%s has %llu MiB where nothing else is asked for, and failed with %llu", l->name,
               (unsigned long long)l->shape.memory_mib, (unsigned long long)memory);
    e->kind = ERROR_USAGE;
}

/* Opens what is there at once; where image or snapshot have to be made, so many at a time. */
static int open_target(struct errand *r, struct target_wish *wish, struct run_target *ret, struct error *e)
{
    struct broker *b = r->broker;
    int64_t deadline = deadline_in_ms(r->request.wait_ms);

    wish->make_nothing = wish->start != TARGET_RESTORE_ANEW;
    if (wish->make_nothing &&
        (target_open(ret, &b->host, &r->call, wish, e) == 0 || e->kind != ERROR_NOT_MADE))
        return e->kind ? -1 : 0;
    *e = (struct error){0};
    wish->make_nothing = false;
    if (gate_enter(&b->makers, deadline, &r->call.cancel, e) < 0)
        return -1;
    int result = target_open(ret, &b->host, &r->call, wish, e);
    gate_leave(&b->makers);
    return result;
}

/* ---- a VM, for as long as its lease lives -------------------------------------------------------- */

/* One that somebody holds: the pool's, or made for this lease. */
struct holding {
    struct machine *machine;
    const struct run_target *target;
    struct pool_vm *pooled; /* NULL: it is one of its own, as follows */
    struct machine own_machine;
    struct run_target own_target;
    struct error words; /* what became of it, once that was asked for or it was lost */
};

static void give_back(struct errand *r, struct holding *h)
{
    if (h->pooled) {
        pool_discard(warm_pool(r->broker->warm), h->pooled);
    } else {
        machine_destroy(&h->own_machine);
        target_done(&h->own_target);
    }
}

static bool fits_pool(const struct errand *r, const struct language *l)
{
    const struct line_request *q = &r->request;

    return r->broker->pool_max > 0 && !q->session && q->start == TARGET_RESTORE && q->shape.disk_mib == 0 &&
           shape_equal(shape_or(q->shape, l->shape), l->shape);
}

static void explain_holding(struct holding *h)
{
    if (h->words.kind)
        return;
    h->words = (struct error){.kind = ERROR_VM_LOST, .text = "the guest went away"};
    machine_explain(h->machine, &h->words);
}

/* The VMM stopped its guest, or has ended: then the guest's connection must end too, for the holder to see. */
static bool is_lost(struct holding *h, const struct pollfd *fds)
{
    const struct guest *g = &h->machine->guest;

    return fds[1].revents || (fds[2].revents && (!g->vmm_stopped || g->vmm_stopped(g->vmm_fd)));
}

/* Until the lease is closed. */
static void attend(struct errand *r, struct holding *h)
{
    struct pollfd fds[3] = {{.fd = r->lease, .events = POLLIN},
                            {.fd = h->machine->guest.vmm_pidfd, .events = POLLIN},
                            {.fd = h->machine->guest.vmm_fd, .events = POLLIN}};
    struct line_note note;
    struct error e = {0};

    while (deadline_poll(fds, 3, DEADLINE_NEVER, NULL, &e) >= 0) {
        if (is_lost(h, fds)) {
            explain_holding(h);
            child_kill(&h->machine->vm.vmm);
            fds[1].fd = fds[2].fd = -1;
        }
        if (!fds[0].revents)
            continue;
        if (line_receive_note(r->lease, &note, &e) < 0)
            break;
        if (note.explain) {
            explain_holding(h);
            tell(r, &(struct line_reply){.answer = LINE_WORDS, .error = h->words}, NULL, -1);
        } else {
            life_because(&h->machine->life, note.why, note.detail);
        }
    }
}

static void hand_over(struct errand *r, struct holding *h, int64_t load_ns)
{
    const struct guest *g = &h->machine->guest;
    cleanup_buffer struct buffer env = {0};
    struct line_reply reply = {.answer = LINE_HAVE,
                               .vm = {.life = h->machine->life,
                                      .features = g->features,
                                      .primed_job = r->request.session ? 0 : h->target->snapshot.primed_job,
                                      .load_ns = load_ns}};

    for (unsigned i = 0; i < h->target->language.env_count; i++)
        buffer_add(&env, h->target->language.env[i], strlen(h->target->language.env[i]) + 1);
    reply.vm.env_size = (uint32_t)env.size;
    reply.vm.life.driver = reply.vm.life.accel = NULL;
    snprintf(reply.vm.build, sizeof(reply.vm.build), "%s", g->build);
    snprintf(reply.vm.driver, sizeof(reply.vm.driver), "%s", h->machine->life.driver);
    snprintf(reply.vm.accel, sizeof(reply.vm.accel), "%s", h->machine->life.accel);
    tell(r, &reply, env.data, g->fd);
    attend(r, h);
}

/* The interpreter that waits for one program knows nothing of a session's. */
static int clear_for_session(struct errand *r, struct holding *h, struct error *e)
{
    struct machine *m = h->machine;
    uint32_t job = h->target->snapshot.primed_job;
    int64_t deadline = deadline_in_ms((int64_t)r->broker->host.config.boot_timeout * 1000);

    if (!r->request.session)
        return 0;
    if (job && (guest_end_job(&m->guest, job, deadline, e) < 0 ||
                guest_remove(&m->guest, PROGRAM_DIRECTORY, deadline, e) < 0))
        return -1;
    return program_prepare(&m->guest, deadline, e);
}

static int take_pooled(struct errand *r, struct pool_target *t, struct holding *h, int64_t deadline,
                       struct error *e)
{
    if (pool_take(warm_pool(r->broker->warm), t, deadline, &r->call.cancel, &h->pooled, e) < 0)
        return -1;
    h->machine = pool_machine(h->pooled);
    h->target = pool_run_target(t);
    return 0;
}

static int make_own(struct errand *r, const struct target_wish *wish, struct holding *h, struct error *e)
{
    h->machine = &h->own_machine;
    h->target = &h->own_target;
    if (target_load_first(&h->own_target, &h->own_machine, &r->broker->host, &r->call, wish, e) < 0)
        return -1;
    if (clear_for_session(r, h, e) == 0)
        return 0;
    give_back(r, h);
    return -1;
}

/* With what it is made from; t NULL: not from the pool. */
static int hold(struct errand *r, const struct target_wish *wish, struct pool_target *t, struct holding *h,
                struct error *e)
{
    struct broker *b = r->broker;
    int64_t start = clock_monotonic_ns(), deadline = deadline_in_ms(r->request.wait_ms);
    const struct admission_wish place = {.owner = r->request.owner,
                                         .kind = t                    ? ADMISSION_POOLED
                                                 : r->request.session ? ADMISSION_SESSION
                                                                      : ADMISSION_OWN,
                                         .shape =
                                             t ? pool_run_target(t)->spec.shape : h->own_target.spec.shape};

    if (admission_enter(b->admission, &place, deadline, &r->call.cancel, e) < 0)
        return -1;
    if (!t)
        tell(r, &(struct line_reply){.answer = LINE_TURN}, NULL, -1);
    int result = t ? take_pooled(r, t, h, deadline, e) : make_own(r, wish, h, e);
    if (result == 0) {
        const struct vm_life *l = &h->machine->life;
        hand_over(r, h, t ? clock_monotonic_ns() - start : l->ready_ns - l->begun_ns);
        give_back(r, h);
    }
    admission_leave(b->admission, &place);
    return result;
}

/* The front has checked it; a front that was taken over has not. */
static int check_shape(const struct broker *b, const struct vm_shape *s, struct error *e)
{
    const struct vm_shape *max = &b->options.shape_max;

    if (s->memory_mib <= max->memory_mib && s->vcpus <= max->vcpus && s->disk_mib <= max->disk_mib)
        return 0;
    return error_set(e, ERROR_USAGE,
                     "the VM may have %llu MiB of memory, %llu vCPUs and %llu MiB of disk at most",
                     (unsigned long long)max->memory_mib, (unsigned long long)max->vcpus,
                     (unsigned long long)max->disk_mib);
}

static void serve_vm(struct errand *r)
{
    struct broker *b = r->broker;
    struct target_wish wish = {
        .language = r->request.language, .shape = r->request.shape, .start = r->request.start};
    struct holding h = {.own_machine = MACHINE_NONE};
    struct pool_target *t = NULL;
    struct error e = {0};
    struct language l;
    bool made;
    int result = 0;

    if (language_find(&l, b->host.config.data, wish.language, &e) < 0) {
        tell_failure(r, &e);
        return;
    }
    if (wish.start != TARGET_BOOT)
        choose_shape(b, &l, &wish.shape);
    if (fits_pool(r, &l))
        result = warm_target(b->warm, &r->call, l.name, deadline_in_ms(r->request.wait_ms), &t, &made, &e);
    if (result == 0 && !t)
        result = open_target(r, &wish, &h.own_target, &e);
    if (result == 0)
        result = hold(r, &wish, t, &h, &e);
    if (result < 0) {
        if (!t)
            blame_size(&wish, &l, &e);
        target_done(&h.own_target);
        tell_failure(r, &e);
    }
    language_done(&l);
}

/* ---- images and snapshots ------------------------------------------------------------------------ */

static void serve_image(struct errand *r)
{
    struct broker *b = r->broker;
    struct image image = {0};
    struct error e = {0};
    struct language l;
    json_t *j = NULL;

    if (language_find(&l, b->host.config.data, r->request.language, &e) == 0) {
        if (gate_enter(&b->makers, deadline_in_ms(r->request.wait_ms), &r->call.cancel, &e) == 0) {
            if (image_ensure(&image, &b->host.config, &b->host.home, &l, r->request.force, &r->call.cancel,
                             &e) == 0)
                j = stock_image(&image);
            gate_leave(&b->makers);
        }
        warm_forget(b->warm);
        image_done(&image);
        language_done(&l);
    }
    tell_json(r, j, &e);
}

static void serve_snapshot(struct errand *r)
{
    struct broker *b = r->broker;
    struct target_wish wish = {
        .language = r->request.language, .shape = r->request.shape, .start = r->request.start};
    struct run_target target = {0};
    struct error e = {0};
    struct language l;
    json_t *j = NULL;

    if (language_find(&l, b->host.config.data, wish.language, &e) == 0) {
        choose_shape(b, &l, &wish.shape);
        if (open_target(r, &wish, &target, &e) == 0) {
            j = stock_snapshot(&target.snapshot);
            json_object_set_new(j, "made", json_boolean(target.made));
        } else {
            blame_size(&wish, &l, &e);
        }
        warm_forget(b->warm);
        target_done(&target);
        language_done(&l);
    }
    tell_json(r, j, &e);
}

/* ---- the line ------------------------------------------------------------------------------------ */

static void serve(struct errand *r)
{
    const struct host *host = &r->broker->host;
    struct error e = {0};

    if (check_shape(r->broker, &r->request.shape, &e) < 0) {
        tell_failure(r, &e);
        return;
    }
    switch ((enum line_kind)r->request.kind) {
    case LINE_VM:
        serve_vm(r);
        break;
    case LINE_IMAGE:
        serve_image(r);
        break;
    case LINE_SNAPSHOT:
        serve_snapshot(r);
        break;
    case LINE_IMAGES:
        tell_json(r, stock_images(host, &e), &e);
        break;
    case LINE_SNAPSHOTS:
        tell_json(r, stock_snapshots(host, &e), &e);
        break;
    case LINE_LANGUAGES:
        tell_json(r, stock_languages(host, &e), &e);
        break;
    case LINE_LANGUAGE:
        tell_json(r, stock_language(host, r->request.language, &e), &e);
        break;
    case LINE_STATE:
        tell_json(r, state_json(warm_pool(r->broker->warm), r->broker->admission), &e);
        break;
    case LINE_KINDS_COUNT:
        break;
    }
}

static void end_errand(struct errand *r, bool counted)
{
    struct broker *b = r->broker;

    close_fd(&r->lease);
    free(r);
    pthread_mutex_lock(&b->lock);
    b->leases -= counted;
    pthread_cond_signal(&b->left);
    pthread_mutex_unlock(&b->lock);
}

static void *run_errand(void *errand)
{
    serve(errand);
    end_errand(errand, true);
    return NULL;
}

/* Counts one more; false: there are as many as may be. */
static bool add_lease(struct broker *b)
{
    pthread_mutex_lock(&b->lock);
    bool room = b->leases < LEASES_MAX;
    b->leases += room;
    pthread_mutex_unlock(&b->lock);
    return room;
}

/* A thread for each, which nobody joins: broker_serve() counts them. */
static void start_errand(struct broker *b, struct errand *r)
{
    bool counted = add_lease(b);
    struct error e = {0};
    pthread_t thread;

    if (!counted) {
        error_set(&e, ERROR_BUSY, "%d things are wanted at a time already", LEASES_MAX);
    } else if (thread_start(&thread, run_errand, r, &e) == 0) {
        pthread_detach(thread);
        return;
    }
    e.kind = ERROR_BUSY;
    tell_failure(r, &e);
    end_errand(r, counted);
}

void broker_serve(struct broker *b, int line_fd)
{
    struct error e = {0};

    while (deadline_wait_fd(line_fd, POLLIN, DEADLINE_NEVER, NULL, &e) > 0) {
        struct errand *r = memory_allocate(sizeof(*r));
        *r = (struct errand){.broker = b, .lease = -1};
        if (line_receive_request(line_fd, &r->request, &r->lease, &e) < 0) {
            free(r);
            if (e.kind == ERROR_CANCELLED) /* the other end is closed */
                break;
            log_warning("%s", e.text);
            e = (struct error){0};
            continue;
        }
        r->call = CALL(r->lease);
        snprintf(r->call.trace_id, sizeof(r->call.trace_id), "%s", r->request.trace_id);
        start_errand(b, r);
    }
    pthread_mutex_lock(&b->lock);
    while (b->leases > 0)
        pthread_cond_wait(&b->left, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

/* ---- opening ------------------------------------------------------------------------------------- */

unsigned broker_pool_max(const struct config *c)
{
    unsigned max = usage_processors() * POOL_MAX_EACH;

    if (strcmp(c->pool, "off") == 0)
        return 0;
    return c->pool_max ? (unsigned)c->pool_max : max < POOL_MAX ? max : POOL_MAX;
}

/* LANG[=N], a word of the setting "pool", which is changed. */
static int keep(struct broker *b, char *word, struct error *e)
{
    char *number = strchr(word, '=');
    uint64_t size = 1;
    struct language l;

    if (number)
        *number++ = '\0';
    if (number && !text_to_u64(number, 1, 1000, &size))
        return error_set(e, ERROR_USAGE, "pool: %.64s=%.64s: the number of VMs must be 1 to 1000", word,
                         number);
    if (language_find(&l, b->host.config.data, word, e) < 0)
        return error_wrap(e, "pool");
    int result = warm_keep(b->warm, l.name, (unsigned)size, e);
    language_done(&l);
    return result;
}

static int keep_all(struct broker *b, struct error *e)
{
    cleanup_free char *list = text_copy(b->host.config.pool);
    char *state = NULL;
    int result = 0;

    if (!b->pool_max)
        return 0;
    for (char *word = strtok_r(list, ",", &state); word && result == 0; word = strtok_r(NULL, ",", &state))
        result = keep(b, text_trim(word), e);
    return result;
}

/* What is left open: of the machine's memory and of the disk's room what others should not miss. */
static struct admission_bounds complete_bounds(struct admission_bounds given, const struct home *h)
{
    uint64_t memory = usage_memory_total() >> 20, disk = usage_disk_available(h->path) >> 20;

    given.memory_mib = given.memory_mib ? given.memory_mib : memory - memory / 8;
    given.disk_mib = given.disk_mib ? given.disk_mib : disk - disk / 8;
    return given;
}

int broker_open(struct broker **ret, const struct config *config, const struct broker_options *options,
                struct error *e)
{
    struct broker *b = memory_allocate(sizeof(*b));
    struct config copy;

    config_copy(&copy, config);
    b->options = *options;
    b->pool_max = broker_pool_max(config);
    if (host_open(&b->host, &copy, e) < 0) {
        free(b);
        return -1;
    }
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->left, NULL);
    gate_open(&b->makers, options->makers, options->makers_waiting, "nobody was free to make it");
    b->options.bounds = complete_bounds(options->bounds, &b->host.home);
    b->admission = admission_open(&b->options.bounds, options->shared);
    b->warm = warm_open(
        &b->host, &(struct warm_options){b->pool_max, options->bounds.waiting, config->pool_memory << 20});
    if (!host_confinement(&b->host, e) || keep_all(b, e) < 0) {
        broker_close(b);
        return -1;
    }
    *ret = b;
    return 0;
}

struct host *broker_host(struct broker *b)
{
    return &b->host;
}

void broker_close(struct broker *b)
{
    if (!b)
        return;
    warm_close(b->warm);
    admission_close(b->admission);
    gate_close(&b->makers);
    pthread_cond_destroy(&b->left);
    pthread_mutex_destroy(&b->lock);
    host_close(&b->host);
    free(b);
}

void broker_warm(struct broker *b, int cancel_fd)
{
    const struct call call = call_begin(cancel_fd);
    cleanup_free char *list = text_copy(b->host.config.pool);
    char *state = NULL;

    for (char *word = strtok_r(list, ",", &state); word && b->pool_max; word = strtok_r(NULL, ",", &state)) {
        struct pool_target *t;
        struct error e = {0};
        bool made;
        word[strcspn(word, "=")] = '\0';
        if (warm_target(b->warm, &call, text_trim(word), DEADLINE_NEVER, &t, &made, &e) == 0)
            continue;
        if (e.kind == ERROR_CANCELLED)
            return;
        log_warning("the pool has no %s: %s", word, e.text);
    }
}
