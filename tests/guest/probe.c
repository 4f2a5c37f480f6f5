/*
 * probe: a static program of many small verbs, to be run as a job of initd.
 *
 *   probe true                 exits with 0
 *   probe exit N               exits with N
 *   probe hog MIB              takes that much memory and keeps it
 *   probe bomb                 forks without end
 *   probe orphans N            leaves N children behind that end at once
 *   probe daemon SECONDS       leaves the session and every open file, and sleeps; prints its pid first
 *   probe hold SECONDS         leaves a child behind that holds standard output
 *   probe kill-everything      kill(-1, SIGKILL)
 *   probe write N              writes N bytes: the low byte of each one's offset
 *   probe fds                  prints the number of its open files
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int hog(size_t mib)
{
    for (size_t i = 0; i < mib; i++) {
        char *p = malloc(1 << 20);
        if (!p)
            return 1;
        memset(p, 1, 1 << 20);
    }
    pause();
    return 0;
}

static _Noreturn void bomb(void)
{
    for (;;)
        fork();
}

static int orphans(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            if (fork() == 0)
                _exit(0);
            _exit(0);
        }
        if (pid < 0)
            return 1;
    }
    return 0;
}

static int run_daemon(unsigned seconds)
{
    if (fork() != 0)
        _exit(0);
    setsid();
    if (fork() != 0)
        _exit(0);
    printf("%d\n", (int)getpid());
    fflush(stdout);
    int null = open("/dev/null", O_RDWR);
    for (int i = 0; i < 3; i++)
        dup2(null, i);
    sleep(seconds);
    return 0;
}

static int hold(unsigned seconds)
{
    if (fork() == 0)
        sleep(seconds);
    return 0;
}

static int write_pattern(size_t count)
{
    char block[4096];

    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)i;
    while (count > 0) {
        size_t n = count < sizeof(block) ? count : sizeof(block);
        for (size_t done = 0; done < n;) {
            ssize_t put = write(STDOUT_FILENO, block + done, n - done);
            if (put < 0)
                return 1;
            done += (size_t)put;
        }
        count -= n;
    }
    return 0;
}

static int count_fds(void)
{
    int n = -3; /* ".", ".." and the directory itself */
    DIR *d = opendir("/proc/self/fd");

    if (!d)
        return 1;
    while (readdir(d))
        n++;
    closedir(d);
    printf("%d\n", n);
    return 0;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    unsigned long n = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;

    if (strcmp(verb, "true") == 0)
        return 0;
    if (strcmp(verb, "exit") == 0)
        return (int)n;
    if (strcmp(verb, "hog") == 0)
        return hog(n);
    if (strcmp(verb, "bomb") == 0)
        bomb();
    if (strcmp(verb, "orphans") == 0)
        return orphans(n);
    if (strcmp(verb, "daemon") == 0)
        return run_daemon((unsigned)n);
    if (strcmp(verb, "hold") == 0)
        return hold((unsigned)n);
    if (strcmp(verb, "kill-everything") == 0)
        return kill(-1, SIGKILL) < 0 ? errno : 0;
    if (strcmp(verb, "write") == 0)
        return write_pattern(n);
    if (strcmp(verb, "fds") == 0)
        return count_fds();
    fprintf(stderr, "probe: unknown verb\n");
    return 2;
}
