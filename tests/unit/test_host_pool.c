/* also: threads */
/* core/pool, core/template, core/freeze: VMs by a driver that has no VMM, each with a thread for a guest. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "core/freeze.h"
#include "core/pool.h"
#include "core/template.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAKES_MAX 4096

/* ---- guests -------------------------------------------------------------------------------------- */

struct fake {
    atomic_int fd; /* the guest's end */
    pthread_t thread;
    atomic_bool mute; /* does not answer PING any more */
};

static const struct vm_driver driver;
static struct fake fakes[FAKES_MAX];
static atomic_uint restores, alive, most_alive;
static atomic_int to_fail;      /* restores that fail from now on */
static atomic_bool knows_files; /* the guests take some, and refuse to prime */
static atomic_uint settle_ms;   /* that they were given to prime */

#define SAY(f, name, stream, ...)                                                                            \
    do {                                                                                                     \
        uint8_t out_[1024];                                                                                  \
        struct msg_##name m_ = {__VA_ARGS__};                                                                \
        size_t n_ = msg_##name##_frame(&m_, stream, out_, sizeof(out_));                                     \
        send((f)->fd, out_, n_, MSG_NOSIGNAL);                                                               \
    } while (0)

static void answer(struct fake *f, const struct frame *q)
{
    const uint16_t all = PROTO_RESUMED_ENTROPY | PROTO_RESUMED_RESEEDED | PROTO_RESUMED_CLOCK;
    struct msg_ping ping;
    struct msg_prime prime;
    char name[32];

    snprintf(name, sizeof(name), "%d", (int)(f - fakes));
    if (q->type == MSG_HELLO)
        SAY(f, welcome, 0, .magic = PROTO_MAGIC, .version = PROTO_VERSION, .build = name);
    else if (q->type == MSG_RESUME)
        SAY(f, resumed, q->stream, .done = all);
    else if (q->type == MSG_PING && !f->mute && msg_ping_decode(&ping, q->payload, q->length))
        SAY(f, pong, q->stream, .token = ping.token);
    else if (q->type == MSG_WRITE_FILE && knows_files)
        SAY(f, ok, q->stream);
    else if (q->type == MSG_PRIME && msg_prime_decode(&prime, q->payload, q->length)) {
        settle_ms = prime.settle_ms;
        SAY(f, error, q->stream, .code = PROTO_ERR_EXEC, .request = MSG_PRIME, .text = "");
    }
}

static void *guest(void *fake)
{
    struct fake *f = fake;
    uint8_t buffer[FRAME_MAX];
    struct frame_reader reader;
    struct frame q;

    frame_reader_init(&reader, buffer, sizeof(buffer));
    for (;;) {
        size_t room;
        uint8_t *space = frame_reader_space(&reader, &room);
        ssize_t n = recv(f->fd, space, room, 0);
        if (n <= 0)
            return NULL;
        frame_reader_added(&reader, (size_t)n);
        while (frame_reader_next(&reader, &q) == 1)
            answer(f, &q);
    }
}

static int fake_start(struct vm *vm, const struct vm_spec *spec, const char *directory, int64_t deadline,
                      const struct cancel *cancel, struct error *e)
{
    int pair[2];

    (void)spec, (void)directory, (void)deadline, (void)cancel;
    *vm = VM_NONE;
    unsigned number = atomic_fetch_add(&restores, 1);
    ck_assert_uint_lt(number, FAKES_MAX);
    if (atomic_load(&to_fail) > 0) {
        atomic_fetch_sub(&to_fail, 1);
        return error_set(e, ERROR_VM_LOST, "it broke");
    }
    unsigned now = atomic_fetch_add(&alive, 1) + 1, most = atomic_load(&most_alive);
    while (now > most && !atomic_compare_exchange_weak(&most_alive, &most, now))
        ;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fakes[number].fd = pair[1];
    vm->channel_fd = pair[0];
    vm->control_fd = (int)number;
    vm->driver = &driver;
    ck_assert_int_eq(pthread_create(&fakes[number].thread, NULL, guest, &fakes[number]), 0);
    return 0;
}

