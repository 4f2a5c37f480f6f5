/*
 * The Firecracker driver, for Firecracker 1.7 and later: its API over a Unix socket for control, its vsock device
 * as guest channel. What is cited below as docs/ is Firecracker's documentation.
 *
 * A snapshot is a memory file and a state file, written while the VM is paused. A restored VM maps the memory file
 * privately (docs/snapshotting/snapshot-support.md). Connections to the guest do not survive: so the host's is
 * closed before a snapshot, and made anew after a restore.
 */
#include "vmm/driver.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "messages.h"
#include "vmm/firecracker_api.h"
#include "vmm/firecracker_jail.h"
#include "vmm/firecracker_log.h"
#include "vmm/vmm_log.h"
#include "vmm/firecracker_requests.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONNECT_RETRY_MS 5
#define FILE_SIZE_MIB 64  /* that a file may have beyond the memory and the disk */
#define REPLY_LINE_MAX 32 /* "OK 4294967295\n" is all that may come */
#define LOG_LEVEL                                                                                            \
    "Error" /* a boot alone makes some 18 warnings, of devices that the kernel looks for in vain */

struct firecracker_vm {
    struct firecracker_jail jail;
    char *snapshot_directory; /* owned; where snapshot() leaves its files; NULL: it will not be called */
    bool has_disk;
};

static void firecracker_destroy(struct vm *vm)
{
    child_kill(&vm->vmm);
    confine_release(&vm->confined);
    close_fd(&vm->channel_fd);
    close_fd(&vm->log_fd);
    if (!vm->firecracker)
        return;
    firecracker_jail_close(&vm->firecracker->jail);
    free(vm->firecracker->snapshot_directory);
    free(vm->firecracker);
    vm->firecracker = NULL;
}

static void firecracker_diagnose(struct vm *vm, struct buffer *ret)
{
    firecracker_log_reason(vm->log_fd, ret);
}

/* Why a VMM went away is in what it printed. */
static int explain_firecracker(struct vm *vm, struct error *e)
{
    cleanup_buffer struct buffer words = {0};
    char violation[CONFINE_VIOLATION_MAX];

    confine_explain(&vm->confined, &vm->vmm, e);
    confine_violation(&vm->confined, &vm->vmm, violation);
    if (e->kind != ERROR_VM_LOST || violation[0])
        return -1;
    firecracker_diagnose(vm, &words);
    size_t used = strlen(e->text);
    if (words.size > 0)
        snprintf(e->text + used, sizeof(e->text) - used, " (its last words: %.300s)", words.data);
    return -1;
}

static int spawn_jailed(struct vm *vm, const struct vm_spec *spec, int64_t deadline,
                        const struct cancel *cancel, struct error *e)
{
    struct firecracker_jail *j = &vm->firecracker->jail;
    uint64_t largest =
        spec->shape.disk_mib > spec->shape.memory_mib ? spec->shape.disk_mib : spec->shape.memory_mib;
    cleanup_free char *jailer = realpath(spec->jailer, NULL);
    cleanup_free char *tether = text_format("%s/" FIRECRACKER_TETHER, spec->data);
    cleanup_free char *fsize = text_format("fsize=%llu", (unsigned long long)(largest + FILE_SIZE_MIB) << 20);
    cleanup_free char *uid = text_format("%u", j->uid);
    cleanup_fd int ours = -1;
    cleanup_fd int theirs = -1;

    if (!jailer)
        return error_errno(e, "cannot find %s", spec->jailer);
    if (confine_offer_list(spec->confine, &ours, &theirs, e) < 0)
        return -1;
    /* Without --cgroup the jailer makes no cgroup that would have to be removed. */
    const char *const argv[] = {
        jailer, "--id",  j->id,        "--exec-file",       tether,       "--uid",
        uid,    "--gid", uid,          "--chroot-base-dir", j->directory, "--resource-limit",
        fsize,  "--",    "--api-sock", FIRECRACKER_API,     "--level",    LOG_LEVEL,
        NULL};
    const struct child_isolation isolation = {.namespaces = confine_namespaces(spec->confine) |
                                                            FIRECRACKER_JAIL_NAMESPACES,
                                              .cgroup_fd = -1,
                                              .envp = (const char *const *)environ,
                                              .enter = firecracker_jail_enter,
                                              .context = j};
    const struct child_spec child = {.argv = argv,
                                     .stdin_fd = theirs,
                                     .stdout_fd = vm->log_fd,
                                     .stderr_fd = vm->log_fd,
                                     .isolation = &isolation};
    if (child_spawn(&vm->vmm, &child, e) < 0)
        return -1;
    close_fd(&theirs);
    return confine_take_list(&vm->confined, spec->confine, ours, &vm->vmm, deadline, cancel, e);
}

