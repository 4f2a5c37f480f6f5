/*
 * firecracker-tether: what the jailer starts in Firecracker's place, in the jail and as its user. It ties the process to the
 * life of the supervisor, which the jailer cannot: a change of user takes the parent-death signal off a process (prctl(2)).
 * Then it becomes Firecracker, under the same pid and with the same arguments.
 *
 * Standard input is the reading end of a pipe that the supervisor alone holds open, so it is broken when that ended too
 * early for the signal. Static, and small: the jailer makes a copy for each VM. It must have "firecracker" in its name for
 * jailers before 1.13.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define PROGRAM "/vmm" /* FIRECRACKER_PROGRAM in the root of its jail */

int main(int argc, char **argv, char **envp)
{
    struct pollfd supervisor = {.fd = STDIN_FILENO}; /* asks for POLLHUP and POLLERR only (poll(2)) */

    (void)argc;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || poll(&supervisor, 1, 0) != 0)
        return 126;
    execve(PROGRAM, argv, envp);
    dprintf(STDERR_FILENO, "cannot start Firecracker in its jail: %s%s\n", strerror(errno),
            errno == ENOENT ? "; if it is dynamically linked, its libraries are what is missing" : "");
    return 127;
}
