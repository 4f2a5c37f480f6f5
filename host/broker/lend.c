/* VMs that are lent: each for as long as its lease lives. */
#include "broker/errand.h"

#include "base/cleanup.h"
#include "core/command.h"
#include "core/pool.h"
#include "core/program.h"

#include <string.h>

/* One that somebody holds: the pool's, or made for this lease. */
struct holding {
    struct machine *machine;
    const struct run_target *target;
    struct pool_vm *pooled; /* NULL: it is one of its own, as follows */
    struct machine own_machine;
    struct run_target own_target;
    struct error words; /* what became of it, once that was asked for or it was lost */
    struct keep keep;   /* of an image, where changes may be kept */
};

/* The VM is not needed any more. */
static void keep(struct errand *r, struct holding *h)
{
    struct run_result kept = {.kept = RUN_KEPT_KEPT};
    struct line_reply reply = {.answer = LINE_KEPT};

    machine_destroy(&h->own_machine);
    if (h->keep.disk)
        command_adopt(&h->keep, &r->broker->host, &r->call, &h->target->image, &kept);
    else
        command_not_kept(&kept, RUN_KEPT_ERROR, "nothing was to be kept");
    reply.kept.kept = kept.kept;
    snprintf(reply.kept.image, sizeof(reply.kept.image), "%s", kept.kept_image);
    snprintf(reply.kept.note, sizeof(reply.kept.note), "%s", kept.kept_note);
    errand_tell(r, &reply, NULL, -1);
}

static void give_back(struct errand *r, struct holding *h)
{
    if (h->pooled) {
        pool_discard(warm_pool(r->broker->warm), h->pooled);
    } else {
        machine_destroy(&h->own_machine);
        target_done(&h->own_target);
    }
}

/* Clients make up variants: the pool has those that the settings name. */
static bool fits_pool(const struct errand *r, const struct language *l)
{
    const struct line_request *q = &r->request;

    if (l->variant && !warm_knows(r->broker->warm, l->name))
        return false;
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
        if (note.wish == LINE_KEEP && !h->pooled) {
            keep(r, h);
            return;
        }
        if (note.wish == LINE_EXPLAIN) {
            explain_holding(h);
            errand_tell(r, &(struct line_reply){.answer = LINE_WORDS, .error = h->words}, NULL, -1);
        } else {
            life_because(&h->machine->life, note.why, note.detail);
        }
    }
}

static void list_lent(struct broker *b, struct lent *l)
{
    pthread_mutex_lock(&b->lock);
    l->next = b->lent;
    b->lent = l;
    pthread_mutex_unlock(&b->lock);
}

static void unlist_lent(struct broker *b, struct lent *l)
{
    pthread_mutex_lock(&b->lock);
    struct lent **place = &b->lent;
    while (*place != l)
        place = &(*place)->next;
    *place = l->next;
    pthread_mutex_unlock(&b->lock);
}

static void add_variables(const struct run_target *t, struct buffer *env)
{
    char *const *of_image = t->bare_root ? t->image.defaults.env : NULL;

    for (unsigned i = 0; i < t->language.env_count; i++)
        buffer_add(env, t->language.env[i], strlen(t->language.env[i]) + 1);
    for (; of_image && *of_image && env->size + strlen(*of_image) < LINE_ENV_MAX; of_image++)
        buffer_add(env, *of_image, strlen(*of_image) + 1);
}

/* What is too long to be told is a mistake of the image, and as if it said nothing. */
static void describe_image(const struct image *i, unsigned fold, struct line_vm *ret)
{
    const char *workdir = i->defaults.workdir, *user = i->defaults.user;

    if (workdir && strlen(workdir) < sizeof(ret->workdir))
        snprintf(ret->workdir, sizeof(ret->workdir), "%s", workdir);
    if (user && strlen(user) < sizeof(ret->user))
        snprintf(ret->user, sizeof(ret->user), "%s", user);
    memcpy(ret->uuid, i->uuid, sizeof(ret->uuid));
    ret->fold = fold;
}

