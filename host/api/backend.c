#include "api/backend.h"

#include "api/gate.h"
#include "api/warm.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "core/program.h"
#include "core/snapshot.h"
#include "core/host.h"
#include "image/image.h"
#include "language/language.h"
#include "core/usage.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define POOL_MAX_EACH 8 /* VMs of the pool for each processor */
#define POOL_MAX 64

struct backend {
    struct backend_options options;
    struct host host;
    struct warm *warm;
    struct gate workers;
    unsigned pool_max; /* 0: no pool */
    atomic_ullong timeout;
    atomic_uint running, waiting;
};

/* ---- opening ------------------------------------------------------------------------------------- */

static unsigned pool_max(const struct config *c)
{
    unsigned max = usage_processors() * POOL_MAX_EACH;

    if (strcmp(c->pool, "off") == 0)
        return 0;
    return c->pool_max ? (unsigned)c->pool_max : max < POOL_MAX ? max : POOL_MAX;
}

static int keep(struct backend *b, char *word, struct error *e)
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

/* Calls visit with each word of the setting "pool", which it may change. */
static int each_kept(struct backend *b, int (*visit)(struct backend *b, char *word, struct error *e),
                     struct error *e)
{
    cleanup_free char *list = text_copy(b->host.config.pool);
    char *state = NULL;
    int result = 0;

    if (!b->pool_max)
        return 0;
    for (char *word = strtok_r(list, ",", &state); word && result == 0; word = strtok_r(NULL, ",", &state))
        result = visit(b, text_trim(word), e);
    return result;
}

int backend_open(struct backend **ret, const struct config *config, const struct backend_options *options,
                 struct error *e)
{
    struct backend *b = memory_allocate(sizeof(*b));
    struct config copy;

    config_copy(&copy, config);
    b->options = *options;
    b->pool_max = pool_max(config);
    b->timeout = config->timeout;
    uint64_t memory = config->pool_memory << 20;
    if (host_open(&b->host, &copy, e) < 0) {
        free(b);
        return -1;
    }
    if (!host_confinement(&b->host, e)) {
        host_close(&b->host);
        free(b);
        return -1;
    }
    gate_open(&b->workers, options->workers, options->max_waiting, "no worker was free");
    b->warm = warm_open(&b->host, &(struct warm_options){b->pool_max, options->max_waiting, memory});
    if (each_kept(b, keep, e) < 0) {
        backend_close(b);
        return -1;
    }
    *ret = b;
    return 0;
}

void backend_close(struct backend *b)
{
    if (!b)
        return;
    warm_close(b->warm);
    gate_close(&b->workers);
    host_close(&b->host);
    free(b);
}

void backend_warm(struct backend *b, int cancel_fd)
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

static void warn_of(const char *key, void *context)
{
    (void)context;
    if (strcmp(key, "timeout") != 0 && strcmp(key, "max_output") != 0)
        log_warning("the setting \"%s\" has changed; that takes a restart", key);
}

void backend_reload(struct backend *b, const struct config *fresh)
{
    b->timeout = fresh->timeout;
    config_compare(&b->host.config, fresh, warn_of, NULL);
}

/* ---- sizes of VMs ---------------------------------------------------------------------------------- */

/* The next power of two, or max, which n is not above. */
static uint64_t round_up(uint64_t n, uint64_t max)
{
    uint64_t ret = 1;

    while (ret < n)
        ret *= 2;
    return ret < max ? ret : max;
}

/* Every shape of a restored VM is a snapshot in the store, and clients choose: so there are few shapes. */
static void choose_shape(const struct backend *b, const struct language *l, struct vm_shape *wish)
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
static void blame_size(const char *language, uint64_t own, uint64_t memory, struct error *e)
{
    if (memory == 0 || memory >= own || (e->kind != ERROR_GENERAL && e->kind != ERROR_VM_LOST))
        return;
    error_wrap(e, "%s has %llu MiB where nothing else is asked for, and failed with %llu", language,
               (unsigned long long)own, (unsigned long long)memory);
    e->kind = ERROR_USAGE;
}

/* ---- programs ------------------------------------------------------------------------------------ */

static bool fits_pool(const struct backend *b, const struct run_request *r, const struct language *l)
{
    return b->pool_max > 0 && !r->cold && r->shape.disk_mib == 0 &&
           shape_equal(shape_or(r->shape, l->shape), l->shape);
}

/* A run's turn has come. */
struct turn {
    struct backend *backend;
    struct backend_run *run;
    int64_t since;
};

static void turn_came(void *context)
{
    struct turn *t = context;

    t->run->wait_ns = clock_monotonic_ns() - t->since;
    t->backend->waiting--;
    t->backend->running++;
    t->run->turn = true;
    if (t->run->on_turn)
        t->run->on_turn(t->run->context);
}

