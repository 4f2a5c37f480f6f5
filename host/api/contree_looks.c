/* ConTree's REST interface: what is in an image. A guest tells (core/look.h). */
#include "api/server.h"

#include "base/cleanup.h"
#include "contree/looked.h"
#include "core/look_tar.h"

#include <ctype.h>
#include <string.h>

#define GREP_TOTAL 1000
#define LOOK_MS (5 * 60 * 1000) /* for all that is asked */

/* ---- what is asked for ----------------------------------------------------------------------------- */

void looking_done(struct looking *l)
{
    free(l->path);
    free(l->pattern);
    free(l->glob);
    *l = (struct looking){0};
}

static int take_path(struct exchange *x)
{
    const char *path = http_query(x, "path");

    if (handle_record(x) < 0)
        return -1;
    if (path && (strlen(path) > LOOK_PATH_MAX || path[0] != '/'))
        return refuse(&x->refusal, REFUSAL_INVALID, "path must be absolute, with at most %d bytes",
                      LOOK_PATH_MAX);
    x->looking.path = text_copy(path && path[0] ? path : "/");
    return 0;
}

int handle_contree_look(struct exchange *x)
{
    return take_path(x);
}

static bool ignores_case(const char *how, const char *pattern)
{
    bool smart = how && strcmp(how, "smart") == 0;

    for (const char *c = pattern; smart && *c; c++)
        smart = !isupper((unsigned char)*c);
    return smart || (how && strcmp(how, "insensitive") == 0);
}

int handle_contree_grep(struct exchange *x)
{
    struct looking *l = &x->looking;
    const char *pattern = http_query(x, "pattern"), *glob = http_query(x, "glob");

    if (!pattern || strlen(pattern) > LOOK_PATTERN_MAX || (glob && strlen(glob) > LOOK_PATTERN_MAX))
        return refuse(&x->refusal, REFUSAL_INVALID,
                      "pattern must be given; it and glob have at most %d bytes", LOOK_PATTERN_MAX);
    l->pattern = text_copy(pattern);
    l->glob = text_copy(glob);
    l->ignore_case = ignores_case(http_query(x, "case"), pattern);
    return query_number(x, "max_count", 1, LOOK_MATCHES_MAX, 0, &l->max_count) < 0 ||
                   query_number(x, "max_total", 1, LOOK_MATCHES_MAX, GREP_TOTAL, &l->max_total) < 0
               ? -1
               : take_path(x);
}

/* ---- answers --------------------------------------------------------------------------------------- */

/* In a VM whose root is the image of the exchange. */
static int ask_guest(struct exchange *x, struct backend *b,
                     int (*ask)(struct look *l, void *exchange, struct error *e), struct error *e)
{
    const char *data;
    struct lease lease;
    struct look look;

    if (backend_look(b, &x->task->call, x->task->owner, x->image.reference, &lease, &data, e) < 0)
        return -1;
    int result = look_begin(&look, &lease.guest, data, LOOK_MS, e);
    if (result == 0)
        result = ask(&look, x, e);
    if (result < 0 && e->kind == ERROR_VM_LOST)
        lease_explain(&lease, e);
    look_close(&look);
    lease_end(&lease);
    return result;
}

static int add_bytes(void *exchange, const void *data, size_t size, struct error *e)
{
    struct exchange *x = exchange;

    if (exchange_hold(x, size) < 0)
        return error_set(e, ERROR_BUSY, "%.600s", x->refusal.text);
    buffer_add(&x->answer.body, data, size);
    return 0;
}

static int answer_bytes(struct exchange *x, int result, const char *type, const struct error *e)
{
    if (result < 0) {
        buffer_free(&x->answer.body);
        return x->refusal.kind ? -1 : exchange_fail(x, e);
    }
    x->answer.status = 200;
    x->answer.type = type;
    return 0;
}

static int ask_content(struct look *l, void *exchange, struct error *e)
{
    const struct exchange *x = exchange;
    const struct look_visitor v = {.on_data = add_bytes, .context = exchange};

    return look_read(l, x->looking.path, 0, INT64_MAX, &v, e);
}

int work_contree_download(struct exchange *x, struct backend *b)
{
    struct error e = {0};

    return answer_bytes(x, ask_guest(x, b, ask_content, &e), "application/octet-stream", &e);
}

static int ask_archive(struct look *l, void *exchange, struct error *e)
{
    const struct exchange *x = exchange;
    struct look_end end;

    return look_archive(l, x->looking.path, TASKS_HELD_MAX, add_bytes, exchange, &end, e);
}

int work_contree_archive(struct exchange *x, struct backend *b)
{
    struct error e = {0};

    return answer_bytes(x, ask_guest(x, b, ask_archive, &e), "application/x-tar", &e);
}

static int add_file_item(void *exchange, const struct look_file *f, struct error *e)
{
    struct exchange *x = exchange;

    (void)e;
    if (f->name[0])
        json_array_append_new(x->looking.found, contree_file_item(f));
    return 0;
}

static int add_match(void *exchange, const struct look_match *m, struct error *e)
{
    struct exchange *x = exchange;

    (void)e;
    json_array_append_new(x->looking.found, contree_match(m, x->looking.path));
    return 0;
}

static int ask_list(struct look *l, void *exchange, struct error *e)
{
    struct exchange *x = exchange;
    const struct look_visitor v = {.on_file = add_file_item, .context = exchange};
    struct look_end end = {0};
    int result = look_list(l, x->looking.path, NULL, LOOK_PAGE_MAX, &v, &end, e);

    x->looking.truncated = end.truncated;
    return result;
}

static int ask_grep(struct look *l, void *exchange, struct error *e)
{
    struct exchange *x = exchange;
    const struct looking *q = &x->looking;
    const struct look_visitor v = {.on_match = add_match, .context = exchange};
    const struct look_search search = {.pattern = q->pattern,
                                       .path = q->path,
                                       .glob = q->glob,
                                       .max_count = q->max_count,
                                       .max_total = q->max_total,
                                       .ignore_case = q->ignore_case};
    struct look_end end = {0};
    int result = look_grep(l, &search, &v, &end, e);

    x->looking.truncated = end.truncated;
    return result;
}

/* What was found, or NULL with the refusal. */
static json_t *find_in_image(struct exchange *x, struct backend *b,
                             int (*ask)(struct look *l, void *exchange, struct error *e))
{
    struct error e = {0};
    json_t *found = x->looking.found = json_array();
    int result = ask_guest(x, b, ask, &e);

    x->looking.found = NULL;
    if (result == 0)
        return found;
    json_decref(found);
    exchange_fail(x, &e);
    return NULL;
}

int work_contree_list(struct exchange *x, struct backend *b)
{
    json_t *found = find_in_image(x, b, ask_list);

    return found ? exchange_answer(x, 200, json_pack("{s:s, s:o}", "path", x->looking.path, "files", found))
                 : -1;
}

int work_contree_grep(struct exchange *x, struct backend *b)
{
    json_t *found = find_in_image(x, b, ask_grep);

    return found ? exchange_answer(x, 200,
                                   json_pack("{s:s, s:[s], s:o, s:b}", "path", x->looking.path, "patterns",
                                             x->looking.pattern, "matches", found, "truncated",
                                             x->looking.truncated))
                 : -1;
}
