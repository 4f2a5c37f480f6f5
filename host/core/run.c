#include "core/run.h"

#include "base/log.h"
#include "core/machine.h"
#include "core/program.h"
#include "core/snapshot.h"
#include "image/image.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How much longer than the guest the host waits before it takes a time limit into its own hands. */
#define GRACE_MS 3000

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

static const char *end_name(uint8_t cause)
{
    switch (cause) {
    case PROTO_CAUSE_EXITED:
        return "exited";
    case PROTO_CAUSE_SIGNALLED:
        return "signalled";
    case PROTO_CAUSE_TIMEOUT:
        return "timed_out";
    case PROTO_CAUSE_CPU:
        return "cpu_time";
    case PROTO_CAUSE_OUTPUT:
        return "output_limit";
    case PROTO_CAUSE_OOM:
        return "out_of_memory";
    case PROTO_CAUSE_CANCELLED:
        return "cancelled";
    default:
        return NULL;
    }
}

static int set_end(struct run_result *ret, const struct msg_exit *m, struct error *e)
{
    ret->end = end_name(m->cause);
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

/* The same limits for a fed and for an executed program. */
#define PROGRAM_LIMITS(request) .flags = PROTO_JOB_STDIN, .wall_ms = (uint32_t)((request)->timeout * 1000)

static int feed(struct guest *g, const struct program *p, uint32_t job, const struct run_request *request,
                const struct job_io *io, int64_t deadline, struct msg_exit *ret, struct error *e)
{
    struct msg_feed m = {.job = job, .source = p->fed, PROGRAM_LIMITS(request)};

    if (guest_write_file(g, p->fed, S_IFREG | 0644, 0, PROGRAM_UID, PROGRAM_UID, request->code,
                         request->code_size, deadline, e) < 0)
        return -1;
    return guest_run_job(g, NULL, &m, io, deadline, ret, e);
}

static int execute(struct guest *g, const struct program *p, const struct run_request *request,
                   const struct job_io *io, int64_t deadline, struct msg_exit *ret, struct error *e)
{
    struct msg_exec m = {.argv = {.data = p->argv.data, .size = (uint32_t)p->argv.size},
                         .env = {.data = p->env.data, .size = (uint32_t)p->env.size},
                         .cwd = PROGRAM_DIRECTORY,
                         .uid = PROGRAM_UID,
                         .gid = PROGRAM_UID,
                         PROGRAM_LIMITS(request)};

    /* Atomic: in a snapshot with a primed interpreter the name is taken by a FIFO. */
    if (program_prepare(g, deadline, e) < 0 ||
        guest_write_file(g, p->source, S_IFREG | 0644, PROTO_WRITE_ATOMIC, PROGRAM_UID, PROGRAM_UID,
                         request->code, request->code_size, deadline, e) < 0)
        return -1;
    return guest_run_job(g, &m, NULL, io, deadline, ret, e);
}

/* A program without standard input gets one that is at its end, primed or not. */
static int open_stdin(const struct run_request *request)
{
    return request->stdin_fd >= 0 ? fcntl(request->stdin_fd, F_DUPFD_CLOEXEC, 3)
                                  : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Runs the job; a VM that is lost, or does not end in time, is a result of its own. */
static int run_in_machine(struct machine *m, const struct program *p, uint32_t primed_job,
                          const struct run_request *request, struct run_result *ret, struct error *e)
{
    struct job_io io = {
        .stdin_fd = open_stdin(request), .on_output = request->on_output, .context = request->context};
    int64_t deadline = deadline_in_ms((int64_t)request->timeout * 1000 + GRACE_MS),
            start = clock_monotonic_ns();
    struct msg_exit exit = {0};
    struct error why = {0};

    ret->primed = primed_job != 0;
    int result = ret->primed ? feed(&m->guest, p, primed_job, request, &io, deadline, &exit, &why)
                             : execute(&m->guest, p, request, &io, deadline, &exit, &why);
    if (result == 0)
        result = set_end(ret, &exit, &why);
    ret->exec_ns = clock_monotonic_ns() - start;
    close(io.stdin_fd);
    if (result == 0)
        return 0;
    if (why.kind == ERROR_TIMEOUT) {
        ret->end = "timed_out";
        ret->exit_code = RUN_EXIT_TIMEOUT;
        return 0;
    }
    if (why.kind == ERROR_VM_LOST) {
        ret->end = "vm_lost";
        ret->exit_code = RUN_EXIT_ERROR;
        snprintf(ret->note, sizeof(ret->note), "%.255s", why.text);
        return 0;
    }
    *e = why;
    return -1;
}

static int run_language(struct supervisor *s, struct language *l, const struct run_request *request,
                        struct run_result *ret, struct error *e)
{
    struct machine_spec spec = {.kernel = s->config.kernel,
                                .memory_mib = request->memory_mib ? request->memory_mib : l->memory,
                                .vcpus = request->vcpus ? request->vcpus : l->vcpus};
    struct snapshot snapshot = {0};
    struct program p = {0};
    struct machine m = MACHINE_NONE;
    struct image image = {0};
    int result = image_ensure(&image, &s->config, &s->home, l, false, &s->cancel, e);

    spec.image = image.path;
    if (result == 0 && !request->cold)
        result = snapshot_ensure(&snapshot, s, l, &image, &spec, false, NULL, e);
    if (result == 0)
        result = program_init(&p, l, e);
    int64_t start = clock_monotonic_ns();
    if (result == 0)
        result = request->cold ? machine_boot(&m, s, &spec, NULL, e)
                               : machine_restore(&m, s, &spec, snapshot.directory, e);
    ret->load_ns = clock_monotonic_ns() - start;
    if (result == 0)
        result = run_in_machine(&m, &p, request->unprimed ? 0 : snapshot.primed_job, request, ret, e);
    machine_destroy(&m);
    program_done(&p);
    snapshot_done(&snapshot);
    image_done(&image);
    return result;
}

int run_program(struct supervisor *s, const struct run_request *request, struct run_result *ret,
                struct error *e)
{
    struct run_request r = *request;
    struct language l;

    *ret = (struct run_result){0};
    snprintf(ret->trace_id, sizeof(ret->trace_id), "tr-%lld", (long long)clock_realtime_ns());
    if (r.timeout == 0)
        r.timeout = s->config.timeout;
    if (language_find(&l, s->config.data, r.language, e) < 0)
        return -1;
    int result = run_language(s, &l, &r, ret, e);
    log_debug("run trace_id=%s language=%s end=%s load_ms=%.1f exec_ms=%.1f", ret->trace_id, l.name,
              ret->end ? ret->end : "failed", (double)ret->load_ns / 1e6, (double)ret->exec_ns / 1e6);
    language_done(&l);
    return result;
}
