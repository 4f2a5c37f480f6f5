/*
 * hostile: a static program of the things that a job can do to break its guest, and of what shows whether it
 * did. Run as a job of initd by tests/vm/initd_*.py.
 *
 *   hostile true                      exits with 0
 *   hostile census FDS PROCS GROUPS   waits until PID 1 has no more than FDS open files, there are no
 *                                     more than PROCS processes outside of the kernel and GROUPS cgroups
 *                                     of jobs; prints what there is, also when that takes too long.
 *                                     0 0 0: waits for standstill
 *   hostile pattern SEED N            writes N bytes; the one at offset i is (SEED + i) % 251
 *   hostile bomb                      forks without end
 *   hostile forks                     forks until that fails; prints how often it worked, and errno
 *   hostile zombies N                 leaves N orphans that end at once
 *   hostile kill-all                  kill(-1, SIGKILL), 300 times, a millisecond apart
 *   hostile kill-without-pause MS     the same for MS ms, as often as it can
 *   hostile stop-all                  kill(-1, SIGSTOP), then stops its own process group
 *   hostile signal-init               sends PID 1 every signal in every way; root not those that ask for the end
 *   hostile queue-init N              queues N real-time signals to PID 1
 *   hostile timer                     makes a POSIX timer, which needs a queued signal of its own
 *   hostile hog MIB [SCORE]           writes its oom_score_adj; takes memory and keeps it. 0: until it dies
 *   hostile shared-memory MIB         leaves segments of System V shared memory behind
 *   hostile spin                      computes
 *   hostile spin-realtime             the same, before everything else in the guest
 *   hostile fill DIRECTORY            writes a file until that fails; prints errno
 *   hostile fill-names DIRECTORY      makes empty files until that fails; prints errno
 *   hostile open-files                opens until that fails; prints how often it worked, and errno
 *   hostile close-output MS           closes all, ends with 5 after MS
 *   hostile daemon MS DRIBBLE         leaves a daemon that holds the output for MS, writing every DRIBBLE ms
 *   hostile deaf                      ignores every signal that can be, says so, sleeps
 *   hostile terminal                  tells of its terminal, size changes, SIGINT, lines and end of file
 *   hostile flood                     writes to a terminal without end, and tells of size changes in between
 *   hostile detach-all                detaches every mount
 *   hostile cover                     mounts something over what initd uses
 *   hostile pivot                     makes an empty directory the root of everybody
 *   hostile set-clock SECONDS         sets the clock to SECONDS since 1970
 *   hostile lease FILE                holds a write lease on FILE
 *   hostile seize PID                 traces a process, and never looks what became of it
 *   hostile stop-helper MS            stops the helper of PID 1 when there is one that works, for MS as its
 *                                     tracer, and then by a signal;
 *                                     prints how long PID 1 has computed meanwhile, in ticks of 10 ms
 *   hostile limit-init NAME           sets a resource limit of PID 1: nofile to 1, or cpu to 1 s
 *   hostile no-cgroup-kill FIRST N    makes the cgroups of N jobs to come, in which cgroup.kill fails
 *   hostile open PATH                 opens for reading and writing without waiting; prints errno
 *   hostile freeze DIRECTORY          lets nobody write to its filesystem any more
 *   hostile sleep MS                  sleeps
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CENSUS_MS 10000
#define CENSUS_STILL_MS 500
#define PATTERN_PERIOD 251
#define ZOMBIES_BATCH 200

static void sleep_ms(unsigned long ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) < 0 && errno == EINTR) {
    }
}

static unsigned long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (unsigned long)t.tv_sec * 1000 + (unsigned long)t.tv_nsec / 1000000;
}

static void say(const char *what, long number)
{
    printf("%s %ld\n", what, number);
    fflush(stdout);
}

static unsigned long number(char **argv, int index)
{
    return argv[index] ? strtoul(argv[index], NULL, 10) : 0;
}

/* ---- looking --------------------------------------------------------------------------------- */

static int read_stat(const char *pid, char *name, int *ret_parent, unsigned long *ret_ticks)
{
    char path[300], text[512];
    unsigned long user, system;
    char state;

    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    char *open = strchr(text, '('), *close = strrchr(text, ')');
    if (!open || !close)
        return -1;
    *close = '\0';
    snprintf(name, 32, "%s", open + 1);
    return sscanf(close + 2, "%c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &state, ret_parent, &user,
                  &system) == 4
               ? (*ret_ticks = user + system, 0)
               : -1;
}

