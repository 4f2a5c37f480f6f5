/*
 * server: what the parts of the HTTP API share. An exchange is one request and its answer; it is seen by the thread
 * that speaks HTTP and by the worker that has it, each with a reference.
 *
 * Locks: exchange.lock, below that of the list of tasks (service/task.h).
 */
#ifndef CAPSID_API_SERVER_H
#define CAPSID_API_SERVER_H

#include "api/api.h"
#include "api/connections.h"
#include "api/metrics.h"
#include "api/route.h"
#include "api/trace.h"
#include "files/states.h"
#include "service/keys.h"
#include "service/lane.h"
#include "core/look.h"
#include "service/journal.h"
#include "service/operations.h"
#include "service/refusal_json.h"
#include "service/request_parse.h"
#include "service/session.h"
#include "service/stream_view.h"

#include <microhttpd.h>
#include <stdatomic.h>

#define CONTREE_PATH "/v1/"        /* where ConTree's clients expect what they know (host/contree) */
#define BODY_PARTS_MAX (64u << 10) /* bytes between the parts of a body */
#define STREAM_HELD_MAX (1 << 20)  /* bytes of a stream that wait for its client; then the program waits */

struct answer {
    int status;
    const char *type;
    struct buffer body;
    const char *fixed; /* instead of body: not owned, lives for ever */
    size_t fixed_size;
    char etag[72];
    char allow[ROUTE_ALLOW_MAX];
    char location[128];
    char range[64];    /* Content-Range */
    char file_mode[8]; /* X-File-Mode; "": none */
    bool page;         /* of the playground */
    bool replayed;     /* for an Idempotency-Key */
    bool preflight;
};

enum stream_kind { STREAM_NONE, STREAM_SSE, STREAM_NDJSON };

/* Which part of a file, and how to make one. */
struct file_query {
    bool list;             /* as a directory */
    bool ranged, from_end; /* Range: FIRST-LAST; Range: -LAST */
    uint64_t first, last;
    uint32_t mode;
};

struct terminal_query {
    char *command; /* owned; NULL: a shell */
    uint16_t cols, rows;
};

/* What is wanted of an image's files. Owned, on the heap; texts that are not given are NULL. */
struct look_wish {
    int (*ask)(struct exchange *x, struct look *l, struct error *e);
    char *path, *after, *pattern, *glob;
    uint64_t limit, offset, max_count;
    bool ignore_case;
};

/* Which operations a client of ConTree's wants to see. */
struct contree_wish {
    char status[16], kind[16]; /* "": any */
    int64_t since, until;      /* seconds since 1970, 0: any */
    uint64_t offset, limit;
};

/* What is looked for in an image. */
struct looking {
    char *path, *pattern, *glob; /* owned */
    uint64_t max_count, max_total;
    bool ignore_case, truncated;
    json_t *found; /* while it is looked for */
};

struct exchange {
    struct api_server *server;
    atomic_int references;
    const struct route *route;
    int (*work)(struct exchange *, struct backend *);
    char method[16];
    char *path; /* owned */
    char *host; /* owned; that the request is for, with its port; NULL: none is told */
    char argument[ROUTE_ARGUMENT_MAX];
    struct trace trace;
    struct task *task; /* owned reference */
    int64_t started_ns;

    struct buffer body;
    struct MHD_PostProcessor *parts; /* of a body in parts; NULL: it has none, or all are taken */
    size_t stdin_size;               /* of the part that is the program's standard input */
    bool dispatched;
    bool refused_early; /* the rest of the body is dropped */
    bool broken;        /* where the request ends is not known: nothing follows it */
    struct refusal refusal;
    struct answer answer;
    char key[256]; /* Idempotency-Key that this request holds; "": none */

    struct session *used_session; /* owned reference; that the path names */
    struct line_image image;      /* what is wanted of images */
    struct look_wish *look;       /* owned; what is wanted of an image's files; NULL: nothing */
    char *guest_path;             /* owned; of one of its files */
    struct file_query file;
    struct terminal_query terminal;
    bool upgrade; /* to a WebSocket */

    pthread_mutex_t lock;
    pthread_cond_t drained;
    struct MHD_Connection *connection; /* NULL: none, or gone */
    bool suspended, watched, done;
    enum stream_kind stream;
    bool streaming; /* the stream has begun */
    struct contree_wish wish;
    struct looking looking;
    uint64_t events_after; /* of an operation's events: the number that the client has */
    bool events_follow;    /* and whether it waits for more */
    bool stream_queued;    /* and HTTP knows */
    struct buffer out;     /* of it, from out_start */
    size_t out_start;
};

struct api_server {
    const struct api_options *options;
    struct backend *backend;
    struct request_limits limits; /* but for output */
    atomic_ullong max_output;     /* bytes; a reload may change it */
    struct connections connections;
    struct tokens *tokens;
    struct tasks tasks;
    struct metrics metrics;
    struct ledger ledger;
    struct files files;
    struct operations operations; /* in the ledger, as the keys */
    struct journals journals;     /* of operations */
    struct sessions sessions;
    atomic_bool stopping;
    struct refusal_manner manner;
    atomic_int exchanges; /* that have a connection */
    bool check_host;      /* only this machine's names are right */
    int64_t started_ns;
    int watch_fd; /* epoll: clients that may go away */
};

