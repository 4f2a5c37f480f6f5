#include "service/session.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "guest/mux.h"
#include "service/session_network.h"
#include "service/session_note.h"
#include "service/request_parse.h"
#include "service/schema.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>

#define CANCEL_LOOK_MS                                                                                       \
    100 /* how often a request that waits for its session looks whether its client is there */

/* SESSION_CLOSING: nobody can enter; the VM is going away. */
enum session_state { SESSION_STARTING, SESSION_READY, SESSION_CLOSING, SESSION_ENDED };

struct session {
    struct sessions *all;
    struct session *next;
    unsigned references;
    char id[SESSION_ID_MAX];
    char client[65];
    char language[LANGUAGE_NAME_MAX + 1];
    struct request body;

    /* Under all->lock. */
    enum session_state state;
    enum session_condition end; /* SESSION_IS_STARTING: it has none yet */
    struct error why;
    bool close_wanted, forgotten;
    unsigned users, terminals;    /* users that are no terminals keep it from being idle */
    int64_t created, ready, last; /* s since 1970; ns, monotonic */
    int64_t ended;
    struct newcomer { /* a user that the thread does not serve yet */
        const struct session_user *who;
        int fd; /* owned; the thread's end */
    } newcomers[SESSION_USERS_MAX];
    unsigned newcomer_count;

    int wake_fd; /* readable: look at what changed; while starting: stop */
    struct session_network network;
    struct call call; /* of the request that made it; nobody can cancel it any more once the VM is there */
    struct lease lease;
};

/* Under the lock. */
static void wake(struct session *s)
{
    const uint64_t one = 1;

    if (s->wake_fd >= 0 && write(s->wake_fd, &one, sizeof(one)) < 0)
        log_debug("eventfd is readable already");
}

/* ---- life of the table --------------------------------------------------------------------------- */

