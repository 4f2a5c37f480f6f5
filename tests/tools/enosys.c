/*
 * enosys NAME[,NAME...] COMMAND [ARG...]: runs a command for which the named system calls do not exist, as on
 * an older kernel. The filter is inherited by everything that the command starts.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALLS_MAX 16

static const struct {
    const char *name;
    unsigned number;
} known[] = {
    {"clone3", SYS_clone3},         {"close_range", SYS_close_range},
    {"openat2", SYS_openat2},       {"epoll_pwait2", SYS_epoll_pwait2},
    {"pidfd_open", SYS_pidfd_open}, {"faccessat2", SYS_faccessat2},
    {"renameat2", SYS_renameat2},   {"statx", SYS_statx},
};

static unsigned number_of(const char *name)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].number;
    fprintf(stderr, "enosys: unknown system call %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    struct sock_filter program[2 * CALLS_MAX + 2];
    unsigned short size = 0;

    if (argc < 3) {
        fprintf(stderr, "usage: enosys NAME[,NAME...] COMMAND [ARG...]\n");
        return 2;
    }
    program[size++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, nr));
    for (char *name = strtok(argv[1], ","); name && size < 2 * CALLS_MAX; name = strtok(NULL, ",")) {
        program[size++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number_of(name), 0, 1);
        program[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
    }
    program[size++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

    struct sock_fprog filter = {.len = size, .filter = program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0) {
        perror("enosys: seccomp");
        return 2;
    }
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    return 127;
}
