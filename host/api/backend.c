#include "api/backend.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "core/program.h"
#include "core/snapshot.h"
#include "core/supervisor.h"
#include "image/image.h"
#include "language/language.h"

#include <string.h>

struct backend {
    struct supervisor supervisor;
};

struct backend *backend_open(const struct config *config, struct error *e)
{
    struct backend *b = memory_allocate(sizeof(*b));
    struct config copy;

    config_copy(&copy, config);
    if (supervisor_open(&b->supervisor, &copy, -1, e) == 0)
        return b;
    free(b);
    return NULL;
}

void backend_close(struct backend *b)
{
    if (!b)
        return;
    supervisor_close(&b->supervisor);
    free(b);
}

int backend_execute(struct backend *b, const struct run_request *request, int cancel_fd,
                    struct run_result *ret, struct error *e)
{
    b->supervisor.cancel.fd = cancel_fd;
    int result = run_program(&b->supervisor, request, ret, e);
    b->supervisor.cancel.fd = -1;
    return result;
}

const struct supervisor *backend_supervisor(const struct backend *b)
{
    return &b->supervisor;
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

int backend_session(struct backend *b, const struct run_request *request, int cancel_fd, struct machine *ret,
                    struct run_target *ret_target, struct error *e)
{
    struct supervisor *s = &b->supervisor;
    struct language l;
    int result = -1;

    *ret = MACHINE_NONE;
    *ret_target = (struct run_target){0};
    if (language_find(&l, s->config.data, request->language, e) < 0)
        return -1;
    s->cancel.fd = cancel_fd;
    unsigned given_up = s->kvm_given_up;
    if (run_target_open(ret_target, s, &l, request, e) == 0)
        result = run_load(ret, s, ret_target, NULL, e);
    if (result < 0 && s->kvm_given_up != given_up) { /* KVM does not run VMs here: once more without */
        run_target_done(ret_target);
        if (language_find(&l, s->config.data, request->language, e) == 0 &&
            run_target_open(ret_target, s, &l, request, e) == 0)
            result = run_load(ret, s, ret_target, NULL, e);
    }
    if (result == 0)
        result = clear_session(ret, ret_target, deadline_in_ms((int64_t)s->config.boot_timeout * 1000), e);
    s->cancel.fd = -1;
    if (result < 0) {
        machine_destroy(ret);
        run_target_done(ret_target);
    }
    return result;
}

int backend_check_language(struct backend *b, const char *language, struct error *e)
{
    struct language l;

    if (language_find(&l, b->supervisor.config.data, language, e) < 0)
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
    const struct supervisor *s = &b->supervisor;
    int installed = image_is_current(&s->config, &s->home, l, e);

    if (installed < 0)
        return NULL;
    return json_pack("{s:s, s:s, s:o, s:s, s:o, s:s, s:b, s:b, s:I, s:I, s:b, s:s?, s:s?}", "name", l->name,
                     "title", l->title, "aliases", words(NULL, l->aliases), "extension", l->extension,
                     "extensions", words(l->extension, l->extensions), "source", l->source, "compiled",
                     l->build != NULL, "primed", (int)l->prime, "memory_mib", (json_int_t)l->memory, "vcpus",
                     (json_int_t)l->vcpus, "installed", installed, "hello", l->hello, "expect", l->expect);
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

    if (language_each(b->supervisor.config.data, add_language, &list, e) == 0)
        return wrap("languages", list.array);
    json_decref(list.array);
    return NULL;
}

json_t *backend_language(struct backend *b, const char *name, struct error *e)
{
    struct language l;

    if (language_find(&l, b->supervisor.config.data, name, e) < 0)
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
    return json_pack("{s:s, s:s, s:I, s:I, s:b, s:I, s:I}", "key", s->key, "language", s->language,
                     "memory_mib", (json_int_t)s->memory_mib, "vcpus", (json_int_t)s->vcpus, "primed",
                     s->primed_job != 0, "allocated_bytes", (json_int_t)s->allocated, "created",
                     (json_int_t)s->created);
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

    if (image_each(&b->supervisor.home, add_image, array, e) == 0)
        return wrap("images", array);
    json_decref(array);
    return NULL;
}

json_t *backend_snapshots(struct backend *b, struct error *e)
{
    json_t *array = json_array();

    if (snapshot_each(&b->supervisor, add_snapshot, array, e) == 0)
        return wrap("snapshots", array);
    json_decref(array);
    return NULL;
}

json_t *backend_create_image(struct backend *b, const struct body_create *what, int cancel_fd,
                             struct error *e)
{
    struct supervisor *s = &b->supervisor;
    struct image image = {0};
    struct language l;
    json_t *j = NULL;

    if (language_find(&l, s->config.data, what->language, e) < 0)
        return NULL;
    s->cancel.fd = cancel_fd;
    if (image_ensure(&image, &s->config, &s->home, &l, what->force, &s->cancel, e) == 0)
        j = describe_image(&image);
    s->cancel.fd = -1;
    image_done(&image);
    language_done(&l);
    return j;
}

json_t *backend_create_snapshot(struct backend *b, const struct body_create *what, int cancel_fd,
                                struct error *e)
{
    struct supervisor *s = &b->supervisor;
    struct snapshot snapshot = {0};
    struct image image = {0};
    struct language l;
    bool made = false;

    if (language_find(&l, s->config.data, what->language, e) < 0)
        return NULL;
    s->cancel.fd = cancel_fd;
    int result = image_ensure(&image, &s->config, &s->home, &l, false, &s->cancel, e);
    struct machine_spec spec = {.kernel = s->config.kernel,
                                .image = image.path,
                                .memory_mib = what->memory ? what->memory : l.memory,
                                .vcpus = what->vcpus ? what->vcpus : l.vcpus};
    if (result == 0)
        result = snapshot_ensure(&snapshot, s, &l, &image, &spec, what->force, &made, e);
    s->cancel.fd = -1;
    json_t *j = result == 0 ? describe_snapshot(&snapshot) : NULL;
    if (j)
        json_object_set_new(j, "made", json_boolean(made));
    snapshot_done(&snapshot);
    image_done(&image);
    language_done(&l);
    return j;
}
