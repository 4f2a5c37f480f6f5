#include "broker/lease.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/message.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define JSON_MAX (64u << 20) /* bytes of an answer */
#define WORDS_MS 5000        /* for what became of a VM: the broker only looks */
#define HAND_OVER_MS                                                                                         \
    60000 /* beyond what the wish allows to wait; the broker has deadlines of its own for all it does */

/* The broker's end goes over the line; ours is returned, or -1. */
static int ask(int line_fd, const struct line_request *r, struct error *e)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(e, "socketpair");
    int result = line_send_request(line_fd, r, pair[1], e);
    close_fd(&pair[1]);
    if (result < 0)
        close_fd(&pair[0]);
    return result < 0 ? -1 : pair[0];
}

static struct line_request request_of(enum line_kind kind, const struct call *call,
                                      const struct lease_wish *w, bool force)
{
    struct line_request r = {.kind = kind,
                             .start = w->start,
                             .shape = w->shape,
                             .wait_ms = w->wait_ms,
                             .session = w->session,
                             .keep = w->keep,
                             .max_layer = w->max_layer,
                             .force = force};

    if (w->image)
        r.image = *w->image;
    snprintf(r.language, sizeof(r.language), "%s", w->language ? w->language : "");
    if (w->reference)
        snprintf(r.image.reference, sizeof(r.image.reference), "%s", w->reference);
    snprintf(r.owner, sizeof(r.owner), "%s", w->owner ? w->owner : "");
    snprintf(r.trace_id, sizeof(r.trace_id), "%s", call->trace_id);
    return r;
}

/* ---- VMs ----------------------------------------------------------------------------------------- */

/* Strings with their NULs, one after the other; the list ends with NULL and is the caller's. */
static const char **list_strings(const char *strings, size_t size)
{
    const char **ret = memory_allocate((size + 1) * sizeof(*ret));
    size_t count = 0;

    for (const char *s = strings; s < strings + size; s += strlen(s) + 1)
        ret[count++] = s;
    return ret;
}

/* Of a command there is no more to know than where it runs. The variables end with a NUL, or there are none. */
static int adopt_image(struct lease *l, const char *image, const char *env, struct error *e)
{
    if (l->vm.env_size && env[l->vm.env_size - 1] != '\0')
        return error_set(e, ERROR_GENERAL, "a message between the server's parts is malformed");
    l->env = memory_allocate(l->vm.env_size + 1);
    memcpy(l->env, env, l->vm.env_size);
    cleanup_free const char **list = list_strings(l->env, l->vm.env_size);
    resident_init(&l->resident, list, l->vm.workdir[0] ? l->vm.workdir : NULL);
    l->language = (struct language){
        .name = text_copy(image), .source = text_copy("command"), .run = text_copy("command")};
    return 0;
}

/* The definition, with the image's variables in place of its own. */
static int adopt_language(struct lease *l, const char *data, const char *name, const char *env,
                          struct error *e)
{
    l->resident.user = program_runner;
    if (language_find(&l->language, data, name, e) < 0)
        return -1;
    if (l->vm.imported)
        language_move(&l->language);
    return language_replace_env(&l->language, env, l->vm.env_size, e);
}

static int adopt(struct lease *l, const struct line_reply *reply, int guest_fd, const struct call *call)
{
    l->vm = reply->vm;
    l->life = reply->vm.life;
    l->life.driver = l->vm.driver;
    l->life.accel = l->vm.accel;
    guest_open(&l->guest, guest_fd, -1, &call->cancel);
    l->guest.vmm_fd = -1;
    l->guest.features = l->vm.features;
    memcpy(l->guest.build, l->vm.build, sizeof(l->guest.build));
    return 0;
}

/* Until the VM is there. *ret_fd is the guest's connection. */
static int wait_for_vm(struct lease *l, const struct call *call, const struct lease_wish *wish,
                       struct line_reply *reply, void *env, int *ret_fd, struct error *e)
{
    int64_t start = clock_monotonic_ns();
    bool turn = false;