/* Entries of a directory; only_kind: 'd' directories, 'p' user processes of /proc, 0 all. */
static int count(const char *path, char only_kind)
{
    DIR *d = opendir(path);
    int n = 0;

    if (!d)
        return -1;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        char name[32];
        int parent;
        unsigned long ticks;
        if (e->d_name[0] == '.' || (only_kind == 'd' && e->d_type != DT_DIR))
            continue;
        if (only_kind == 'p' &&
            (strspn(e->d_name, "0123456789") != strlen(e->d_name) || strcmp(e->d_name, "2") == 0 ||
             read_stat(e->d_name, name, &parent, &ticks) < 0 || parent == 2))
            continue;
        n++;
    }
    closedir(d);
    return n;
}

static int census(int fds_max, int processes_max, int groups_max)
{
    unsigned long until = now_ms() + CENSUS_MS, since = now_ms();
    int fds = 0, processes = 0, groups = 0;

    while (now_ms() < until) {
        int f = count("/proc/1/fd", 0), p = count("/proc", 'p'), g = count("/sys/fs/cgroup/jobs", 'd');
        if (f != fds || p != processes || g != groups)
            since = now_ms();
        fds = f, processes = p, groups = g;
        if (fds_max ? fds <= fds_max && processes <= processes_max && groups <= groups_max
                    : now_ms() - since > CENSUS_STILL_MS)
            break;
        sleep_ms(10);
    }
    printf("%d %d %d\n", fds, processes, groups);
    return 0;
}

/* Has it closed what it has of initd's? It does so first, and then opens a few files of its own. */
static bool has_closed(const char *pid)
{
    char path[300];

    snprintf(path, sizeof(path), "/proc/%s/fd", pid);
    return count(path, 0) < count("/proc/1/fd", 0) / 2;
}

/* Has it initd's own standard output still? The spare process, and a job on its way, have a pipe. */
static bool has_initds_output(const char *pid)
{
    char path[300], its[64] = "", initds[64] = "";

    snprintf(path, sizeof(path), "/proc/%s/fd/1", pid);
    return readlink(path, its, sizeof(its) - 1) > 0 &&
           readlink("/proc/1/fd/1", initds, sizeof(initds) - 1) > 0 && strcmp(its, initds) == 0;
}

/* The first process whose parent is PID 1 and that still is initd; 0: there is none. */
static pid_t find_helper(void)
{
    DIR *d = opendir("/proc");
    pid_t found = 0;

    for (struct dirent *e = d ? readdir(d) : NULL; e && !found; e = readdir(d)) {
        char name[32];
        int parent;
        unsigned long ticks;
        if (read_stat(e->d_name, name, &parent, &ticks) == 0 && parent == 1 && strcmp(name, "initd") == 0 &&
            has_closed(e->d_name) && has_initds_output(e->d_name))
            found = (pid_t)strtol(e->d_name, NULL, 10);
    }
    if (d)
        closedir(d);
    return found;
}

static int stop_helper(unsigned long ms)
{
    char name[32];
    int parent;
    unsigned long before = 0, after = 0, until = now_ms() + 30000;
    pid_t pid = 0;

    /* Before everything else, or else the helper can be done before this has its turn. */
    if (syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1}) < 0)
        return errno;
    say("looking", 0);
    for (; !pid && now_ms() < until; sleep_ms(1))
        pid = find_helper();
    /* As a tracer: initd lets go on what only a signal has stopped. */
    if (!pid || ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0 || ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 ||
        waitpid(pid, NULL, __WALL) < 0)
        return 1;
    say("stopped", pid);
    sleep_ms(ms / 2);
    read_stat("1", name, &parent, &before);
    sleep_ms(ms / 2);
    read_stat("1", name, &parent, &after);
    kill(pid, SIGSTOP); /* it comes when the tracing ends, with this process */
    say("ticks", (long)(after - before));
    return 0;
}

/* ---- processes and signals ------------------------------------------------------------------- */

