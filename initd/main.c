/*
 * initd: PID 1 of a guest. See PROTOCOL.md for what it does, limits.h for how much of it.
 */
#include "boot.h"
#include "conn.h"
#include "handlers.h"
#include "kmsg.h"
#include "loop.h"
#include "power.h"
#include "service.h"
#include "setup.h"
#include "sys.h"
#include "text.h"
#include "watch.h"

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

/* Test mode: initd as PID 1 of a namespace, driven through a Unix socket. */
struct test_options {
    const char *listen; /* NULL: this is a real boot */
    struct setup_test setup;
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
            ret->setup.cmdline = argv[i] + strlen(cmdline);
        if (text_starts(argv[i], cgroup))
            ret->setup.cgroup = argv[i] + strlen(cgroup);
        if (text_starts(argv[i], frame))
            ret->frame_ms = number_of(argv[i] + strlen(frame));
        if (text_starts(argv[i], hello))
            ret->hello_ms = number_of(argv[i] + strlen(hello));
    }
}

/* There is no way to be a PID 1 here, and the log says why; it goes to the console, and the VM ends. */
static _Noreturn void end_machine(bool is_test)
{
    const struct timespec for_the_console = {.tv_nsec = 100 * NS_PER_MS};

    if (is_test)
        _exit(1);
    nanosleep(&for_the_console, NULL);
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}

/* Only before the loop. */
static _Noreturn void die(bool is_test, const char *step, int error)
{
    kmsg_open(is_test);
    kmsg_log(KMSG_EMERG, "cannot boot", step, error);
    end_machine(is_test);
}

static void block_signals(void)
{
    sigset_t all;

    /* SIGPIPE too: blocked it does no harm, and jobs need not set it back as they would have to if it were
     * ignored. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
}

static _Noreturn void end(bool is_test, uint8_t action)
{
    uint8_t ignored, status = service_status();

    if (handlers_shutdown_asked(&ignored))
        status = handlers_shutdown_status();
    service_stop();
    power_kill_all();
    if (setup_failed()) {
        boot_undo();
        end_machine(is_test);
    }
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

    /* Phase 1: what fails here ends initd, for there is nobody whom it could tell. */
    block_signals();
    int r = test.listen ? boot_begin_test(&step) : boot_begin(&step);
    if (r < 0)
        die(test.listen, step, r);
    conn_set_deadlines(test.hello_ms, test.frame_ms);
    r = watch_open();
    if (r < 0)
        die(test.listen, "event loop", r);
    if (test.listen)
        r = conn_listen_unix(test.listen);
    if (r < 0)
        die(test.listen, test.listen, r);
    setup_init(test.listen ? &test.setup : NULL);
    handlers_init(began, sys_now());

    /* Phase 2: from here on nothing ends initd but SHUTDOWN, or a guest that cannot be set up. */
    end(test.listen, loop_run(setup_run));
}
