#include "core/freeze.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "core/program.h"
#include "vmm/disk.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* How long the guest may take for what is not a command of the language; at least, see config_patience_ms(). */
#define SETTLE_MS 30000
#define WARM_MS                                                                                              \
    300000 /* how long a warm-up command may run; emulated compilers of large languages take minutes */
#define IMPORT_MS                                                                                            \
    (30 * 60000) /* the same of what an interpreter loads before it waits, also on a busy machine */

/*
 * An emulator translates what a restored guest executes anew each time, so nothing should be left to do for it. From the
 * start of an emulated VM, when the kernel has found out its clock's rate, which it does a second after it began; and from
 * the answer to QUIESCE, when the kernel has freed what had ended before, and its timers have run. initd does not sleep
 * for twenty times that (PROTOCOL.md 7).
 */
#define BOOTED_MS 1500
#define QUIET_MS 100

/* What a warm-up command prints: the last line of standard error that is not empty, printable. */
struct last_line {
    char text[200], current[200];
    size_t size;
};

static int keep_last_line(void *context, int channel, const void *data, size_t size, struct error *e)
{
    struct last_line *l = context;

    (void)e;
    for (const char *p = data; channel == 2 && size > 0; p++, size--) {
        if (*p == '\n') {
            l->size = 0;
        } else if (l->size < sizeof(l->current) - 1) {
            l->current[l->size++] = *p;
            l->current[l->size] = '\0';
            memcpy(l->text, l->current, sizeof(l->text));
        }
    }
    return 0;
}

/* The hello program under the name of the language's sources; some want it to end with a newline. */
static int write_hello(struct guest *g, const struct language *l, const struct program *p, int64_t deadline,
                       struct error *e)
{
    cleanup_free char *text = text_format("%s\n", l->hello ? l->hello : "");

    if (program_prepare(g, deadline, e) < 0)
        return -1;
    return l->hello ? guest_write_file(g, p->source, S_IFREG | 0644, 0, PROGRAM_UID, PROGRAM_UID, text,
                                       strlen(text), deadline, e)
                    : 0;
}

/* What became of a job before the snapshot; last: what it said last. */
static int check_end(const struct msg_exit *exit, uint32_t wall_ms, struct last_line *last, struct error *e)
{
    text_make_plain(last->text);
    if (exit->cause == PROTO_CAUSE_TIMEOUT)
        return error_set(e, ERROR_GENERAL, "it did not end within %u s", wall_ms / 1000);
    if (exit->cause != PROTO_CAUSE_EXITED)
        return error_set(e, ERROR_GENERAL, "it was ended%s%s%s",
                         exit->cause == PROTO_CAUSE_OOM ? ", out of memory (raise memory in [vm])"
                                                        : " by a signal",
                         last->text[0] ? ": " : "", last->text);
    if (exit->status != 0)
        return error_set(e, ERROR_GENERAL, "it ended with status %d: %s", (int)exit->status,
                         last->text[0] ? last->text : "nothing on standard error");
    return 0;
}

/* In the directory that jobs will have, as they will run; *ret_flags: of its EXIT. */
static int run_before(struct guest *g, const struct msg_exec *m, int64_t patience, uint16_t *ret_flags,
                      struct error *e)
{
    struct last_line last = {0};
    const struct job_io io = {.stdin_fd = -1, .on_output = keep_last_line, .context = &last};
    struct msg_exit exit = {0};

    if (guest_run_job(g, m, NULL, &io, deadline_in_ms(m->wall_ms + patience), &exit, e) < 0 ||
        check_end(&exit, m->wall_ms, &last, e) < 0)
        return -1;
    *ret_flags = exit.flags;
    return 0;
}

static int run_warm_up(struct guest *g, const struct language *l, const struct program *p, int64_t patience,
                       struct error *e)
{
    int64_t deadline = deadline_in_ms(WARM_MS + patience);
    cleanup_buffer struct buffer argv = {0};
    uint16_t flags;

    if (write_hello(g, l, p, deadline, e) < 0)
        return -1;
    program_shell(p, l->warm, &argv);
    struct msg_exec m = program_job(p, &argv, PROGRAM_DIRECTORY, l->warm_keep ? PROTO_JOB_KEEP : 0);
    m.wall_ms = WARM_MS;
    if (run_before(g, &m, patience, &flags, e) < 0)
        return -1;
    if (l->warm_keep && !(flags & PROTO_EXIT_KEPT))
        return error_set(e, ERROR_GENERAL, "it left nothing running, which it should (keep = yes)");
    /* What it left elsewhere, such as a compiler's cache below /tmp, stays on purpose. */
    return guest_remove(g, PROGRAM_DIRECTORY, deadline, e);
}

/* Runs the language's warm-up command. */
static int warm_up(struct machine *m, const struct language *l, int64_t patience, struct error *e)
{
    struct program p;

    if (!l->warm)
        return 0;
    if (program_init(&p, l, &program_runner, l->source, NULL, NULL, e) < 0)
        return -1;
    int result = run_warm_up(&m->guest, l, &p, patience, e);
    program_done(&p);
    return result < 0 ? error_wrap(e, "the warm-up command failed") : 0;
}

/* Nobody has tried the interpreter of an imported image: whether it waits for its program turns out now. */
static int do_without_priming(struct machine *m, const struct language *l, uint32_t *ret_job, struct error *e)
{
    log_progress("  %s: no interpreter waits in the snapshot: %s", l->name, e->text);
    *e = (struct error){0};
    *ret_job = 0;
    if (guest_remove(&m->guest, PROGRAM_DIRECTORY, deadline_in_ms(SETTLE_MS), e) < 0)
        return -1;
    return program_prepare(&m->guest, deadline_in_ms(SETTLE_MS), e);
}

