#include "service/backend.h"

#include "base/cleanup.h"
#include "base/thread.h"
#include "service/stock_json.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#define STATE_MS 500 /* how often the broker is asked how it is */

struct backend {
    struct backend_options options;
    char *data; /* owned */
    pthread_t state_thread;
    bool asking;
    int stop_fd; /* an eventfd: the state is asked for no more */
    atomic_ullong timeout;
    atomic_uint running, waiting;

    pthread_mutex_t lock;
    json_t *state; /* owned reference; as it was last; NULL: never heard of */
};

/* ---- opening ------------------------------------------------------------------------------------- */

static void *ask_again_and_again(void *backend)
{
    struct backend *b = backend;
    const struct cancel stop = {.fd = b->stop_fd};
    struct error e = {0};

    do {
        struct error ignored = {0};
        json_t *fresh = backend_ask_state(b, &ignored);
        if (!fresh)
            continue;
        pthread_mutex_lock(&b->lock);
        json_decref(b->state);
        b->state = fresh;
        pthread_mutex_unlock(&b->lock);
    } while (deadline_poll(NULL, 0, deadline_in_ms(STATE_MS), &stop, &e) == 0);
    return NULL;
}

int backend_open(struct backend **ret, const struct backend_options *options, struct error *e)
{
    struct backend *b = memory_allocate(sizeof(*b));

    b->options = *options;
    b->data = text_copy(options->data);
    b->timeout = options->timeout;
    pthread_mutex_init(&b->lock, NULL);
    b->stop_fd = eventfd(0, EFD_CLOEXEC);
    int result = b->stop_fd < 0 ? error_errno(e, "the broker cannot be reached")
                                : thread_start(&b->state_thread, ask_again_and_again, b, e);
    b->asking = result == 0;
    if (result == 0)
        *ret = b;
    else
        backend_close(b);
    return result;
}