static int run_pooled(struct backend *b, struct pool_target *t, const struct run_request *r,
                      struct backend_run *run, int64_t deadline, struct run_result *ret, struct error *e)
{
    struct turn turn = {b, run, clock_monotonic_ns()};

    return pool_run(warm_pool(b->warm), t, run->call, r, &(struct pool_turn){deadline, turn_came, &turn}, ret,
                    e);
}

static int run_alone(struct backend *b, const struct run_request *r, struct backend_run *run,
                     int64_t deadline, struct run_result *ret, struct error *e)
{
    struct turn turn = {b, run, clock_monotonic_ns()};

    if (gate_enter(&b->workers, deadline, &run->call->cancel, e) < 0)
        return -1;
    turn_came(&turn);
    int result = run_program(&b->host, run->call, r, ret, e);
    gate_leave(&b->workers);
    return result;
}

static int execute(struct backend *b, const struct run_request *r, const struct language *l,
                   struct backend_run *run, struct run_result *ret, struct error *e)
{
    int64_t deadline = deadline_in_ms(b->options.wait_ms);
    struct pool_target *t = NULL;
    bool made = false;

    if (run_check(r, l, e) < 0)
        return -1;
    if (fits_pool(b, r, l) && warm_target(b->warm, run->call, l->name, deadline, &t, &made, e) < 0)
        return -1;
    if (made)
        deadline = deadline_in_ms(b->options.wait_ms);
    return t ? run_pooled(b, t, r, run, deadline, ret, e) : run_alone(b, r, run, deadline, ret, e);
}

int backend_execute(struct backend *b, struct backend_run *run, struct run_result *ret, struct error *e)
{
    struct run_request r = *run->request;
    struct language l;

    *ret = (struct run_result){0};
    run->wait_ns = 0;
    run->turn = false;
    if (r.timeout == 0)
        r.timeout = b->timeout;
    if (run_find_language(&l, &b->host, &r, e) < 0)
        return -1;
    b->waiting++;
    if (!r.cold)
        choose_shape(b, &l, &r.shape);
    int result = execute(b, &r, &l, run, ret, e);
    if (result < 0)
        blame_size(l.name, l.shape.memory_mib, r.shape.memory_mib, e);
    if (run->turn)
        b->running--;
    else
        b->waiting--;
    language_done(&l);
    return result;
}

void backend_state(struct backend *b, unsigned *ret_running, unsigned *ret_waiting)
{
    *ret_running = b->running;
    *ret_waiting = b->waiting;
}

struct pool *backend_pool(struct backend *b)
{
    return warm_pool(b->warm);
}

unsigned backend_places(const struct backend *b)
{
    return b->pool_max + b->options.workers;
}

/* The interpreter that waits for one program knows nothing of a session's. */
static int clear_session(struct machine *m, struct run_target *t, int64_t deadline, struct error *e)
{
    if (t->snapshot.primed_job && guest_end_job(&m->guest, t->snapshot.primed_job, deadline, e) < 0)
        return -1;
    if (t->snapshot.primed_job && guest_remove(&m->guest, PROGRAM_DIRECTORY, deadline, e) < 0)
        return -1;
    t->snapshot.primed_job = 0;
    return program_prepare(&m->guest, deadline, e);
}

int backend_session(struct backend *b, const struct call *call, const struct run_request *request,
                    struct machine *ret, struct run_target *ret_target, struct error *e)
{
    struct target_wish wish = {request->language, request->shape, TARGET_RESTORE};
    struct language l;

    *ret = MACHINE_NONE;
    *ret_target = (struct run_target){0};
    if (language_find(&l, b->host.config.data, request->language, e) < 0)
        return -1;
    choose_shape(b, &l, &wish.shape);
    int result = target_open_and_load(ret_target, ret, &b->host, call, &wish, e);
    if (result < 0)
        blame_size(request->language, l.shape.memory_mib, wish.shape.memory_mib, e);
    language_done(&l);
    if (result == 0)
        result =
            clear_session(ret, ret_target, deadline_in_ms((int64_t)b->host.config.boot_timeout * 1000), e);
    if (result < 0) {
        machine_destroy(ret);
        target_done(ret_target);
    }
    return result;
}

const struct host *backend_host(const struct backend *b)
{
    return &b->host;
}

int backend_check_language(struct backend *b, const char *language, struct error *e)
{
    struct language l;

    if (language_find(&l, b->host.config.data, language, e) < 0)
        return -1;
    language_done(&l);
    return 0;
}

/* ---- languages ----------------------------------------------------------------------------------- */

/* The words of a list that may be NULL, after first, which may be NULL too. */
static json_t *words(const char *first, const char *list)
{
    cleanup_free char *copy = text_copy(list ? list : "");
    json_t *a = json_array();
    char *state = NULL;

    if (first)
        json_array_append_new(a, json_string(first));
    for (char *word = strtok_r(copy, ",", &state); word; word = strtok_r(NULL, ",", &state))
        json_array_append_new(a, json_string(text_trim(word)));
    return a;
}

