/*
 * The QEMU driver: the microvm machine (QEMU documentation, "microvm"), a virtio-serial port as guest
 * channel, QMP for control.
 *
 * Channel and QMP are socket pairs made before QEMU starts, so there is no socket in the filesystem to guard
 * or remove. A snapshot is the RAM in a file of its own, written in place (share=on), and the device state as
 * a migration stream without RAM (x-ignore-shared). A restored VM maps the same file privately (share=off):
 * pages are read when touched and copied when written. Or it maps a sealed memory file in the same way, which it
 * inherits and opens as /proc/self/fd/N.
 */
#include "vmm/driver.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "messages.h"
#include "vmm/qmp.h"
#include "vmm/vmm_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARGUMENTS_MAX 128 /* twice what a machine with all layers has */
#define CONSOLE_RING 8192 /* QEMU wants a power of two */
#define CODE_MIB 256 /* for translated code; when it is full QEMU begins anew. By default it would be 1 GiB */

/*
 * panic=-1 and reboot=t: a dead guest resets through a triple fault at once, which -no-reboot turns into the
 * end of QEMU. loglevel=1: the console is slow; only a panic's first line is worth it.
 */
#define KERNEL_COMMAND_LINE                                                                                  \
    "root=/dev/vda rootfstype=erofs ro init=/sbin/initd console=ttyS0 quiet loglevel=1 panic=-1 "            \
    "reboot=t" GUEST_OPTIONS

struct command_line {
    char *words[ARGUMENTS_MAX + 1]; /* owned */
    size_t count;
};

static void add_qemu(struct command_line *c, const char *option, char *value)
{
    if (c->count + 2 > ARGUMENTS_MAX)
        abort(); /* a machine without its last devices is none */
    c->words[c->count++] = text_copy(option);
    if (value)
        c->words[c->count++] = value;
}

static void command_line_done(struct command_line *c)
{
    for (size_t i = 0; i < c->count; i++)
        free(c->words[i]);
}

/* A comma in a value would begin a new option; QEMU takes a doubled one as itself. The caller frees the
 * result. */
static char *escape_commas(const char *s)
{
    struct buffer b = {0};

    for (; *s; s++)
        buffer_add(&b, *s == ',' ? ",," : s, *s == ',' ? 2 : 1);
    buffer_add(&b, "", 0);
    return b.data;
}

struct qemu_fds {
    int channel; /* QEMU's ends */
    int control;
    int disk_readable; /* the scratch disk once more, for reading; -1: there is none */
};

static void add_machine(struct command_line *c, const struct vm_spec *spec, const char *memory_file,
                        bool shared)
{
    bool kvm = spec->accel == ACCEL_KVM;

    /* The PIT and PIC stay: without them the TSC calibration of an emulated guest hangs. */
    add_qemu(c, "-machine",
             text_format("microvm,acpi=off,rtc=on,pit=on,pic=on,isa-serial=on,memory-backend=ram"));
    add_qemu(c, "-accel", kvm ? text_copy("kvm") : text_format("tcg,tb-size=%d", CODE_MIB));
    /*
     * Emulation carries "rep movsb" out byte by byte; without these flags the guest's kernel copies by words. KVM may
     * offer arch-capabilities and then refuse its register (IA32_ARCH_CAPABILITIES), upon which QEMU aborts; it tells
     * which flaws a processor does not have, and our guests' kernel does not ask.
     */
    add_qemu(c, "-cpu", text_copy(kvm ? "host,arch-capabilities=off" : "max,erms=off,fsrm=off"));
    add_qemu(c, "-smp", text_format("%llu", (unsigned long long)spec->shape.vcpus));
    add_qemu(c, "-m", text_format("%lluM", (unsigned long long)spec->shape.memory_mib));
    if (memory_file) {
        cleanup_free char *path = escape_commas(memory_file);
        add_qemu(c, "-object",
                 text_format("memory-backend-file,id=ram,size=%lluM,mem-path=%s,share=%s",
                             (unsigned long long)spec->shape.memory_mib, path, shared ? "on" : "off"));
    } else {
        add_qemu(
            c, "-object",
            text_format("memory-backend-ram,id=ram,size=%lluM", (unsigned long long)spec->shape.memory_mib));
    }
}

