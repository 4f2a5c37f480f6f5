#include "broker/errand.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "image/ensure.h"
#include "image/tags.h"

#include <string.h>

/* ---- answers ------------------------------------------------------------------------------------- */

void errand_tell(const struct errand *r, const struct line_reply *reply, const void *env, int passed)
{
    struct error gone = {0};

    if (line_send_reply(r->lease, reply, env, passed, &gone) < 0)
        log_debug("trace_id=%s: %s", r->call.trace_id, gone.text);
}

void errand_fail(const struct errand *r, const struct error *e)
{
    errand_tell(r, &(struct line_reply){.answer = LINE_FAILED, .error = *e}, NULL, -1);
}

/* Takes the reference; NULL: e says why. */
void errand_tell_json(const struct errand *r, json_t *j, struct error *e)
{
    cleanup_free char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    cleanup_fd int fd = text ? file_sealed("answer", text, strlen(text)) : -1;

    json_decref(j);
    if (text && fd < 0)
        error_errno(e, "cannot hold the answer");
    if (e->kind)
        errand_fail(r, e);
    else
        errand_tell(r, &(struct line_reply){.answer = LINE_JSON}, NULL, fd);
}

void errand_tell_stock(const struct errand *r, const struct stock_pack *p, struct error *e)
{
    cleanup_fd int fd = e->kind ? -1 : stock_pack_seal(p, e);

    if (fd < 0)
        errand_fail(r, e);
    else
        errand_tell(r, &(struct line_reply){.answer = LINE_STOCK}, NULL, fd);
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
void errand_choose_shape(const struct broker *b, struct vm_shape usual, struct vm_shape *wish)
{
    const struct vm_shape *max = &b->options.shape_max;

    if (wish->memory_mib && wish->memory_mib != usual.memory_mib)
        wish->memory_mib = round_up(wish->memory_mib, max->memory_mib);
    if (wish->vcpus && wish->vcpus != usual.vcpus)
        wish->vcpus = round_up(wish->vcpus, max->vcpus);
    if (wish->disk_mib)
        wish->disk_mib = round_up(wish->disk_mib, max->disk_mib);
}

/* A VM that does not come up in less memory than its language has: the request makes no sense. */
void errand_blame_size(const struct target_wish *wish, const struct language *l, struct error *e)
{
    uint64_t memory = wish->shape.memory_mib;

    if (memory == 0 || memory >= l->shape.memory_mib ||
        (e->kind != ERROR_GENERAL && e->kind != ERROR_VM_LOST))
        return;
    error_wrap(e, "%s has %llu MiB where nothing else is asked for, and failed with %llu", l->name,
               (unsigned long long)l->shape.memory_mib, (unsigned long long)memory);
    e->kind = ERROR_USAGE;
}

static struct admission_wish making_place(const struct errand *r)
{
    return (struct admission_wish){.owner = r->request.owner, .kind = ADMISSION_MAKING};
}

static int is_image_there(const struct host *host, const struct language *l, struct error *e)
{
    struct image image;
    int found = image_find_current(&image, &host->config, &host->home, l->name, &l->recipe, e);

    image_done(&image);
    return found;
}

/* Anybody can name packages, so images of them are made only where that is wanted. */
static int check_packages(const struct errand *r, struct error *e)
{
    const struct config *c = &r->broker->host.config;
    const char *name =
        r->request.language[0] ? r->request.language : image_reference_language(r->request.image.reference);
    struct language l;

    if (c->make_packages || !name || language_find(&l, c->data, name, e) < 0)
        return e->kind ? -1 : 0;
    int there = l.variant && !r->request.force ? is_image_there(&r->broker->host, &l, e) : !l.variant;
    int result = there > 0 ? 0 : -1;
    if (there == 0)
        error_set(
            e, ERROR_UNKNOWN_LANGUAGE,
            "there is no image of %s, and this server makes none for its clients (setting: make_packages)",
            l.name);
    language_done(&l);
    return result;
}

struct making {
    warm_making *make;
    void *context;
    int result;
    struct error *error;
};

static void *carry_out_making(void *making)
{
    struct making *m = making;

    m->result = m->make(m->context, m->error);
    return NULL;
}

int errand_make(void *errand, warm_making *make, void *context, struct error *e)
{
    struct errand *r = errand;
    struct admission *a = r->broker->admission;
    const struct admission_wish place = making_place(r);
    struct making m = {make, context, -1, e};

    if (check_packages(r, e) < 0 ||
        admission_enter(a, &place, deadline_in_ms(r->request.wait_ms), &r->call.cancel, e) < 0)
        return -1;
    int result = thread_run_behind(carry_out_making, &m, e);
    admission_leave(a, &place);
    return result < 0 ? -1 : m.result;
}

struct opening {
    struct errand *errand;
    const struct target_wish *wish;
    struct run_target *target;
};

static int open_target(void *opening, struct error *e)
{
    struct opening *o = opening;

    return target_open(o->target, &o->errand->broker->host, &o->errand->call, o->wish, e);
}

/* Opens what is there at once; where image or snapshot have to be made, so many at a time. */
int errand_open_target(struct errand *r, struct target_wish *wish, struct run_target *ret, struct error *e)
{
    struct broker *b = r->broker;

    wish->make_nothing = wish->start != TARGET_RESTORE_ANEW;
    if (wish->make_nothing &&
        (target_open(ret, &b->host, &r->call, wish, e) == 0 || e->kind != ERROR_NOT_MADE))
        return e->kind ? -1 : 0;
    *e = (struct error){0};
    wish->make_nothing = false;
    return errand_make(r, open_target, &(struct opening){r, wish, ret}, e);
}
