#include "core/run.h"

#include "base/cleanup.h"
#include "core/event.h"
#include "core/network_run.h"
#include "core/program.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How much longer than the guest the host waits before it takes a time limit into its own hands. */
#define GRACE_MS 3000

/* For a guest's network to begin, which is not the program's time. */
#define NETWORK_MS 30000

int run_output_add(void *run_output, int channel, const void *data, size_t size, struct error *e)
{
    struct run_output *o = run_output;
    struct buffer *b = &o->channel[channel - 1];
    size_t room = o->max - b->size;

    (void)e;
    if (size > room)
        o->truncated[channel - 1] = true;
    buffer_add(b, data, size < room ? size : room);
    return 0;
}

void run_output_free(struct run_output *o)
{
    buffer_free(&o->channel[0]);
    buffer_free(&o->channel[1]);
}

const char *run_end_name(enum run_end end)
{
    static const char *const names[RUN_ENDS_COUNT] = {
#define E(name, text, cause) [RUN_##name] = text,
        RUN_ENDS(E)
#undef E
    };

    return names[end];
}

static enum run_end end_of(uint8_t cause)
{
    static const int causes[RUN_ENDS_COUNT] = {[RUN_NONE] = -1,
#define E(name, text, cause) [RUN_##name] = cause,
                                               RUN_ENDS(E)
#undef E
    };

    for (enum run_end end = RUN_NONE; end < RUN_ENDS_COUNT; end++)
        if (causes[end] == cause)
            return end;
    return RUN_NONE;
}

int run_phase_of(struct run_phase *ret, const struct msg_exit *m, struct error *e)
{
    ret->end = end_of(m->cause);
    if (!ret->end)
        return error_set(e, ERROR_VM_LOST, "the guest named an unknown end cause, %u", m->cause);
    ret->signal = m->signal;
    ret->output_held = m->flags & PROTO_EXIT_OUTPUT_HELD;
    ret->memory_peak = m->memory_peak;
    if (m->cause == PROTO_CAUSE_TIMEOUT)
        ret->exit_code = RUN_EXIT_TIMEOUT;
    else if (m->cause == PROTO_CAUSE_EXITED)
        ret->exit_code = m->status;
    else
        ret->exit_code = RUN_EXIT_SIGNAL + (m->signal ? m->signal : 9);
    return 0;
}

/* A run, once it is known what and where. */
struct task {
    const struct run_site *site;
    struct guest *guest; /* the site's */
    const struct run_request *request;
    const struct language *language;
    struct program program;
    char *entry;         /* owned; the main file's name */
    uint32_t primed_job; /* in the snapshot; 0: none */
    int64_t end;         /* when the time for both phases is over */
    struct run_result *result;
};

/* A file alone, whose name nobody asked to keep, gets the one that the language wants. */
static const char *file_name(const struct task *t, const struct source_file *f)
{
    const struct sources *s = t->request->sources;

    bool alone = s->count == 1 && !s->tree && !t->request->entry && !t->request->argv;
    return !f->name || alone ? t->entry : f->name;
}

/* A waiting interpreter knows its file's name, arguments, variables and directory already. */
static bool can_feed(const struct task *t)
{
    const struct run_request *r = t->request;

    return t->primed_job && !r->unprimed && !r->argv && r->sources->count == 1 && (!r->args || !r->args[0]) &&
           (!r->env || !r->env[0]) && !r->cwd && strcmp(t->entry, t->language->source) == 0;
}

/* The symlinks, or everything else. */
static int write_some(struct task *t, bool links, int64_t deadline, struct error *e)
{
    const struct sources *s = t->request->sources;

    for (size_t i = 0; i < s->count; i++) {
        const struct source_file *f = &s->files[i];
        cleanup_free char *path = text_format(PROGRAM_DIRECTORY "/%s", file_name(t, f));
        if (S_ISLNK(f->mode) != links)
            continue;
        /* A session has the files of earlier calls: a link among them is replaced, not followed. */
        uint16_t flags = S_ISDIR(f->mode) ? 0 : PROTO_WRITE_ATOMIC;
        if (guest_write_file(t->guest, path, f->mode, flags, PROGRAM_UID, PROGRAM_UID,
                             f->content.data ? f->content.data : "", f->content.size, deadline, e) < 0)
            return error_wrap(e, "cannot write %s", path);
    }
    return 0;
}