/*
 * An emulated guest calibrates its clock against an emulated timer, badly when the host is busy, and then has
 * no high-resolution timers. So it is told the rate. The rest skips checks that emulation makes slow; a
 * single processor also does without its local timer, which boots faster. Not one that is frozen: the timer that is
 * left reaches 27 ms at most, and the clones of an idle guest would wake up 37 times a second.
 */
static void add_clock(struct buffer *b, const struct vm_spec *spec, bool frozen)
{
    if (spec->accel == ACCEL_KVM)
        return;
    buffer_add_text(b, " no_timer_check");
    if (spec->tsc_khz)
        buffer_add_text(b, " tsc=reliable tsc_early_khz=%llu", (unsigned long long)spec->tsc_khz);
    buffer_add_text(b, spec->shape.vcpus > 1 ? " rcupdate.rcu_expedited=1"
                       : frozen              ? " noreplace-smp"
                                             : " noreplace-smp nolapic_timer");
}

/*
 * QEMU's TCG translates a page of a program anew for every address that it is executed at, and keeps all of it until the page is
 * used for something else; each write to it then looks at every translation. A page of a C library has thousands after
 * some dozen programs, and takes a second to be cleared, in which the guest does nothing else. With addresses that are not
 * random one translation serves all processes: a shell and what it starts run in a quarter of the time. What is lost is a
 * defence of programs of one guest against each other and against their input.
 */
static void add_addresses(struct buffer *b, const struct vm_spec *spec)
{
    if (spec->accel != ACCEL_KVM)
        buffer_add_text(b, " norandmaps");
}

static char *kernel_command_line(const struct vm_spec *spec, bool frozen)
{
    struct buffer b = {0};

    buffer_add_text(&b, "%s", KERNEL_COMMAND_LINE);
    add_clock(&b, spec, frozen);
    add_addresses(&b, spec);
    vm_name_disks(spec, spec->disk_fd >= 0, &b);
    if (spec->kernel_args[0])
        buffer_add_text(&b, " %s", spec->kernel_args);
    return b.data;
}

static void add_layers_qemu(struct command_line *c, const struct vm_spec *spec)
{
    for (unsigned i = 0; i < vm_layer_count(spec); i++) {
        cleanup_free char *path = escape_commas(spec->layers[i]);
        add_qemu(c, "-drive", text_format("id=layer%u,file=%s,if=none,format=raw,readonly=on", i, path));
        add_qemu(c, "-device", text_format("virtio-blk-device,drive=layer%u", i));
    }
}

static void add_devices(struct command_line *c, const struct vm_spec *spec, bool frozen,
                        const struct qemu_fds *fds)
{
    cleanup_free char *image = escape_commas(spec->image);

    add_qemu(c, "-global", text_copy("virtio-mmio.force-legacy=false"));
    add_qemu(c, "-kernel", text_copy(spec->kernel));
    add_qemu(c, "-append", kernel_command_line(spec, frozen));
    add_qemu(c, "-drive", text_format("id=root,file=%s,if=none,format=raw,readonly=on", image));
    add_qemu(c, "-device", text_copy("virtio-blk-device,drive=root"));
    /* Nothing of it outlives the VM, so nothing needs to be flushed. A full host disk is the guest's EIO. */
    if (spec->disk_fd >= 0) {
        /* QEMU takes from the set the one whose access mode it needs: it opens for reading first. */
        add_qemu(c, "-add-fd", text_format("fd=%d,set=1", spec->disk_fd));
        add_qemu(c, "-add-fd", text_format("fd=%d,set=1", fds->disk_readable));
        add_qemu(c, "-drive",
                 text_copy("id=upper,file=/dev/fdset/1,if=none,format=raw,cache=unsafe,discard=unmap"));
        add_qemu(c, "-device", text_copy("virtio-blk-device,drive=upper,werror=report,rerror=report"));
    }
    add_layers_qemu(c, spec);
    add_qemu(c, "-chardev", text_format("socket,id=guest,fd=%d", fds->channel));
    /* Number 0 is a console's, and the rest of the 31 it would have cost a boot a twelfth of its time. */
    add_qemu(c, "-device", text_copy("virtio-serial-device,max_ports=2"));
    add_qemu(c, "-device", text_copy("virtserialport,chardev=guest,name=" PROTO_SERIAL_NAME));
    add_qemu(c, "-chardev", text_format("ringbuf,id=console,size=%d", CONSOLE_RING));
    add_qemu(c, "-serial", text_copy("chardev:console"));
    add_qemu(c, "-chardev", text_format("socket,id=control,fd=%d", fds->control));
    add_qemu(c, "-mon", text_copy("chardev=control,mode=control"));
}

