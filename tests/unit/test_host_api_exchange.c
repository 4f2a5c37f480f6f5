/* api/exchange.c, api/detach.c: requests, and operations that they let go, with a double of the lanes, whose thread is as fast as can be. */
#include "api/server.h"

#include "unit.h"

#include <stdio.h>

static struct api_server *server;

/* ---- the double ---------------------------------------------------------------------------------- */

static enum { REFUSES, KEEPS, WORKS_AT_ONCE } lane_mode;
static struct lane_ticket *queued;
static void (*lane_work)(struct lane_ticket *t, void *context);
static void *lane_context;

int lane_push(struct lane *l, const char *owner, struct lane_ticket *t, struct refusal *r)
{
    (void)l, (void)owner;
    if (lane_mode == REFUSES)
        return refuse(r, REFUSAL_OVERLOAD, "too many requests wait already");
    if (lane_mode == KEEPS)
        queued = t;
    else
        lane_work(t, lane_context);
    return 0;
}

bool lane_withdraw(struct lane *l, const struct lane_ticket *t)
{
    (void)l, (void)t;
    return false;
}

void lane_open(struct lane *l, const struct lane_bounds *bounds,
               void (*work)(struct lane_ticket *t, void *context), void *context)
{
    (void)l, (void)bounds;
    lane_work = work;
    lane_context = context;
}

void lane_close(struct lane *l)
{
    (void)l;
}

struct lane_ticket *lane_expired(struct lane *l, int64_t before)
{
    (void)l, (void)before;
    return NULL;
}

struct lane_use lane_used(struct lane *l)
{
    (void)l;
    return (struct lane_use){0};
}

void lane_each(struct lane *l,
               void (*visit)(const char *owner, unsigned busy, unsigned waiting, void *context),
               void *context)
{
    (void)l, (void)visit, (void)context;
}

/* ---- a server without a daemon ------------------------------------------------------------------- */

static const struct api_options options;
static const atomic_bool stopping;
static const struct refusal_manner manner = {.stopping = &stopping};
static char home[] = "/tmp/capsid-exchange-XXXXXX";

