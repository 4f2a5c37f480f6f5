/* GET /api/v1/images/ID/list, read, grep: the files of an image, of which a guest tells. */
#include "api/server.h"

#include "base/cleanup.h"
#include "service/look_json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LOOK_MS 60000
#define LIST_USUAL 1000
#define LIST_MOST 10000
#define READ_MOST (UINT64_C(32) << 20) /* bytes of a file that are read at once */
#define MATCHES_USUAL 1000
#define MATCHES_MOST 10000

/* A copy, as the connection may be gone before it is used. */
static char *copy_word(struct exchange *x, const char *name)
{
    const char *text = http_query(x, name);

    return text ? text_copy(text) : NULL;
}

void look_wish_free(struct look_wish *w)
{
    if (!w)
        return;
    free(w->path);
    free(w->after);
    free(w->pattern);
    free(w->glob);
    free(w);
}

static void prepare_look(struct exchange *x, int (*ask)(struct exchange *, struct look *, struct error *))
{
    struct look_wish *w = x->look = memory_allocate(sizeof(*w));

    w->ask = ask;
    w->path = copy_word(x, "path");
    w->after = copy_word(x, "after");
    w->pattern = copy_word(x, "pattern");
    w->glob = copy_word(x, "glob");
    if (!w->path)
        w->path = text_copy("/");
}

/* ---- what is asked -------------------------------------------------------------------------------- */

static int add_looked_file(void *items, const struct look_file *f, struct error *e)
{
    (void)e;
    if (f->name[0] || !S_ISDIR(f->mode)) /* a directory is not among what it holds */
        json_array_append_new(items, look_file_json(f, f->name));
    return 0;
}

static int ask_list(struct exchange *x, struct look *l, struct error *e)
{
    json_t *items = json_array();
    const struct look_visitor visitor = {.on_file = add_looked_file, .context = items};
    struct look_end end;

    int result = look_list(l, x->look->path, x->look->after, x->look->limit, &visitor, &end, e);
    if (result == 0)
        exchange_answer(x, 200, look_files_json(items, &end));
    json_decref(items);
    return result;
}

static int add_data(void *body, const void *data, size_t size, struct error *e)
{
    (void)e;
    buffer_add(body, data, size);
    return 0;
}

static int ask_read(struct exchange *x, struct look *l, struct error *e)
{
    const struct look_visitor visitor = {.on_data = add_data, .context = &x->answer.body};

    if (look_read(l, x->look->path, x->look->offset, x->look->limit, &visitor, e) < 0) {
        buffer_free(&x->answer.body);
        return -1;
    }
    if (exchange_hold(x, x->answer.body.size) < 0)
        return 0;
    x->answer.status = 200;
    x->answer.type = "application/octet-stream";
    return 0;
}

static int add_match(void *items, const struct look_match *m, struct error *e)
{
    (void)e;
    json_array_append_new(items, look_match_json(m, m->path));
    return 0;
}

static int ask_grep(struct exchange *x, struct look *l, struct error *e)
{
    json_t *items = json_array();
    const struct look_visitor visitor = {.on_match = add_match, .context = items};
    const struct look_search search = {.pattern = x->look->pattern,
                                       .path = x->look->path,
                                       .glob = x->look->glob,
                                       .max_count = x->look->max_count,
                                       .max_total = x->look->limit,
                                       .ignore_case = x->look->ignore_case};
    struct look_end end;

    int result = look_grep(l, &search, &visitor, &end, e);
    if (result == 0)
        exchange_answer(x, 200, look_matches_json(items, &end));
    json_decref(items);
    return result;
}

/* ---- paths ---------------------------------------------------------------------------------------- */

int handle_look_list(struct exchange *x)
{
    prepare_look(x, ask_list);
    return query_number(x, "limit", 0, LIST_MOST, LIST_USUAL, &x->look->limit);
}

int handle_look_read(struct exchange *x)
{
    prepare_look(x, ask_read);
    if (query_number(x, "offset", 0, INT64_MAX, 0, &x->look->offset) < 0)
        return -1;
    return query_number(x, "length", 0, READ_MOST, READ_MOST, &x->look->limit);
}

int handle_look_grep(struct exchange *x)
{
    const char *ignore_case = http_query(x, "ignore_case");

    prepare_look(x, ask_grep);
    x->look->ignore_case = ignore_case && strcmp(ignore_case, "true") == 0;
    if (!x->look->pattern)
        return refuse(&x->refusal, REFUSAL_INVALID, "pattern is missing");
    if (query_number(x, "max_count", 0, MATCHES_MOST, 0, &x->look->max_count) < 0)
        return -1;
    return query_number(x, "max_total", 1, MATCHES_MOST, MATCHES_USUAL, &x->look->limit);
}

int work_look(struct exchange *x, struct backend *b)
{
    struct task *t = x->task;
    struct lease lease;
    struct look look = {0};
    const char *data;
    struct error e = {0};

    if (backend_look(b, &t->call, t->owner, x->argument, &lease, &data, &e) < 0)
        return exchange_fail(x, &e);
    int result = look_begin(&look, &lease.guest, data, LOOK_MS, &e);
    if (result == 0)
        result = x->look->ask(x, &look, &e);
    look_close(&look);
    lease_end(&lease);
    return result < 0 ? exchange_fail(x, &e) : x->refusal.kind ? -1 : 0;
}