    for (;;) {
        if (line_receive_reply(l->fd, reply, env, ret_fd, DEADLINE_NEVER, &call->cancel, e) < 0)
            return -1;
        if (!turn && (reply->answer == LINE_TURN || reply->answer == LINE_HAVE)) {
            turn = true;
            l->wait_ns = clock_monotonic_ns() - start;
            if (wish->turn_came)
                wish->turn_came(wish->context);
        }
        if (reply->answer == LINE_HAVE && *ret_fd >= 0)
            return 0;
        close_fd(ret_fd);
        if (reply->answer == LINE_FAILED) {
            *e = reply->error;
            return -1;
        }
        if (reply->answer != LINE_TURN)
            return error_set(e, ERROR_GENERAL, "the server's other part gave an answer to something else");
    }
}

int lease_take(struct lease *ret, int line_fd, const char *data, const struct call *call,
               const struct lease_wish *wish, struct error *e)
{
    const struct line_request r = request_of(LINE_VM, call, wish, false);
    cleanup_free char *env = memory_allocate(LINE_ENV_MAX);
    cleanup_fd int guest_fd = -1;
    struct line_reply reply;

    *ret = LEASE_NONE;
    ret->line_fd = line_fd;
    ret->call = call;
    snprintf(ret->owner, sizeof(ret->owner), "%s", wish->owner ? wish->owner : "");
    ret->fd = ask(line_fd, &r, e);
    if (ret->fd < 0)
        return -1;
    if (wait_for_vm(ret, call, wish, &reply, env, &guest_fd, e) < 0) {
        close_fd(&ret->fd);
        return -1;
    }
    adopt(ret, &reply, take_fd(&guest_fd), call);
    if ((wish->reference ? adopt_image(ret, wish->reference, env, e)
                         : adopt_language(ret, data, wish->language, env, e)) < 0) {
        lease_end(ret);
        return -1;
    }
    return 0;
}

void lease_explain(struct lease *l, struct error *e)
{
    cleanup_free char *env = memory_allocate(LINE_ENV_MAX);
    cleanup_fd int passed = -1;
    struct line_reply reply;
    struct error gone = {0};

    if (e->kind != ERROR_VM_LOST && e->kind != ERROR_TIMEOUT)
        return;
    if (line_send_note(l->fd, &(struct line_note){.wish = LINE_EXPLAIN, .error = *e}, &gone) == 0 &&
        line_receive_reply(l->fd, &reply, env, &passed, deadline_in_ms(WORDS_MS), NULL, &gone) == 0 &&
        reply.answer == LINE_WORDS && reply.error.kind)
        *e = reply.error;
}

static int send_rules(int fd, const char *const *rules, struct error *e)
{
    cleanup_buffer struct buffer text = {0};

    for (; *rules; rules++)
        buffer_add(&text, *rules, strlen(*rules) + 1);
    return message_send(fd, &(struct iovec){text.data, text.size}, 1, NULL, 0, e);
}

int lease_network(int line_fd, const struct call *call, const char *owner, const char *const *rules,
                  struct network_means *ret, struct error *e)
{
    const struct line_request r = request_of(LINE_NETWORK, call, &(struct lease_wish){.owner = owner}, false);
    cleanup_free char *env = memory_allocate(LINE_ENV_MAX);
    cleanup_fd int passed = -1, fd = ask(line_fd, &r, e);
    struct line_reply reply;

    if (fd < 0 || send_rules(fd, rules, e) < 0 ||
        line_receive_reply(fd, &reply, env, &passed, DEADLINE_NEVER, &call->cancel, e) < 0)
        return -1;
    if (reply.answer == LINE_MEANS && passed >= 0) {
        *ret = (struct network_means){.dial = take_fd(&fd), .relay = take_fd(&passed)};
        return 0;
    }
    *e = reply.error;
    return e->kind ? -1
                   : error_set(e, ERROR_GENERAL, "the server's other part gave an answer to something else");
}

static int network_of_lease(void *lease, const char *const *rules, struct network_means *ret, struct error *e)
{
    const struct lease *l = lease;

    return lease_network(l->line_fd, l->call, l->owner, rules, ret, e);
}

