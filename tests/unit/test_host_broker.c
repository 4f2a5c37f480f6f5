/* broker: what a front may ask, what one that was taken over may try, and that all of it comes to an end. No VM is started. */
/* also: threads */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/message.h"
#include "base/thread.h"
#include "broker/broker.h"
#include "broker/lease.h"

#include "unit.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLIENTS 8
#define EACH 40

static char root[64];
static struct config config;
static struct broker *broker;
static int line[2]; /* the front's end, the broker's */
static pthread_t server;
static struct error e;
static const struct call call = {.cancel = {.fd = -1}, .trace_id = "test"};

static void write_language(void)
{
    static const char text[] =
        "[language]\nname = quick\nextension = q\nsource = main.q\nrun = cat {source}\n"
        "[image]\nsuite = none\nmethod = extract\npackages = none\n";
    cleanup_free char *languages = text_format("%s/data/languages", root);
    cleanup_free char *path = text_format("%s/quick.ini", languages);

    ck_assert_int_eq(file_make_directories(languages, &e), 0);
    ck_assert_int_eq(file_replace(path, languages, text, strlen(text), 0644, &e), 0);
}

static void *serve(void *unused)
{
    (void)unused;
    broker_serve(broker, line[1]);
    return NULL;
}

/* The data directory has a language and no programs: every image fails to be made, at once. */
static void setup(void)
{
    const struct broker_options how = {.bounds = {.vms = {2, 2, 2, 1}, .waiting = 1000},
                                       .shared = true,
                                       .shape_max = {.memory_mib = 512, .vcpus = 2, .disk_mib = 64}};

    strcpy(root, "/tmp/capsid-broker-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    e = (struct error){0};
    write_language();
    cleanup_free char *home = text_format("%s/home", root), *data = text_format("%s/data", root);
    ck_assert_int_eq(config_load(&config, &e), 0);
    ck_assert_int_eq(config_set(&config, "home", home, "test", &e), 0);
    ck_assert_int_eq(config_set(&config, "confine", "off", "test", &e), 0);
    ck_assert_int_eq(config_set(&config, "pool", "off", "test", &e), 0);
    ck_assert_int_eq(config_set(&config, "accel", "tcg", "test", &e), 0);
    free(config.data);
    config.data = text_copy(data);
    ck_assert_msg(broker_open(&broker, &config, &how, &e) == 0, "%s", e.text);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line), 0);
    ck_assert_int_eq(thread_start(&server, serve, NULL, &e), 0);
}

static void teardown(void)
{
    close(line[0]);
    pthread_join(server, NULL); /* all leases are over */
    close(line[1]);
    broker_close(broker);
    config_done(&config);
    file_remove_tree(root, &e);
}

static int ask(struct stock *ret, enum line_kind kind, const char *language)
{
    e = (struct error){0};
    return lease_ask(ret, line[0], &call, kind,
                     &(struct lease_wish){.language = language, .owner = "a", .wait_ms = 20000}, false, &e);
}

static json_t *ask_state(void)
{
    e = (struct error){0};
    return lease_ask_state(line[0], &call, &e);
}

static void expect_language(enum line_kind kind, const char *name)
{
    struct stock s;

    ck_assert_msg(ask(&s, kind, name) == 0, "%s", e.text);
    ck_assert(s.kind == STOCK_LANGUAGE && s.count == 1);
    const struct stock_language *l = stock_row(&s, 0);
    ck_assert_str_eq(l->name, "quick");
    ck_assert_str_eq(l->extensions, "q");
    ck_assert(!l->installed && !l->hello);
    stock_done(&s);
}

START_TEST(what_there_is_can_be_asked_for)
{
    json_t *state = ask_state();
    struct stock s;

    ck_assert_int_eq(json_integer_value(
                         json_object_get(json_object_get(json_object_get(state, "bounds"), "vms"), "making")),
                     1);
    json_decref(state);
    ck_assert(ask(&s, LINE_IMAGES, NULL) == 0 && s.kind == STOCK_IMAGE && s.count == 0);
    stock_done(&s);
    ck_assert(ask(&s, LINE_SNAPSHOTS, NULL) == 0 && s.kind == STOCK_SNAPSHOT && s.count == 0);
    stock_done(&s);
    ck_assert_int_eq(ask(&s, LINE_LANGUAGE, "none"), -1);
    ck_assert_int_eq(e.kind, ERROR_UNKNOWN_LANGUAGE);
    ck_assert_int_eq(ask(&s, LINE_IMAGE, "quick"), -1);
    ck_assert_msg(strstr(e.text, "is incomplete"), "%s", e.text);
}
END_TEST

