#include "broker/broker.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/thread.h"
#include "broker/connect.h"
#include "broker/errand.h"
#include "broker/record.h"
#include "broker/stock.h"
#include "core/usage.h"
#include "image/ensure.h"

#include <stdlib.h>
#include <string.h>

#define POOL_MAX_EACH 8 /* VMs of the pool for each processor */
#define POOL_MAX 64
/* At a time, with a thread each. A front asks for as many VMs as there are places and programs that may wait, and a few lists. */
#define ERRANDS_MAX 4096

/* ---- images and snapshots ------------------------------------------------------------------------ */

struct building {
    struct errand *errand;
    const struct language *language;
    struct image *image;
};

static int build_image(void *building, struct error *e)
{
    struct building *m = building;
    struct host *host = &m->errand->broker->host;

    return image_ensure(m->image, &host->config, &host->home, m->language->name, &m->language->recipe,
                        m->errand->request.force, &m->errand->call.cancel, e);
}

static void serve_image(struct errand *r)
{
    struct broker *b = r->broker;
    struct stock_pack made = {0};
    struct image image = {0};
    struct error e = {0};
    struct language l;

    if (language_find(&l, b->host.config.data, r->request.language, &e) == 0) {
        if (errand_make(r, build_image, &(struct building){r, &l, &image}, &e) == 0)
            stock_pack_image(&made, &image);
        warm_forget(b->warm);
        image_done(&image);
        language_done(&l);
    }
    errand_tell_stock(r, &made, &e);
    stock_pack_done(&made);
}

static void serve_snapshot(struct errand *r)
{
    struct broker *b = r->broker;
    struct target_wish wish = {
        .language = r->request.language, .shape = r->request.shape, .start = r->request.start};
    struct stock_pack made = {0};
    struct run_target target = {0};
    struct error e = {0};
    struct language l;

    if (language_find(&l, b->host.config.data, wish.language, &e) == 0) {
        errand_choose_shape(b, l.shape, &wish.shape);
        if (errand_open_target(r, &wish, &target, &e) == 0)
            stock_pack_snapshot(&made, &target.snapshot, target.made);
        else
            errand_blame_size(&wish, &l, &e);
        warm_forget(b->warm);
        target_done(&target);
        language_done(&l);
    }
    errand_tell_stock(r, &made, &e);
    stock_pack_done(&made);
}

/* ---- lists --------------------------------------------------------------------------------------- */

static void serve_list(struct errand *r)
{
    const struct host *host = &r->broker->host;
    struct stock_pack all = {0};
    struct error e = {0};

    switch ((enum line_kind)r->request.kind) {
    case LINE_IMAGES:
        stock_pack_images(&all, host, &e);
        break;
    case LINE_SNAPSHOTS:
        stock_pack_snapshots(&all, host, &e);
        break;
    case LINE_LANGUAGES:
        stock_pack_languages(&all, host, &e);
        break;
    default:
        stock_pack_language(&all, host, r->request.language, &e);
    }
    errand_tell_stock(r, &all, &e);
    stock_pack_done(&all);
}

/* ---- the line ------------------------------------------------------------------------------------ */

/* The front has checked it; a front that was taken over has not. */
static int check_shape_broker(const struct broker *b, const struct vm_shape *s, struct error *e)
{
    const struct vm_shape *max = &b->options.shape_max;

    if (s->memory_mib <= max->memory_mib && s->vcpus <= max->vcpus && s->disk_mib <= max->disk_mib)
        return 0;
    return error_set(e, ERROR_USAGE,
                     "the VM may have %llu MiB of memory, %llu vCPUs and %llu MiB of disk at most",
                     (unsigned long long)max->memory_mib, (unsigned long long)max->vcpus,
                     (unsigned long long)max->disk_mib);
}

static void serve_broker(struct errand *r)
{
    struct error e = {0};

    if (check_shape_broker(r->broker, &r->request.shape, &e) < 0) {
        errand_fail(r, &e);
        return;
    }
    switch ((enum line_kind)r->request.kind) {
    case LINE_VM:
        lend_vm(r);
        break;
    case LINE_IMAGE:
        serve_image(r);
        break;
    case LINE_SNAPSHOT:
        serve_snapshot(r);
        break;
    case LINE_IMAGES:
    case LINE_SNAPSHOTS:
    case LINE_LANGUAGES:
    case LINE_LANGUAGE:
        serve_list(r);
        break;
    case LINE_RECORDS:
    case LINE_RECORD:
    case LINE_TAG:
    case LINE_UNTAG:
    case LINE_DROP:
        serve_records(r);
        break;
    case LINE_NETWORK:
        connect_guest(r);
        break;
    case LINE_STATE:
        errand_tell_json(r, state_json(warm_pool(r->broker->warm), r->broker->admission), &e);
        break;
    case LINE_KINDS_COUNT:
        break;
    }
}

static void end_errand(struct errand *r)
{
    close_fd(&r->lease);
    free(r);
}

static void run_errand(void *errand)
{
    serve_broker(errand);
    end_errand(errand);
}

/* A thread for each. */
static void start_errand(struct broker *b, struct errand *r)
{
    struct error e = {0};

    if (thread_group_start(&b->errands, run_errand, r, &e) == 0)
        return;
    errand_fail(r, &e);
    end_errand(r);
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
    thread_group_wait(&b->errands);
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
    thread_group_open(&b->errands, ERRANDS_MAX);
    pthread_mutex_init(&b->lock, NULL);
    b->options.bounds = complete_bounds(options->bounds, &b->host.home);
    b->admission = admission_open(&b->options.bounds, options->shared);
    b->warm = warm_open(
        &b->host, &(struct warm_options){b->pool_max, options->bounds.waiting, config->pool_memory << 20});
    b->reach = reach_open(options->net_policy, e);
    if (!b->reach || !host_confinement(&b->host, e) || keep_all(b, e) < 0) {
        broker_close(b);
        return -1;
    }
    *ret = b;
    return 0;
}

json_t *broker_state(struct broker *b)
{
    json_t *j = state_json(warm_pool(b->warm), b->admission), *vms = json_array();

    pthread_mutex_lock(&b->lock);
    for (const struct lent *l = b->lent; l; l = l->next)
        json_array_append_new(vms, state_vm_json(&l->vm));
    pthread_mutex_unlock(&b->lock);
    json_object_set_new(j, "vms", vms);
    return j;
}

int broker_reload(struct broker *b, struct error *e)
{
    return reach_reload(b->reach, e);
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
    reach_close(b->reach);
    thread_group_close(&b->errands);
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
        word[strcspn(word, "=")] = '\0';
        if (warm_target(b->warm, &call, text_trim(word), DEADLINE_NEVER, NULL, &t, &e) == 0)
            continue;
        if (e.kind == ERROR_CANCELLED)
            return;
        log_warning("the pool has no %s: %s", word, e.text);
    }
}
