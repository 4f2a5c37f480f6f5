#include "service.h"

#include "cgroup.h"
#include "kmsg.h"
#include "messages.h"
#include "spawn.h"
#include "sys.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char environment[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\0HOME=/"
                                  "root\0USER=root\0LOGNAME=root\0SHELL=/bin/sh\0TERM=linux";

static struct {
    bool wanted;
    enum service_restart restart;
    enum service_end end;
    char argv[CMDLINE_MAIN_MAX]; /* strings with their NULs */
    uint32_t argv_size;
    uint32_t uid, gid;
    int console;
    bool tty;
    uint64_t stop_ns;
    struct cgroup cgroup;
    pid_t pid; /* 0: it does not run */
    int status_fd;
    uint64_t started, start_at; /* start_at 0: not to be started */
    uint64_t delay;
    bool over;
    uint8_t status;
} service = {.console = -1, .status_fd = -1};

void service_init(const struct cmdline *c, int console)
{
    if (!c->main[0])
        return;
    service.wanted = true;
    service.restart = c->main_restart;
    service.end = c->main_end;
    service.uid = c->main_uid;
    service.gid = c->main_gid;
    service.argv_size = (uint32_t)strlen(c->main) + 1;
    memcpy(service.argv, c->main, service.argv_size);
    for (char *p = service.argv; *p; p++)
        if (*p == ',')
            *p = '\0';
    service.stop_ns = c->main_stop_s * NS_PER_S;
    service.tty = c->main_tty;
    service.console = console;
    if (console < 0)
        service.console = open("/dev/console", (service.tty ? O_RDWR : O_WRONLY) | O_NOCTTY | O_CLOEXEC);
    service.delay = SERVICE_DELAY_MIN_MS * NS_PER_MS;
    service.start_at = sys_now();
    if (cgroup_make(&service.cgroup) < 0)
        kmsg_log(KMSG_WARNING, "no cgroup for the main program", NULL, 0);
}

static void start(uint64_t now)
{
    int output = service.console >= 0 ? service.console : STDERR_FILENO;
    struct spawn s = {.argv = {.data = service.argv, .size = service.argv_size},
                      .env = {.data = environment, .size = sizeof(environment)},
                      .cwd = "/",
                      .uid = service.uid,
                      .gid = service.gid,
                      .fds = {service.tty ? output : STDIN_FILENO, output, output},
                      .tty = service.tty,
                      .cgroup = &service.cgroup};

    service.start_at = 0;
    service.started = now;
    cgroup_thaw(&service.cgroup);
    int r = spawn_check(&s);
    if (r == 0)
        r = sys_pipe(&service.status_fd, &s.status_fd, 0);
    if (r == 0) {
        pid_t pid = spawn_run(&s);
        sys_close(&s.status_fd);
        r = pid < 0 ? (int)pid : 0;
        service.pid = pid > 0 ? pid : 0;
    }
    if (r == 0)
        return;
    sys_close(&service.status_fd);
    kmsg_log(KMSG_ERROR, "cannot start the main program", service.argv, r);
    service.start_at = now + SERVICE_DELAY_MAX_MS * NS_PER_MS;
}

/* A program that failed soon waits longer and longer; one that ran for a while begins anew. */
static void start_again(uint64_t now)
{
    if (now - service.started > SERVICE_STEADY_MS * NS_PER_MS)
        service.delay = SERVICE_DELAY_MIN_MS * NS_PER_MS;
    service.start_at = now + service.delay;
    service.delay *= 2;
    if (service.delay > SERVICE_DELAY_MAX_MS * NS_PER_MS)
        service.delay = SERVICE_DELAY_MAX_MS * NS_PER_MS;
}

pid_t service_pid(void)
{
    return service.pid;
}

const struct cgroup *service_group(void)
{
    return &service.cgroup;
}

/* SIGKILL to everything that belongs to it. */
static void kill_processes(pid_t pid)
{
    if (!cgroup_kill(&service.cgroup))
        kill(-pid, SIGKILL);
}

void service_kill_for_memory(void)
{
    kmsg_log(KMSG_ERROR, "memory is short; the main program has the most of it and is killed", service.argv,
             0);
    kill_processes(service.pid);
}

bool service_is_starting(pid_t pid)
{
    struct pollfd status = {.fd = service.status_fd};

    /* The child's end is closed by execve(2), or tells why that cannot be. */
    return service.pid && pid == service.pid && poll(&status, 1, 0) == 0;
}

bool service_on_child(pid_t pid, int status, uint64_t now)
{
    struct spawn_failure failure;

    if (!service.pid || pid != service.pid)
        return false;
    service.pid = 0;
    if (read(service.status_fd, &failure, sizeof(failure)) == (ssize_t)sizeof(failure))
        kmsg_log(KMSG_ERROR, "the main program cannot be executed", spawn_step_name(failure.step),
                 failure.os_errno);
    sys_close(&service.status_fd);
    kill_processes(pid); /* what it left would be in the next one's way */

    service.status = (uint8_t)(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    bool failed = service.status != 0;
    char ended[64];
    struct text how = text_of(ended, sizeof(ended));
    text_add(&how,
             WIFEXITED(status) ? "the main program ended with status " : "the main program ended by signal ");
    text_add_u64(&how, (uint64_t)(WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)));
    if (service.restart == SERVICE_ALWAYS || (service.restart == SERVICE_ON_FAILURE && failed)) {
        text_add(&how, ", and is started again");
        kmsg_log(KMSG_WARNING, ended, service.argv, 0);
        start_again(now);
    } else {
        kmsg_log(failed ? KMSG_ERROR : KMSG_INFO, ended, service.argv, 0);
        service.over = true;
    }
    return true;
}

uint64_t service_run_timers(uint64_t now)
{
    if (service.wanted && service.start_at && now >= service.start_at)
        start(now);
    return service.start_at;
}

bool service_asks_end(uint8_t *ret_action)
{
    if (!service.over || service.end == SERVICE_STAY)
        return false;
    *ret_action = service.end == SERVICE_REBOOT ? PROTO_SHUTDOWN_REBOOT : PROTO_SHUTDOWN_POWEROFF;
    return true;
}

uint8_t service_status(void)
{
    return service.status;
}

void service_stop(void)
{
    const struct timespec pause = {.tv_nsec = NS_PER_MS};
    uint64_t until = sys_now() + service.stop_ns;

    if (!service.pid || kill(service.pid, SIGTERM) < 0)
        return;
    /* What was stopped could not end. */
    cgroup_thaw(&service.cgroup);
    kill(service.pid, SIGCONT);
    while (sys_now() < until && waitpid(service.pid, NULL, WNOHANG) == 0)
        nanosleep(&pause, NULL);
}
