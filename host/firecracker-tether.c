/*
 * firecracker-tether: what the jailer starts in Firecracker's place, in the jail and as its user. It does what the jailer
 * cannot: it ties the process to the life of the supervisor, since a change of user takes the parent-death signal off a process
 * (prctl(2)), and it puts the filter of its system calls on it. Then it becomes Firecracker, under the same pid and with the same
 * arguments.
 *
 * Standard input is a socket whose other end the supervisor has: there the filter is, and the filter's listener goes back; it
 * is closed when the supervisor ended too early for the signal. Static, and small: the jailer makes a copy for each VM. It
 * must have "firecracker" in its name for jailers before 1.13.
 */
#include "confine/seal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROGRAM "/vmm" /* FIRECRACKER_PROGRAM in the root of its jail */

int main(int argc, char **argv, char **envp)
{
    static struct filter filter;
    const char *step = "take the system call filter";

    (void)argc;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
        recv(STDIN_FILENO, &filter, sizeof(filter), MSG_WAITALL) != (ssize_t)sizeof(filter))
        return 126;
    if (filter.count > 0 && seal_calls(&filter, STDIN_FILENO, &step) < 0) {
        dprintf(STDERR_FILENO, "cannot confine Firecracker in its jail: %s: %s\n", step, strerror(errno));
        return 127;
    }
    if (!filter.listens && seal_hand_over(STDIN_FILENO, -1) < 0)
        return 126;
    execve(PROGRAM, argv, envp);
    dprintf(STDERR_FILENO, "cannot start Firecracker in its jail: %s%s\n", strerror(errno),
            errno == ENOENT ? "; if it is dynamically linked, its libraries are what is missing" : "");
    return 127;
}
