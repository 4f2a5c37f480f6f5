/* /api/v1/sessions, and programs and commands in them. */
#include "api/server.h"

#include "base/cleanup.h"
#include "core/program.h"
#include "service/answer_view.h"

#include <string.h>

#define START_MS 10000 /* how long a command in the background may take to start */

int handle_create_session(struct exchange *x)
{
    return exchange_parse(x, SCHEMA_OBJECT_SESSION, NULL);
}

int work_create_session(struct exchange *x, struct backend *b)
{
    struct error e = {0};

    if (backend_check_language(b, x->task->request.run.language, &e) < 0)
        return exchange_fail(x, &e);
    struct session *s = session_create(&x->server->sessions, x->task->owner, &x->task->request,
                                       &x->task->cancelled, x->trace.id, &x->refusal);
    if (!s)
        return -1;
    json_t *j = session_show(s);
    snprintf(x->answer.location, sizeof(x->answer.location), "/api/v1/sessions/%s",
             json_string_value(json_object_get(j, "id")));
    exchange_answer(x, 201, j);
    session_unref(s);
    return 0;
}

int handle_list_sessions(struct exchange *x)
{
    exchange_answer(x, 200, sessions_show(&x->server->sessions, x->task->owner));
    return 0;
}

int handle_session(struct exchange *x)
{
    x->used_session = session_find(&x->server->sessions, x->task->owner, x->argument, &x->refusal);
    return x->used_session ? 0 : -1;
}

int handle_show_session(struct exchange *x)
{
    if (handle_session(x) < 0)
        return -1;
    exchange_answer(x, 200, session_show(x->used_session));
    return 0;
}

int handle_close_session(struct exchange *x)
{
    if (handle_session(x) < 0)
        return -1;
    session_close(x->used_session);
    x->answer.status = 204;
    return 0;
}

/* ---- programs ------------------------------------------------------------------------------------ */

int handle_session_execute(struct exchange *x)
{
    struct request *q = &x->task->request;

    if (handle_session(x) < 0 ||
        exchange_parse(x, SCHEMA_OBJECT_EXECUTE, session_language(x->used_session)) < 0)
        return -1;
    if (q->background && x->stream)
        return refuse(&x->refusal, REFUSAL_INVALID, "a command in the background has no stream");
    if (parts_check(x, !q->background) < 0)
        return -1;
    /* A single file keeps its name, too: it stays there. */
    if (!q->run.entry && !q->run.argv && q->sources.files[0].name)
        q->run.entry = text_copy(q->sources.files[0].name);
    return 0;
}

static int start_background(struct exchange *x, struct session_user *u)
{
    const struct run_site site = session_site(u);
    const struct run_request *run = &x->task->request.run;
    cleanup_free const char **env = words_of(session_env(u->session), run->env);
    cleanup_free char *cwd = program_cwd(site.user, run->cwd);
    struct msg_started started;
    struct program p;
    struct error e = {0};

    if (program_init(&p, site.language, site.user, site.language->source, NULL, env, &e) < 0)
        return exchange_fail(x, &e);
    if (program_command(&p, run->argv, &e) < 0) {
        program_done(&p);
        return exchange_fail(x, &e);
    }
    const struct msg_exec m = program_job(&p, &p.argv, cwd, run->keep_processes ? PROTO_JOB_KEEP : 0);
    int result = guest_start_job(&u->guest, &m, &started, deadline_in_ms(START_MS), &e);
    program_done(&p);
    if (result < 0)
        return session_fail(u->session, &e, &x->refusal);
    const struct background_view view = {.pid = started.pid, .trace_id = x->trace.id};
    exchange_answer(x, 202, schema_json(SCHEMA_OBJECT_BACKGROUND, SCHEMA_OF_BACKGROUND, &view, NULL));
    return 0;
}

int work_session_execute(struct exchange *x, struct backend *b)
{
    struct session_user u;

    (void)b;
    if (session_enter(x->used_session, x->task->call.cancel.fd,
                      x->task->request.background ? SESSION_BACKGROUND : SESSION_CALL, &u, &x->refusal) < 0)
        return -1;
    int result = x->task->request.background ? start_background(x, &u) : session_run(x, &u);
    session_leave(&u);
    return result;
}
