#include "snapshot.h"

#include "limits.h"
#include "sys.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MACHINE_ID "/etc/machine-id" /* machine-id(5): 32 hex digits and a newline */
#define MACHINE_ID_SIZE 33

/* Where it is written, and what is then given its name. */
struct id_place {
    const char *file, *fresh;
};
static const struct id_place in_root = {MACHINE_ID, "/etc/.machine-id-initd"};
static const struct id_place over_root = {"/run/machine-id", "/run/.machine-id-initd"};
static const struct id_place *id_place = &in_root;
static bool root_awaited;

static bool quiesced;
static uint64_t awake_until;
static int random_fd = -1;
static int id_fd = -1; /* its file, for RESUME to write to; -1: it is to be made anew */
static char id_line[MACHINE_ID_SIZE + 1];

void snapshot_init(void)
{
    random_fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
}

bool snapshot_quiesced(void)
{
    return quiesced;
}

/*
 * Making the file anew costs an emulated guest a third of the time from its restore to RESUMED, so what is there and has
 * the right size is kept open and written over. It may be replaced until then; see snapshot_tidy(). The kernel moves a page
 * that is used the second time to another list, which is not left to the write.
 */
static void open_machine_id(void)
{
    struct stat st;

    sys_close(&id_fd);
    id_fd = open(id_place->file, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (id_fd >= 0 && (fstat(id_fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size != MACHINE_ID_SIZE))
        sys_close(&id_fd);
    for (int i = 0; i < 2; i++)
        pread(id_fd, id_line, MACHINE_ID_SIZE, 0);
}

void snapshot_quiesce(void)
{
    quiesced = true;
    open_machine_id();
    awake_until = sys_now() + SNAPSHOT_AWAKE_MS * NS_PER_MS;
}

bool snapshot_awake(uint64_t now)
{
    return quiesced && now < awake_until;
}

/* random(4): RNDADDENTROPY adds bytes and says that they count, RNDRESEEDCRNG makes the generator use them
 * now. */
static uint16_t add_entropy(struct wire_bytes entropy)
{
    union {
        struct rand_pool_info info;
        uint8_t bytes[sizeof(struct rand_pool_info) + PROTO_ENTROPY_MAX];
    } pool;
    uint16_t done = 0;

    pool.info.entropy_count = (int)(entropy.size * 8);
    pool.info.buf_size = (int)entropy.size;
    memcpy(pool.bytes + sizeof(pool.info), entropy.data, entropy.size);
    if (ioctl(random_fd, RNDADDENTROPY, &pool) == 0)
        done |= PROTO_RESUMED_ENTROPY;
    if (ioctl(random_fd, RNDRESEEDCRNG) == 0)
        done |= PROTO_RESUMED_RESEEDED;
    explicit_bzero(&pool, sizeof(pool));
    return done;
}

static uint16_t set_clock(uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};

    return clock_settime(CLOCK_REALTIME, &t) == 0 ? PROTO_RESUMED_CLOCK : 0;
}

/* The name is still that of the file that is open, and nothing was added to it. */
static bool is_in_place(void)
{
    struct stat named, written;

    return lstat(id_place->file, &named) == 0 && fstat(id_fd, &written) == 0 &&
           named.st_ino == written.st_ino && named.st_dev == written.st_dev &&
           written.st_size == MACHINE_ID_SIZE;
}

static uint16_t make_machine_id(void)
{
    unlink(id_place->fresh);
    int fd = open(id_place->fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (fd < 0)
        return 0;
    bool written = write(fd, id_line, MACHINE_ID_SIZE) == MACHINE_ID_SIZE;
    close(fd);
    if (written && sys_rename(id_place->fresh, id_place->file) == 0)
        return PROTO_RESUMED_MACHINE_ID;
    unlink(id_place->fresh);
    return 0;
}

static uint16_t write_machine_id(const struct wire_uuid *id)
{
    struct text t = text_of(id_line, sizeof(id_line));

    text_add_hex(&t, id->byte, sizeof(id->byte));
    text_add(&t, "\n");
    if (id_fd >= 0 && pwrite(id_fd, id_line, MACHINE_ID_SIZE, 0) == MACHINE_ID_SIZE)
        return PROTO_RESUMED_MACHINE_ID;
    sys_close(&id_fd);
    return root_awaited ? PROTO_RESUMED_MACHINE_ID : make_machine_id();
}

void snapshot_await_root(void)
{
    id_place = &over_root;
    root_awaited = true;
}

void snapshot_place_machine_id(void)
{
    root_awaited = false;
    /* An image that has removed the file wants none; and without a RESUME there is none to give. */
    if (id_line[0] && make_machine_id())
        mount(id_place->file, MACHINE_ID, NULL, MS_BIND, NULL);
}

void snapshot_tidy(void)
{
    if (quiesced || id_fd < 0)
        return;
    if (!is_in_place())
        make_machine_id();
    sys_close(&id_fd);
}

void snapshot_resume(const struct msg_resume *m, struct msg_resumed *ret)
{
    *ret = (struct msg_resumed){.done = add_entropy(m->entropy)};
    ret->clock_before_ns = sys_wall_clock();
    ret->done |= set_clock(m->wall_clock_ns);
    if (m->hostname[0] && sethostname(m->hostname, strlen(m->hostname)) == 0)
        ret->done |= PROTO_RESUMED_HOSTNAME;
    ret->done |= write_machine_id(&m->instance);
    quiesced = false;
}
