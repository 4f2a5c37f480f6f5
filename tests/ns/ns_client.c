#include "ns_client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 10000
#define OUTPUT_MAX (8u << 20)

double ns_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- the guest ---------------------------------------------------------------------------------- */

static bool write_id_file(pid_t pid, const char *name, const char *text)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

/* Root of a user namespace of its own, who cannot change the machine's clock or random numbers; with all ids
 * when we are root ourselves, so that jobs can be others. */
static bool map_users(pid_t pid)
{
    char users[64] = "0 0 4294967295", groups[64] = "0 0 4294967295";

    if (getuid() != 0) {
        snprintf(users, sizeof(users), "0 %u 1", getuid());
        snprintf(groups, sizeof(groups), "0 %u 1", getgid());
    }
    return write_id_file(pid, "uid_map", users) &&
           (getuid() == 0 || write_id_file(pid, "setgroups", "deny")) &&
           write_id_file(pid, "gid_map", groups);
}

/* go_fd becomes readable when the ids are mapped, and comes to its end when they cannot be. */
static _Noreturn void become_initd(char **argv, int go_fd)
{
    char go;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (read(go_fd, &go, 1) != 1)
        _exit(99);
    /* RESUME writes to /etc. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("tmpfs", "/etc", "tmpfs", 0, NULL) < 0)
        _exit(98);
    /* As the kernel starts it: nohup(1) leaves a signal ignored, and so does posix_spawn(3) of the libc two of its
     * own, which its signal(2) then does not touch. */
    static const uint64_t defaults[4];
    for (int number = 1; number < NSIG; number++)
        syscall(SYS_rt_sigaction, number, defaults, NULL, (size_t)8);
    execv(argv[0], argv);
    _exit(97);
}

/* Returns initd's pid, or -errno when namespaces are refused. Without assertions, since ns_require() runs
 * before tests. */
static pid_t clone_initd(char **argv)
{
    int go[2];

    if (pipe2(go, O_CLOEXEC) < 0)
        return -errno;
    fflush(NULL);
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | SIGCHLD,
                               0, 0, 0, 0);
    if (pid == 0) {
        close(go[1]);
        become_initd(argv, go[0]);
    }
    int error = errno;
    if (pid > 0 && map_users(pid) && write(go[1], "g", 1) != 1)
        fprintf(stderr, "cannot start initd\n");
    close(go[0]);
    close(go[1]);
    return pid < 0 ? -error : pid;
}

static bool answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    bool yes = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return yes;
}

/* Returns 0 when initd listens, or the status with which it ended. */
static int wait_until_listening(const struct ns_guest *g)
{
    for (int i = 0; i < 1000; i++) {
        int status;
        if (waitpid(g->pid, &status, WNOHANG) == g->pid)
            return status;
        if (answers(g->path))
            return 0;
        usleep(5000);
    }
    return -1;
}

static int try_start(struct ns_guest *g, const char *const *arguments)
{
    const char *tmp = getenv("TMPDIR"), *initd = getenv("INITD");
    char listen[128];
    const char *argv[16] = {initd ? initd : "build/initd", listen};
    size_t n = 2;

    snprintf(g->dir, sizeof(g->dir), "%s/ns-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    if (!mkdtemp(g->dir))
        return -errno;
    snprintf(g->path, sizeof(g->path), "%s/socket", g->dir);
    snprintf(listen, sizeof(listen), "--test-listen=%s", g->path);
    for (; arguments && *arguments && n < 15; arguments++)
        argv[n++] = *arguments;
    g->pid = clone_initd((char **)(uintptr_t)argv);
    return g->pid < 0 ? g->pid : wait_until_listening(g);
}

static void remove_dir(const char *dir)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    if (system(command) != 0)
        fprintf(stderr, "cannot remove %s\n", dir);
}

void ns_start(struct ns_guest *g, const char *const *arguments)
{
    ck_assert_int_eq(try_start(g, arguments), 0);
}

void ns_stop(struct ns_guest *g)
{
    int status;

    ck_assert_msg(kill(g->pid, SIGKILL) == 0 && waitpid(g->pid, &status, 0) == g->pid && WIFSIGNALED(status),
                  "initd had ended");
    remove_dir(g->dir);
}

void ns_join(struct ns_guest *g)
{
    int status;

    ck_assert_int_eq(waitpid(g->pid, &status, 0), g->pid);
    ck_assert_int_eq(status, 0);
    remove_dir(g->dir);
}

void ns_require(void)
{
    struct ns_guest g;
    int r = try_start(&g, NULL);

    remove_dir(g.dir);
    if (r == 0) {
        kill(g.pid, SIGKILL);
        waitpid(g.pid, NULL, 0);
        return;
    }
    if (r < 0)
        printf("SKIP: no user, pid and mount namespaces here: %s\n", strerror(-r));
    else if (WIFEXITED(r) && WEXITSTATUS(r) == 97)
        printf("SKIP: cannot run initd; set INITD\n");
    else
        printf("SKIP: initd does not start in namespaces here (wait status %d); is mounting /proc allowed?\n",
               r);
    exit(77);
}