static void build_command_line(struct command_line *c, const struct vm_spec *spec, const char *memory_file,
                               bool incoming, const struct qemu_fds *fds)
{
    add_qemu(c, spec->vmm, NULL);
    add_qemu(c, "-nodefaults", NULL);
    add_qemu(c, "-no-user-config", NULL);
    add_qemu(c, "-no-reboot", NULL);
    add_qemu(c, "-display", text_copy("none"));
    add_qemu(c, "-sandbox",
             text_copy("on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"));
    add_machine(c, spec, memory_file, !incoming);
    add_devices(c, spec, memory_file != NULL, fds);
    if (incoming)
        add_qemu(c, "-incoming", text_copy("defer"));
}

static void qemu_describe(const struct vm_spec *spec, struct buffer *ret)
{
    const struct qemu_fds fds = {0};
    struct command_line c = {0};
    struct vm_spec nameless = *spec;

    const char *layers[VM_LAYERS_MAX + 1] = {NULL};

    for (unsigned i = 0; i < vm_layer_count(spec) && i < VM_LAYERS_MAX; i++)
        layers[i] = "";
    nameless.vmm = nameless.kernel = nameless.image = "";
    nameless.layers = layers;
    nameless.disk_fd = spec->disk_fd >= 0 ? 0 : -1;
    build_command_line(&c, &nameless, "", false, &fds);
    for (size_t i = 0; i < c.count; i++)
        buffer_add(ret, c.words[i], strlen(c.words[i]) + 1);
    command_line_done(&c);
}

static int make_pair(int *ret_ours, int *ret_theirs, struct error *e)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_errno(e, "socketpair");
    *ret_ours = pair[0];
    *ret_theirs = pair[1];
    return 0;
}

static void qemu_destroy(struct vm *vm)
{
    child_kill(&vm->vmm);
    confine_release(&vm->confined);
    close_fd(&vm->channel_fd);
    close_fd(&vm->control_fd);
    close_fd(&vm->state_fd);
    close_fd(&vm->log_fd);
}

static bool is_confined(const struct vm_spec *spec)
{
    return spec->confine && !spec->confine->off;
}

/* QEMU sees only what it opens by name; symlinks on the way are the host's matter, so names without them. */
static int spawn_confined(struct vm *vm, const struct vm_spec *spec, const char *memory_file, bool incoming,
                          struct child_spec *child, struct qemu_fds *fds, struct error *e)
{
    cleanup_free char *vmm = realpath(spec->vmm, NULL);
    cleanup_free char *kernel = realpath(spec->kernel, NULL);
    cleanup_free char *image = realpath(spec->image, NULL);
    struct command_line c = {0};

    struct stat disk = {0};