/* Files and directories that are there before the program's own. */
static int place_trees(struct task *t, int64_t deadline, struct error *e)
{
    const struct program_user *user = t->site->user;

    for (size_t i = 0; i < t->request->tree_count; i++) {
        const struct guest_tree *tree = &t->request->trees[i];
        cleanup_free char *path = program_cwd(user, tree->path[0] ? tree->path : NULL);
        if (guest_unpack(t->guest, tree, path, user->uid, user->gid, deadline, e) == 0)
            continue;
        if (e->kind == ERROR_NOT_FOUND) /* a directory that cannot be: what was asked for is wrong */
            e->kind = ERROR_REFUSED;
        return error_wrap(e, "cannot place files in %s", path);
    }
    return 0;
}

static int write_files(struct task *t, int64_t deadline, struct error *e)
{
    /* A command in an image finds only what is in the image, and what is placed there. */
    if (!t->site->user->makes_directory)
        return place_trees(t, deadline, e);
    /* The waiting interpreter's FIFO must not lie among the files of another program. */
    if (t->primed_job && guest_remove(t->guest, PROGRAM_DIRECTORY, deadline, e) < 0)
        return -1;
    if (program_prepare(t->guest, deadline, e) < 0 || place_trees(t, deadline, e) < 0)
        return -1;
    /* Links last: nothing that was sent is written through one of them. */
    return write_some(t, false, deadline, e) < 0 ? -1 : write_some(t, true, deadline, e);
}

/* What is left of the time for both phases, at least 1 ms; wall_ms of a phase that may take seconds. */
static uint32_t limit_of(const struct task *t, uint64_t seconds)
{
    int64_t left = (t->end - clock_monotonic_ns()) / 1000000, own = (int64_t)seconds * 1000;

    left = left < own ? left : own;
    return left > 0 ? (uint32_t)left : 1;
}

/* Turns what became of a job into a phase's end. A VM that is lost, or does not end in time, is a result of its
 * own. */
static int conclude(struct task *t, struct run_phase *phase, int result, const struct msg_exit *exit,
                    struct error *why, struct error *e)
{
    if (result == 0 && run_phase_of(phase, exit, why) == 0)
        return 0;
    if (why->kind == ERROR_TIMEOUT) {
        phase->end = RUN_TIMED_OUT;
        phase->exit_code = RUN_EXIT_TIMEOUT;
        return 0;
    }
    if (why->kind == ERROR_VM_LOST) {
        t->site->explain(t->site->context, why);
        phase->end = RUN_VM_LOST;
        phase->exit_code = RUN_EXIT_ERROR;
        snprintf(t->result->note, sizeof(t->result->note), "%.255s", why->text);
        return 0;
    }
    *e = *why;
    return -1;
}

static int feed(struct task *t, const struct job_io *io, int64_t deadline, struct msg_exit *ret,
                struct error *e)
{
    const struct buffer *code = &t->request->sources->files[0].content;
    struct msg_feed m = {.job = t->primed_job, .source = t->program.fed, .flags = PROTO_JOB_STDIN};

    if (place_trees(t, deadline, e) < 0)
        return -1;
    if (guest_write_file(t->guest, m.source, S_IFREG | 0644, 0, PROGRAM_UID, PROGRAM_UID,
                         code->data ? code->data : "", code->size, deadline, e) < 0)
        return -1;
    m.wall_ms = limit_of(t, t->request->timeout);
    return guest_run_job(t->guest, NULL, &m, io, deadline, ret, e);
}

static int execute_run(struct task *t, const struct buffer *argv, const char *cwd, uint16_t flags,
                       uint32_t wall_ms, const struct job_io *io, int64_t deadline, struct msg_exit *ret,
                       struct error *e)
{
    struct msg_exec m =
        program_job(&t->program, argv, cwd, (uint16_t)(flags | (io->stdin_fd >= 0 ? PROTO_JOB_STDIN : 0)));

    m.wall_ms = wall_ms;

    return guest_run_job(t->guest, &m, NULL, io, deadline, ret, e);
}

