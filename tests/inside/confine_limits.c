/*
 * confine_limits: the supervisor's confinement where all of its cgroup controllers are: in a guest. Run as root by
 * tests/vm/confine_limits.py; links the host's own code, statically, for whatever C library the guest has.
 *
 *   confine_limits memory | pids | cpu | leave
 *
 * confines itself as a VMM that takes too much of that, or leaves a process behind, and prints what became of it, one
 * word and its value a line.
 */
#include "base/cleanup.h"
#include "base/text.h"
#include "confine/confine.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK (1 << 20)
#define SPINNERS 4
#define SPIN_MS 1500

/* ---- as the VMM ---------------------------------------------------------------------------------- */

static int take_memory(void)
{
    for (;;) {
        char *block = malloc(BLOCK);
        if (!block)
            return 3;
        memset(block, 1, BLOCK);
    }
}

static int fork_all(void)
{
    int made = 0;

    for (;;) {
        pid_t pid = fork();
        if (pid == 0) {
            pause();
            _exit(0);
        }
        if (pid < 0)
            break;
        made++;
    }
    printf("forks %d\n", made);
    fflush(stdout);
    return 0;
}

static int spin(void)
{
    int64_t end = deadline_in_ms(SPIN_MS);

    for (int i = 1; i < SPINNERS; i++)
        if (fork() == 0)
            break;
    while (clock_monotonic_ns() < end)
        ;
    return 0;
}

static int leave(void)
{
    if (fork() == 0) {
        setsid();
        for (;;)
            pause();
    }
    return 0;
}

static int misbehave(const char *how)
{
    return strcmp(how, "memory") == 0  ? take_memory()
           : strcmp(how, "pids") == 0  ? fork_all()
           : strcmp(how, "cpu") == 0   ? spin()
           : strcmp(how, "leave") == 0 ? leave()
                                       : 2;
}

/* ---- as the supervisor --------------------------------------------------------------------------- */

/* "cpu.max 200000 100000", "memory.events oom_kill 1", or what is wrong; key may be NULL. */
static void tell_file(const char *cgroup, const char *name, const char *key)
{
    cleanup_free char *path = text_format("%s/%s", cgroup, name);
    cleanup_file FILE *f = fopen(path, "re");
    char line[256];

    while (f && fgets(line, sizeof(line), f))
        if (!key || (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ' '))
            printf("%s %s", name, line);
    if (!f)
        printf("%s %s\n", name, strerror(errno));
}

static void tell(const struct confinement *c, const struct confined *held, int status)
{
    for (int i = 0; i < CONFINE_PARTS; i++)
        printf("%s: %s\n", confine_part_name((enum confine_part)i), c->have[i] ? "yes" : c->reason[i]);
    if (WIFSIGNALED(status))
        printf("signal %d\n", WTERMSIG(status));
    else
        printf("exit %d\n", WEXITSTATUS(status));
    tell_file(held->cgroup, "memory.max", NULL);
    tell_file(held->cgroup, "pids.max", NULL);
    tell_file(held->cgroup, "cpu.max", NULL);
    tell_file(held->cgroup, "memory.events", "oom_kill");
    tell_file(held->cgroup, "cpu.stat", "nr_throttled");
}

static int confine(const char *self, const char *how, struct error *e)
{
    const char *const argv[] = {self, "as-vmm", how, NULL};
    const struct child_spec spec = {.argv = argv, .stdin_fd = -1, .stdout_fd = 1, .stderr_fd = 2};
    const struct confine_need need = {.vmm = self, .shape.memory_mib = 16, .shape.vcpus = 1};
    struct confined held = CONFINED_NONE;
    struct child child = CHILD_NONE;
    struct confinement c;
    char ids[] = CONFIG_VM_UIDS;
    /* What is tried here is limits; fork() is not on the list of calls. */
    const struct config config = {.confine = CONFINE_AUTO, .vmm_calls = CALLS_LENIENT, .vm_uids = ids};
    struct home home;
    int status = 0;

    if (home_open(&home, "/tmp/home", e) < 0)
        return -1;
    int result = confine_decide(&c, &config, &home, e);
    if (result == 0)
        result = confine_spawn(&child, &held, &c, &need, &spec, e);
    if (result == 0)
        result = child_wait(&child, deadline_in_ms(60000), NULL, &status, e) < 0 ? -1 : 0;
    if (result == 0)
        tell(&c, &held, status);
    cleanup_free char *cgroup = text_copy(held.cgroup);
    child_kill(&child);
    confine_release(&held);
    if (cgroup)
        printf("cgroup %s\n", access(cgroup, F_OK) == 0 ? "left" : "gone");
    confine_done(&c);
    home_close(&home);
    return result;
}

int main(int argc, char **argv)
{
    char self[PATH_MAX];
    struct error e = {0};

    if (argc == 3 && strcmp(argv[1], "as-vmm") == 0)
        return misbehave(argv[2]);
    if (argc != 2 || !realpath(argv[0], self))
        return 2;
    if (confine(self, argv[1], &e) == 0)
        return 0;
    fprintf(stderr, "%s\n", e.text);
    return 1;
}