static int start_primed(struct guest *g, const struct program *p, int64_t patience, uint32_t *ret_job,
                        struct error *e)
{
    struct msg_prime request = {.argv = {.data = p->argv.data, .size = (uint32_t)p->argv.size},
                                .env = {.data = p->env.data, .size = (uint32_t)p->env.size},
                                .cwd = PROGRAM_DIRECTORY,
                                .uid = PROGRAM_UID,
                                .gid = PROGRAM_UID,
                                .script = p->source,
                                .settle_ms = (uint32_t)patience};

    return guest_prime(g, &request, ret_job, deadline_in_ms(patience * 2), e);
}

/* An interpreter that ended before it asked for its program cannot say why. One that runs a program says so, if it was for what it
 * should load. */
static void explain_import(struct guest *g, const struct language *l, const struct program *p,
                           int64_t patience, struct error *e)
{
    struct msg_exec m = program_job(p, &p->argv, PROGRAM_DIRECTORY, 0);
    struct error why = {0};
    uint16_t flags;

    m.wall_ms = IMPORT_MS;
    if (e->kind == ERROR_CANCELLED || e->kind == ERROR_TIMEOUT ||
        write_hello(g, l, p, deadline_in_ms(patience), &why) < 0)
        return;
    if (run_before(g, &m, patience, &flags, &why) < 0)
        error_set(e, ERROR_GENERAL, "import = %.100s: %.300s", l->import, why.text);
}

/* Starts the interpreter, up to the point where it asks for its program. What it shall load before, it is told by a variable. */
static int prime(struct machine *m, const struct language *l, int64_t patience, uint32_t *ret_job,
                 struct error *e)
{
    cleanup_free char *import = text_format("CAPSID_IMPORT=%s", l->import ? l->import : "");
    const char *const env[] = {l->import ? import : NULL, NULL};
    struct program p;

    *ret_job = 0;
    if (program_prepare(&m->guest, deadline_in_ms(patience), e) < 0)
        return -1;
    if (!l->prime)
        return 0;
    if (program_init(&p, l, &program_runner, l->source, NULL, env, e) < 0)
        return -1;
    int result = start_primed(&m->guest, &p, l->import ? IMPORT_MS : patience, ret_job, e);
    if (result < 0 && l->import)
        explain_import(&m->guest, l, &p, patience, e);
    program_done(&p);
    if (result < 0 && l->imported && e->kind != ERROR_VM_LOST && e->kind != ERROR_CANCELLED)
        return do_without_priming(m, l, ret_job, e);
    return result < 0 ? error_wrap(e, "the interpreter could not be primed") : 0;
}

/* Pages that the guest freed and that are zero need no place on the disk. */
static int finish_files(const struct machine_spec *spec, const char *directory, struct error *e)
{
    cleanup_free char *disk = text_format("%s/" SNAPSHOT_DISK, directory);
    cleanup_free char *memory = text_format("%s/" SNAPSHOT_MEMORY, directory);
    cleanup_free char *state = text_format("%s/" SNAPSHOT_STATE, directory);
    cleanup_fd int fd = open(memory, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return error_errno(e, "cannot open %s", memory);
    if (file_punch_zeros(fd, memory, e) < 0 || file_sync(memory, e) < 0)
        return -1;
    if (spec->shape.disk_mib > 0 && file_sync(disk, e) < 0)
        return -1;
    return file_sync(state, e);
}

/* Lets an emulated guest do until then what it would otherwise do after each restore. */
static int settle(const struct machine_spec *spec, const struct call *call, int64_t until, struct error *e)
{
    return spec->accelerator.choice == ACCEL_TCG ? deadline_poll(NULL, 0, until, &call->cancel, e) : 0;
}

int freeze_guest(struct host *host, const struct call *call, const struct language *l,
                 const struct machine_spec *spec, const char *directory, uint32_t *ret_job, struct error *e)
{
    struct machine_spec named = *spec;
    struct machine m;

    named.language = l->name;
    cleanup_free char *placeholder = spec->bare ? disk_make_placeholder(directory, e) : NULL;
    if (spec->bare && !placeholder)
        return -1;
    named.placeholder = placeholder;
    if (machine_boot(&m, host, call, &named, directory, e) < 0)
        return -1;
    int64_t patience = config_patience_ms(&host->config, SETTLE_MS);
    int result = spec->bare ? 0 : warm_up(&m, l, patience, e);
    if (result == 0 && !spec->bare)
        result = prime(&m, l, patience, ret_job, e);
    if (result == 0)
        result = settle(spec, call, m.life.begun_ns + BOOTED_MS * INT64_C(1000000), e);
    int64_t deadline = deadline_in_ms((int64_t)host->config.boot_timeout * 1000);
    if (result == 0)
        result = guest_quiesce(&m.guest, deadline, e);
    if (result == 0)
        result = settle(spec, call, deadline_in_ms(QUIET_MS), e);
    if (result == 0)
        result = host->driver->snapshot(&m.vm, deadline, &call->cancel, e);
    if (result < 0)
        life_because_error(&m.life, e);
    else
        life_because(&m.life, "snapshot made", NULL);
    machine_destroy(&m);
    if (placeholder)
        unlink(placeholder);
    return result < 0 ? -1 : finish_files(spec, directory, e);
}