static void explain_lease(void *lease, struct error *e)
{
    lease_explain(lease, e);
}

struct run_site lease_site(struct lease *l)
{
    return (struct run_site){.guest = &l->guest,
                             .user = &l->resident.user,
                             .life = &l->life,
                             .language = &l->language,
                             .primed_job = l->vm.primed_job,
                             .explain = explain_lease,
                             .context = l,
                             .network = network_of_lease};
}

struct command_image lease_image(const struct lease *l)
{
    return (struct command_image){l->vm.uuid, l->vm.user, l->vm.fold};
}

void lease_keep(struct lease *l, const struct call *call, struct run_result *ret)
{
    cleanup_free char *env = memory_allocate(LINE_ENV_MAX);
    cleanup_fd int passed = -1;
    struct line_reply reply;
    struct error e = {0};

    if (line_send_note(l->fd, &(struct line_note){.wish = LINE_KEEP}, &e) < 0 ||
        line_receive_reply(l->fd, &reply, env, &passed, DEADLINE_NEVER, &call->cancel, &e) < 0) {
        command_not_kept(ret, RUN_KEPT_ERROR, e.text);
        return;
    }
    ret->kept = reply.answer == LINE_KEPT ? reply.kept.kept : RUN_KEPT_ERROR;
    snprintf(ret->kept_image, sizeof(ret->kept_image), "%s", reply.kept.image);
    snprintf(ret->kept_note, sizeof(ret->kept_note), "%s", reply.kept.note);
}

void lease_end(struct lease *l)
{
    struct line_note note = {0};
    struct error gone = {0};

    memcpy(note.why, l->life.why, sizeof(note.why));
    memcpy(note.detail, l->life.detail, sizeof(note.detail));
    if (l->fd >= 0 && note.why[0])
        line_send_note(l->fd, &note, &gone); /* who is gone needs to know nothing */
    guest_close(&l->guest);
    close_fd(&l->fd);
    language_done(&l->language);
    resident_done(&l->resident);
    free(l->env);
    *l = LEASE_NONE;
}

/* ---- what there is -------------------------------------------------------------------------------- */

/* Until it is answered. The file that holds the answer is the caller's; -1 with an error. */
static int ask_for_file(int line_fd, const struct call *call, const struct line_request *r,
                        enum line_answer answer, struct error *e)
{
    cleanup_free char *env = memory_allocate(LINE_ENV_MAX);
    cleanup_fd int passed = -1;
    struct line_reply reply;

    cleanup_fd int lease = ask(line_fd, r, e);
    if (lease < 0 || line_receive_reply(lease, &reply, env, &passed, DEADLINE_NEVER, &call->cancel, e) < 0)
        return -1;
    if (reply.answer == answer && passed >= 0)
        return take_fd(&passed);
    *e = reply.error;
    if (!e->kind)
        error_set(e, ERROR_GENERAL, "the server's other part gave an answer to something else");
    return -1;
}

int lease_ask(struct stock *ret, int line_fd, const struct call *call, enum line_kind kind,
              const struct lease_wish *wish, bool force, struct error *e)
{
    const struct line_request r = request_of(kind, call, wish, force);
    cleanup_fd int fd = ask_for_file(line_fd, call, &r, LINE_STOCK, e);

    return fd < 0 ? -1 : stock_unpack(ret, fd, e);
}

json_t *lease_ask_state(int line_fd, const struct call *call, struct error *e)
{
    const struct line_request r = request_of(LINE_STATE, call, &(struct lease_wish){0}, false);
    cleanup_fd int fd = ask_for_file(line_fd, call, &r, LINE_JSON, e);
    cleanup_buffer struct buffer text = {0};

    if (fd < 0 || lseek(fd, 0, SEEK_SET) < 0 || file_read_fd(fd, "the answer", JSON_MAX, &text, e) < 0)
        return NULL;
    json_t *j = json_loadb(text.data ? text.data : "", text.size, 0, NULL);
    if (!j)
        error_set(e, ERROR_GENERAL, "the server's other part gave no JSON");
    return j;
}