/* Files and build command. */
static int build(struct task *t, int64_t deadline, struct error *e)
{
    const struct run_request *r = t->request;
    const struct job_io io = {.stdin_fd = -1, .on_output = r->on_build_output, .context = r->build_context};
    int64_t start = clock_monotonic_ns();
    cleanup_buffer struct buffer argv = {0};
    struct msg_exit exit = {0};
    struct error why = {0};

    program_shell(&t->program, t->language->build, &argv);
    t->result->timeout = r->build_timeout < r->timeout ? r->build_timeout : r->timeout;
    int result = write_files(t, deadline, &why);
    if (result == 0)
        result = execute_run(t, &argv, t->program.directory, 0, limit_of(t, r->build_timeout), &io, deadline,
                             &exit, &why);
    t->result->build.ns = clock_monotonic_ns() - start;
    return conclude(t, &t->result->build, result, &exit, &why, e);
}

/* A program without standard input gets one that is at its end, primed or not. */
static int open_stdin(const struct run_request *request)
{
    return request->stdin_fd >= 0 ? fcntl(request->stdin_fd, F_DUPFD_CLOEXEC, 3)
                                  : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Of what the guest refuses to start. */
static void name_program(const struct run_request *r, const char *cwd, struct error *e)
{
    const char *name = r->argv ? r->argv[0] : "the program";

    if (r->cwd)
        error_wrap(e, "cannot start %.100s in %s", name, cwd);
    else if (r->argv)
        error_wrap(e, "cannot start %.100s", name);
}

/* The program itself, and its files when there was no build phase. */
static int start_run(struct task *t, int64_t deadline, struct error *e)
{
    const struct run_request *r = t->request;
    struct job_io io = {.stdin_fd = open_stdin(r), .on_output = r->on_output, .context = r->context};
    cleanup_free char *cwd = program_cwd(t->site->user, r->cwd);
    int64_t start = clock_monotonic_ns();
    struct msg_exit exit = {0};
    struct error why = {0};
    int result = 0;

    t->result->timeout = r->timeout;
    t->result->primed = can_feed(t);
    if (t->result->primed) {
        result = feed(t, &io, deadline, &exit, &why);
    } else {
        if (!t->language->build || r->argv)
            result = write_files(t, deadline, &why);
        if (result == 0)
            result = execute_run(t, &t->program.argv, cwd, r->keep_processes ? PROTO_JOB_KEEP : 0,
                                 limit_of(t, r->timeout), &io, deadline, &exit, &why);
        if (result < 0 && (why.kind == ERROR_REFUSED || why.kind == ERROR_NOT_FOUND))
            name_program(r, cwd, &why);
    }
    t->result->run.ns = clock_monotonic_ns() - start;
    close_fd(&io.stdin_fd);
    return conclude(t, &t->result->run, result, &exit, &why, e);
}

static int run_phases(struct task *t, struct error *e)
{
    t->end = deadline_in_ms((int64_t)t->request->timeout * 1000);
    int64_t deadline = t->end + (int64_t)GRACE_MS * 1000000;

    t->result->deadline = deadline;
    if (t->language->build && !t->request->argv) {
        const struct run_phase *b = &t->result->build;
        if (build(t, deadline, e) < 0)
            return -1;
        if (b->end != RUN_EXITED || b->exit_code != 0)
            return 0;
    }
    return start_run(t, deadline, e);
}

/* ---- which language, which file -------------------------------------------------------------- */

struct main_file {
    const struct sources *sources;
    const char *name; /* of the file that a language calls its source, a view into sources */
    bool several;
};

static int look_for_source(const struct language *l, void *context, struct error *e)
{
    struct main_file *m = context;
    const struct source_file *f = sources_find(m->sources, l->source);

    (void)e;
    if (f && m->name && strcmp(f->name, m->name) != 0)
        m->several = true;
    else if (f)
        m->name = f->name;
    return 0;
}

/* A directory without --lang and --entry: the only file in it with a name that a language's source has. */
static int guess_in_directory(const char *data, const struct sources *s, const char **ret, struct error *e)
{
    struct main_file m = {.sources = s};

    if (language_each(data, look_for_source, &m, e) < 0)
        return -1;
    if (!m.name || m.several)
        return error_set(e, ERROR_USAGE, "%s in the directory looks like its main file; name it with --entry",
                         m.several ? "more than one file" : "no file");
    *ret = m.name;
    return 0;
}

static int find_language(struct language *ret, const char *data, const struct run_request *r, struct error *e)
{
    const struct source_file *first = r->sources->count ? &r->sources->files[0] : NULL;
    const char *file = r->entry;
    const struct source_file *program;

    if (r->language)
        return language_find(ret, data, r->language, e);
    if (!file && r->sources->tree) {
        if (guess_in_directory(data, r->sources, &file, e) < 0)
            return -1;
    } else if (!file && first) {
        file = first->name ? first->name : first->told;
    }
    if (!file)
        return error_set(e, ERROR_USAGE,
                         "--lang is required for a program that is not in a file with an extension");
    program = r->entry || r->sources->tree ? sources_find(r->sources, file) : first;
    return language_guess(ret, data, file, program ? &program->content : NULL, e);
}

/* The main file's name, on the heap; NULL with an error. */
static char *find_entry(const struct run_request *r, const struct language *l, struct error *e)
{
    const struct sources *s = r->sources;
    const struct source_file *f = s->count ? &s->files[0] : NULL;
    const char *name = r->entry ? r->entry : l->source;

    if (r->argv)
        return text_copy(l->source);
    if (!f || (s->count == 1 && !S_ISREG(f->mode))) {
        error_set(e, ERROR_USAGE, "there is no file to run");
        return NULL;
    }
    if (!r->entry && !s->tree)
        return text_copy(s->count == 1 || !f->name ? l->source : f->name);
    if (!sources_find(s, name)) {
        error_set(e, ERROR_USAGE,
                  r->entry ? "--entry %.200s: there is no such file among those given"
                           : "there is no %.200s among the files; name the main file with --entry",
                  name);
        return NULL;
    }
    return text_copy(name);
}

/* ---- the steps of a run ---------------------------------------------------------------------- */

int run_find_language(struct language *ret, const char *data, const struct run_request *r, struct error *e)
{
    if (find_language(ret, data, r, e) < 0)
        return -1;
    if (!r->packages)
        return 0;
    cleanup_free char *name = language_variant(ret->name, r->packages, e);
    language_done(ret);
    return name ? language_find(ret, data, name, e) : -1;
}

/* What became of the run, and so of the VM. */
static void tell_job(struct vm_life *l, const struct run_result *r, int64_t start,
                     const struct error *failure)
{
    const struct run_phase *last = run_last_phase(r);
    struct event v;

    if (failure)
        life_because_error(l, failure);
    else if (last->end == RUN_TIMED_OUT)
        life_because(l, "timeout", NULL);
    else if (last->end == RUN_VM_LOST)
        life_because(l, "lost", r->note);
    else if (last->end == RUN_CANCELLED)
        life_because(l, "cancelled", NULL);
    else
        life_because(l, "run ended", NULL);
    life_event(&v, l, "job");
    event_text(&v, "end", run_end_name(failure || !last->end ? RUN_FAILED : last->end));
    event_text(&v, "primed", r->primed ? "yes" : "no");
    if (!failure) {
        event_number(&v, "exit_code", last->exit_code);
        event_number(&v, "memory_peak", (int64_t)last->memory_peak);
    }
    event_ms(&v, "build_ms", r->build.end ? r->build.ns : -1);
    event_ms(&v, "exec_ms", r->run.end ? r->run.ns : -1);
    event_ms(&v, "job_ms", clock_monotonic_ns() - start);
    event_end(&v);
}

static int prepare_program(struct program *ret, const struct language *l, const struct program_user *user,
                           const char *entry, const struct run_request *r, struct error *e)
{
    if (program_init(ret, l, user, entry, r->args, r->env, e) < 0)
        return -1;
    if (!r->argv || program_command(ret, r->argv, e) == 0)
        return 0;
    program_done(ret);
    return -1;
}

/* With a network, which begins before the program and ends after it. */
static int run_with_network(const struct run_site *site, const struct call *call,
                            const struct run_request *request, struct run_result *ret, struct error *e)
{
    const struct network_site at = {.guest = site->guest,
                                    .vm = site->life->id,
                                    .trace_id = call->trace_id,
                                    .source = site->network,
                                    .context = site->context,
                                    .data = site->data};
    struct network_run *n = network_run_begin(&at, site->guest, &call->cancel, request->net, request->network,
                                              deadline_in_ms(NETWORK_MS), e);
    if (!n)
        return -1;
    cleanup_free const char **env = network_env(request->env);
    struct run_request r = *request;
    struct run_site inside = *site;
    r.env = env;
    r.net = NULL;
    inside.guest = network_run_guest(n);
    int result = run_in(&inside, call, &r, ret, e);
    network_run_end(n);
    return result;
}

int run_in(const struct run_site *site, const struct call *call, const struct run_request *request,
           struct run_result *ret, struct error *e)
{
    if (request->net && request->net[0])
        return run_with_network(site, call, request, ret, e);
    struct task t = {.site = site,
                     .guest = site->guest,
                     .request = request,
                     .language = site->language,
                     .primed_job = site->primed_job,
                     .result = ret};
    int64_t start = clock_monotonic_ns();
    int result = -1;

    snprintf(site->life->trace_id, sizeof(site->life->trace_id), "%s", call->trace_id);
    t.entry = find_entry(request, t.language, e);
    if (t.entry)
        result = prepare_program(&t.program, t.language, site->user, t.entry, request, e);
    if (result == 0)
        result = run_phases(&t, e);
    tell_job(site->life, ret, start, result < 0 ? e : NULL);
    program_done(&t.program);
    free(t.entry);
    return result;
}

static void explain_machine(void *machine, struct error *e)
{
    machine_explain(machine, e);
}

struct run_site run_site_of(struct machine *m, const struct run_target *target, const struct host *host)
{
    return (struct run_site){.guest = &m->guest,
                             .life = &m->life,
                             .language = &target->language,
                             .user = &target->resident.user,
                             .primed_job = target->snapshot.primed_job,
                             .explain = explain_machine,
                             .context = m,
                             .data = host->config.data};
}

int run_on_machine(struct machine *m, const struct host *host, const struct call *call,
                   const struct run_target *target, const struct run_request *request, struct run_result *ret,
                   struct error *e)
{
    const struct run_site site = run_site_of(m, target, host);
    const struct run_request r = run_with_times(request, host->config.timeout);

    return run_in(&site, call, &r, ret, e);
}

struct run_request run_with_times(const struct run_request *request, uint64_t timeout)
{
    struct run_request r = *request;

    r.timeout = r.timeout ? r.timeout : timeout;
    r.build_timeout = r.build_timeout ? r.build_timeout : r.timeout;
    return r;
}

int run_check(const struct run_request *r, const struct language *l, struct error *e)
{
    cleanup_free char *entry = find_entry(r, l, e);
    struct program p;

    if (!entry || network_check(r->net, e) < 0 || prepare_program(&p, l, &program_runner, entry, r, e) < 0)
        return -1;
    program_done(&p);
    return 0;
}

void run_log(const struct run_result *r, const struct call *call, const char *language)
{
    const struct run_phase *last = run_last_phase(r);

    struct event v;

    event_begin(&v, "run");
    event_text(&v, "trace_id", call->trace_id);
    event_text(&v, "language", language);
    event_text(&v, "end", run_end_name(last->end ? last->end : RUN_FAILED));
    event_ms(&v, "load_ms", r->load_ns);
    event_ms(&v, "build_ms", r->build.ns);
    event_ms(&v, "exec_ms", r->run.ns);
    event_end(&v);
}

static int load_and_run(struct host *host, const struct call *call, const char *language,
                        const struct run_request *r, struct run_result *ret, struct error *e)
{
    const struct target_wish wish = {
        .language = language, .shape = r->shape, .start = r->cold ? TARGET_BOOT : TARGET_RESTORE};
    struct run_target target = {0};
    struct machine m;

    if (target_open_and_load(&target, &m, host, call, &wish, e) < 0)
        return -1;
    ret->load_ns = m.life.ready_ns - m.life.begun_ns;
    int result = run_on_machine(&m, host, call, &target, r, ret, e);
    machine_destroy(&m);
    target_done(&target);
    return result;
}

int run_program(struct host *host, const struct call *call, const struct run_request *request,
                struct run_result *ret, struct error *e)
{
    struct language l;

    *ret = (struct run_result){0};
    if (run_find_language(&l, host->config.data, request, e) < 0)
        return -1;
    int result = run_check(request, &l, e);
    if (result == 0)
        result = load_and_run(host, call, l.name, request, ret, e);
    run_log(ret, call, l.name);
    language_done(&l);
    return result;
}