/* The limits as they are now. */
static inline struct request_limits server_limits(struct api_server *s)
{
    struct request_limits now = s->limits;

    now.output = s->max_output;
    return now;
}

/* ---- exchange.c ---------------------------------------------------------------------------------- */

struct exchange *exchange_new(struct api_server *s, const char *method, const char *path);
void exchange_ref(struct exchange *x);
void exchange_unref(struct exchange *x);

/* Begins its task, and gives it to a lane; -1 with a refusal. */
int exchange_begin_work(struct exchange *x);
int exchange_push(struct exchange *x, enum task_lane lane);

/* Gives up its Idempotency-Key, if it holds one, and keeps the answer for it; answer NULL: it was not done. */
void exchange_release_key(struct exchange *x, const struct answer *answer);

/* Ends it, worked on or not: answer or refusal are set. Takes the worker's reference. */
void exchange_finish(struct exchange *x);

/* Asks it to stop, wherever it is. */
void exchange_cancel(struct exchange *x);

/* Sets a JSON answer; takes the reference. -1: there is no room for it, and the refusal is the answer. */
int exchange_answer(struct exchange *x, int status, json_t *j);

/* The refusal as the answer that whoever asked understands: below CONTREE_PATH as its clients do. */
json_t *exchange_refusal(const struct exchange *x);

/* Sets the refusal for an error of the program's core; always -1. */
int exchange_fail(struct exchange *x, const struct error *e);

/* Takes the body apart as such a request; language: of the session that it is for, or NULL. -1 with a refusal. */
int exchange_parse(struct exchange *x, enum schema_object object, const char *language);

/* Counts bytes that it holds, until its end; -1 with a refusal: all exchanges hold too many, or its client's do. */
int exchange_hold(struct exchange *x, size_t size);

/*
 * detach.c: x lets go of what it asks for, which becomes a task of its own, an operation of that kind; answers 202. The context of
 * work (service/task.h) is the server.
 */
int exchange_detach(struct exchange *x, enum operation_kind kind, enum task_lane lane,
                    int (*work)(struct task *, void *server));

/* ---- stream.c ------------------------------------------------------------------------------------ */

/* Begins the stream: from here on the answer is 200. */
void stream_begin(struct exchange *x);

/* Sends an event; takes the reference. -1: the client is gone, or it is cancelled. */
int stream_event(struct exchange *x, enum stream_event event, json_t *data);

/* The same of one that has a number, by which the client can ask for those after it. */
int stream_numbered_event(struct exchange *x, uint64_t number, enum stream_event event, json_t *data);

/* The same of one that others than our clients know by that name. */
int stream_named_event(struct exchange *x, uint64_t number, const char *name, json_t *data);

/* A line that says nothing. */
void stream_comment(struct exchange *x);

/* Waits while the client has much to read, until the deadline; -1: it still has, or is gone, or it is cancelled. */
int stream_wait(struct exchange *x, int64_t deadline);

/* Reads what is there: as MHD_ContentReaderCallback. */
ssize_t stream_read(void *exchange, uint64_t position, char *out, size_t max);

/* ---- parts.c ------------------------------------------------------------------------------------- */

/*
 * A body of multipart/form-data: "request" is the JSON that otherwise is all of the body, "stdin" the program's standard
 * input, any bytes. It is taken apart as it comes.
 */
int parts_begin(struct exchange *x);
int parts_take(struct exchange *x, const char *data, size_t size);
int parts_end(struct exchange *x);

/* A part "stdin" is there in place of what the request says. -1: it is there, and cannot be. */
int parts_check(struct exchange *x, bool possible);

/* ---- origin.c ------------------------------------------------------------------------------------ */

/* -1: the request is for another server than this. */
int origin_check_host(struct exchange *x);

/* -1: the request comes from a page of an origin that may not use the API. For all that is more than reading. */
int origin_check(struct exchange *x);

/* By the settings; origin: NULL, if none is told. */
bool origin_is_allowed(const struct exchange *x, const char *origin);

/* ---- http.c -------------------------------------------------------------------------------------- */

/* Suspends the connection; from now on its client may go away, which cancels. */
void http_suspend(struct exchange *x);
/* Under exchange.lock. */
void http_resume(struct exchange *x);

struct MHD_Daemon *http_start(struct api_server *s, int fd);

/* ---- handlers ------------------------------------------------------------------------------------ */

extern const struct route api_routes[];

/* run.c: the request that was parsed becomes an operation, as by exchange_detach(). */
int run_detached(struct exchange *x);

int handle_execute(struct exchange *x);
int handle_run(struct exchange *x);
int work_execute(struct exchange *x, struct backend *b);
int work_run(struct exchange *x, struct backend *b);
int handle_create_image(struct exchange *x);
int handle_create_snapshot(struct exchange *x);

/* ---- session_calls.c, session_files.c, terminal.c ------------------------------------------------ */

int handle_list_records(struct exchange *x);
/* ---- look_calls.c -------------------------------------------------------------------------------- */

