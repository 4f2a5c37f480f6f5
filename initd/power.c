#include "power.h"

#include "kmsg.h"
#include "limits.h"
#include "messages.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_NS (2 * NS_PER_MS)

static int exit_fd = -1;
static uint16_t exit_port;

void power_keep_to_initd(void)
{
    /* capabilities(7): what is not in the bounding set is not got by execve(2). initd itself keeps it. */
    if (prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0) < 0)
        kmsg_log(KMSG_WARNING, "jobs of root can halt the machine", NULL, errno);
}

bool power_signal_asks(int signal, uint8_t *ret_action)
{
    switch (signal) {
    case SIGTERM: /* BusyBox's reboot */
    case SIGINT:  /* Ctrl-Alt-Del */
        *ret_action = PROTO_SHUTDOWN_REBOOT;
        return true;
    case SIGUSR1: /* halt; here nothing is left to look at then */
    case SIGUSR2: /* poweroff */
        *ret_action = PROTO_SHUTDOWN_POWEROFF;
        return true;
    default:
        return false;
    }
}

void power_kill_all(void)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    uint64_t until = sys_now() + SHUTDOWN_KILL_MS * NS_PER_MS;

    kill(-1, SIGKILL); /* kill(2): everything but the caller, when it is PID 1 */
    while (sys_now() < until) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0)
            return;
        if (pid == 0)
            nanosleep(&pause, NULL);
    }
}

/* Does the file hold the 4 bytes of name? A hit across two reads does not matter here: tables repeat it. */
static bool file_contains(const char *path, const char *name)
{
    char part[4096];
    bool found = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    for (ssize_t n = read(fd, part, sizeof(part)); n > 0 && !found; n = read(fd, part, sizeof(part)))
        for (ssize_t i = 0; i + 4 <= n && !found; i++)
            found = memcmp(part + i, name, 4) == 0;
    close(fd);
    return found;
}

bool power_can_switch_off(void)
{
    /* ACPI can when its tables define the sleep state S5 (ACPI specification, 7.4.2), PSCI on arm64 always
     * can. */
    return file_contains("/sys/firmware/acpi/tables/DSDT", "_S5_") ||
           access("/proc/device-tree/psci", F_OK) == 0;
}

void power_open_exit_port(uint16_t port)
{
    exit_port = port;
    exit_fd = open("/dev/port", O_WRONLY | O_CLOEXEC);
    if (exit_fd < 0)
        kmsg_log(KMSG_WARNING, "initd.exit_port: no exit status for the VMM", "/dev/port", errno);
}

void power_write_exit_port(uint8_t status)
{
    if (exit_fd >= 0 && pwrite(exit_fd, &status, 1, exit_port) < 0) {
        /* The log is no more; the machine ends without a status. */
    }
}