static json_t *describe_language(struct backend *b, const struct language *l, struct error *e)
{
    const struct host *host = &b->host;
    int installed = image_is_current(&host->config, &host->home, l, e);

    if (installed < 0)
        return NULL;
    return json_pack("{s:s, s:s, s:o, s:s, s:o, s:s, s:b, s:b, s:I, s:I, s:b, s:s?, s:s?}", "name", l->name,
                     "title", l->title, "aliases", words(NULL, l->aliases), "extension", l->extension,
                     "extensions", words(l->extension, l->extensions), "source", l->source, "compiled",
                     l->build != NULL, "primed", (int)l->prime, "memory_mib", (json_int_t)l->shape.memory_mib,
                     "vcpus", (json_int_t)l->shape.vcpus, "installed", installed, "hello", l->hello, "expect",
                     l->expect);
}

struct listing {
    struct backend *backend;
    json_t *array;
};

static int add_language(const struct language *l, void *context, struct error *e)
{
    struct listing *list = context;
    json_t *j = describe_language(list->backend, l, e);

    return j ? json_array_append_new(list->array, j) : -1;
}

/* Takes the array: {key: array, "count": N}. */
static json_t *wrap(const char *key, json_t *array)
{
    return json_pack("{s:o, s:I}", key, array, "count", (json_int_t)json_array_size(array));
}

json_t *backend_languages(struct backend *b, struct error *e)
{
    struct listing list = {b, json_array()};

    if (language_each(b->host.config.data, add_language, &list, e) == 0)
        return wrap("languages", list.array);
    json_decref(list.array);
    return NULL;
}

json_t *backend_language(struct backend *b, const char *name, struct error *e)
{
    struct language l;

    if (language_find(&l, b->host.config.data, name, e) < 0)
        return NULL;
    json_t *j = describe_language(b, &l, e);
    language_done(&l);
    return j;
}

/* ---- images and snapshots ------------------------------------------------------------------------ */

/* Without paths: where the server keeps things is no client's business. */
static json_t *describe_image(const struct image *i)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:b}", "name", i->name, "digest", i->digest,
                     "size_bytes", (json_int_t)i->size, "allocated_bytes",
                     (json_int_t)file_allocated(i->path), "created", (json_int_t)i->created, "initd",
                     i->initd, "imported", i->oci != NULL);
}

static json_t *describe_snapshot(const struct snapshot *s)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:b, s:I, s:I}", "key", s->key, "language", s->language,
                     "memory_mib", (json_int_t)s->shape.memory_mib, "vcpus", (json_int_t)s->shape.vcpus,
                     "disk_mib", (json_int_t)s->shape.disk_mib, "primed", s->primed_job != 0,
                     "allocated_bytes", (json_int_t)s->allocated, "created", (json_int_t)s->created);
}

static int add_image(const struct image *i, void *context)
{
    return json_array_append_new(context, describe_image(i));
}

static int add_snapshot(const struct snapshot *s, void *context)
{
    return json_array_append_new(context, describe_snapshot(s));
}

json_t *backend_images(struct backend *b, struct error *e)
{
    json_t *array = json_array();

    if (image_each(&b->host.home, add_image, array, e) == 0)
        return wrap("images", array);
    json_decref(array);
    return NULL;
}

json_t *backend_snapshots(struct backend *b, struct error *e)
{
    json_t *array = json_array();

    if (snapshot_each(&b->host, add_snapshot, array, e) == 0)
        return wrap("snapshots", array);
    json_decref(array);
    return NULL;
}

json_t *backend_create_image(struct backend *b, const struct call *call, const struct body_create *what,
                             struct error *e)
{
    struct image image = {0};
    struct language l;
    json_t *j = NULL;

    if (language_find(&l, b->host.config.data, what->language, e) < 0)
        return NULL;
    if (image_ensure(&image, &b->host.config, &b->host.home, &l, what->force, &call->cancel, e) == 0)
        j = describe_image(&image);
    warm_forget(b->warm);
    image_done(&image);
    language_done(&l);
    return j;
}

json_t *backend_create_snapshot(struct backend *b, const struct call *call, const struct body_create *what,
                                struct error *e)
{
    struct target_wish wish = {what->language, what->shape,
                               what->force ? TARGET_RESTORE_ANEW : TARGET_RESTORE};
    struct run_target target;
    struct language l;
    json_t *j = NULL;

    if (language_find(&l, b->host.config.data, what->language, e) < 0)
        return NULL;
    choose_shape(b, &l, &wish.shape);
    if (target_open(&target, &b->host, call, &wish, e) == 0) {
        j = describe_snapshot(&target.snapshot);
        json_object_set_new(j, "made", json_boolean(target.made));
    } else {
        blame_size(l.name, l.shape.memory_mib, wish.shape.memory_mib, e);
    }
    warm_forget(b->warm);
    target_done(&target);
    language_done(&l);
    return j;
}