void backend_close(struct backend *b)
{
    if (!b)
        return;
    if (b->asking && eventfd_write(b->stop_fd, 1) == 0)
        pthread_join(b->state_thread, NULL);
    close_fd(&b->stop_fd);
    json_decref(b->state);
    free(b->data);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void backend_set_timeout(struct backend *b, uint64_t seconds)
{
    b->timeout = seconds;
}

uint64_t backend_timeout(const struct backend *b)
{
    return b->timeout;
}

/* ---- programs ------------------------------------------------------------------------------------ */

struct turn {
    struct backend *backend;
    struct backend_run *run;
};

static void turn_came(void *context)
{
    struct turn *t = context;

    t->backend->waiting--;
    t->backend->running++;
    t->run->turn = true;
    if (t->run->on_turn)
        t->run->on_turn(t->run->context);
}

static int command_leased(struct lease *lease, const struct run_site *site, const struct call *call,
                          const struct run_request *r, struct run_result *ret, struct error *e)
{
    const struct command_image image = lease_image(lease);

    if (command_in(site, &image, &lease->resident, call, r, ret, e) < 0)
        return -1;
    if (ret->kept == RUN_KEPT_KEPT)
        lease_keep(lease, call, ret);
    return 0;
}

static int run_leased(struct backend *b, struct backend_run *run, const char *language,
                      const struct run_request *r, struct run_result *ret, struct error *e)
{
    struct turn turn = {b, run};
    const struct lease_wish wish = {.language = r->image ? NULL : language,
                                    .reference = r->image,
                                    .keep = r->keep != RUN_KEEP_NEVER,
                                    .max_layer = r->max_layer,
                                    .shape = r->shape,
                                    .start = r->cold ? TARGET_BOOT : TARGET_RESTORE,
                                    .owner = run->owner,
                                    .wait_ms = b->options.wait_ms,
                                    .turn_came = turn_came,
                                    .context = &turn};
    struct lease lease;

    int result = lease_take(&lease, b->options.line, b->data, run->call, &wish, e);
    run->wait_ns = lease.wait_ns;
    if (result < 0)
        return -1;
    const struct run_site site = lease_site(&lease);
    ret->load_ns = lease.vm.load_ns;
    result =
        r->image ? command_leased(&lease, &site, run->call, r, ret, e) : run_in(&site, run->call, r, ret, e);
    lease_end(&lease);
    run_log(ret, run->call, language);
    return result;
}

static int execute_program(struct backend *b, struct backend_run *run, const struct run_request *r,
                           struct run_result *ret, struct error *e)
{
    struct language l;

    if (run_find_language(&l, b->data, r, e) < 0)
        return -1;
    int result = run_check(r, &l, e);
    if (result == 0)
        result = run_leased(b, run, l.name, r, ret, e);
    language_done(&l);
    return result;
}

static int execute_command(struct backend *b, struct backend_run *run, const struct run_request *r,
                           struct run_result *ret, struct error *e)
{
    return command_check(r, e) < 0 ? -1 : run_leased(b, run, r->image, r, ret, e);
}

int backend_execute(struct backend *b, struct backend_run *run, struct run_result *ret, struct error *e)
{
    const struct run_request r = run_with_times(run->request, b->timeout);

    *ret = (struct run_result){0};
    run->wait_ns = 0;
    run->turn = false;
    b->waiting++;
    int result = (r.image ? execute_command : execute_program)(b, run, &r, ret, e);
    if (run->turn)
        b->running--;
    else
        b->waiting--;
    return result;
}

void backend_count(struct backend *b, unsigned *ret_running, unsigned *ret_waiting)
{
    *ret_running = b->running;
    *ret_waiting = b->waiting;
}

unsigned backend_places(const struct backend *b)
{
    return b->options.places;
}

int backend_session(struct backend *b, const struct call *call, const char *owner,
                    const struct run_request *request, struct lease *ret, struct error *e)
{
    const struct lease_wish wish = {.language = request->language,
                                    .shape = request->shape,
                                    .start = TARGET_RESTORE,
                                    .session = true,
                                    .owner = owner,
                                    .wait_ms = b->options.wait_ms};

    return lease_take(ret, b->options.line, b->data, call, &wish, e);
}

int backend_look(struct backend *b, const struct call *call, const char *owner, const char *image,
                 struct lease *ret, const char **ret_data, struct error *e)
{
    const struct lease_wish wish = {
        .reference = image, .start = TARGET_RESTORE, .owner = owner, .wait_ms = b->options.wait_ms};

    *ret_data = b->data;
    return lease_take(ret, b->options.line, b->data, call, &wish, e);
}

int backend_check_language(struct backend *b, const char *language, struct error *e)
{
    struct language l;

    if (language_find(&l, b->data, language, e) < 0)
        return -1;
    language_done(&l);
    return 0;
}

/* ---- what there is ------------------------------------------------------------------------------- */

json_t *backend_ask_state(struct backend *b, struct error *e)
{
    const struct call call = CALL(b->stop_fd);

    return lease_ask_state(b->options.line, &call, e);
}

json_t *backend_last_state(struct backend *b)
{
    pthread_mutex_lock(&b->lock);
    json_t *ret = json_deep_copy(b->state); /* a reference alone is not for two threads */
    pthread_mutex_unlock(&b->lock);
    return ret;
}

static json_t *list_stock(struct backend *b, const struct call *call, enum line_kind kind, struct error *e)
{
    struct stock all;

    if (lease_ask(&all, b->options.line, call, kind, &(struct lease_wish){0}, false, e) < 0)
        return NULL;
    return stock_json_all(&all, e);
}

json_t *backend_languages(struct backend *b, const struct call *call, struct error *e)
{
    return list_stock(b, call, LINE_LANGUAGES, e);
}

json_t *backend_images(struct backend *b, const struct call *call, struct error *e)
{
    return list_stock(b, call, LINE_IMAGES, e);
}

json_t *backend_snapshots(struct backend *b, const struct call *call, struct error *e)
{
    return list_stock(b, call, LINE_SNAPSHOTS, e);
}

json_t *backend_language(struct backend *b, const struct call *call, const char *name, struct error *e)
{
    const struct lease_wish wish = {.language = name};
    struct stock one;

    if (lease_ask(&one, b->options.line, call, LINE_LANGUAGE, &wish, false, e) < 0)
        return NULL;
    return stock_json_one(SCHEMA_OBJECT_LANGUAGE, &one, e);
}

json_t *backend_image_records(struct backend *b, const struct call *call, const struct line_image *wish,
                              struct error *e)
{
    struct stock all;

    if (lease_ask(&all, b->options.line, call, LINE_RECORDS, &(struct lease_wish){.image = wish}, false, e) <
        0)
        return NULL;
    return stock_json_all(&all, e);
}

json_t *backend_image_record(struct backend *b, const struct call *call, enum line_kind kind,
                             const struct line_image *which, struct error *e)
{
    struct stock one;

    if (lease_ask(&one, b->options.line, call, kind, &(struct lease_wish){.image = which}, false, e) < 0)
        return NULL;
    return stock_json_one(SCHEMA_OBJECT_IMAGE_RECORD, &one, e);
}

static json_t *create(struct backend *b, const struct call *call, const char *owner,
                      const struct request *what, enum line_kind kind, enum schema_object object,
                      struct error *e)
{
    const struct lease_wish wish = {.language = what->run.language,
                                    .shape = what->run.shape,
                                    .start = what->force ? TARGET_RESTORE_ANEW : TARGET_RESTORE,
                                    .owner = owner,
                                    .wait_ms = b->options.wait_ms};
    struct stock made;

    if (lease_ask(&made, b->options.line, call, kind, &wish, what->force, e) < 0)
        return NULL;
    return stock_json_one(object, &made, e);
}

json_t *backend_create_image(struct backend *b, const struct call *call, const char *owner,
                             const struct request *what, struct error *e)
{
    return create(b, call, owner, what, LINE_IMAGE, SCHEMA_OBJECT_SHOWN_IMAGE, e);
}

json_t *backend_create_snapshot(struct backend *b, const struct call *call, const char *owner,
                                const struct request *what, struct error *e)
{
    return create(b, call, owner, what, LINE_SNAPSHOT, SCHEMA_OBJECT_MADE_SNAPSHOT, e);
}