static _Noreturn void bomb(void)
{
    for (;;)
        fork();
}

static int forks(void)
{
    long made = 0;
    int error;

    for (;; made++) {
        pid_t pid = fork();
        if (pid == 0) {
            pause();
            _exit(0);
        }
        error = errno;
        if (pid < 0)
            break;
    }
    say("made", made);
    say("errno", error);
    return 0;
}

/* The children end at once, and nobody waits for them. */
static void make_zombies(unsigned long n)
{
    for (volatile unsigned long i = 0; i < n; i++)
        if (vfork() == 0)
            _exit(0);
}

static int zombies(unsigned long n)
{
    for (volatile unsigned long left = n; left > 0;) {
        unsigned long batch = left < ZOMBIES_BATCH ? left : ZOMBIES_BATCH;
        pid_t pid = fork();
        if (pid == 0) {
            make_zombies(batch);
            _exit(0); /* all of them are PID 1's from here on */
        }
        if (pid < 0 || waitpid(pid, NULL, 0) != pid)
            return 1;
        left -= batch;
    }
    return 0;
}

static int kill_all(void)
{
    for (int i = 0; i < 300; i++) {
        if (kill(-1, SIGKILL) < 0)
            return errno;
        sleep_ms(1);
    }
    return 0;
}

static int kill_without_pause(unsigned long ms)
{
    unsigned long until = now_ms() + ms;

    say("killing", 0);
    while (now_ms() < until)
        kill(-1, SIGKILL);
    return 0;
}

static int stop_all(void)
{
    say("stopping", 0);
    kill(-1, SIGSTOP);
    kill(1, SIGSTOP);
    kill(0, SIGSTOP);
    return 0;
}

static int signal_init(void)
{
    char path[] = "/proc/1";
    int fd = open(path, O_RDONLY | O_DIRECTORY);

    for (int i = 1; i <= 64; i++) {
        if (geteuid() == 0 && (i == SIGTERM || i == SIGINT || i == SIGUSR1 || i == SIGUSR2))
            continue;
        kill(1, i);
        syscall(SYS_tkill, 1, i);
        syscall(SYS_tgkill, 1, 1, i);
        syscall(SYS_rt_sigqueueinfo, 1, i, &(siginfo_t){.si_signo = i, .si_code = SI_QUEUE});
        syscall(SYS_pidfd_send_signal, fd, i, NULL, 0);
    }
    say("sent", 64);
    return 0;
}

static int queue_init(unsigned long n)
{
    unsigned long sent = 0;

    for (unsigned long i = 0; i < n; i++)
        sent += syscall(SYS_rt_sigqueueinfo, 1, 34 + (int)(i % 30),
                        &(siginfo_t){.si_signo = 34 + (int)(i % 30), .si_code = SI_QUEUE}) == 0;
    say("queued", (long)sent);
    return 0;
}

static int make_timer(void)
{
    timer_t t;

    return timer_create(CLOCK_MONOTONIC, NULL, &t) == 0 ? 0 : errno;
}

static int run_daemon(unsigned long ms, unsigned long dribble)
{
    unsigned long until = now_ms() + ms;

    if (fork() != 0)
        _exit(0);
    setsid();
    if (fork() != 0)
        _exit(0);
    say("daemon", getpid());
    while (now_ms() < until) {
        sleep_ms(dribble ? dribble : ms);
        if (dribble && write(STDOUT_FILENO, ".", 1) != 1)
            _exit(1);
    }
    return 0;
}

static _Noreturn void deaf(void)
{
    for (int i = 1; i <= 64; i++)
        signal(i, SIG_IGN);
    say("deaf", getpid());
    for (;;)
        pause();
}

static int seize(pid_t pid)
{
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0)
        return errno;
    say("seized", pid);
    for (;;)
        pause();
}

/* ---- memory, processor, disk ----------------------------------------------------------------- */

static int hog(unsigned long mib, const char *score)
{
    if (score) {
        int fd = open("/proc/self/oom_score_adj", O_WRONLY);
        if (fd < 0 || write(fd, score, strlen(score)) < 0)
            say("oom_score_adj", errno);
        close(fd);
    }
    for (unsigned long i = 0; mib == 0 || i < mib; i++) {
        char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return 1;
        memset(p, 1, 1 << 20);
    }
    say("holds", (long)mib);
    for (;;)
        pause();
}