    if (spec->disk_fd >= 0 && fstat(spec->disk_fd, &disk) < 0)
        return error_errno(e, "cannot look at the scratch disk");
    if (!vmm || !kernel || !image)
        return error_errno(e, "cannot find %s", !vmm ? spec->vmm : !kernel ? spec->kernel : spec->image);
    struct vm_spec seen = *spec;
    seen.vmm = vmm;
    seen.kernel = kernel;
    seen.image = image;
    struct confine_need need = {.readable = {kernel, image},
                                .writable = incoming ? NULL : memory_file,
                                .vmm = vmm,
                                .shape = {.memory_mib = spec->shape.memory_mib,
                                          .vcpus = spec->shape.vcpus,
                                          .disk_mib = (uint64_t)disk.st_size >> 20},
                                .kvm = spec->accel == ACCEL_KVM};
    for (unsigned i = 0; i < vm_layer_count(spec) && i < VM_LAYERS_MAX; i++)
        need.readable[2 + i] = spec->layers[i];
    build_command_line(&c, &seen, memory_file, incoming, fds);
    child->argv = (const char *const *)c.words;
    int result = confine_spawn(&vm->vmm, &vm->confined, spec->confine, &need, child, e);
    command_line_done(&c);
    return result;
}

/* The same file once more, for reading only; fd -1 gives -1. */
static int open_readable(int fd, int *ret, struct error *e)
{
    cleanup_free char *path = text_format("/proc/self/fd/%d", fd);

    *ret = fd < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && *ret < 0 ? error_errno(e, "cannot open the scratch disk") : 0;
}

/* memory_fd: kept open for QEMU; -1: none. */
static int spawn(struct vm *vm, const struct vm_spec *spec, const char *memory_file, int memory_fd,
                 bool incoming, struct error *e)
{
    struct command_line c = {0};
    cleanup_fd int channel = -1;
    cleanup_fd int control = -1;

    vm->log_fd = vmm_log_open(e);
    if (vm->log_fd < 0 || make_pair(&vm->channel_fd, &channel, e) < 0 ||
        make_pair(&vm->control_fd, &control, e) < 0)
        return -1;
    cleanup_fd int readable = -1;
    if (open_readable(spec->disk_fd, &readable, e) < 0)
        return -1;
    struct qemu_fds fds = {.channel = channel, .control = control, .disk_readable = readable};

    int kept[5] = {channel, control};
    size_t kept_count = 2;
    if (memory_fd >= 0)
        kept[kept_count++] = memory_fd;
    if (spec->disk_fd >= 0) {
        kept[kept_count++] = spec->disk_fd;
        kept[kept_count++] = readable;
    }
    struct child_spec child = {.stdin_fd = -1,
                               .stdout_fd = vm->log_fd,
                               .stderr_fd = vm->log_fd,
                               .kept_fds = kept,
                               .kept_count = kept_count};
    if (is_confined(spec))
        return spawn_confined(vm, spec, memory_file, incoming, &child, &fds, e);
    build_command_line(&c, spec, memory_file, incoming, &fds);
    child.argv = (const char *const *)c.words;
    int result = child_spawn(&vm->vmm, &child, e);
    command_line_done(&c);
    return result;
}

/* What QEMU printed before it failed says more than the broken connection does. */
static int explain_qemu(struct vm *vm, struct error *e)
{
    char text[400], violation[CONFINE_VIOLATION_MAX];

    confine_violation(&vm->confined, &vm->vmm, violation);
    if (violation[0]) {
        confine_explain(&vm->confined, &vm->vmm, e);
        return -1;
    }
    if (vmm_log_first(vm->log_fd, text, sizeof(text)) == 0)
        return -1;
    char *line = text_trim(text);
    line[strcspn(line, "\n")] = '\0';
    return error_set(e, e->kind, "%s: %s", e->text[0] ? "QEMU failed" : "QEMU", line);
}

