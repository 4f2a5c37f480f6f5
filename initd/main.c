/*
 * initd: PID 1 of a guest. See PROTOCOL.md for what it does, limits.h for how much of it.
 */
#include "boot.h"
#include "cgroup.h"
#include "cmdline.h"
#include "conn.h"
#include "file.h"
#include "handlers.h"
#include "job.h"
#include "kmsg.h"
#include "loop.h"
#include "power.h"
#include "service.h"
#include "snapshot.h"
#include "sys.h"
#include "text.h"
#include "watch.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Test mode: initd as PID 1 of a namespace, driven through a Unix socket. */
struct test_options {
    const char *listen; /* NULL: this is a real boot */
    char *cmdline;      /* words as on the kernel command line, or NULL */
    const char *cgroup; /* a cgroup v2 directory to use as the root, or NULL */
    uint32_t frame_ms, hello_ms;
};

static void print(int fd, const char *line)
{
    if (write(fd, line, strlen(line)) < 0) {
        /* Nobody listens. */
    }
}

static uint32_t number_of(const char *text)
{
    uint64_t v = 0;

    return text_parse_u64(text, &v) && v < UINT32_MAX ? (uint32_t)v : 0;
}

static void parse_arguments(int argc, char **argv, struct test_options *ret)
{
    static const char listen[] = "--test-listen=", cgroup[] = "--test-cgroup=";
    static const char cmdline[] = "--test-cmdline=";
    static const char frame[] = "--test-frame-ms=", hello[] = "--test-hello-ms=";

    *ret = (struct test_options){0};
    /* The kernel passes on what it does not know of its command line, so others are ignored. */
    for (int i = 1; i < argc; i++) {
        if (text_starts(argv[i], listen))
            ret->listen = argv[i] + strlen(listen);
        if (text_starts(argv[i], cmdline))
            ret->cmdline = argv[i] + strlen(cmdline);
        if (text_starts(argv[i], cgroup))
            ret->cgroup = argv[i] + strlen(cgroup);
        if (text_starts(argv[i], frame))
            ret->frame_ms = number_of(argv[i] + strlen(frame));
        if (text_starts(argv[i], hello))
            ret->hello_ms = number_of(argv[i] + strlen(hello));
    }
}

/* Only before the loop: there is no way to be a PID 1 here. The log goes to the console, and the VM ends. */
static _Noreturn void die(bool is_test, const char *step, int error)
{
    const struct timespec for_the_console = {.tv_nsec = 100 * NS_PER_MS};

    kmsg_open(is_test);
    kmsg_log(KMSG_EMERG, "cannot boot", step, error);
    if (is_test)
        _exit(1);
    nanosleep(&for_the_console, NULL);
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}

static void block_signals(void)
{
    sigset_t all;

    /* SIGPIPE too: blocked it does no harm, and jobs need not set it back as they would have to if it were
     * ignored. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
}

/* What jobs inherit; see become_program() in spawn.c. */
static void set_defaults_of_jobs(void)
{
    umask(022);
    if (chdir("/") < 0)
        kmsg_log(KMSG_ERROR, "chdir", "/", errno);
    sys_limit(0, RLIMIT_CORE, 0);
}

static void open_transports(const struct cmdline *config)
{
    int r = conn_open_serial();

    if (r < 0 && r != -ENODEV)
        kmsg_log(KMSG_WARNING, "cannot open the serial port", PROTO_SERIAL_NAME, r);
    bool has_serial = r == 0;
    r = conn_listen_vsock(config->vsock_peer);
    if (r < 0)
        kmsg_log(has_serial ? KMSG_INFO : KMSG_ERROR, "no vsock", NULL, r);
}

static _Noreturn void end(bool is_test, uint8_t action)
{
    uint8_t ignored, status = service_status();

    if (handlers_shutdown_asked(&ignored))
        status = handlers_shutdown_status();
    service_stop();
    power_kill_all();
    if (is_test)
        _exit(status);
    bool off = action == PROTO_SHUTDOWN_POWEROFF && power_can_switch_off();
    boot_undo();
    if (action == PROTO_SHUTDOWN_POWEROFF)
        power_write_exit_port(status);
    reboot(off ? RB_POWER_OFF : RB_AUTOBOOT);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    uint64_t began = sys_now();
    struct test_options test;
    struct cmdline config;
    const char *step = "";

    parse_arguments(argc, argv, &test);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        print(STDOUT_FILENO, "initd " INITD_BUILD "\n");
        return 0;
    }
    if (getpid() != 1) {
        print(STDERR_FILENO,
              "initd: not process 1. It is the init of a guest and is started by the kernel.\n");
        return 1;
    }

    /* Phase 1, boot: what fails here may end initd. */
    block_signals();
    set_defaults_of_jobs();
    if (test.listen)
        kmsg_open(1);
    int r = test.listen ? boot_run_test(&config, &step) : boot_run(&config, &step);
    if (r < 0)
        die(test.listen, step, r);
    if (test.cmdline)
        cmdline_parse(&config, test.cmdline);
    cgroup_init(test.listen ? test.cgroup : "/sys/fs/cgroup");
    job_init();
    file_init();
    snapshot_init();
    conn_set_deadlines(test.hello_ms, test.frame_ms);
    r = watch_open();
    if (r == 0)
        r = loop_init();
    if (r < 0)
        die(test.listen, "event loop", r);
    if (test.listen)
        r = conn_listen_unix(test.listen);
    else
        open_transports(&config);
    if (r < 0)
        die(test.listen, test.listen, r);
    handlers_init(began, sys_now());
    if (config.exit_port && !test.listen)
        power_open_exit_port(config.exit_port);
    service_init(&config, test.listen ? STDERR_FILENO : -1);

    /* Phase 2: from here on nothing ends initd but SHUTDOWN. */
    end(test.listen, loop_run());
}