static int fake_restore(struct vm *vm, const struct vm_spec *spec, const char *directory, int64_t deadline,
                        const struct cancel *cancel, struct error *e)
{
    ck_assert_ptr_nonnull(spec->template);
    return fake_start(vm, spec, directory, deadline, cancel, e);
}

static int fake_connect(struct vm *vm, int64_t deadline, const struct cancel *cancel, struct error *e)
{
    (void)deadline, (void)cancel, (void)e;
    return take_fd(&vm->channel_fd);
}

static void fake_diagnose(struct vm *vm, struct buffer *ret)
{
    (void)vm, (void)ret;
}

static void fake_destroy(struct vm *vm)
{
    struct fake *f = &fakes[vm->control_fd];

    shutdown(f->fd, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    close(f->fd);
    atomic_fetch_sub(&alive, 1);
}

static const char *fake_program(const struct config *config)
{
    return config->firecracker;
}

static const struct vm_driver driver = {.name = "fake",
                                        .title = "Fake",
                                        .program = fake_program,
                                        .takes_template = true,
                                        .start = fake_start,
                                        .restore = fake_restore,
                                        .connect = fake_connect,
                                        .diagnose = fake_diagnose,
                                        .destroy = fake_destroy};

/* ---- a pool of them ------------------------------------------------------------------------------ */

static struct host host;
static const struct call nobody = {.cancel = {.fd = -1}};
static struct pool *pool;
static struct pool_target *first, *second;
static struct error e;
static char directory[64];
static struct manifest_file digests[MANIFEST_FILES];

static void write_file(const char *path, const char *text)
{
    ck_assert_int_eq(file_replace(path, directory, text, strlen(text), 0600, &e), 0);
}

/* A snapshot of two small files: a page of data after a hole, and a few bytes. */
static void make_snapshot(void)
{
    cleanup_free char *memory = text_format("%s/memory", directory);
    cleanup_free char *state = text_format("%s/state", directory);
    cleanup_fd int fd = open(memory, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
    ck_assert_int_eq(pwrite(fd, "here", 4, 400000), 4);
    ck_assert_int_eq(digest_fd(fd, NULL, digests[MANIFEST_MEMORY].sha256, &e), 0);
    write_file(state, "state");
    digest_bytes("state", 5, digests[MANIFEST_STATE].sha256);
}

/* Their owner frees it with snapshot_done(). */
static struct snapshot describe_snapshot(const char *name)
{
    struct snapshot s = {.key = text_copy(name), .directory = text_copy(directory)};

    memcpy(s.files, digests, sizeof(digests));
    return s;
}

static void setup(void)
{
    const char *base = getenv("TMPDIR");

    snprintf(directory, sizeof(directory), "%.40s/pool-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    e = (struct error){0};
    host = (struct host){.config = {.firecracker = text_copy("/bin/true"),
                                    .jailer = text_copy("none"),
                                    .kernel = text_copy("/dev/null"),
                                    .kernel_args = text_copy(""),
                                    .boot_timeout = 20,
                                    .timeout = 20},
                         .driver = &driver,
                         .verdict = {.accel = ACCEL_KVM},
                         .accel_decided = true,
                         .confinement = {.off = true},
                         .confinement_decided = true};
    cleanup_free char *home = text_format("%s/home", directory);
    ck_assert_int_eq(home_open(&host.home, home, &e), 0);
    make_snapshot();
}

static void teardown(void)
{
    pool_close(pool);
    pool = NULL;
    ck_assert_uint_eq(alive, 0);
    home_close(&host.home);
    config_done(&host.config);
    ck_assert_int_eq(file_remove_tree(directory, &e), 0);
}

static struct pool_target *add(const char *name, unsigned size)
{
    struct run_target t = {.language = {.name = text_copy(name)},
                           .snapshot = describe_snapshot(name),
                           .spec = {.kernel = "/dev/null",
                                    .image = "/dev/null",
                                    .shape = {.memory_mib = 1, .vcpus = 1},
                                    .accelerator.choice = host.verdict.accel}};
    struct pool_target *ret = NULL;

    ck_assert_msg(pool_add(pool, &nobody, &t, size, &ret, &e) == 0, "%s", e.text);
    return ret;
}

static void open_pool(struct pool_options o, unsigned size)
{
    o.keepers = o.keepers ? o.keepers : 4;
    ck_assert_msg(pool_open(&pool, &host, &o, &e) == 0, "%s", e.text);
    first = add("first", size);
}

static struct pool_stats stats(const struct pool_target *t)
{
    struct pool_stats s;

    pool_stats(pool, t, &s);
    return s;
}

/* Waits for something that comes in any case, so a slow machine only takes longer. */
#define EVENTUALLY(condition)                                                                                \
    do {                                                                                                     \
        int64_t end_ = deadline_in_ms(20000);                                                                \
        while (!(condition) && clock_monotonic_ns() < end_)                                                  \
            usleep(1000);                                                                                    \
        ck_assert(condition);                                                                                \
    } while (0)

/* What would be ended, were this process killed. */
static unsigned count_records(void)
{
    cleanup_free char *path = text_format("%s/records", host.home.scratch);
    cleanup_dir DIR *dir = opendir(path);
    unsigned count = 0;

    ck_assert_ptr_nonnull(dir);
    for (struct dirent *d; (d = readdir(dir));)
        count += d->d_name[0] != '.';
    return count;
}

static struct pool_vm *take(struct pool_target *t)
{
    struct pool_vm *vm = NULL;

    ck_assert_msg(pool_take(pool, t, deadline_in_ms(20000), NULL, &vm, &e) == 0, "%s", e.text);
    return vm;
}

static int number_of(struct pool_vm *vm)
{
    return atoi(pool_machine(vm)->guest.build);
}

START_TEST(it_fills_and_replaces_what_is_taken)
{
    open_pool((struct pool_options){0}, 3);
    EVENTUALLY(stats(first).ready == 3);
    struct pool_vm *vm = take(first);
    EVENTUALLY(stats(first).ready == 3);
    ck_assert_uint_eq(stats(first).taken, 1);
    pool_discard(pool, vm);
    EVENTUALLY(stats(first).destroyed == 1);
    ck_assert_uint_eq(stats(first).restored, 4);
}
END_TEST

START_TEST(who_took_a_vm_has_the_processors_first)
{
    struct pool_vm *vm[4];

    open_pool((struct pool_options){.replace_ms = 3600000}, 3);
    EVENTUALLY(stats(first).ready == 3);
    vm[0] = take(first);
    vm[1] = take(first);
    usleep(50000); /* a replacement that is not postponed begins at once */
    ck_assert_uint_eq(stats(first).restored + stats(first).warming, 3);
    pool_discard(pool, vm[0]); /* what is given back is replaced */
    EVENTUALLY(stats(first).ready == 2);
    vm[2] = take(first);
    vm[3] = take(first); /* the last one that is ready; the next to come shall not wait */
    EVENTUALLY(stats(first).ready > 0);
    for (int i = 1; i < 4; i++)
        pool_discard(pool, vm[i]);
    EVENTUALLY(stats(first).ready == 3);
}
END_TEST

#define THREADS 16
#define TAKES 63
static atomic_int used[FAKES_MAX];

static void *take_many(void *unused)
{
    struct error why = {0};
    struct pool_vm *vm;

    (void)unused;
    for (int i = 0; i < TAKES; i++) {
        ck_assert_msg(pool_take(pool, first, deadline_in_ms(20000), NULL, &vm, &why) == 0, "%s", why.text);
        ck_assert_int_eq(atomic_fetch_add(&used[number_of(vm)], 1), 0);
        ck_assert_int_eq(guest_ping(&pool_machine(vm)->guest, deadline_in_ms(20000), &why), 0);
        pool_discard(pool, vm);
    }
    return NULL;
}

START_TEST(a_thousand_takes_get_a_vm_each)
{
    pthread_t threads[THREADS];

    open_pool((struct pool_options){.max_vms = 12}, 8);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_many, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(stats(first).served, THREADS * TAKES);
    ck_assert_uint_le(most_alive, 12);
    ck_assert_uint_le(count_records(), 12); /* of a thousand */
}
END_TEST

struct taker {
    struct pool_target *target;
    int name;
    pthread_t thread;
};

static int order[16];
static atomic_int order_count;

static void *take_in_turn(void *taker)
{
    const struct taker *t = taker;
    struct error why = {0};
    struct pool_vm *vm;

    ck_assert_msg(pool_take(pool, t->target, deadline_in_ms(20000), NULL, &vm, &why) == 0, "%s", why.text);
    order[atomic_fetch_add(&order_count, 1)] = t->name;
    pool_discard(pool, vm);
    return NULL;
}

/* Starts it, and returns once it waits. */
static void start_taker(struct taker *t, struct pool_target *target, int name)
{
    unsigned before = stats(target).waiting;

    *t = (struct taker){.target = target, .name = name};
    ck_assert_int_eq(pthread_create(&t->thread, NULL, take_in_turn, t), 0);
    EVENTUALLY(stats(target).waiting == before + 1);
}

START_TEST(who_waits_is_served_in_order)
{
    struct taker t[8];

    open_pool((struct pool_options){.max_vms = 1}, 1);
    struct pool_vm *vm = take(first);
    for (int i = 0; i < 8; i++)
        start_taker(&t[i], first, i);
    pool_discard(pool, vm);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i].thread, NULL);
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(order[i], i);
}
END_TEST

START_TEST(a_target_does_not_wait_for_all_of_another)
{
    struct taker t[6];

    open_pool((struct pool_options){.max_vms = 1}, 1);
    second = add("second", 1);
    struct pool_vm *vm = take(first);
    for (int i = 0; i < 5; i++)
        start_taker(&t[i], first, i);
    start_taker(&t[5], second, 100);
    pool_discard(pool, vm);
    for (int i = 0; i < 6; i++)
        pthread_join(t[i].thread, NULL);
    ck_assert(order[0] == 100 || order[1] == 100);
}
END_TEST

START_TEST(idle_vms_make_room_for_a_target_that_is_waited_for)
{
    open_pool((struct pool_options){.max_vms = 2}, 2);
    EVENTUALLY(stats(first).ready == 2);
    second = add("second", 1);
    pool_discard(pool, take(second));
    ck_assert_uint_ge(stats(first).evicted, 1);
    ck_assert_uint_le(most_alive, 2);
}
END_TEST

START_TEST(an_idle_vm_that_ends_is_replaced)
{
    open_pool((struct pool_options){0}, 2);
    EVENTUALLY(stats(first).ready == 2);
    shutdown(fakes[0].fd, SHUT_RDWR);
    EVENTUALLY(stats(first).lost == 1 && stats(first).ready == 2);
    ck_assert_uint_eq(stats(first).restored, 3);
}
END_TEST

START_TEST(an_idle_vm_that_speaks_unasked_is_replaced)
{
    open_pool((struct pool_options){0}, 2);
    EVENTUALLY(stats(first).ready == 2);
    SAY(&fakes[1], pong, 77, .token = 77);
    EVENTUALLY(stats(first).lost == 1 && stats(first).ready == 2);
}
END_TEST

START_TEST(an_idle_vm_that_does_not_answer_is_replaced)
{
    open_pool((struct pool_options){.check_interval_ms = 20, .check_deadline_ms = 300}, 2);
    EVENTUALLY(stats(first).ready == 2);
    fakes[0].mute = true;
    EVENTUALLY(stats(first).unanswered >= 1 && stats(first).ready == 2);
}
END_TEST

START_TEST(a_vm_that_does_not_answer_is_not_given_out)
{
    open_pool((struct pool_options){.check_interval_ms = 60000, .check_deadline_ms = 300}, 1);
    EVENTUALLY(stats(first).ready == 1);
    fakes[0].mute = true;
    struct pool_vm *vm = take(first);
    ck_assert_int_ne(number_of(vm), 0);
    pool_discard(pool, vm);
}
END_TEST

START_TEST(vms_that_do_not_answer_do_not_put_the_deadline_off)
{
    struct pool_vm *none;

    open_pool((struct pool_options){.check_interval_ms = 60000, .check_deadline_ms = 60000}, 4);
    EVENTUALLY(stats(first).ready == 4);
    for (int i = 0; i < FAKES_MAX; i++)
        fakes[i].mute = true;
    ck_assert_int_lt(pool_take(pool, first, deadline_in_ms(300), NULL, &none, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_BUSY);
    ck_assert_uint_eq(stats(first).unanswered, 1);
    ck_assert_uint_eq(stats(first).refused, 1);
}
END_TEST

START_TEST(a_vm_that_is_taken_at_the_deadline_has_time_to_answer)
{
    struct pool_vm *vm;

    open_pool((struct pool_options){.check_interval_ms = 60000}, 1);
    EVENTUALLY(stats(first).ready == 1);
    ck_assert_msg(pool_take(pool, first, deadline_in_ms(0), NULL, &vm, &e) == 0, "%s", e.text);
    pool_discard(pool, vm);
}
END_TEST

START_TEST(restores_that_fail_are_told_and_slow_down)
{
    struct pool_vm *vm;

    to_fail = 1000000;
    open_pool((struct pool_options){0}, 2);
    ck_assert_int_lt(pool_take(pool, first, deadline_in_ms(20000), NULL, &vm, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_VM_LOST);
    ck_assert_ptr_nonnull(strstr(e.text, "it broke"));
    usleep(1000000);
    ck_assert_uint_le(restores, 16); /* two a time, after 0, 0.1, 0.2, 0.4, 0.8 s */
    ck_assert_int_gt(stats(first).retry_ms, 0);
    to_fail = 0;
    EVENTUALLY(stats(first).ready == 2);
    ck_assert_int_eq(stats(first).retry_ms, 0);
}
END_TEST

START_TEST(one_failure_is_not_told)
{
    to_fail = 1;
    open_pool((struct pool_options){.keepers = 1}, 1);
    pool_discard(pool, take(first));
    ck_assert_uint_eq(stats(first).failures, 1);
}
END_TEST

START_TEST(a_guest_that_is_slow_to_be_warmed_is_given_out_as_it_is)
{
    /* The guests here know nothing of files and programs. */
    host.verdict.accel = ACCEL_TCG;
    open_pool((struct pool_options){.warm_deadline_ms = 50, .keepers = 1}, 2);
    EVENTUALLY(stats(first).ready == 2);
    ck_assert_uint_eq(restores, 4); /* every other one was tried to be warmed */
    ck_assert_uint_eq(stats(first).failures, 0);
    for (int i = 0; i < 2 * 4; i++) /* enough for failures to be told */
        pool_discard(pool, take(first));
    ck_assert_uint_eq(stats(first).failures, 0);
}
END_TEST

START_TEST(too_many_who_wait_are_refused_at_once)
{
    struct taker t;
    struct pool_vm *vm, *none;

    open_pool((struct pool_options){.max_vms = 1, .max_waiters = 1}, 1);
    vm = take(first);
    start_taker(&t, first, 0);
    ck_assert_int_lt(pool_take(pool, first, DEADLINE_NEVER, NULL, &none, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_BUSY);
    ck_assert_uint_eq(stats(first).refused, 1);
    pool_discard(pool, vm);
    pthread_join(t.thread, NULL);
}
END_TEST

START_TEST(waiting_ends_at_the_deadline)
{
    struct pool_vm *none;

    open_pool((struct pool_options){.max_vms = 1}, 1);
    struct pool_vm *vm = take(first);
    ck_assert_int_lt(pool_take(pool, first, deadline_in_ms(30), NULL, &none, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_BUSY);
    ck_assert_uint_eq(stats(first).waiting, 0);
    pool_discard(pool, vm);
}
END_TEST

START_TEST(waiting_ends_when_cancelled)
{
    const struct cancel cancel = {.fd = eventfd(1, EFD_CLOEXEC)};
    struct pool_vm *none;

    open_pool((struct pool_options){.max_vms = 1}, 1);
    struct pool_vm *vm = take(first);
    ck_assert_int_lt(pool_take(pool, first, DEADLINE_NEVER, &cancel, &none, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_CANCELLED);
    ck_assert_uint_eq(stats(first).waiting, 0);
    pool_discard(pool, vm);
    pool_discard(pool, take(first));
    close(cancel.fd);
}
END_TEST

static void *expect_closed(void *unused)
{
    struct error why = {0};
    struct pool_vm *vm;

    (void)unused;
    ck_assert_int_lt(pool_take(pool, first, DEADLINE_NEVER, NULL, &vm, &why), 0);
    ck_assert_int_eq(why.kind, ERROR_CANCELLED);
    return NULL;
}

static void *close_pool(void *unused)
{
    (void)unused;
    pool_close(pool);
    return NULL;
}

START_TEST(closing_refuses_who_waits_and_waits_for_what_is_taken)
{
    pthread_t waiter, closer;

    open_pool((struct pool_options){.max_vms = 1}, 1);
    struct pool_vm *vm = take(first);
    ck_assert_int_eq(pthread_create(&waiter, NULL, expect_closed, NULL), 0);
    EVENTUALLY(stats(first).waiting == 1);
    ck_assert_int_eq(pthread_create(&closer, NULL, close_pool, NULL), 0);
    pthread_join(waiter, NULL);
    ck_assert_uint_eq(alive, 1);
    pool_discard(pool, vm);
    pthread_join(closer, NULL);
    pool = NULL;
}
END_TEST

START_TEST(nothing_is_restored_without_memory)
{
    struct pool_vm *none;

    open_pool((struct pool_options){.memory_reserve = 1ull << 60}, 2);
    ck_assert_int_lt(pool_take(pool, first, deadline_in_ms(200), NULL, &none, &e), 0);
    ck_assert_int_eq(e.kind, ERROR_BUSY);
    ck_assert_ptr_nonnull(strstr(e.text, "memory"));
    ck_assert_uint_eq(restores, 0);
    ck_assert(stats(first).memory_bound);
}
END_TEST

START_TEST(vms_stay_within_their_memory)
{
    /* One that was never measured counts as 16 MiB. */
    open_pool((struct pool_options){.memory_max = 8 << 20}, 2);
    EVENTUALLY(stats(first).memory_bound);
    ck_assert_uint_eq(restores, 0);
}
END_TEST

START_TEST(a_template_holds_the_files_and_cannot_be_written)
{
    struct snapshot snapshot = describe_snapshot("key");
    struct template *t;
    char data[4] = "";

    ck_assert_msg(template_load(&t, &snapshot, NULL, &e) == 0, "%s", e.text);
    snapshot_done(&snapshot);
    const struct vm_template *files = template_files(t);
    ck_assert_int_eq(pread(files->memory_fd, data, 4, 400000), 4);
    ck_assert_mem_eq(data, "here", 4);
    ck_assert_int_lt(pwrite(files->memory_fd, "x", 1, 0), 0);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_lt(ftruncate(files->state_fd, 0), 0);
    ck_assert_uint_le(template_size(t), 2 * 4096);
    template_unref(template_ref(t));
    template_unref(t);
}
END_TEST

/* 0: memory in its data; 1: memory in a hole; 2: state; 3: shorter; 4: not as long as it was */
START_TEST(a_template_is_what_the_manifest_says)
{
    cleanup_free char *path = text_format("%s/%s", directory, _i == 2 ? "state" : "memory");
    cleanup_fd int fd = open(path, O_RDWR | O_CLOEXEC);
    struct template *t;

    if (_i >= 3)
        ck_assert_int_eq(ftruncate(fd, _i == 3 ? 4096 : 2 << 20), 0);
    else
        ck_assert_int_eq(pwrite(fd, "H", 1, _i == 0 ? 400000 : 0), 1);
    struct snapshot snapshot = describe_snapshot("key");
    ck_assert_int_lt(template_load(&t, &snapshot, NULL, &e), 0);
    snapshot_done(&snapshot);
    ck_assert_int_eq(e.kind, ERROR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(e.text, path));
}
END_TEST

/* 0: less than what an interpreter is given anyway; 1: more */
START_TEST(an_interpreter_may_take_as_long_as_a_boot)
{
    struct language l = {.name = "x", .run = "x {source}", .source = "x", .prime = true};
    const struct machine_spec spec = {
        .kernel = "/dev/null", .image = "/dev/null", .shape.memory_mib = 1, .shape.vcpus = 1};
    uint32_t job;

    host.config.boot_timeout = _i == 0 ? 5 : 90;
    knows_files = true;
    ck_assert_int_lt(freeze_guest(&host, &nobody, &l, &spec, directory, &job, &e), 0);
    ck_assert_msg(strstr(e.text, "could not be primed"), "%s", e.text);
    ck_assert_uint_eq(settle_ms, _i == 0 ? 30000 : 90000);
}
END_TEST

int main(void)
{
    struct unit u = unit_begin("host_pool");

    unit_fixture(&u, setup, teardown);
    unit_add(&u, it_fills_and_replaces_what_is_taken);
    unit_add(&u, who_took_a_vm_has_the_processors_first);
    unit_add(&u, a_thousand_takes_get_a_vm_each);
    unit_add(&u, who_waits_is_served_in_order);
    unit_add(&u, a_target_does_not_wait_for_all_of_another);
    unit_add(&u, idle_vms_make_room_for_a_target_that_is_waited_for);
    unit_add(&u, an_idle_vm_that_ends_is_replaced);
    unit_add(&u, an_idle_vm_that_speaks_unasked_is_replaced);
    unit_add(&u, an_idle_vm_that_does_not_answer_is_replaced);
    unit_add(&u, a_vm_that_does_not_answer_is_not_given_out);
    unit_add(&u, vms_that_do_not_answer_do_not_put_the_deadline_off);
    unit_add(&u, a_vm_that_is_taken_at_the_deadline_has_time_to_answer);
    unit_add(&u, restores_that_fail_are_told_and_slow_down);
    unit_add(&u, one_failure_is_not_told);
    unit_add(&u, a_guest_that_is_slow_to_be_warmed_is_given_out_as_it_is);
    unit_add(&u, too_many_who_wait_are_refused_at_once);
    unit_add(&u, waiting_ends_at_the_deadline);
    unit_add(&u, waiting_ends_when_cancelled);
    unit_add(&u, closing_refuses_who_waits_and_waits_for_what_is_taken);
    unit_add(&u, nothing_is_restored_without_memory);
    unit_add(&u, vms_stay_within_their_memory);
    unit_add(&u, a_template_holds_the_files_and_cannot_be_written);
    unit_add_loop(&u, a_template_is_what_the_manifest_says, 5);
    unit_add_loop(&u, an_interpreter_may_take_as_long_as_a_boot, 2);
    return unit_end(&u);
}