/* A confined QEMU cannot create the file for the guest's memory; *path becomes its name without symlinks. */
static int prepare_memory(char **path, struct error *e)
{
    cleanup_fd int fd = open(*path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    char *resolved = fd >= 0 ? realpath(*path, NULL) : NULL;

    if (!resolved)
        return error_errno(e, "cannot create %s", *path);
    free(*path);
    *path = resolved;
    return 0;
}

static int open_control(struct vm *vm, struct qmp *q, int64_t deadline, const struct cancel *cancel,
                        struct error *e)
{
    qmp_init(q, vm->control_fd, deadline, cancel);
    if (vm->control_open)
        return 0;
    vm->control_open = true;
    return qmp_greet(q, e);
}

/*
 * Of an instruction that KVM cannot carry out QEMU writes "KVM internal error" and stops the guest, and then waits for what we
 * want. Emulation does not fail so. Events come after the greeting only.
 */
static int listen_to(struct vm *vm, int64_t deadline, const struct cancel *cancel, struct error *e)
{
    struct qmp q;
    int result = open_control(vm, &q, deadline, cancel, e);

    qmp_close(&q);
    if (result == 0)
        vm->events_fd = vm->control_fd;
    else if (e->kind != ERROR_CANCELLED)
        explain_qemu(vm, e);
    return result;
}

static int qemu_start(struct vm *vm, const struct vm_spec *spec, const char *snapshot_directory,
                      int64_t deadline, const struct cancel *cancel, struct error *e)
{
    cleanup_free char *memory = NULL;

    *vm = VM_NONE;
    vm->driver = &qemu_driver;
    if (snapshot_directory) {
        memory = text_format("%s/" SNAPSHOT_MEMORY, snapshot_directory);
        cleanup_free char *state = text_format("%s/" SNAPSHOT_STATE, snapshot_directory);
        vm->state_fd = open(state, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (vm->state_fd < 0)
            return error_errno(e, "cannot create %s", state);
        if (is_confined(spec) && prepare_memory(&memory, e) < 0) {
            qemu_destroy(vm);
            return -1;
        }
    }
    int result = spawn(vm, spec, memory, -1, false, e);
    if (result == 0 && spec->accel == ACCEL_KVM)
        result = listen_to(vm, deadline, cancel, e);
    if (result < 0)
        qemu_destroy(vm);
    return result;
}

static json_t *capabilities(void)
{
    return json_pack("{s:[{s:s, s:b}, {s:s, s:b}]}", "capabilities", "capability", "x-ignore-shared", "state",
                     1, "capability", "events", "state", 1);
}

static int migrate(struct vm *vm, const char *command, int64_t deadline, const struct cancel *cancel,
                   struct error *e)
{
    struct qmp q;
    int result = open_control(vm, &q, deadline, cancel, e);

    if (result == 0)
        result = qmp_command(&q, "migrate-set-capabilities", capabilities(), NULL, e);
    if (result == 0)
        result = qmp_pass_fd(&q, "state", vm->state_fd, e);
    if (result == 0)
        result = qmp_command(&q, command, json_pack("{s:s}", "uri", "fd:state"), NULL, e);
    if (result == 0)
        result = qmp_wait_migration(&q, e);
    qmp_close(&q);
    return result;
}

static int qemu_snapshot(struct vm *vm, int64_t deadline, const struct cancel *cancel, struct error *e)
{
    if (migrate(vm, "migrate", deadline, cancel, e) < 0) {
        explain_qemu(vm, e);
        return -1;
    }
    return 0;
}

/*
 * QEMU up to 8.1 opens the memory for writing also where it only maps it privately. A confined one gets a copy
 * that nobody can write, and of the state too: an inherited fd of a file on disk leads to the file. The memory is copied
 * while QEMU starts, which takes as long; the guest runs after that.
 */
static int restore_sealed(struct vm *vm, const struct vm_spec *spec, const char *memory, const char *state,
                          struct error *e)
{
    cleanup_fd int memory_fd = confine_sealed_begin(memory, e);
    cleanup_free char *name = text_format("/proc/self/fd/%d", memory_fd);

    if (memory_fd < 0 || (vm->state_fd = confine_sealed_begin(state, e)) < 0 ||
        confine_sealed_fill(vm->state_fd, state, e) < 0 || spawn(vm, spec, name, memory_fd, true, e) < 0)
        return -1;
    return confine_sealed_fill(memory_fd, memory, e);
}

/* Maps the memory and reads the state: of the template, or of files. */
static int restore_open(struct vm *vm, const struct vm_spec *spec, const char *memory, const char *state,
                        struct error *e)
{
    vm->state_fd = open(state, O_RDONLY | O_CLOEXEC);
    if (vm->state_fd < 0)
        return error_errno(e, "cannot open %s", state);
    return spawn(vm, spec, memory, spec->template ? spec->template->memory_fd : -1, true, e);
}

static int qemu_restore(struct vm *vm, const struct vm_spec *spec, const char *snapshot_directory,
                        int64_t deadline, const struct cancel *cancel, struct error *e)
{
    const struct vm_template *t = spec->template;
    cleanup_free char *memory = t ? text_format("/proc/self/fd/%d", t->memory_fd)
                                  : text_format("%s/" SNAPSHOT_MEMORY, snapshot_directory);
    /* Opened anew also when it is open: each VM reads the state from its own position. */
    cleanup_free char *state = t ? text_format("/proc/self/fd/%d", t->state_fd)
                                 : text_format("%s/" SNAPSHOT_STATE, snapshot_directory);

    *vm = VM_NONE;
    vm->driver = &qemu_driver;
    int result = is_confined(spec) && !t ? restore_sealed(vm, spec, memory, state, e)
                                         : restore_open(vm, spec, memory, state, e);
    /* The guest runs on as soon as its state is loaded, because it ran when the state was saved. */
    if (result == 0)
        result = migrate(vm, "migrate-incoming", deadline, cancel, e);
    if (result == 0 && spec->accel == ACCEL_KVM)
        vm->events_fd = vm->control_fd;
    if (result < 0) {
        if (e->kind != ERROR_CANCELLED)
            explain_qemu(vm, e);
        qemu_destroy(vm);
        return -1;
    }
    return 0;
}

static int qemu_connect(struct vm *vm, int64_t deadline, const struct cancel *cancel, struct error *e)
{
    (void)deadline, (void)cancel;
    if (vm->channel_fd < 0)
        return error_set(e, ERROR_GENERAL, "the guest's serial port takes one connection only");
    return take_fd(&vm->channel_fd);
}

static void add_console(struct vm *vm, struct buffer *ret)
{
    struct qmp q;
    struct error ignored = {0};
    json_t *result = NULL;

    if (open_control(vm, &q, deadline_in_ms(1000), NULL, &ignored) == 0 &&
        qmp_command(&q, "ringbuf-read", json_pack("{s:s, s:i}", "device", "console", "size", CONSOLE_RING),
                    &result, &ignored) == 0 &&
        json_string_length(result) > 0)
        buffer_add_text(ret, "%s", json_string_value(result));
    json_decref(result);
    qmp_close(&q);
}

static void qemu_diagnose(struct vm *vm, struct buffer *ret)
{
    char text[2048];

    size_t size = vmm_log_first(vm->log_fd, text, sizeof(text));
    char *kvm = strstr(text, "KVM internal error"); /* before pages of the processor's state */
    if (kvm) {
        buffer_add(ret, kvm, strcspn(kvm, "\n"));
        return;
    }
    buffer_add(ret, text, size);
    if (vm->vmm.pid > 0 && vm->control_fd >= 0)
        add_console(vm, ret);
}

static const char *qemu_program(const struct config *config)
{
    return config->qemu;
}

const struct vm_driver qemu_driver = {
    .name = "qemu",
    .title = "QEMU",
    .install = "install the Debian package qemu-system-x86, or run: make deps",
    .program = qemu_program,
    .takes_template = true,
    .describe = qemu_describe,
    .start = qemu_start,
    .snapshot = qemu_snapshot,
    .restore = qemu_restore,
    .connect = qemu_connect,
    .stopped = qmp_stopped,
    .diagnose = qemu_diagnose,
    .destroy = qemu_destroy,
};
