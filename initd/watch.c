#include "watch.h"

#include <errno.h>
#include <sys/epoll.h>

#define BATCH_MAX 32

static int epoll_fd = -1;

int watch_open(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return epoll_fd < 0 ? -errno : 0;
}

static int control(int operation, int fd, uint32_t events, struct watch w)
{
    struct epoll_event e = {
        .events = events,
        .data.u64 = (uint64_t)w.generation << 32 | (uint64_t)w.slot << 8 | w.kind,
    };

    return epoll_ctl(epoll_fd, operation, fd, &e) < 0 ? -errno : 0;
}

int watch_add(int fd, uint32_t events, struct watch w)
{
    return control(EPOLL_CTL_ADD, fd, events, w);
}

int watch_change(int fd, uint32_t events, struct watch w)
{
    return control(EPOLL_CTL_MOD, fd, events, w);
}

void watch_remove(int fd)
{
    control(EPOLL_CTL_DEL, fd, 0, (struct watch){0});
}

int watch_wait(struct watch_event *ret_events, int max, int timeout_ms)
{
    struct epoll_event batch[BATCH_MAX];
    int n = epoll_wait(epoll_fd, batch, max < BATCH_MAX ? max : BATCH_MAX, timeout_ms);

    for (int i = 0; i < n; i++) {
        uint64_t token = batch[i].data.u64;
        ret_events[i] = (struct watch_event){
            .watch = {.kind = (uint8_t)token,
                      .slot = (uint8_t)(token >> 8),
                      .generation = (uint32_t)(token >> 32)},
            .events = batch[i].events,
        };
    }
    return n < 0 ? 0 : n;
}
