#include "broker/line.h"

#include "base/cleanup.h"
#include "base/message.h"
#include "core/run.h"

#include <string.h>
#include <sys/uio.h>

/* ---- what is well formed ------------------------------------------------------------------------- */

static bool is_text(const char *s, size_t size)
{
    return memchr(s, '\0', size) != NULL;
}

static bool names_language(uint32_t kind)
{
    static const bool names[LINE_KINDS_COUNT] = {
#define L(name, language) [LINE_##name] = language,
        LINE_KINDS(L)
#undef L
    };

    return names[kind];
}

static bool check_image_wish(const struct line_image *i)
{
    const unsigned char *tagged = (const void *)&i->tagged, *whole = (const void *)&i->whole,
                        *named = (const void *)&i->named;

    return is_text(i->reference, sizeof(i->reference)) && is_text(i->tag, sizeof(i->tag)) && *tagged <= 1 &&
           *named <= 1 && *whole <= 1;
}

bool line_check_request(const void *data, size_t size, struct line_request *ret)
{
    struct line_request *r = ret;

    if (size != sizeof(*r))
        return false;
    memcpy(r, data, size);
    /* A bool that is neither true nor false is not to be looked at as one. */
    const unsigned char *session = (const void *)&r->session, *force = (const void *)&r->force,
                        *keep = (const void *)&r->keep;
    return r->kind < LINE_KINDS_COUNT && r->start <= TARGET_RESTORE_ANEW && *session <= 1 && *force <= 1 &&
           *keep <= 1 && check_image_wish(&r->image) && is_text(r->language, sizeof(r->language)) &&
           is_text(r->owner, sizeof(r->owner)) && is_text(r->trace_id, sizeof(r->trace_id)) &&
           r->wait_ms >= 0 && r->wait_ms <= LINE_WAIT_MAX_MS &&
           (r->kind == LINE_VM && r->image.reference[0]
                ? !r->language[0]
                : (r->language[0] != '\0') == names_language(r->kind) && !r->keep);
}

/* What the broker says is believed, but for its form. */
static bool check_reply(const struct line_reply *r, size_t size)
{
    return size >= sizeof(*r) && r->answer <= LINE_KEPT && r->error.kind <= ERROR_KIND_LAST &&
           r->vm.env_size == size - sizeof(*r) && is_text(r->error.text, sizeof(r->error.text)) &&
           is_text(r->vm.build, sizeof(r->vm.build)) && is_text(r->vm.driver, sizeof(r->vm.driver)) &&
           is_text(r->vm.accel, sizeof(r->vm.accel)) && is_text(r->vm.workdir, sizeof(r->vm.workdir)) &&
           is_text(r->vm.user, sizeof(r->vm.user)) && is_text(r->vm.uuid, sizeof(r->vm.uuid)) &&
           r->kept.kept < RUN_KEPTS_COUNT && is_text(r->kept.image, sizeof(r->kept.image)) &&
           is_text(r->kept.note, sizeof(r->kept.note));
}

static bool check_note(const struct line_note *n)
{
    return n->wish < LINE_WISHES_COUNT && n->error.kind <= ERROR_KIND_LAST &&
           is_text(n->error.text, sizeof(n->error.text)) && is_text(n->why, sizeof(n->why)) &&
           is_text(n->detail, sizeof(n->detail));
}

/* ---- datagrams ----------------------------------------------------------------------------------- */

static int send_message(int fd, const struct iovec *parts, size_t count, int passed, struct error *e)
{
    return message_send(fd, parts, count, &passed, passed >= 0 ? 1 : 0, e);
}

/* Takes one; its size, or -1. The caller has waited. */
static ssize_t receive_message(int fd, const struct iovec *parts, size_t count, int *ret_passed,
                               struct error *e)
{
    size_t passed;

    *ret_passed = -1;
    ssize_t n = message_receive(fd, parts, count, ret_passed, 1, &passed, e);
    if (n == 0)
        return error_set(e, ERROR_CANCELLED, "the other part of the server is gone");
    return n;
}

static int malformed(int *passed, struct error *e)
{
    close_fd(passed);
    return error_set(e, ERROR_GENERAL, "a message between the server's parts is malformed");
}

int line_send_request(int fd, const struct line_request *r, int lease, struct error *e)
{
    return send_message(fd, &(struct iovec){(void *)(uintptr_t)r, sizeof(*r)}, 1, lease, e);
}

int line_receive_request(int fd, struct line_request *ret, int *ret_lease, struct error *e)
{
    struct line_request raw;
    ssize_t n = receive_message(fd, &(struct iovec){&raw, sizeof(raw)}, 1, ret_lease, e);

    if (n < 0)
        return -1;
    return *ret_lease >= 0 && line_check_request(&raw, (size_t)n, ret) ? 0 : malformed(ret_lease, e);
}

int line_send_reply(int fd, const struct line_reply *r, const void *env, int passed, struct error *e)
{
    const struct iovec parts[2] = {{(void *)(uintptr_t)r, sizeof(*r)},
                                   {(void *)(uintptr_t)env, r->vm.env_size}};

    return send_message(fd, parts, r->vm.env_size ? 2 : 1, passed, e);
}

int line_receive_reply(int fd, struct line_reply *ret, void *env, int *ret_passed, int64_t deadline,
                       const struct cancel *cancel, struct error *e)
{
    const struct iovec parts[2] = {{ret, sizeof(*ret)}, {env, LINE_ENV_MAX}};
    int ready = deadline_wait_fd(fd, POLLIN, deadline, cancel, e);

    *ret_passed = -1;
    if (ready == 0)
        return error_set(e, ERROR_TIMEOUT, "the server's other part does not answer");
    ssize_t n = ready < 0 ? -1 : receive_message(fd, parts, 2, ret_passed, e);
    if (n < 0)
        return -1;
    return check_reply(ret, (size_t)n) ? 0 : malformed(ret_passed, e);
}

int line_send_note(int fd, const struct line_note *n, struct error *e)
{
    return send_message(fd, &(struct iovec){(void *)(uintptr_t)n, sizeof(*n)}, 1, -1, e);
}

int line_receive_note(int fd, struct line_note *ret, struct error *e)
{
    int passed;
    ssize_t n = receive_message(fd, &(struct iovec){ret, sizeof(*ret)}, 1, &passed, e);

    if (n < 0)
        return -1;
    if (passed >= 0 || (size_t)n != sizeof(*ret) || !check_note(ret))
        return malformed(&passed, e);
    return 0;
}
