#include "core/network_run.h"

#include "base/cleanup.h"
#include "base/thread.h"
#include "guest/mux.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define END_MS 2000 /* for the relay to be gone */

struct network_run {
    struct network *network;
    struct mux mux;       /* its thread's */
    struct guest program; /* the connection that the program's side has */
    int wake_fd;          /* an eventfd: the mux is to end */
    pthread_t thread;
    bool has_thread;
};

/* Until it is told to end, and then until nothing of the relay is left. */
static void *mux_thread(void *run)
{
    struct network_run *n = run;
    struct error e = {0};
    int64_t end = 0;
    uint64_t drop;

    while (!end || (!mux_is_idle(&n->mux) && !deadline_passed(end))) {
        if (mux_step(&n->mux, end ? -1 : n->wake_fd, end ? end : DEADLINE_NEVER, &e) < 0)
            break;
        if (!end && read(n->wake_fd, &drop, sizeof(drop)) > 0)
            end = deadline_in_ms(END_MS);
    }
    mux_close(&n->mux);
    return NULL;
}

static int share_guest(struct network_run *n, const struct guest *of, const struct cancel *cancel,
                       struct error *e)
{
    int pair[2];

    n->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (n->wake_fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(e, "a guest's connection cannot be shared");
    guest_open(&n->program, pair[0], -1, cancel);
    n->program.vmm_fd = -1;
    n->program.features = of->features;
    memcpy(n->program.build, of->build, sizeof(n->program.build));
    mux_add(&n->mux, pair[1], false);
    mux_add(&n->mux, network_take_fd(n->network), false);
    n->has_thread = thread_start(&n->thread, mux_thread, n, e) == 0;
    return n->has_thread ? 0 : -1;
}

static int wait_for_relay(struct network_run *n, int64_t deadline, const struct cancel *cancel,
                          struct error *e)
{
    int ready = deadline_wait_fd(network_told_fd(n->network), POLLIN, deadline, cancel, e);

    if (ready == 0)
        error_set(e, ERROR_TIMEOUT, "the guest's network was not ready in time");
    return ready <= 0 ? -1 : network_check_ready(n->network, e);
}

struct network_run *network_run_begin(const struct network_site *site, struct guest *guest,
                                      const struct cancel *cancel, const char *const *rules,
                                      struct network_log *log, int64_t deadline, struct error *e)
{
    struct network_run *n = memory_allocate(sizeof(*n));

    *n = (struct network_run){.program = {.fd = -1}, .wake_fd = -1};
    mux_open(&n->mux, guest);
    n->network = network_open(site, rules, log, deadline, e);
    if (n->network && share_guest(n, guest, cancel, e) == 0 && wait_for_relay(n, deadline, cancel, e) == 0)
        return n;
    network_run_end(n);
    return NULL;
}

struct guest *network_run_guest(struct network_run *n)
{
    return &n->program;
}

void network_run_end(struct network_run *n)
{
    guest_close(&n->program);
    network_close(n->network);
    if (n->has_thread) {
        if (eventfd_write(n->wake_fd, 1) == 0)
            pthread_join(n->thread, NULL);
    } else {
        mux_close(&n->mux);
    }
    close_fd(&n->wake_fd);
    free(n);
}