/* Segments that nobody uses, which stay for whoever knows their keys. */
static int shared_memory(unsigned long mib)
{
    for (unsigned long i = 0; i < mib; i++) {
        int id = shmget(IPC_PRIVATE, 1 << 20, IPC_CREAT | 0600);
        char *p = id < 0 ? (char *)-1 : shmat(id, NULL, 0);
        if (p == (char *)-1)
            return errno;
        memset(p, 1, 1 << 20);
        shmdt(p);
    }
    return 0;
}

static _Noreturn void spin(void)
{
    for (volatile unsigned long i = 0;; i++) {
    }
}

static int spin_realtime(void)
{
    struct sched_param p = {.sched_priority = 99};

    if (syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &p) < 0)
        return errno;
    say("realtime", 99);
    spin();
}

static int fill(const char *directory)
{
    char path[300];
    static char block[65536];
    long written = 0;

    snprintf(path, sizeof(path), "%s/full", directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    memset(block, 'x', sizeof(block));
    for (ssize_t n = 0; fd >= 0 && (n = write(fd, block, sizeof(block))) > 0;)
        written += n;
    int error = errno;
    say("errno", error);
    say("written", written);
    return 0;
}

static int fill_names(const char *directory)
{
    char path[300];

    for (long i = 0;; i++) {
        snprintf(path, sizeof(path), "%s/%ld", directory, i);
        int fd = open(path, O_WRONLY | O_CREAT, 0644);
        if (fd < 0) {
            int error = errno;
            say("errno", error);
            say("names", i);
            return 0;
        }
        close(fd);
    }
}

static int open_files(void)
{
    long opened = 0;

    while (open("/dev/null", O_RDONLY) >= 0)
        opened++;
    int error = errno;
    say("opened", opened);
    say("errno", error);
    return 0;
}

static int lease(const char *path)
{
    int fd = open(path, O_RDWR);

    signal(SIGIO, SIG_IGN);
    if (fd < 0 || fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
        return errno;
    say("leased", fd);
    for (;;)
        pause();
}

static int limit_init(const char *name)
{
    struct rlimit l = {.rlim_cur = 1, .rlim_max = 1};
    int which = strcmp(name, "cpu") == 0 ? RLIMIT_CPU : RLIMIT_NOFILE;

    if (prlimit(1, which, &l, NULL) < 0)
        return errno;
    say("limited", which);
    return 0;
}

/* ---- output and terminals -------------------------------------------------------------------- */

static int pattern(unsigned long seed, unsigned long size)
{
    static char block[PATTERN_PERIOD * 16];

    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)((seed + i) % PATTERN_PERIOD);
    for (unsigned long done = 0; done < size;) {
        size_t at = done % PATTERN_PERIOD, n = sizeof(block) - at;
        ssize_t put = write(STDOUT_FILENO, block + at, n < size - done ? n : size - done);
        if (put < 0)
            return 1;
        done += (unsigned long)put;
    }
    return 0;
}

static int close_output(unsigned long ms)
{
    say("closing", 0);
    for (int i = 0; i < 3; i++)
        close(i);
    sleep_ms(ms);
    return 5;
}

static volatile sig_atomic_t resized, interrupted;

static void on_signal(int s)
{
    if (s == SIGINT)
        interrupted = 1;
    else
        resized = 1;
}

static void tell_size(const char *what)
{
    struct winsize w = {0};

    ioctl(0, TIOCGWINSZ, &w);
    printf("[%s %u %u]\n", what, w.ws_row, w.ws_col);
    fflush(stdout);
}

static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_signal}; /* no SA_RESTART: write(2) is to end */

    sigaction(SIGINT, &a, NULL);
    sigaction(SIGWINCH, &a, NULL);
}

/* What comes while it is told of counts again. */
static bool take_flag(volatile sig_atomic_t *flag)
{
    bool was = *flag;

    *flag = 0;
    return was;
}

