/* links: host */
/* What a guest may send, against the host's end of a whole conversation. */
#include "base/text.h"
#include "core/account.h"
#include "guest/guest.h"

#include <fcntl.h>
#include <stdint.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int drop(void *context, int channel, const void *data, size_t size, struct error *e)
{
    volatile uint8_t sum = 0;

    (void)context, (void)e;
    if (channel != 1 && channel != 2)
        abort();
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
    return 0;
}

/* A name, and then what the guest's files say of it. */
static void find_account(const char *words)
{
    const char *files = words + strlen(words) + 1;
    struct account a = {0};
    uint32_t gid = 7;

    account_is_valid(words);
    if (account_parse_user(&a, files, words) && (a.uid == UINT32_MAX || a.gid == UINT32_MAX))
        abort();
    if (a.home && (a.home[0] != '/' || strlen(a.home) >= PATH_MAX || strchr(a.home, ':')))
        abort();
    account_done(&a);
    if (account_parse_group(&gid, files, words) ? gid == UINT32_MAX : gid != 7)
        abort();
}

static void ask_for_root(struct guest *g, int64_t deadline, struct error *e)
{
    struct buffer layers = {.data = "erofs:x", .size = 8};
    bool changed;

    g->features = PROTO_FEATURES;
    if (guest_make_root(g, &layers, "vdb", deadline, e) == 0 &&
        guest_root_changed(g, &changed, deadline, e) == 0)
        guest_seal_root(g, 1, deadline, e);
}

static void look_for_account(struct guest *g, int64_t deadline, struct error *e)
{
    struct account a;

    if (account_find(&a, g, "user:group", deadline, e) == 0)
        account_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte chooses which request the bytes answer; then the guest closes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct job_io io = {.stdin_fd = -1, .on_output = drop};
    const struct msg_exec exec = {.argv = {.data = "x", .size = 2}, .cwd = "/"};
    static char content[80000];
    struct msg_exit exit;
    struct error e = {0};
    struct guest g;
    int pair[2];

    if (size >= 4 && size < sizeof(content) && data[0] == 0xff) {
        memcpy(content, data + 1, size - 1);
        content[size - 1] = content[size] = '\0';
        find_account(content);
        return 0;
    }
    if (size < 1 || size > 60000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return 0;
    guest_open(&g, pair[0], -1, NULL);
    if (send(pair[1], data + 1, size - 1, MSG_NOSIGNAL) < 0 || shutdown(pair[1], SHUT_WR) < 0)
        abort();
    int64_t deadline = deadline_in_ms(2000);
    switch (data[0] % 8) {
    case 0:
        if (guest_hello_again(&g, deadline, &e) == 0)
            guest_resume(&g, deadline, &e);
        break;
    case 1:
        guest_resume(&g, deadline, &e);
        break;
    case 2:
        guest_write_file(&g, "/x", 0100644, 0, 0, 0, content, sizeof(content), deadline, &e);
        break;
    case 3:
        guest_quiesce(&g, deadline, &e);
        break;
    case 4:
        guest_remove(&g, "/x", deadline, &e);
        break;
    case 5:
        ask_for_root(&g, deadline, &e);
        break;
    case 6:
        look_for_account(&g, deadline, &e);
        break;
    default:
        guest_run_job(&g, &exec, NULL, &io, deadline, &exit, &e);
        break;
    }
    guest_close(&g);
    close(pair[1]);
    return 0;
}