static void hand_over(struct errand *r, struct holding *h, int64_t load_ns)
{
    const struct guest *g = &h->machine->guest;
    cleanup_buffer struct buffer env = {0};
    struct line_reply reply = {.answer = LINE_HAVE,
                               .vm = {.life = h->machine->life,
                                      .features = g->features,
                                      .primed_job = r->request.session ? 0 : h->target->snapshot.primed_job,
                                      .imported = h->target->language.imported,
                                      .load_ns = load_ns}};

    add_variables(h->target, &env);
    if (r->request.image.reference[0])
        describe_image(&h->target->image, h->keep.fold, &reply.vm);
    reply.vm.env_size = (uint32_t)env.size;
    reply.vm.life.driver = reply.vm.life.accel = NULL;
    snprintf(reply.vm.build, sizeof(reply.vm.build), "%s", g->build);
    snprintf(reply.vm.driver, sizeof(reply.vm.driver), "%s", h->machine->life.driver);
    snprintf(reply.vm.accel, sizeof(reply.vm.accel), "%s", h->machine->life.accel);
    errand_tell(r, &reply, env.data, g->fd);
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

/* Programs that want VMs of their own are no more than one to other clients' programs, nearly. */
static void stand_back_with_more(const struct errand *r)
{
    const struct broker *b = r->broker;

    if (b->options.shared && admission_used(b->admission, r->request.owner).vms[ADMISSION_OWN] > 1)
        thread_stand_back();
}

static int make_own(struct errand *r, const struct target_wish *wish, struct holding *h, struct error *e)
{
    if (!r->request.session)
        stand_back_with_more(r);
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
        errand_tell(r, &(struct line_reply){.answer = LINE_TURN}, NULL, -1);
    int result = t ? take_pooled(r, t, h, deadline, e) : make_own(r, wish, h, e);
    if (result == 0) {
        const struct vm_life *l = &h->machine->life;
        struct lent lent = {.vm = {.id = l->id,
                                   .trace_id = r->call.trace_id,
                                   .language = h->target->language.name,
                                   .place = &place,
                                   .pid = l->pid,
                                   .since_ns = clock_monotonic_ns()}};
        list_lent(b, &lent);
        hand_over(r, h, t ? clock_monotonic_ns() - start : l->ready_ns - l->begun_ns);
        unlist_lent(b, &lent);
        give_back(r, h);
    }
    admission_leave(b->admission, &place);
    return result;
}

/* A VM of any image, with a disk whose changes can be kept where that is wanted. */
static void lend_image(struct errand *r)
{
    struct broker *b = r->broker;
    struct target_wish wish = {
        .image = r->request.image.reference, .shape = r->request.shape, .start = r->request.start};
    struct holding h = {.own_machine = MACHINE_NONE};
    struct error e = {0};
    int result = 0;

    errand_choose_shape(b, (struct vm_shape){0}, &wish.shape);
    if (r->request.keep) {
        wish.shape.disk_mib = wish.shape.disk_mib ? wish.shape.disk_mib : KEEP_DISK_MIB;
        result = keep_begin(&h.keep, &b->host, &r->call, wish.shape.disk_mib, r->request.max_layer, &e);
        wish.disk = h.keep.disk;
    }
    if (result == 0)
        result = errand_open_target(r, &wish, &h.own_target, &e);
    if (result == 0) {
        h.keep.fold = keep_fold_count(&h.own_target.image);
        result = hold(r, &wish, NULL, &h, &e);
    }
    if (result < 0) {
        target_done(&h.own_target);
        errand_fail(r, &e);
    }
    keep_done(&h.keep);
}

static void lend_language(struct errand *r)
{
    struct broker *b = r->broker;
    struct target_wish wish = {
        .language = r->request.language, .shape = r->request.shape, .start = r->request.start};
    struct holding h = {.own_machine = MACHINE_NONE};
    struct pool_target *t = NULL;
    struct error e = {0};
    struct language l;
    int result = 0;

    if (language_find(&l, b->host.config.data, wish.language, &e) < 0) {
        errand_fail(r, &e);
        return;
    }
    if (wish.start != TARGET_BOOT)
        errand_choose_shape(b, l.shape, &wish.shape);
    if (fits_pool(r, &l))
        result = warm_target(b->warm, &r->call, l.name, deadline_in_ms(r->request.wait_ms),
                             &(struct warm_maker){errand_make, r}, &t, &e);
    if (result == 0 && !t)
        result = errand_open_target(r, &wish, &h.own_target, &e);
    if (result == 0)
        result = hold(r, &wish, t, &h, &e);
    if (result < 0) {
        if (!t)
            errand_blame_size(&wish, &l, &e);
        target_done(&h.own_target);
        errand_fail(r, &e);
    }
    language_done(&l);
}

void lend_vm(struct errand *r)
{
    (r->request.image.reference[0] ? lend_image : lend_language)(r);
}