static unsigned count_entries(const char *path, bool numbers_only)
{
    unsigned n = 0;
    DIR *d = opendir(path);

    ck_assert_ptr_nonnull(d);
    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        n += numbers_only ? e->d_name[0] >= '0' && e->d_name[0] <= '9' : e->d_name[0] != '.';
    closedir(d);
    return n;
}

const char *ns_in_dir(const struct ns_guest *g, const char *name)
{
    static char paths[4][256];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", g->dir, name);
    return path;
}

unsigned ns_count_fds(const struct ns_guest *g)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)g->pid);
    return count_entries(path, true);
}

/* The file that process pid of the guest executes; "": none, it is a zombie. */
static void read_exe(const struct ns_guest *g, const char *pid, char *ret, size_t size)
{
    char path[320];

    snprintf(path, sizeof(path), "/proc/%d/root/proc/%s/exe", (int)g->pid, pid);
    ssize_t n = readlink(path, ret, size - 1);
    ret[n > 0 ? n : 0] = '\0';
}

bool ns_is_at_rest(void *guest)
{
    const struct ns_guest *g = guest;
    char path[64], initd[PATH_MAX], exe[PATH_MAX];
    unsigned spares = 0, others = 0;

    snprintf(path, sizeof(path), "/proc/%d/root/proc", (int)g->pid);
    DIR *dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    read_exe(g, "1", initd, sizeof(initd));
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (e->d_name[0] < '0' || e->d_name[0] > '9' || strcmp(e->d_name, "1") == 0)
            continue;
        read_exe(g, e->d_name, exe, sizeof(exe));
        spares += strcmp(exe, initd) == 0;
        others += strcmp(exe, initd) != 0;
    }
    closedir(dir);
    /* Without close_range(2) there is no spare process; see spawn_can_wait(). */
    return others == 0 && spares == (syscall(SYS_close_range, ~0u, ~0u, 0u) == 0);
}

/* ---- a connection ------------------------------------------------------------------------------- */

void ns_connect(const struct ns_guest *g, struct ns_conn *c, bool greet)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", g->path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(c->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    c->next_stream = 1;
    frame_reader_init(&c->reader, c->buffer, sizeof(c->buffer));
    if (greet) {
        struct msg_welcome w;
        NS_SEND(c, hello, 0, {.magic = PROTO_MAGIC, .version_min = 1, .version_max = PROTO_VERSION});
        NS_EXPECT(c, welcome, WELCOME, 0, &w);
        ck_assert_uint_eq(w.magic, PROTO_MAGIC);
    }
}

void ns_disconnect(struct ns_conn *c)
{
    close(c->fd);
    c->fd = -1;
}

uint32_t ns_stream(struct ns_conn *c)
{
    return c->next_stream++;
}

void ns_send_bytes(struct ns_conn *c, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t n = send(c->fd, at, size, MSG_NOSIGNAL);
        ck_assert_msg(n > 0, "send: %s", strerror(errno));
        at += n;
        size -= (size_t)n;
    }
}

/* 1: a frame; 0: none in time; -1: closed. */
static int receive(struct ns_conn *c, int timeout_ms, struct frame *ret)
{
    double until = ns_now() + timeout_ms / 1e3;

    for (;;) {
        int r = frame_reader_next(&c->reader, ret);
        ck_assert_int_ge(r, 0);
        if (r > 0)
            return 1;
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        int left = (int)((until - ns_now()) * 1e3);
        if (poll(&p, 1, left > 0 ? left : 0) <= 0)
            return 0;
        size_t room;
        uint8_t *at = frame_reader_space(&c->reader, &room);
        ssize_t n = read(c->fd, at, room);
        if (n <= 0)
            return -1;
        frame_reader_added(&c->reader, (size_t)n);
    }
}

bool ns_receive_within(struct ns_conn *c, int timeout_ms, struct frame *ret)
{
    return receive(c, timeout_ms, ret) == 1;
}

struct frame ns_receive(struct ns_conn *c)
{
    struct frame f;

    ck_assert_msg(receive(c, WAIT_MS, &f) == 1, "no frame came");
    return f;
}

bool ns_closed_within(struct ns_conn *c, int timeout_ms)
{
    double until = ns_now() + timeout_ms / 1e3;
    struct frame f;
    int r;

    do {
        r = receive(c, (int)((until - ns_now()) * 1e3), &f);
    } while (r == 1);
    return r == -1;
}

void ns_expect_type(const struct frame *f, uint16_t type, uint32_t stream)
{
    if (f->type == MSG_ERROR && type != MSG_ERROR) {
        struct msg_error e = {.text = ""};
        msg_error_decode(&e, f->payload, f->length);
        ck_abort_msg("wanted %s, got ERROR %s errno %u: %s", msg_name(type), proto_error_name(e.code),
                     e.os_errno, e.text);
    }
    ck_assert_msg(f->type == type, "wanted %s, got %s", msg_name(type), msg_name(f->type));
    ck_assert_uint_eq(f->stream, stream);
}

