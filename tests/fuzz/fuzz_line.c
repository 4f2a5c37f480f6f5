/* links: host */
/* What the two parts of a server may say to each other, if one of them was taken over: whatever is taken is well formed, and no
 * descriptor is lost. */
#include "api/api.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/message.h"
#include "broker/line.h"
#include "broker/stock_pack.h"
#include "core/target.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void check(bool fine)
{
    if (!fine)
        abort();
}

static bool is_text(const char *s, size_t size)
{
    return memchr(s, '\0', size);
}

static void check_request(const struct line_request *r, int lease)
{
    check(lease >= 0 && r->kind < LINE_KINDS_COUNT && r->start <= TARGET_RESTORE_ANEW);
    check(is_text(r->language, sizeof(r->language)) && is_text(r->owner, sizeof(r->owner)) &&
          is_text(r->trace_id, sizeof(r->trace_id)));
    check(r->wait_ms >= 0 && r->wait_ms <= LINE_WAIT_MAX_MS);
}

/* As a request, a reply, a note, and what the front answers. */
static void take(int kind, int fd)
{
    static char env[LINE_ENV_MAX];
    struct line_request request;
    struct line_reply reply;
    struct line_note note;
    struct front_answer answer;
    struct error e = {0};
    int passed = -1;

    if (kind == 0 && line_receive_request(fd, &request, &passed, &e) == 0)
        check_request(&request, passed);
    if (kind == 1 && line_receive_reply(fd, &reply, env, &passed, deadline_in_ms(0), NULL, &e) == 0)
        check(reply.vm.env_size <= LINE_ENV_MAX && is_text(reply.error.text, sizeof(reply.error.text)));
    if (kind == 2 && line_receive_note(fd, &note, &e) == 0)
        check(is_text(note.why, sizeof(note.why)) && is_text(note.error.text, sizeof(note.error.text)));
    if (kind == 3 && front_receive_answer(fd, &answer, &passed, &e) == 1)
        check(answer.word <= FRONT_FAILED && is_text(answer.error.text, sizeof(answer.error.text)));
    check(passed < 0 || !e.kind);
    close_fd(&passed);
}

static size_t size_of(int kind)
{
    static const size_t sizes[] = {sizeof(struct line_request), sizeof(struct line_reply),
                                   sizeof(struct line_note), sizeof(struct front_answer)};

    return sizes[kind];
}

/* The file of a list: every text of it ends. */
static void take_stock(const void *data, size_t size)
{
    int fd = file_sealed("fuzz", data, size);
    struct stock s;
    struct error e = {0};
    size_t all = 0;

    check(fd >= 0);
    bool taken = stock_unpack(&s, fd, &e) == 0;
    check(taken == !e.kind);
    for (size_t i = 0; taken && s.kind == STOCK_IMAGE && i < s.count; i++) {
        const struct stock_image *row = stock_row(&s, i);
        all += row->name ? strlen(row->name) : 0;
        all += row->path ? strlen(row->path) : 0;
        all += row->imported;
    }
    check(all <= s.count * 2 * (size + 1));
    stock_done(&s);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte: which message, whether it has the right size, whether a descriptor comes with it; or that it is a file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char message[sizeof(struct line_reply) + LINE_ENV_MAX + 1];
    int pair[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct error e = {0};

    if (size < 1 || size > sizeof(message) || null < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        close_fd(&null);
        return 0;
    }
    if (data[0] & 32)
        take_stock(data + 1, size - 1);
    int kind = data[0] & 3, before = dup(pair[0]);
    close(before);
    memset(message, 0, sizeof(message));
    memcpy(message, data + 1, size - 1);
    size_t length = data[0] & 4 ? size - 1 : size_of(kind);
    const int passed[] = {null, null, null};
    message_send(pair[0], &(struct iovec){message, length}, 1, passed, data[0] >> 3 & 3, &e);
    take(kind, pair[1]);
    int after = dup(pair[0]);
    check(after == before); /* nothing that came is still open */
    close(after);
    close(pair[0]);
    close(pair[1]);
    close(null);
    return 0;
}