static int spawn(struct vm *vm, const struct vm_spec *spec, int64_t deadline, const struct cancel *cancel,
                 struct error *e)
{
    const struct firecracker_jail *j = &vm->firecracker->jail;

    vm->log_fd = vmm_log_open(e);
    if (vm->log_fd < 0)
        return -1;
    if (spec->jailer)
        return spawn_jailed(vm, spec, deadline, cancel, e);
    cleanup_free char *vmm = realpath(spec->vmm, NULL);
    if (!vmm)
        return error_errno(e, "cannot find %s", spec->vmm);
    const char *const argv[] = {vmm,       "--id",    j->id, "--api-sock", FIRECRACKER_API,
                                "--level", LOG_LEVEL, NULL};
    const struct child_spec child = {
        .argv = argv, .directory = j->root, .stdin_fd = -1, .stdout_fd = vm->log_fd, .stderr_fd = vm->log_fd};
    return confine_spawn_listed(&vm->vmm, &vm->confined, spec->confine, &child, e);
}

static struct firecracker_api open_api(const struct vm *vm, const char *socket, int64_t deadline,
                                       const struct cancel *cancel)
{
    return (struct firecracker_api){
        .socket = socket, .vmm_pidfd = vm->vmm.pidfd, .deadline = deadline, .cancel = cancel};
}

/* The first request: asks the process itself, so that no file's version is taken for that of another. */
static int check_version(struct firecracker_api *a, struct firecracker_version *ret, struct error *e)
{
    json_t *answer = NULL;

    if (firecracker_api_call(a, "GET", "/version", NULL, &answer, e) < 0)
        return -1;
    const char *text = json_string_value(json_object_get(answer, "firecracker_version"));
    int result = 0;
    if (!text || firecracker_version_parse(text, ret) < 0)
        result = error_set(e, ERROR_GENERAL, "Firecracker does not say its version; is this Firecracker?");
    else if (!firecracker_version_at_least(ret, 1, 7))
        result = error_set(e, ERROR_GENERAL, "Firecracker %u.%u.%u is too old; 1.7 or later is needed",
                           ret->major, ret->minor, ret->patch);
    json_decref(answer);
    return result;
}

static int add_snapshot(struct firecracker_jail *j, const char *directory, struct error *e)
{
    static const char *const names[] = {SNAPSHOT_MEMORY, SNAPSHOT_STATE};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        cleanup_free char *path = text_format("%s/%s", directory, names[i]);
        if (firecracker_jail_add(j, names[i], path, e) < 0)
            return -1;
    }
    return 0;
}

static int add_layers_firecracker(struct firecracker_jail *j, const struct vm_spec *spec, struct error *e)
{
    for (unsigned i = 0; i < vm_layer_count(spec); i++) {
        cleanup_free char *name = text_format(FIRECRACKER_LAYER, i);
        if (firecracker_jail_add(j, name, spec->layers[i], e) < 0)
            return -1;
    }
    return 0;
}