uint32_t ns_expect_error(struct ns_conn *c, uint32_t stream, uint16_t code)
{
    struct msg_error e;

    NS_EXPECT(c, error, ERROR, stream, &e);
    ck_assert_msg(e.code == code, "wanted %s, got %s: %s", proto_error_name(code), proto_error_name(e.code),
                  e.text);
    return e.os_errno;
}

void ns_expect_ok(struct ns_conn *c, uint32_t stream)
{
    struct msg_ok ok;

    NS_EXPECT(c, ok, OK, stream, &ok);
}

/* ---- jobs ---------------------------------------------------------------------------------------- */

struct wire_strs ns_strs(const char *const *strings)
{
    static char buffers[4][4096];
    static unsigned turn;
    char *buffer = buffers[turn++ % 4];
    size_t at = 0;

    for (; *strings; strings++) {
        size_t n = strlen(*strings) + 1;
        ck_assert_uint_le(at + n, sizeof(buffers[0]));
        memcpy(buffer + at, *strings, n);
        at += n;
    }
    return (struct wire_strs){.data = buffer, .size = (uint32_t)at};
}

struct msg_exec ns_sh(const char *script)
{
    return (struct msg_exec){
        .argv = NS_STRS("/bin/sh", "-c", script),
        .env = NS_STRS("PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C"),
        .cwd = "/",
        .window = 65536,
    };
}

uint32_t ns_exec(struct ns_conn *c, const struct msg_exec *m)
{
    uint32_t stream = ns_stream(c);

    NS_SEND(c, exec, stream, *m);
    return stream;
}

static void take_data(struct ns_conn *c, uint32_t stream, const struct frame *f, uint64_t window,
                      struct ns_result *r)
{
    struct msg_data m;

    ck_assert(msg_data_decode(&m, f->payload, f->length));
    ck_assert(m.channel == 1 || m.channel == 2);
    size_t *size = m.channel == 1 ? &r->out_size : &r->err_size;
    ck_assert_uint_eq(m.offset, *size);
    ck_assert_uint_lt(*size + m.data.size, OUTPUT_MAX);
    memcpy((m.channel == 1 ? r->out : r->err) + *size, m.data.data, m.data.size);
    *size += m.data.size;
    NS_SEND(c, window, stream, {.channel = m.channel, .consumed = *size, .limit = *size + window});
}

void ns_collect(struct ns_conn *c, uint32_t stream, uint64_t window, struct ns_result *ret)
{
    static char out[OUTPUT_MAX], err[OUTPUT_MAX];
    double began = ns_now();
    bool ended[3] = {false};

    ret->out = out;
    ret->err = err;
    ret->out_size = ret->err_size = 0;
    for (;;) {
        struct frame f = ns_receive(c);
        struct msg_end end;
        if (f.stream != stream)
            continue;
        if (f.type == MSG_STARTED) {
            ck_assert(msg_started_decode(&ret->started, f.payload, f.length));
        } else if (f.type == MSG_DATA) {
            take_data(c, stream, &f, window, ret);
        } else if (f.type == MSG_END) {
            ck_assert(msg_end_decode(&end, f.payload, f.length));
            ck_assert(!ended[end.channel]);
            ck_assert_uint_eq(end.offset, end.channel == 1 ? ret->out_size : ret->err_size);
            ended[end.channel] = true;
        } else if (f.type != MSG_WINDOW && f.type != MSG_OK) {
            ns_expect_type(&f, MSG_EXIT, stream);
            ck_assert(msg_exit_decode(&ret->exit, f.payload, f.length));
            break;
        }
    }
    ck_assert(ended[1] && ended[2]);
    ck_assert_uint_eq(ret->exit.stdout_size, ret->out_size);
    ck_assert_uint_eq(ret->exit.stderr_size, ret->err_size);
    out[ret->out_size] = err[ret->err_size] = '\0';
    ret->seconds = ns_now() - began;
}

void ns_run(struct ns_conn *c, struct msg_exec m, struct ns_result *ret)
{
    uint32_t stream = ns_exec(c, &m);

    ns_collect(c, stream, 65536, ret);
}

void ns_run_sh(struct ns_conn *c, const char *script, struct ns_result *ret)
{
    ns_run(c, ns_sh(script), ret);
    ck_assert_msg(ret->exit.cause == PROTO_CAUSE_EXITED && ret->exit.status == 0, "%s: %s, status %u: %s",
                  script, proto_cause_name(ret->exit.cause), ret->exit.status, ret->err);
}

void ns_wait_until(bool (*what)(void *data), void *data)
{
    for (double until = ns_now() + 5; !what(data); usleep(5000))
        ck_assert_msg(ns_now() < until, "it did not happen");
}

int ns_main(const char *name, const TTest *const *tests, size_t count, double timeout_s)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);

    ns_require();
    tcase_set_timeout(tcase, timeout_s);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
