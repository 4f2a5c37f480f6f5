/*
 * session: VMs that serve several requests of one client, until they are closed, idle for too long, too old, or lost.
 *
 * Each has a thread of its own: it restores the VM (which dies with the thread that started it), owns the connection to the
 * guest, and carries frames between it and those who use the session at the moment (guest/mux.h). Users are other
 * threads: workers for programs and files, one for each terminal. Each gets a connection by session_enter().
 *
 * A session belongs to the client that made it; for all others it does not exist. Ended ones are kept for a while, so that
 * their client can learn why.
 *
 * It ends after its idle_timeout, and its timeout after it was ready (service/schema.def). It is not idle while a request is
 * being worked on, or bytes of a terminal come or go.
 */
#ifndef CAPSID_SERVICE_SESSION_H
#define CAPSID_SERVICE_SESSION_H

#include "base/thread.h"
#include "service/backend.h"
#include "service/ledger.h"
#include "service/refusal.h"
#include "service/request.h"
#include "service/session_view.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define SESSION_ID_MAX 40
#define SESSIONS_KEPT 256   /* ended ones that are remembered, */
#define SESSION_KEPT_S 600  /* and for how long */
#define SESSION_USERS_MAX 8 /* requests and terminals of one session at a time; below MUX_USERS_MAX */

struct session;

struct session_options {
    struct backend *backend;
    const struct refusal_manner *manner;
    struct ledger *ledger;    /* to note them in; NULL: they are not */
    uint64_t max, client_max; /* sessions at a time: of all clients, of one */
};

/* Of all of a server. */
struct sessions {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct session *first; /* the newest */
    struct session_options options;
    bool closed;
    struct thread_group threads; /* of sessions and terminals */
};

/* What options point to lives as long. */
void sessions_open(struct sessions *all, const struct session_options *options);

/* Ends all of them, and waits until they and all terminals are gone. */
void sessions_end(struct sessions *all);
void sessions_close(struct sessions *all);

/*
 * Makes one and waits until it is ready; takes what body holds over. NULL with a refusal. cancelled: whoever wants it has gone
 * away. The caller gets a reference.
 */
struct session *session_create(struct sessions *all, const char *client, struct request *body,
                               const atomic_bool *cancelled, const char *trace_id, struct refusal *r);

/* A reference; NULL with a refusal: this client has no such one. */
struct session *session_find(struct sessions *all, const char *client, const char *id, struct refusal *r);
void session_unref(struct session *s);

/* As JSON. */
json_t *session_show(struct session *s);
json_t *sessions_show(struct sessions *all, const char *client);

/* Ends one and forgets it; does not wait for its VM's end. */
void session_close(struct session *s);

enum session_use {
    SESSION_CALL,       /* the session is not idle meanwhile */
    SESSION_BACKGROUND, /* the same, and jobs that run when it leaves run on */
    SESSION_TERMINAL,   /* is idle, unless session_touch() is called */
};

/*
 * A connection to its guest: what cancel_fd says cancels what is done with it. -1 with a refusal: it has ended, or too many
 * use it. The user does not keep it longer than it must, nor moves it: session_leave().
 */
struct session_user {
    struct session *session; /* owned reference */
    enum session_use use;
    struct guest guest;
    struct vm_life life; /* for what programs say of it; of nobody's VM */
    struct cancel cancel;
};

int session_enter(struct session *s, int cancel_fd, enum session_use use, struct session_user *ret,
                  struct refusal *r);
void session_leave(struct session_user *u);

/* For a terminal: bytes came or went. */
void session_touch(struct session *s);

/* A terminal's thread; sessions_end() waits for it. */
int sessions_start_terminal(struct sessions *all, void (*run)(void *context), void *context, struct error *e);

/* Sets the refusal for an error that came while the session was used; always -1. */
int session_fail(struct session *s, const struct error *e, struct refusal *r);

/* Where programs run, for one that is in use. */
struct run_site session_site(struct session_user *u);

/* Variables of all its programs, ends with NULL; NULL: none. */
const char *const *session_env(const struct session *s);
const char *session_language(const struct session *s);

/* Why it ended, for people; copies. False: it has not. */
bool session_ended(struct session *s, char *ret, size_t size);

#endif