int handle_look_list(struct exchange *x);
int handle_look_read(struct exchange *x);
int handle_look_grep(struct exchange *x);
int work_look(struct exchange *x, struct backend *b);
void look_wish_free(struct look_wish *w); /* accepts NULL */

/* ---- events.c ------------------------------------------------------------------------------------ */

/* How events of an operation are told; of the end it is the number that the first that follows has. */
struct event_teller {
    int (*event)(struct exchange *x, const char *operation, const struct journal_event *event);
    int (*end)(struct exchange *x, const char *operation, uint64_t number);
};

/* As the exchange wants them: all after one, and until its end or those there are. */
int events_follow(struct exchange *x, const char *operation, const struct event_teller *t);
int handle_events(struct exchange *x);
int work_events(struct exchange *x, struct backend *b);
int handle_record(struct exchange *x);
int handle_tag(struct exchange *x);
int handle_untag(struct exchange *x);
int work_list_records(struct exchange *x, struct backend *b);
int work_show_record(struct exchange *x, struct backend *b);
int work_drop_record(struct exchange *x, struct backend *b);
int work_tag(struct exchange *x, struct backend *b);
int work_untag(struct exchange *x, struct backend *b);

int handle_create_session(struct exchange *x);
int handle_list_sessions(struct exchange *x);
int handle_session(struct exchange *x); /* finds it, for those that follow */
int handle_show_session(struct exchange *x);
int handle_close_session(struct exchange *x);
int handle_session_execute(struct exchange *x);
int handle_session_file(struct exchange *x);
int work_create_session(struct exchange *x, struct backend *b);
int work_session_execute(struct exchange *x, struct backend *b);
int work_get_file(struct exchange *x, struct backend *b);
int work_put_file(struct exchange *x, struct backend *b);
int work_delete_file(struct exchange *x, struct backend *b);
int handle_terminal(struct exchange *x);
enum MHD_Result terminal_upgrade(struct exchange *x);

/* ---- contree_calls.c, contree_looks.c, contree_runs.c: what stands below CONTREE_PATH --------------------------------- */

int handle_contree_import(struct exchange *x);
int handle_contree_images(struct exchange *x);
int handle_contree_find(struct exchange *x);
int work_contree_images(struct exchange *x, struct backend *b);
int work_contree_tag(struct exchange *x, struct backend *b);
int work_contree_untag(struct exchange *x, struct backend *b);
int work_contree_find(struct exchange *x, struct backend *b);
int work_contree_image(struct exchange *x, struct backend *b);
int work_contree_add_file(struct exchange *x, struct backend *b);
int work_contree_files(struct exchange *x, struct backend *b);
int work_contree_file(struct exchange *x, struct backend *b);
int contree_tell_whoami(struct exchange *x);

void looking_done(struct looking *l);
int handle_contree_look(struct exchange *x);
int handle_contree_grep(struct exchange *x);
int work_contree_list(struct exchange *x, struct backend *b);
int work_contree_download(struct exchange *x, struct backend *b);
int work_contree_archive(struct exchange *x, struct backend *b);
int work_contree_grep(struct exchange *x, struct backend *b);

int handle_contree_spawn(struct exchange *x);
int handle_contree_operations(struct exchange *x);
int handle_contree_events(struct exchange *x);
int handle_contree_more(struct exchange *x);
int work_contree_operations(struct exchange *x, struct backend *b);
int work_contree_operation(struct exchange *x, struct backend *b);
int work_contree_cancel(struct exchange *x, struct backend *b);
int work_contree_events(struct exchange *x, struct backend *b);
int work_contree_process(struct exchange *x, struct backend *b);

/* ---- file_calls.c -------------------------------------------------------------------------------- */

#define FILES_LISTED_MAX 10000

int work_add_file(struct exchange *x, struct backend *b);
int work_list_files(struct exchange *x, struct backend *b);
int work_read_file(struct exchange *x, struct backend *b);
int work_remove_file(struct exchange *x, struct backend *b);
int work_make_state(struct exchange *x, struct backend *b);
int work_list_states(struct exchange *x, struct backend *b);
int work_show_state(struct exchange *x, struct backend *b);
int work_remove_state(struct exchange *x, struct backend *b);

/* A header, or a word of the query, of a request whose connection is there; NULL: none. */
const char *http_header(struct exchange *x, const char *name);
const char *http_query(struct exchange *x, const char *name);

/* query.c: words of the query that have a form; where there is none, the fallback, or what *ret was, or false. */
int query_number(struct exchange *x, const char *name, uint64_t min, uint64_t max, uint64_t fallback,
                 uint64_t *ret);
int query_moment(struct exchange *x, const char *name, int64_t *ret);
int query_flag(struct exchange *x, const char *name, bool *ret);

/* Both lists, which may be NULL, in one; the caller frees the list alone. */
const char **words_of(const char *const *first, const char *const *then);

/* Runs an exchange's program in its session, as POST /execute does. */
int session_run(struct exchange *x, struct session_user *u);

/* The embedded file for a path, as an answer; false: there is none. */
bool page_find(const char *path, const char *if_none_match, struct answer *ret);

#endif