/* Starts the VMM and has it boot, or with from_snapshot load, a guest. */
static int launch(struct vm *vm, const struct vm_spec *spec, const char *from_snapshot, int64_t deadline,
                  const struct cancel *cancel, struct error *e)
{
    struct firecracker_jail *j = &vm->firecracker->jail;
    struct firecracker_version version;

    if (firecracker_jail_open(j, spec, e) < 0 ||
        firecracker_jail_add(j, FIRECRACKER_IMAGE, spec->image, e) < 0 ||
        add_layers_firecracker(j, spec, e) < 0 ||
        (from_snapshot ? add_snapshot(j, from_snapshot, e)
                       : firecracker_jail_add(j, FIRECRACKER_KERNEL, spec->kernel, e)) < 0 ||
        (spec->disk && firecracker_jail_give(j, SNAPSHOT_DISK, spec->disk, e) < 0) ||
        spawn(vm, spec, deadline, cancel, e) < 0)
        return -1;
    cleanup_free char *socket = firecracker_jail_socket(j, FIRECRACKER_API);
    struct firecracker_api a = open_api(vm, socket, deadline, cancel);
    int result = check_version(&a, &version, e);
    if (result == 0)
        result = from_snapshot ? firecracker_load(&a, &version, e) : firecracker_boot(&a, spec, e);
    firecracker_api_close(&a);
    /* It has the disk open now, and opens it by that name no more. A snapshot of this VM will need it. */
    if (result == 0 && spec->disk && !vm->firecracker->snapshot_directory)
        result = firecracker_jail_forget(j, SNAPSHOT_DISK, e);
    return result;
}

static int make_firecracker(struct vm *vm, const struct vm_spec *spec, const char *to_snapshot,
                            const char *from_snapshot, int64_t deadline, const struct cancel *cancel,
                            struct error *e)
{
    *vm = VM_NONE;
    vm->driver = &firecracker_driver;
    vm->firecracker = memory_allocate(sizeof(*vm->firecracker));
    *vm->firecracker = (struct firecracker_vm){.jail = FIRECRACKER_JAIL_NONE,
                                               .snapshot_directory = text_copy(to_snapshot),
                                               .has_disk = spec->disk && !spec->bare};
    if (launch(vm, spec, from_snapshot, deadline, cancel, e) == 0)
        return 0;
    explain_firecracker(vm, e);
    firecracker_destroy(vm);
    return -1;
}

static int firecracker_start(struct vm *vm, const struct vm_spec *spec, const char *snapshot_directory,
                             int64_t deadline, const struct cancel *cancel, struct error *e)
{
    return make_firecracker(vm, spec, snapshot_directory, NULL, deadline, cancel, e);
}

static int firecracker_restore(struct vm *vm, const struct vm_spec *spec, const char *snapshot_directory,
                               int64_t deadline, const struct cancel *cancel, struct error *e)
{
    return make_firecracker(vm, spec, NULL, snapshot_directory, deadline, cancel, e);
}

static int firecracker_snapshot(struct vm *vm, int64_t deadline, const struct cancel *cancel, struct error *e)
{
    const char *directory = vm->firecracker->snapshot_directory;
    struct firecracker_jail *j = &vm->firecracker->jail;
    cleanup_free char *socket = firecracker_jail_socket(j, FIRECRACKER_API);
    struct firecracker_api a = open_api(vm, socket, deadline, cancel);

    if (vm->channel_fd >= 0)
        shutdown(vm->channel_fd, SHUT_RDWR);
    close_fd(&vm->channel_fd);
    int result = firecracker_save(&a, e);
    firecracker_api_close(&a);
    if (result < 0 || firecracker_jail_take(j, SNAPSHOT_MEMORY, directory, e) < 0 ||
        firecracker_jail_take(j, SNAPSHOT_STATE, directory, e) < 0 ||
        (vm->firecracker->has_disk && firecracker_jail_take(j, SNAPSHOT_DISK, directory, e) < 0))
        return explain_firecracker(vm, e);
    return 0;
}

/* Reads the line with which Firecracker says that the guest took the connection (docs/vsock.md): 1; 0: it broke
 * off, because nobody listens in the guest. Byte by byte, since what follows is not for us. */
static int read_reply(const struct vm *vm, int fd, int64_t deadline, const struct cancel *cancel,
                      struct error *e)
{
    char line[REPLY_LINE_MAX];
    size_t size = 0;

    for (;;) {
        struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = vm->vmm.pidfd, .events = POLLIN}};
        int n = deadline_poll(p, 2, deadline, cancel, e);
        if (n <= 0)
            return n < 0 ? -1 : error_set(e, ERROR_TIMEOUT, "the guest took no connection in time");
        if (!p[0].revents)
            return error_set(e, ERROR_VM_LOST, "Firecracker ended");
        if (read(fd, line + size, 1) != 1)
            return 0;
        if (line[size] == '\n')
            break;
        if (++size == sizeof(line))
            break;
    }
    unsigned port;
    int end = 0;
    line[size < sizeof(line) ? size : sizeof(line) - 1] = '\0';
    if (sscanf(line, "OK %10u%n", &port, &end) != 1 || (size_t)end != size)
        return error_set(e, ERROR_VM_LOST, "what listens on Firecracker's vsock socket is not Firecracker");
    return 1;
}