static int terminal(void)
{
    char line[256];

    struct pollfd input = {.fd = 0, .events = POLLIN};
    sigset_t told, none;

    catch_signals();
    sigemptyset(&none);
    sigemptyset(&told);
    sigaddset(&told, SIGINT);
    sigaddset(&told, SIGWINCH);
    sigprocmask(SIG_BLOCK, &told, NULL); /* they come in ppoll(2), or wait for it */
    printf("[tty %d %d %d session %d]\n", isatty(0), isatty(1), isatty(2), getsid(0) == getpid());
    tell_size("size");
    for (;;) {
        int ready = ppoll(&input, 1, NULL, &none);
        if (take_flag(&resized))
            tell_size("resized");
        if (take_flag(&interrupted))
            tell_size("interrupted");
        if (ready <= 0)
            continue;
        ssize_t n = read(0, line, sizeof(line) - 1);
        if (n == 0) {
            tell_size("eof");
            return 7;
        }
        if (n < 0)
            return 1;
        line[n] = '\0';
        line[strcspn(line, "\n")] = '\0';
        printf("[line %s]\n", line);
        fflush(stdout);
    }
}

static int flood(void)
{
    char text[80];

    catch_signals();
    memset(text, '.', sizeof(text));
    text[sizeof(text) - 1] = '\n';
    for (;;) {
        ssize_t n = write(STDOUT_FILENO, text, sizeof(text));
        if (take_flag(&resized))
            tell_size("resized");
        if (interrupted || (n < 0 && errno != EINTR))
            return 9;
    }
}

/* ---- root's own ------------------------------------------------------------------------------ */

static int detach_all(void)
{
    char points[64][128], line[512];
    int n = 0, detached = 0;
    FILE *f = fopen("/proc/mounts", "re");

    while (f && n < 64 && fgets(line, sizeof(line), f))
        n += sscanf(line, "%*s %127s", points[n]) == 1;
    if (f)
        fclose(f);
    while (n-- > 0)
        detached += umount2(points[n], MNT_DETACH) == 0;
    say("detached", detached);
    return 0;
}

static int cover(void)
{
    static const char *const points[] = {"/proc", "/dev", "/sys/fs/cgroup", "/sys", "/tmp", "/run"};
    int covered = 0;

    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
        covered += mount("cover", points[i], "tmpfs", 0, NULL) == 0;
    covered += mount("/bin/false", "/sbin/initd", NULL, MS_BIND, NULL) == 0;
    /* Where opening could wait: what initd looks for as a FIFO. */
    mkdir("/proc/self", 0755);
    mkdir("/proc/1", 0755);
    covered += mkfifo("/dev/ptmx", 0666) == 0;
    covered += mkfifo("/dev/urandom", 0666) == 0;
    covered += mkfifo("/dev/null", 0666) == 0;
    covered += mkfifo("/proc/meminfo", 0666) == 0;
    covered += mkfifo("/proc/self/statm", 0666) == 0;
    say("covered", covered);
    return 0;
}

static int pivot(void)
{
    if (mkdir("/tmp/empty", 0755) < 0 || mount("empty", "/tmp/empty", "tmpfs", 0, NULL) < 0 ||
        mkdir("/tmp/empty/old", 0755) < 0)
        return errno;
    if (syscall(SYS_pivot_root, "/tmp/empty", "/tmp/empty/old") < 0)
        return errno;
    say("pivoted", 0);
    return umount2("/old", MNT_DETACH) < 0 ? errno : 0;
}

/* As before Linux 5.14, but that the file is there. Nothing can be written to /dev/full. */
static int no_cgroup_kill(unsigned long first, unsigned long count)
{
    char path[100];

    for (unsigned long id = first; id < first + count; id++) {
        snprintf(path, sizeof(path), "/sys/fs/cgroup/jobs/%lu", id);
        if (mkdir(path, 0755) < 0)
            return errno;
        strcat(path, "/cgroup.kill");
        if (mount("/dev/full", path, NULL, MS_BIND, NULL) < 0)
            return errno;
    }
    say("without", (long)count);
    return 0;
}

static int set_clock(unsigned long seconds)
{
    return clock_settime(CLOCK_REALTIME, &(struct timespec){.tv_sec = (time_t)seconds}) == 0 ? 0 : errno;
}

/* ---- the table of verbs ---------------------------------------------------------------------- */

