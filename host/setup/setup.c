#include "setup/setup.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "setup/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define STATE "state directory"
#define UNFINISHED ".setup-unfinished" /* suffix of the state directory while it is being made */

/* In the order in which they are made; undone in the opposite one. The state directory comes before all. */
static const struct step *const steps[] = {&setup_step_group,  &setup_step_user,    &setup_step_range,
                                           &setup_step_kvm,    &setup_step_kernel,  &setup_step_firecracker,
                                           &setup_step_jailer, &setup_step_settings};
#define STEP_COUNT (sizeof(steps) / sizeof(steps[0]))

static void tell_setup(const struct setup *s, const char *verdict, const char *step, const char *what)
{
    if (s->options->told)
        json_array_append_new(s->options->told,
                              json_pack("{s:s, s:s, s:s}", "step", step, "verdict", verdict, "what", what));
    else
        printf("%-8s %-16s %s\n", verdict, step, what);
}

/* ---- the state directory ------------------------------------------------------------------------ */

static int plan_state(const struct setup *s, struct error *e)
{
    struct stat st;

    if (lstat(s->home, &st) < 0)
        return errno == ENOENT ? PLAN_TO_DO : error_errno(e, "cannot look at %s", s->home);
    if (!S_ISDIR(st.st_mode))
        return error_set(e, ERROR_GENERAL, "%s is in the way of the state directory", s->home);
    if (st.st_uid != 0 || (st.st_mode & 022))
        return error_set(e, ERROR_GENERAL,
                         "%s must belong to root, and to nobody else to write into (chown root, chmod go-w)",
                         s->home);
    return PLAN_DONE;
}

/* With the note about itself inside, it gets its name in one step. */
static int make_state(struct setup *s, struct error *e)
{
    cleanup_free char *unfinished = text_format("%s" UNFINISHED, s->home);
    cleanup_free char *parent = text_copy(unfinished);

    *strrchr(parent, '/') = '\0';
    json_object_set_new(s->record, STATE, json_true());
    if (file_remove_tree(unfinished, e) < 0 || setup_make_parents(unfinished, e) < 0)
        return -1;
    if (mkdir(unfinished, 0700) < 0)
        return error_errno(e, "cannot create %s", unfinished);
    if (setup_write_record(s, unfinished, e) < 0)
        return -1;
    if (rename(unfinished, s->home) < 0)
        return error_errno(e, "cannot create %s", s->home);
    return setup_sync_directory(parent[0] ? parent : "/", e);
}

/* Directories that hold nothing are not worth keeping; images and snapshots are not setup's to remove. */
static int remove_state(struct setup *s, struct error *e)
{
    if (setup_remove_record(s, e) < 0)
        return -1;
    if (!setup_noted(s, STATE))
        return 0;
    if (rmdir(s->home) == 0 || errno == ENOENT)
        tell_setup(s, "removed", STATE, s->home);
    else if (errno == ENOTEMPTY || errno == EEXIST)
        tell_setup(s, "kept", STATE,
                   "it holds images, snapshots or the like; remove it by hand when you do not want them");
    else
        return error_errno(e, "cannot remove %s", s->home);
    return 0;
}

/* ---- all of it ---------------------------------------------------------------------------------- */

/* Two setups at once would each find the same range free. */
static int lock(const struct setup *s, struct error *e)
{
    cleanup_free char *etc = setup_path(s, "/etc");
    int fd = open(etc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return error_errno(e, "cannot open %s", etc);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return error_set(e, ERROR_GENERAL, "another setup is at work on %s", etc);
    }
    return fd;
}

static int require_root(const struct setup_options *o, struct error *e)
{
    if (geteuid() == 0 || o->dry_run)
        return 0;
    return error_set(
        e, ERROR_GENERAL,
        "setup needs root for the state directory %s, the user " SETUP_USER
        ", ids for VMs and /etc/capsid; look at what it would do with --dry-run. Without setup and "
        "without root capsid works, too, with its state in ~/.local/share/capsid",
        o->home);
}

static int open_setup(struct setup *s, const struct setup_options *o, const struct cancel *cancel,
                      struct error *e)
{
    *s = (struct setup){.options = o, .cancel = cancel};
    if (require_root(o, e) < 0)
        return -1;
    s->home = setup_path(s, o->home);
    if (setup_read_record(s, e) == 0)
        return 0;
    free(s->home);
    return -1;
}

static void close_setup(struct setup *s)
{
    json_decref(s->record);
    free(s->home);
}

static int take_step(struct setup *s, const struct step *step, struct error *e)
{
    cleanup_buffer struct buffer what = {0};
    int plan = step->plan(s, &what, e);

    if (plan < 0 || plan == PLAN_SKIP)
        return plan < 0 ? -1 : 0;
    if (plan == PLAN_DONE || s->options->dry_run) {
        tell_setup(s, plan == PLAN_DONE ? "done" : "to do", step->name, what.data);
        return 0;
    }
    if (step->make(s, e) < 0)
        return error_wrap(e, "%s", step->name);
    tell_setup(s, "made", step->name, what.data);
    return 0;
}

static int install(struct setup *s, struct error *e)
{
    int plan = plan_state(s, e);
    bool make = plan == PLAN_TO_DO && !s->options->dry_run;

    if (plan < 0 || (make && make_state(s, e) < 0))
        return -1;
    tell_setup(s, plan == PLAN_DONE ? "done" : make ? "made" : "to do", STATE, s->home);
    for (size_t i = 0; i < STEP_COUNT; i++) {
        if (s->cancel && deadline_poll(NULL, 0, 0, s->cancel, e) < 0)
            return -1;
        if (take_step(s, steps[i], e) < 0)
            return -1;
    }
    return 0;
}

int setup_install(const struct setup_options *o, const struct cancel *cancel, struct error *e)
{
    struct setup s;

    if (open_setup(&s, o, cancel, e) < 0)
        return -1;
    cleanup_fd int fd = o->dry_run ? -1 : lock(&s, e);
    int result = fd < 0 && !o->dry_run ? -1 : install(&s, e);
    close_setup(&s);
    return result;
}

static int undo_step(struct setup *s, const struct step *step, struct error *e)
{
    cleanup_buffer struct buffer what = {0};
    json_t *note = setup_noted(s, step->name);

    if (!note)
        return 0;
    if (s->options->dry_run) {
        tell_setup(s, "to undo", step->name, "");
        return 0;
    }
    int undone = step->undo(s, note, &what, e);
    if (undone < 0)
        return error_wrap(e, "%s", step->name);
    tell_setup(s, undone ? "removed" : "kept", step->name, what.data ? what.data : "");
    json_object_del(s->record, step->name);
    return setup_write_record(s, s->home, e);
}

static int undo_all(struct setup *s, struct error *e)
{
    for (size_t i = STEP_COUNT; i-- > 0;)
        if (undo_step(s, steps[i], e) < 0)
            return -1;
    if (s->options->dry_run) {
        if (setup_noted(s, STATE))
            tell_setup(s, "to undo", STATE, s->home);
        return 0;
    }
    return remove_state(s, e);
}

int setup_remove(const struct setup_options *o, const struct cancel *cancel, struct error *e)
{
    struct setup s;

    if (open_setup(&s, o, cancel, e) < 0)
        return -1;
    cleanup_fd int fd = o->dry_run ? -1 : lock(&s, e);
    int result = fd < 0 && !o->dry_run ? -1 : undo_all(&s, e);
    close_setup(&s);
    return result;
}