static void open_server(void)
{
    const struct token_limits none = {0};
    struct error e = {0};

    strcpy(home, "/tmp/capsid-exchange-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(home));
    server = memory_allocate(sizeof(*server));
    ck_assert_msg(ledger_open(&server->ledger, home, &e) == 0, "%s", e.text);
    server->options = &options;
    server->tokens = tokens_open(NULL, -1, &none, &e);
    ck_assert(server->tokens);
    operations_open(&server->operations, &server->ledger);
    journals_open(&server->journals);
    tasks_open(&server->tasks, &(struct tasks_options){.tokens = server->tokens,
                                                       .manner = &manner,
                                                       .operations = &server->operations});
}

static void close_server(void)
{
    tasks_close(&server->tasks);
    journals_close(&server->journals);
    operations_close(&server->operations);
    ledger_close(&server->ledger);
    file_remove_tree(home, &(struct error){0});
    tokens_close(server->tokens);
    free(server);
}

/* A request whose body has arrived. */
static struct exchange *new_request(size_t body)
{
    struct exchange *x = exchange_new(server, "POST", "/api/v1/run");
    void *bytes = memory_allocate(body);

    strcpy(x->task->owner, "a");
    buffer_add(&x->body, bytes, body);
    ck_assert_int_eq(exchange_hold(x, body), 0);
    free(bytes);
    return x;
}

static int succeed(struct task *t, void *context)
{
    ck_assert_ptr_eq(context, server);
    t->result = json_true();
    return 0;
}

/* ---- operations --------------------------------------------------------------------------------------- */

START_TEST(an_operation_may_be_done_before_its_request_is_answered)
{
    struct exchange *x = new_request(10);
    char location[sizeof(x->answer.location)];

    lane_mode = WORKS_AT_ONCE;
    ck_assert_int_eq(exchange_detach(x, OPERATION_RUN, LANE_RUN, succeed), 0);
    ck_assert_int_eq(x->answer.status, 202);
    json_t *j = json_loads(x->answer.body.data, 0, NULL);
    snprintf(location, sizeof(location), "/api/v1/operations/%s",
             json_string_value(json_object_get(j, "id")));
    ck_assert_str_eq(x->answer.location, location);
    json_decref(j);
    exchange_unref(x);
    ck_assert_uint_eq(server->tasks.held, 0);
}
END_TEST

START_TEST(a_body_is_held_until_its_operation_is_done)
{
    struct exchange *x = new_request(1000);

    lane_mode = KEEPS;
    ck_assert_int_eq(exchange_detach(x, OPERATION_RUN, LANE_RUN, succeed), 0);
    exchange_unref(x);
    ck_assert_uint_eq(server->tasks.held, 1000);
    lane_work(queued, lane_context);
    ck_assert_uint_eq(server->tasks.held, 0);
    x = new_request(1000);
    lane_mode = REFUSES;
    ck_assert_int_lt(exchange_detach(x, OPERATION_RUN, LANE_RUN, succeed), 0);
    ck_assert_int_eq(x->refusal.kind, REFUSAL_OVERLOAD);
    exchange_unref(x);
    ck_assert_uint_eq(server->tasks.held, 0);
}
END_TEST

/* ---- answers ------------------------------------------------------------------------------------- */

static json_t *large(size_t size)
{
    char *text = memory_allocate(size + 1);

    memset(text, 'x', size);
    json_t *j = json_string(text);
    free(text);
    return json_pack("[o]", j);
}

START_TEST(large_answers_count_as_bodies_do)
{
    struct exchange *x = new_request(0), *y = new_request(0);

    ck_assert_int_eq(exchange_answer(x, 200, json_pack("{}")), 0);
    ck_assert_str_eq(x->answer.body.data, "{}\n");
    ck_assert_uint_eq(server->tasks.held, 0);
    ck_assert_int_eq(exchange_answer(x, 200, large(1 << 20)), 0);
    ck_assert_uint_eq(server->tasks.held, x->answer.body.size);
    server->tasks.held += TASKS_HELD_MAX;
    ck_assert_int_lt(exchange_answer(y, 200, large(1 << 20)), 0);
    ck_assert(y->answer.status == 503 && y->refusal.kind == REFUSAL_OVERLOAD && y->refusal.retry_after);
    ck_assert(strstr(y->answer.body.data, "E010"));
    exchange_unref(y);
    exchange_unref(x);
    ck_assert_uint_eq(server->tasks.held, TASKS_HELD_MAX);
}
END_TEST

/* ---- streams ------------------------------------------------------------------------------------- */

START_TEST(a_stream_waits_for_its_client_until_the_deadline)
{
    struct exchange *x = new_request(0);
    char sink[4096];

    x->stream = STREAM_NDJSON;
    x->connection = (struct MHD_Connection *)&sink; /* there is one; nobody looks at it */
    ck_assert_int_eq(stream_wait(x, 0), 0);
    ck_assert_int_eq(stream_event(x, STREAM_EVENT_STDOUT, json_pack("{s:o}", "data", large(STREAM_HELD_MAX))),
                     0);
    int64_t start = clock_monotonic_ns();
    ck_assert_int_lt(stream_wait(x, deadline_in_ms(50)), 0);
    ck_assert_int_ge(clock_monotonic_ns() - start, 50000000);
    ck_assert_int_eq(stream_event(x, STREAM_EVENT_END, json_object()),
                     0); /* how it ended is told in any case */
    while (x->out.size - x->out_start > STREAM_HELD_MAX)
        ck_assert_int_gt(stream_read(x, 0, sink, sizeof(sink)), 0);
    ck_assert_int_eq(stream_wait(x, DEADLINE_NEVER), 0);
    x->connection = NULL;
    ck_assert_int_lt(stream_wait(x, DEADLINE_NEVER), 0);
    exchange_unref(x);
}
END_TEST

/* ---- counters ------------------------------------------------------------------------------------ */

/* metrics_write() wants a whole server; the counters are all that is looked at. */
START_TEST(every_status_is_counted)
{
    static const int more[] = {101, 200, 201, 202, 204, 206, 304};
    struct metrics *m = &server->metrics;
    unsigned long long counted = 0, rows = 0;
    unsigned answered = 0;

    for (enum refusal_kind k = REFUSAL_INVALID; k <= REFUSAL_LARGE_HEAD; k++, answered++)
        metrics_request(m, 0, refusal_status(k), 1);
    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++, answered++)
        metrics_request(m, 0, more[i], 1);
    for (unsigned i = 0; i < METRICS_STATUSES; i++)
        counted += m->requests[0][i];
    ck_assert_uint_eq(counted, answered);
    for (unsigned i = 0; i < METRICS_STATUSES; i++)
        rows += m->requests[0][i] > 0;
    metrics_request(m, 0, 599, 1); /* unknown: not lost, and not another's */
    metrics_request(m, 0, 598, 1);
    metrics_request(m, 0, 0, 1); /* not answered */
    for (unsigned i = 0; i < METRICS_STATUSES; i++) {
        counted -= m->requests[0][i];
        rows -= m->requests[0][i] > 0;
    }
    ck_assert(counted + 2 == 0 && rows + 1 == 0);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("api_exchange");

    unit_fixture(&u, open_server, close_server);
    unit_add(&u, an_operation_may_be_done_before_its_request_is_answered);
    unit_add(&u, a_body_is_held_until_its_operation_is_done);
    unit_add(&u, large_answers_count_as_bodies_do);
    unit_add(&u, a_stream_waits_for_its_client_until_the_deadline);
    unit_add(&u, every_status_is_counted);
    return unit_end(&u);
}