START_TEST(languages_are_told)
{
    static const char *const programs[] = {"initd", "build-image", "debian-apt", "npm-tree", "pip-tree"};

    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        cleanup_free char *path = text_format("%s/%s", config.data, programs[i]);
        ck_assert_int_eq(file_replace(path, root, "x", 1, 0644, &e), 0);
    }
    expect_language(LINE_LANGUAGES, NULL);
    expect_language(LINE_LANGUAGE, "quick");
}
END_TEST

static int take(struct lease *ret, const char *owner, struct vm_shape shape, struct error *why)
{
    const struct lease_wish wish = {
        .language = "quick", .owner = owner, .shape = shape, .start = TARGET_RESTORE, .wait_ms = 20000};

    return lease_take(ret, line[0], config.data, &call, &wish, why);
}

START_TEST(what_a_front_should_have_refused_is_refused)
{
    const struct vm_shape bad[] = {{.memory_mib = UINT64_MAX},
                                   {.memory_mib = 513},
                                   {.vcpus = UINT64_MAX},
                                   {.disk_mib = 65},
                                   {.disk_mib = UINT64_MAX / 2}};
    struct lease lease;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        e = (struct error){0};
        ck_assert_int_lt(take(&lease, "a", bad[i], &e), 0);
        ck_assert_int_eq(e.kind, ERROR_USAGE);
    }
}
END_TEST

START_TEST(what_is_no_request_is_dropped)
{
    struct line_request r = {.kind = LINE_STATE, .trace_id = "x"};
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(send(line[0], "?", 1, 0), 1);
    ck_assert_int_eq(message_send(line[0], &(struct iovec){&r, sizeof(r)}, 1, NULL, 0, &e), 0); /* no lease */
    r.kind = LINE_KINDS_COUNT;
    ck_assert_int_eq(message_send(line[0], &(struct iovec){&r, sizeof(r)}, 1, pair, 1, &e), 0);
    r.kind = LINE_VM; /* of no language */
    ck_assert_int_eq(message_send(line[0], &(struct iovec){&r, sizeof(r)}, 1, pair, 2, &e), 0);
    close(pair[0]);
    close(pair[1]);
    json_t *state = ask_state();
    ck_assert_msg(json_is_object(state), "%s", e.text);
    json_decref(state);
}
END_TEST

static void *want_much(void *number)
{
    char owner[16];

    snprintf(owner, sizeof(owner), "owner-%d", *(int *)number % 3);
    for (int i = 0; i < EACH; i++) {
        struct line_request r = {.kind = LINE_VM, .start = TARGET_RESTORE, .wait_ms = 20000};
        struct error why = {0};
        struct lease lease;
        int pair[2];
        strcpy(r.language, "quick");
        strcpy(r.owner, owner);
        ck_assert_int_lt(take(&lease, owner, (struct vm_shape){0}, &why), 0);
        ck_assert_msg(strstr(why.text, "is incomplete") || why.kind == ERROR_BUSY, "%s", why.text);
        /* And one that is given up at once. */
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        ck_assert_int_eq(line_send_request(line[0], &r, pair[1], &why), 0);
        close(pair[0]);
        close(pair[1]);
    }
    return NULL;
}

START_TEST(many_at_once_come_to_an_end)
{
    int numbers[CLIENTS];
    pthread_t threads[CLIENTS];

    for (int i = 0; i < CLIENTS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, want_much, &numbers[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(threads[i], NULL);
    json_t *state = ask_state();
    ck_assert_int_ge(json_integer_value(json_object_get(json_object_get(state, "used"), "waiting")), 0);
    json_decref(state);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("broker");

    tcase_add_checked_fixture(u.tests, setup, teardown);
    unit_add(&u, what_there_is_can_be_asked_for);
    unit_add(&u, languages_are_told);
    unit_add(&u, what_a_front_should_have_refused_is_refused);
    unit_add(&u, what_is_no_request_is_dropped);
    unit_add(&u, many_at_once_come_to_an_end);
    return unit_end(&u);
}
