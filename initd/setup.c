#include "setup.h"

#include "boot.h"
#include "cgroup.h"
#include "conn.h"
#include "file.h"
#include "handlers.h"
#include "job.h"
#include "kmsg.h"
#include "loop.h"
#include "memory.h"
#include "power.h"
#include "root.h"
#include "service.h"
#include "snapshot.h"
#include "sys.h"
#include "terminal.h"

#include <errno.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct setup_test *test;
static struct cmdline config;
static bool has_serial;
static unsigned next_step;
static uint64_t give_up_at; /* 0: nothing failed */

static void open_serial(void)
{
    int r = conn_open_serial();

    has_serial = r == 0;
    if (r == -ENOENT)
        kmsg_log(KMSG_WARNING, "the image has no /sys, so there is no serial port", PROTO_SERIAL_NAME, 0);
    else if (r < 0 && r != -ENODEV)
        kmsg_log(KMSG_WARNING, "cannot open the serial port", PROTO_SERIAL_NAME, r);
}

static void open_vsock(void)
{
    int r = conn_listen_vsock();

    if (r < 0)
        kmsg_log(has_serial ? KMSG_INFO : KMSG_ERROR, "no vsock", NULL, r);
}

/* What jobs inherit; see become_program() in spawn.c. */
static void set_defaults_of_jobs(void)
{
    umask(022);
    if (chdir("/") < 0)
        kmsg_log(KMSG_ERROR, "chdir", "/", errno);
    sys_limit(0, RLIMIT_CORE, 0);
    const struct rlimit files = {.rlim_cur = JOB_FILES, .rlim_max = JOB_FILES_MAX};
    if (prlimit(0, RLIMIT_NOFILE, &files, NULL) < 0)
        kmsg_log(KMSG_WARNING, "cannot raise the limit of open files", NULL, errno);
}

static int configure(struct cmdline *c, const char **ret_step)
{
    int r = test ? boot_configure_test(c, ret_step) : boot_configure(c, ret_step);

    if (r == 0 && test && test->cmdline)
        cmdline_parse(c, test->cmdline);
    if (r == 0 && c->refused) {
        *ret_step = c->refused;
        r = -EINVAL;
    }
    sys_proc(); /* while it is there */
    conn_allow_peer(c->vsock_peer);
    if (has_serial)
        open_vsock();
    return r;
}

static int begin_cgroups(struct cmdline *c, const char **ret_step)
{
    (void)c;
    (void)ret_step;
    cgroup_init(test ? test->cgroup : "/sys/fs/cgroup");
    return 0;
}

static int begin_work(struct cmdline *c, const char **ret_step)
{
    *ret_step = "event loop";
    int r = loop_init();
    if (r < 0)
        return r;
    if (!test) {
        memory_init();
        power_keep_to_initd();
    }
    set_defaults_of_jobs();
    terminal_init();
    job_init();
    file_init();
    snapshot_init();
    if (c->root.bare)
        handlers_await_root();
    if (c->exit_port && !test)
        power_open_exit_port(c->exit_port);
    service_init(c, test ? STDERR_FILENO : -1);
    return 0;
}

static int make_root(struct cmdline *c, const char **ret_step)
{
    return c->root.bare ? 0 : root_make(&c->root, ret_step);
}

static int enter_root(struct cmdline *c, const char **ret_step)
{
    return c->root.bare ? 0 : root_enter(&c->root, ret_step);
}

static int furnish_root(struct cmdline *c, const char **ret_step)
{
    return c->root.bare ? 0 : boot_furnish_root(ret_step);
}

/* In this order: each needs what those before it made. Hosts wait for the longest of them, so none does everything. */
typedef int setup_step(struct cmdline *c, const char **ret_step);
static setup_step *const steps[] = {configure,  boot_furnish_devices, begin_cgroups, make_root,
                                    enter_root, furnish_root,         begin_work,    NULL};
static setup_step *const test_steps[] = {configure, begin_cgroups, begin_work, NULL};

void setup_init(const struct setup_test *t)
{
    test = t;
    if (test)
        return;
    open_serial(); /* one way for hosts is enough for the beginning */
    if (!has_serial)
        open_vsock();
}

bool setup_failed(void)
{
    return give_up_at != 0;
}

uint64_t setup_run(uint64_t now)
{
    setup_step *const *step = (test ? test_steps : steps) + next_step;
    const char *name = "";

    if (setup_failed()) {
        if (now >= give_up_at)
            handlers_give_up();
        return give_up_at;
    }
    if (!*step)
        return 0;
    int r = (*step)(&config, &name);
    if (r < 0) {
        kmsg_log(KMSG_EMERG, "cannot boot", name, r);
        handlers_set_up(name, r);
        give_up_at = now + SETUP_FAILED_MS * NS_PER_MS;
    } else {
        next_step++;
        if (!step[1])
            handlers_set_up(NULL, 0);
    }
    return now; /* hosts have their turn first, whose requests may have waited for this */
}