/* As read_reply; 0 also when the socket is not there, or has no room for one more who waits. Nothing here waits for the
 * other end but read_reply: it may be hostile. */
static int try_connect(const struct vm *vm, const struct sockaddr_un *address, int *ret_fd, int64_t deadline,
                       const struct cancel *cancel, struct error *e)
{
    static const char request[] = "CONNECT %d\n";
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    char line[REPLY_LINE_MAX];

    if (fd < 0)
        return error_errno(e, "socket");
    int n = snprintf(line, sizeof(line), request, PROTO_PORT);
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
        send(fd, line, (size_t)n, MSG_NOSIGNAL) != n)
        return 0;
    int result = read_reply(vm, fd, deadline, cancel, e);
    if (result == 1)
        *ret_fd = take_fd(&fd);
    return result;
}

static int firecracker_connect(struct vm *vm, int64_t deadline, const struct cancel *cancel, struct error *e)
{
    cleanup_free char *path = firecracker_jail_socket(&vm->firecracker->jail, FIRECRACKER_VSOCK);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct pollfd vmm = {.fd = vm->vmm.pidfd, .events = POLLIN};
    int fd = -1, result;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    while ((result = try_connect(vm, &address, &fd, deadline, cancel, e)) == 0) {
        int64_t soon = deadline_in_ms(CONNECT_RETRY_MS);
        int n = deadline_poll(&vmm, 1, soon < deadline ? soon : deadline, cancel, e);
        if (n < 0)
            return -1;
        if (n > 0)
            return error_set(e, ERROR_VM_LOST, "Firecracker ended"), explain_firecracker(vm, e);
        if (clock_monotonic_ns() >= deadline)
            return error_set(e, ERROR_TIMEOUT, "the guest does not listen on vsock port %d", PROTO_PORT);
    }
    if (result < 0)
        return explain_firecracker(vm, e);
    /* The caller owns the connection; this is to close it, whoever holds it, before a snapshot. */
    close_fd(&vm->channel_fd);
    if (vm->firecracker->snapshot_directory)
        vm->channel_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return fd;
}

static void firecracker_describe(const struct vm_spec *spec, struct buffer *ret)
{
    json_t *machine = firecracker_machine(spec);
    cleanup_free char *text = json_dumps(machine, JSON_COMPACT | JSON_SORT_KEYS);

    json_decref(machine);
    buffer_add(ret, text, strlen(text));
}

static int firecracker_judge(const char *version, const char **ret_fault, struct error *e)
{
    struct firecracker_version v;

    *ret_fault = NULL;
    if (firecracker_version_parse(version, &v) < 0 || !firecracker_version_at_least(&v, 1, 7))
        return error_set(e, ERROR_GENERAL, "1.7 or later is needed");
    if (!firecracker_version_at_least(&v, 1, 16)) /* Firecracker's issue 5882 */
        *ret_fault =
            "before 1.16 the first connection after a restore may break, and another one takes seconds";
    if (v.major == 1 && v.minor == 16 && v.patch == 0) /* 5958 */
        *ret_fault = "restored guests may hang; 1.16.1 mends that";
    return 0;
}

static const char *firecracker_program(const struct config *config)
{
    return config->firecracker;
}

const struct vm_driver firecracker_driver = {
    .name = "firecracker",
    .title = "Firecracker",
    .install = "put a release of Firecracker in PATH, or set CAPSID_FIRECRACKER",
    .program = firecracker_program,
    .judge = firecracker_judge,
    .needs_kvm = true,
    .has_jailer = true,
    .disk_by_name = true,
    .describe = firecracker_describe,
    .start = firecracker_start,
    .snapshot = firecracker_snapshot,
    .restore = firecracker_restore,
    .connect = firecracker_connect,
    .connects_again = true,
    .diagnose = firecracker_diagnose,
    .destroy = firecracker_destroy,
};
