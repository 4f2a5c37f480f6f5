/* The front's end of the leash, and its other's. */
#include "api/front.h"

#include "base/cleanup.h"
#include "base/message.h"

#include <string.h>

int front_send_order(int leash, const struct front_order *o, const int *passed, size_t count, struct error *e)
{
    return message_send(leash, &(struct iovec){(void *)(uintptr_t)o, sizeof(*o)}, 1, passed, count, e);
}

int front_receive_order(int leash, struct front_order *ret, struct front_passed *passed, struct error *e)
{
    *passed = (struct front_passed){.count = 0};
    ssize_t n = message_receive(leash, &(struct iovec){ret, sizeof(*ret)}, 1, passed->fds, MESSAGE_FDS_MAX,
                                &passed->count, e);
    if (n == 0)
        return 0;
    if (n != (ssize_t)sizeof(*ret))
        return n < 0 ? -1 : error_set(e, ERROR_GENERAL, "the front was told something else");
    return 1;
}

int front_send_answer(int leash, enum front_answer_word word, int passed, const struct error *why,
                      struct error *e)
{
    struct front_answer a = {.word = word};

    if (why)
        a.error = *why;
    return message_send(leash, &(struct iovec){&a, sizeof(a)}, 1, &passed, passed >= 0, e);
}

static bool is_answer(const struct front_answer *a, ssize_t size, int fd)
{
    return size == (ssize_t)sizeof(*a) && a->word <= FRONT_FAILED && (fd >= 0) == (a->word == FRONT_TOLD) &&
           a->error.kind <= ERROR_KIND_LAST && memchr(a->error.text, '\0', sizeof(a->error.text));
}

int front_receive_answer(int leash, struct front_answer *ret, int *ret_fd, struct error *e)
{
    size_t count;

    *ret_fd = -1;
    ssize_t n = message_receive(leash, &(struct iovec){ret, sizeof(*ret)}, 1, ret_fd, 1, &count, e);
    if (n <= 0)
        return (int)n;
    if (is_answer(ret, n, *ret_fd))
        return 1;
    close_fd(ret_fd);
    return error_set(e, ERROR_GENERAL, "the front said something malformed");
}