static int run_process_verb(const char *verb, char **argv)
{
    if (strcmp(verb, "bomb") == 0)
        bomb();
    if (strcmp(verb, "forks") == 0)
        return forks();
    if (strcmp(verb, "zombies") == 0)
        return zombies(number(argv, 2));
    if (strcmp(verb, "kill-all") == 0)
        return kill_all();
    if (strcmp(verb, "kill-without-pause") == 0)
        return kill_without_pause(number(argv, 2));
    if (strcmp(verb, "stop-all") == 0)
        return stop_all();
    if (strcmp(verb, "signal-init") == 0)
        return signal_init();
    if (strcmp(verb, "queue-init") == 0)
        return queue_init(number(argv, 2));
    if (strcmp(verb, "timer") == 0)
        return make_timer();
    if (strcmp(verb, "daemon") == 0)
        return run_daemon(number(argv, 2), number(argv, 3));
    if (strcmp(verb, "deaf") == 0)
        deaf();
    if (strcmp(verb, "seize") == 0)
        return seize((pid_t)number(argv, 2));
    if (strcmp(verb, "stop-helper") == 0)
        return stop_helper(number(argv, 2));
    return -1;
}

static int run_resource_verb(const char *verb, char **argv)
{
    const char *word = argv[2] ? argv[2] : "";

    if (strcmp(verb, "hog") == 0)
        return hog(number(argv, 2), argv[2] ? argv[3] : NULL);
    if (strcmp(verb, "shared-memory") == 0)
        return shared_memory(number(argv, 2));
    if (strcmp(verb, "spin") == 0)
        spin();
    if (strcmp(verb, "spin-realtime") == 0)
        return spin_realtime();
    if (strcmp(verb, "fill") == 0)
        return fill(word);
    if (strcmp(verb, "fill-names") == 0)
        return fill_names(word);
    if (strcmp(verb, "open-files") == 0)
        return open_files();
    if (strcmp(verb, "lease") == 0)
        return lease(word);
    if (strcmp(verb, "limit-init") == 0)
        return limit_init(word);
    if (strcmp(verb, "detach-all") == 0)
        return detach_all();
    if (strcmp(verb, "cover") == 0)
        return cover();
    if (strcmp(verb, "pivot") == 0)
        return pivot();
    if (strcmp(verb, "no-cgroup-kill") == 0)
        return no_cgroup_kill(number(argv, 2), number(argv, 3));
    if (strcmp(verb, "set-clock") == 0)
        return set_clock(number(argv, 2));
    return -1;
}

static int run_output_verb(const char *verb, char **argv)
{
    if (strcmp(verb, "true") == 0)
        return 0;
    if (strcmp(verb, "sleep") == 0) {
        sleep_ms(number(argv, 2));
        return 0;
    }
    if (strcmp(verb, "census") == 0)
        return census((int)number(argv, 2), (int)number(argv, 3), (int)number(argv, 4));
    if (strcmp(verb, "pattern") == 0)
        return pattern(number(argv, 2), number(argv, 3));
    if (strcmp(verb, "close-output") == 0)
        return close_output(number(argv, 2));
    if (strcmp(verb, "terminal") == 0)
        return terminal();
    if (strcmp(verb, "flood") == 0)
        return flood();
    if (strcmp(verb, "freeze") == 0) {
        int fd = open(argv[2] ? argv[2] : "", O_RDONLY | O_DIRECTORY);
        return ioctl(fd, (int)FIFREEZE, 0) < 0;
    }
    if (strcmp(verb, "open") == 0) {
        int fd = open(argv[2] ? argv[2] : "", O_RDWR | O_NONBLOCK | O_NOCTTY);
        say("errno", fd < 0 ? errno : 0);
        return 0;
    }
    return -1;
}

int main(int argc, char **argv)
{
    static char *nothing[] = {NULL, NULL, NULL, NULL, NULL, NULL};
    char **words = nothing;
    int result;

    for (int i = 0; i < argc && i < 5; i++)
        words[i] = argv[i];
    if (!words[1])
        return 2;
    if ((result = run_process_verb(words[1], words)) >= 0 ||
        (result = run_resource_verb(words[1], words)) >= 0 ||
        (result = run_output_verb(words[1], words)) >= 0)
        return result;
    fprintf(stderr, "hostile: unknown verb\n");
    return 2;
}
