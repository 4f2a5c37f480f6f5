/*
 * appliance: the main program of an image that holds nothing else but initd; tests/vm/initd_appliance.py boots it.
 *
 *   appliance --WORD...           the same as say --WORD...
 *   appliance say WORD...         prints its ids and words, then stays until SIGTERM, of which it tells
 *   appliance end STATUS          ends with that exit status
 *   appliance die SIGNAL          ends by that signal
 *   appliance deaf                ignores SIGTERM, stays
 *   appliance count FILE N STATUS adds a byte to FILE and prints its size; ends with STATUS before there are N, then stays
 *   appliance show FILE...        prints files
 *   appliance terminal            tells of its terminal, then of lines and SIGINT
 *   appliance resolve NAME        prints the addresses that a name has
 *   appliance no-cgroups          as process 1, before initd: there is no place any more to mount them; becomes initd
 *   appliance leave FILE          leaves a child that holds FILE locked, fails; says so when it was locked already
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t got;

static void on_signal(int number)
{
    got = number;
}

/* Without SA_RESTART, so that a read ends. */
static void take(int number)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigaction(number, &action, NULL);
}

static int stay(void)
{
    sigset_t term;
    int number = 0;

    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    printf("stays\n");
    sigwait(&term, &number);
    printf("was asked to end\n");
    return 0;
}

static int count(const char *path, long wanted, int status)
{
    struct stat st = {0};
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);

    if (fd < 0 || write(fd, "x", 1) != 1 || fstat(fd, &st) < 0) {
        printf("count: errno %d\n", errno);
        return 99;
    }
    close(fd);
    printf("start %lld\n", (long long)st.st_size);
    return st.st_size < wanted ? status : stay();
}

static int show(char **paths)
{
    for (; *paths; paths++) {
        char text[256];
        int fd = open(*paths, O_RDONLY);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
        printf("%s: ", *paths);
        if (n < 0)
            printf("errno %d\n", errno);
        else
            printf("%.*s\n", (int)n, text);
        if (fd >= 0)
            close(fd);
    }
    return stay();
}

static int terminal(void)
{
    char line[128];

    take(SIGINT);
    printf("terminal %d, leader %d\n", isatty(0), tcgetsid(0) == getpid());
    for (;;) {
        ssize_t n = read(0, line, sizeof(line));
        if (got) {
            printf("interrupted\n");
            return 1;
        }
        if (n <= 0)
            return 2;
        printf("line %.*s", (int)n, line);
    }
}

static int leave(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT, 0644), held[2];
    char byte;

    if (fd < 0 || pipe(held) < 0)
        return 99;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        printf("somebody is left\n");
        return 0;
    }
    if (fork() == 0) {
        signal(SIGHUP, SIG_IGN);
        if (write(held[1], "", 1) == 1)
            for (;;)
                pause();
    }
    printf("leaves a child\n");
    return read(held[0], &byte, 1) == 1 ? 1 : 99;
}

static int resolve(const char *name)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    char text[INET6_ADDRSTRLEN];

    int r = getaddrinfo(name, NULL, &wanted, &list);
    if (r != 0) {
        printf("%s\n", gai_strerror(r));
        return 1;
    }
    for (struct addrinfo *a = list; a; a = a->ai_next)
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0)
            printf("%s\n", text);
    freeaddrinfo(list);
    return 0;
}

/* What a kernel without cgroups looks like: /sys/fs/cgroup does not exist. initd finds /sys mounted. */
static int become_initd(void)
{
    char *argv[] = {"/sbin/initd", NULL};

    if (mount("sysfs", "/sys", "sysfs", 0, NULL) == 0 && mount("tmpfs", "/sys/fs", "tmpfs", 0, NULL) == 0)
        execv(argv[0], argv);
    return 99;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";

    setvbuf(stdout, NULL, _IOLBF, 0);
    bool option = strncmp(verb, "--", 2) == 0;
    if (option || strcmp(verb, "say") == 0) {
        printf("uid %d gid %d", (int)getuid(), (int)getgid());
        for (int i = option ? 1 : 2; i < argc; i++)
            printf(" %s", argv[i]);
        printf("\n");
        return stay();
    }
    if (strcmp(verb, "end") == 0 && argc == 3)
        return atoi(argv[2]);
    if (strcmp(verb, "die") == 0 && argc == 3) {
        kill(getpid(), atoi(argv[2]));
        return 99;
    }
    if (strcmp(verb, "deaf") == 0) {
        signal(SIGTERM, SIG_IGN);
        printf("deaf\n");
        for (;;)
            pause();
    }
    if (strcmp(verb, "count") == 0 && argc == 5)
        return count(argv[2], atol(argv[3]), atoi(argv[4]));
    if (strcmp(verb, "show") == 0)
        return show(argv + 2);
    if (strcmp(verb, "terminal") == 0)
        return terminal();
    if (strcmp(verb, "resolve") == 0 && argc == 3)
        return resolve(argv[2]);
    if (strcmp(verb, "no-cgroups") == 0)
        return become_initd();
    if (strcmp(verb, "leave") == 0 && argc == 3)
        return leave(argv[2]);
    printf("appliance: see its source\n");
    return 99;
}