void sessions_open(struct sessions *all, const struct session_options *options)
{
    pthread_condattr_t monotonic;

    *all = (struct sessions){.options = *options};
    thread_group_open(&all->threads, THREAD_GROUP_UNBOUNDED);
    pthread_mutex_init(&all->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&all->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* Under the lock. */
static void unref_locked(struct session *s)
{
    if (--s->references > 0)
        return;
    request_done(&s->body);
    session_network_done(&s->network);
    close_fd(&s->wake_fd);
    free(s);
}

static void unlink_locked(struct session *s)
{
    for (struct session **at = &s->all->first; *at; at = &(*at)->next) {
        if (*at != s)
            continue;
        *at = s->next;
        unref_locked(s);
        return;
    }
}

void sessions_end(struct sessions *all)
{
    pthread_mutex_lock(&all->lock);
    all->closed = true;
    for (struct session *s = all->first; s; s = s->next) {
        s->close_wanted = true;
        wake(s);
    }
    pthread_mutex_unlock(&all->lock);
    thread_group_wait(&all->threads);
}

void sessions_close(struct sessions *all)
{
    while (all->first)
        unlink_locked(all->first);
    thread_group_close(&all->threads);
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
}

/* Forgets ended sessions that are old, or too many. */
static void forget_locked(struct sessions *all)
{
    int64_t before = clock_monotonic_ns() - SESSION_KEPT_S * 1000000000ll;
    unsigned kept = 0;

    for (struct session *s = all->first, *next; s; s = next) {
        next = s->next;
        if (s->state == SESSION_ENDED && (++kept > SESSIONS_KEPT || s->ended < before))
            unlink_locked(s);
    }
}

static const char *end_text(const struct session *s)
{
#define S(name, text, end) end,
    static const char *const ends[] = {SESSION_CONDITIONS(S)};
#undef S

    return ends[s->end ? s->end : SESSION_IS_CLOSED];
}

/* ---- a session's thread -------------------------------------------------------------------------- */

static void set_end(struct session *s, enum session_condition end, const struct error *why)
{
    s->end = end;
    if (why)
        s->why = *why;
    s->state = SESSION_CLOSING;
}

static int start(struct session *s, struct error *e)
{
    const struct run_request request = {
        .language = s->body.run.language, .sources = NULL, .shape = s->body.run.shape, .stdin_fd = -1};

    s->call.cancel.fd = s->wake_fd;
    int result = backend_session(s->all->options.backend, &s->call, s->client, &request, &s->lease, e);
    s->call.cancel.fd = -1;
    return result;
}

/*
 * Under the lock. Users that have left keep their places in the mux until it has read their ends; who finds none waits for
 * that, which wakes the thread.
 */
static void take_in_locked(struct session *s, struct mux *m)
{
    unsigned taken = 0;

    for (; taken < s->newcomer_count && mux_count(m) < MUX_USERS_MAX; taken++) {
        const struct newcomer *n = &s->newcomers[taken];
        mux_add(m, n->fd, n->who->use == SESSION_BACKGROUND);
    }
    s->newcomer_count -= taken;
    memmove(s->newcomers, s->newcomers + taken, s->newcomer_count * sizeof(s->newcomers[0]));
}

/* Takes in those who came, and says what is due: the time of the next limit, or 0 when the session has to end. */
static int64_t look(struct session *s, struct mux *m)
{
    int64_t now = clock_monotonic_ns(), age = s->ready + (int64_t)s->body.run.timeout * 1000000000;
    uint64_t drop;

    if (read(s->wake_fd, &drop, sizeof(drop)) < 0 && errno != EAGAIN)
        log_debug("eventfd: %s", strerror(errno));
    pthread_mutex_lock(&s->all->lock);
    take_in_locked(s, m);
    int64_t idle = s->users > s->terminals ? INT64_MAX : s->last + (int64_t)s->body.idle * 1000000000;
    if (s->close_wanted)
        set_end(s, SESSION_IS_CLOSED, NULL);
    else if (now >= age)
        set_end(s, SESSION_IS_EXPIRED, NULL);
    else if (now >= idle)
        set_end(s, SESSION_IS_IDLE, NULL);
    bool going_on = s->state == SESSION_READY;
    pthread_mutex_unlock(&s->all->lock);
    return !going_on ? 0 : age < idle ? age : idle;
}

static void serve_session(struct session *s, struct mux *m)
{
    struct error e = {0};
    int64_t next;

    while ((next = look(s, m)) != 0) {
        if (mux_step(m, s->wake_fd, next, &e) == 0)
            continue;
        lease_explain(&s->lease, &e);
        pthread_mutex_lock(&s->all->lock);
        set_end(s, SESSION_IS_LOST, &e);
        pthread_mutex_unlock(&s->all->lock);
        break;
    }
}

/* Users see that their connection has ended, and go. */
static void wait_for_users(struct session *s)
{
    pthread_mutex_lock(&s->all->lock);
    for (unsigned i = 0; i < s->newcomer_count; i++)
        close(s->newcomers[i].fd);
    s->newcomer_count = 0;
    while (s->users > 0)
        pthread_cond_wait(&s->all->changed, &s->all->lock);
    pthread_mutex_unlock(&s->all->lock);
}

/* One that its owner did not close, and the server's end does, is as lost for the owner as by a crash. */
static void note_end(struct session *s)
{
    pthread_mutex_lock(&s->all->lock);
    bool lost = s->all->closed && !s->forgotten;
    pthread_mutex_unlock(&s->all->lock);
    if (!lost)
        session_note_end(s->all->options.ledger, s->id);
}

static void session_thread(void *argument)
{
    struct session *s = argument;
    struct sessions *all = s->all;
    struct error e = {0};
    struct mux m;

    session_note_begin(all->options.ledger, s->client, s->id);
    int result = start(s, &e);
    mux_open(&m, &s->lease.guest);
    if (result == 0)
        result = session_network_begin(&s->network, &s->lease, &m, s->body.run.net, s->body.run.env, &e);
    pthread_mutex_lock(&all->lock);
    if (result < 0) {
        set_end(s, s->close_wanted ? SESSION_IS_CLOSED : SESSION_IS_FAILED, &e);
    } else {
        s->ready = s->last = clock_monotonic_ns();
        s->state = SESSION_READY;
    }
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
    if (result == 0)
        serve_session(s, &m);
    session_network_end(&s->network);
    mux_close(&m);
    wait_for_users(s);
    lease_end(&s->lease);
    log_progress("session %s: %s%s%s trace_id=%s client=%s", s->id, end_text(s), s->why.text[0] ? ": " : "",
                 s->why.text, s->call.trace_id, s->client);
    note_end(s);
    pthread_mutex_lock(&all->lock);
    s->state = SESSION_ENDED;
    s->ended = clock_monotonic_ns();
    close_fd(&s->wake_fd); /* it is remembered for long */
    forget_locked(all);
    pthread_cond_broadcast(&all->changed);
    unref_locked(s);
    pthread_mutex_unlock(&all->lock);
}

/* ---- making one ---------------------------------------------------------------------------------- */

static int make_id(char id[static SESSION_ID_MAX])
{
    unsigned char random[16];

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return -1;
    strcpy(id, "ses-");
    text_hex(random, sizeof(random), id + 4);
    return 0;
}

static int check_room_locked(struct sessions *all, const char *client, struct refusal *r)
{
    uint64_t mine = 0, others = 0;

    if (all->closed)
        return refuse(r, REFUSAL_STOPPING, "the server is shutting down");
    for (const struct session *s = all->first; s; s = s->next) {
        if (s->state == SESSION_ENDED)
            continue;
        if (strcmp(s->client, client) == 0)
            mine++;
        else
            others++;
    }
    r->retry_after = 10;
    if (mine >= all->options.client_max)
        return refuse(r, REFUSAL_LIMIT, "%llu sessions at a time are the limit; close one",
                      (unsigned long long)all->options.client_max);
    if (mine + others >= all->options.max)
        return refuse(r, REFUSAL_OVERLOAD, "the server has no room for another session");
    r->retry_after = 0;
    return 0;
}

/* With the thread's, the table's and the caller's reference. */
static struct session *begin_session(struct sessions *all, const char *client, struct request *body,
                                     const char *trace_id, struct refusal *r)
{
    struct session *s = memory_allocate(sizeof(*s));
    struct error e = {0};

    *s = (struct session){.all = all, .lease = LEASE_NONE, .body = *body, .call = CALL(-1)};
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->created = clock_realtime_ns() / 1000000000;
    snprintf(s->client, sizeof(s->client), "%s", client);
    snprintf(s->language, sizeof(s->language), "%s", body->run.language);
    snprintf(s->call.trace_id, sizeof(s->call.trace_id), "%s", trace_id);
    *body = (struct request){0};
    pthread_mutex_lock(&all->lock);
    forget_locked(all);
    s->references = 3;
    int result = check_room_locked(all, client, r);
    if (result == 0 && (s->wake_fd < 0 || make_id(s->id) < 0 ||
                        thread_group_start(&all->threads, session_thread, s, &e) < 0))
        result = refuse(r, REFUSAL_OVERLOAD, "the server has too many files or threads");
    if (result == 0) {
        s->next = all->first;
        all->first = s;
    } else {
        s->references = 1;
        unref_locked(s);
        s = NULL;
    }
    pthread_mutex_unlock(&all->lock);
    return s;
}

static struct timespec soon(void)
{
    int64_t at = deadline_in_ms(CANCEL_LOOK_MS);

    return (struct timespec){.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};
}

struct session *session_create(struct sessions *all, const char *client, struct request *body,
                               const atomic_bool *cancelled, const char *trace_id, struct refusal *r)
{
    struct session *s = begin_session(all, client, body, trace_id, r);
    bool given_up = false;

    if (!s)
        return NULL;
    pthread_mutex_lock(&all->lock);
    while (s->state == SESSION_STARTING) {
        struct timespec until = soon();
        pthread_cond_timedwait(&all->changed, &all->lock, &until);
        if (*cancelled && !given_up) {
            given_up = s->close_wanted = true;
            wake(s);
        }
    }
    struct error e = s->why;
    bool stopping = all->closed, failed = s->end == SESSION_IS_FAILED;
    /* Its thread goes on meanwhile: it may have ended by now, which its state says. */
    bool made = s->ready && !given_up;
    if (!made)
        unlink_locked(s);
    pthread_mutex_unlock(&all->lock);
    if (made)
        return s;
    session_unref(s);
    if (!failed)
        refuse(r, stopping ? REFUSAL_STOPPING : REFUSAL_CANCELLED,
               stopping ? "the server is shutting down" : "cancelled");
    else
        refuse_error(all->options.manner, &e, trace_id, r);
    return NULL;
}

struct session *session_find(struct sessions *all, const char *client, const char *id, struct refusal *r)
{
    struct session *s;

    pthread_mutex_lock(&all->lock);
    for (s = all->first; s; s = s->next)
        if (strcmp(s->id, id) == 0 && strcmp(s->client, client) == 0 && !s->forgotten)
            break;
    if (s)
        s->references++;
    pthread_mutex_unlock(&all->lock);
    if (!s && session_note_lost(all->options.ledger, client, id))
        refuse(r, REFUSAL_GONE, "the session has ended: its server has");
    else if (!s)
        refuse(r, REFUSAL_NOT_FOUND, "there is no such session, or it was closed");
    return s;
}

void session_unref(struct session *s)
{
    struct sessions *all = s->all;

    pthread_mutex_lock(&all->lock);
    unref_locked(s);
    pthread_mutex_unlock(&all->lock);
}

void session_close(struct session *s)
{
    pthread_mutex_lock(&s->all->lock);
    s->close_wanted = s->forgotten = true;
    wake(s);
    pthread_mutex_unlock(&s->all->lock);
}

/* ---- telling about them -------------------------------------------------------------------------- */

static json_t *show_locked(const struct session *s)
{
    int64_t now = clock_monotonic_ns();
    bool lives = s->ready && !s->end, idle = lives && s->users <= s->terminals;
    /* One that is ready ends by the clock that does not jump. */
    int64_t since = lives ? clock_realtime_ns() / 1000000000 - (now - s->ready) / 1000000000 : s->created;
    const struct session_view view = {
        .id = s->id,
        .language = s->language,
        .condition = s->end                         ? s->end
                     : s->state == SESSION_STARTING ? SESSION_IS_STARTING
                                                    : SESSION_IS_READY,
        .created = (uint64_t)s->created,
        .expires = (uint64_t)since + s->body.run.timeout,
        .timeout = s->body.run.timeout,
        .idle_timeout = s->body.idle,
        .in_use = s->users,
        .idle_seconds = idle ? (uint64_t)(now - s->last) / 1000000000 : 0,
        .reason = s->why.text[0] && !s->all->options.manner->discreet ? s->why.text : NULL,
    };

    return schema_json(SCHEMA_OBJECT_SHOWN_SESSION, SCHEMA_OF_SESSION, &view, NULL);
}

json_t *session_show(struct session *s)
{
    pthread_mutex_lock(&s->all->lock);
    json_t *j = show_locked(s);
    pthread_mutex_unlock(&s->all->lock);
    return j;
}

json_t *sessions_show(struct sessions *all, const char *client)
{
    json_t *array = json_array();

    pthread_mutex_lock(&all->lock);
    for (const struct session *s = all->first; s; s = s->next)
        if (strcmp(s->client, client) == 0 && !s->forgotten)
            json_array_append_new(array, show_locked(s));
    pthread_mutex_unlock(&all->lock);
    return schema_list(SCHEMA_OBJECT_SESSIONS, array);
}

bool session_ended(struct session *s, char *ret, size_t size)
{
    pthread_mutex_lock(&s->all->lock);
    bool ended = s->state >= SESSION_CLOSING;
    if (ended)
        snprintf(ret, size, "the session has ended: %s", end_text(s));
    pthread_mutex_unlock(&s->all->lock);
    return ended;
}

/* ---- using one ----------------------------------------------------------------------------------- */

/* There are no more newcomers than users, which have places for all. */
static int enter_locked(struct session *s, int fd, const struct session_user *u, struct refusal *r)
{
    if (s->close_wanted || s->state >= SESSION_CLOSING)
        return refuse(r, REFUSAL_GONE, "the session has ended: %s", end_text(s));
    if (s->state == SESSION_STARTING || s->users >= SESSION_USERS_MAX) {
        r->retry_after = 1;
        return refuse(r, REFUSAL_LIMIT, "the session does %d things at a time already", SESSION_USERS_MAX);
    }
    s->newcomers[s->newcomer_count++] = (struct newcomer){u, fd};
    s->users++;
    s->terminals += u->use == SESSION_TERMINAL;
    s->references++;
    wake(s);
    return 0;
}

int session_enter(struct session *s, int cancel_fd, enum session_use use, struct session_user *ret,
                  struct refusal *r)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return refuse(r, REFUSAL_OVERLOAD, "the server has too many files open");
    ret->session = s;
    ret->use = use;
    pthread_mutex_lock(&s->all->lock);
    int result = enter_locked(s, pair[1], ret, r);
    pthread_mutex_unlock(&s->all->lock);
    if (result < 0) {
        close(pair[0]);
        close(pair[1]);
        return -1;
    }
    ret->cancel = (struct cancel){cancel_fd};
    ret->life = (struct vm_life){0};
    guest_open(&ret->guest, pair[0], -1, &ret->cancel);
    ret->guest.features = s->lease.guest.features; /* known since before anybody could enter */
    snprintf(ret->guest.build, sizeof(ret->guest.build), "%s", s->lease.guest.build);
    return 0;
}

/* One that nobody has served yet leaves nothing behind. */
static void forget_newcomer_locked(struct session *s, const struct session_user *u)
{
    for (unsigned i = 0; i < s->newcomer_count; i++) {
        if (s->newcomers[i].who != u)
            continue;
        close(s->newcomers[i].fd);
        s->newcomer_count--;
        memmove(s->newcomers + i, s->newcomers + i + 1, (s->newcomer_count - i) * sizeof(s->newcomers[0]));
        return;
    }
}

void session_leave(struct session_user *u)
{
    struct session *s = u->session;

    guest_close(&u->guest);
    pthread_mutex_lock(&s->all->lock);
    forget_newcomer_locked(s, u);
    s->users--;
    s->terminals -= u->use == SESSION_TERMINAL;
    s->last = clock_monotonic_ns();
    pthread_cond_broadcast(&s->all->changed);
    wake(s);
    pthread_mutex_unlock(&s->all->lock);
    session_unref(s);
}

int sessions_start_terminal(struct sessions *all, void (*run)(void *context), void *context, struct error *e)
{
    return thread_group_start(&all->threads, run, context, e);
}

void session_touch(struct session *s)
{
    pthread_mutex_lock(&s->all->lock);
    s->last = clock_monotonic_ns();
    pthread_mutex_unlock(&s->all->lock);
}

int session_fail(struct session *s, const struct error *e, struct refusal *r)
{
    char text[200];

    if (e->kind == ERROR_VM_LOST && session_ended(s, text, sizeof(text)))
        return refuse(r, REFUSAL_GONE, "%s", text);
    return refuse_error(s->all->options.manner, e, s->call.trace_id, r);
}

static void explain_session(void *user, struct error *e)
{
    const struct session_user *u = user;
    char why[200];

    if (e->kind == ERROR_VM_LOST && session_ended(u->session, why, sizeof(why)))
        snprintf(e->text, sizeof(e->text), "%s", why);
}

struct run_site session_site(struct session_user *u)
{
    return (struct run_site){.guest = &u->guest,
                             .user = &program_runner,
                             .life = &u->life,
                             .language = &u->session->lease.language,
                             .explain = explain_session,
                             .context = u};
}

const char *const *session_env(const struct session *s)
{
    return s->network.env ? s->network.env : s->body.run.env;
}

const char *session_language(const struct session *s)
{
    return s->language;
}
