#include "core/machine.h"

#include "base/cleanup.h"
#include "vmm/disk.h"

#include <fcntl.h>
#include <string.h>

#define KVM_TRIAL_MS 10000
#define GREETING_MS 3000 /* for the first try to greet a restored guest */

static void tell_destroyed(const struct machine *m, const char *violation, int64_t start)
{
    const struct vm_life *l = &m->life;
    int64_t now = clock_monotonic_ns();
    struct event v;

    life_event(&v, l, "destroyed");
    event_text(&v, "why", l->why[0] ? l->why : "discarded");
    event_text(&v, "detail", l->detail);
    event_text(&v, "violation", violation);
    event_ms(&v, "destroy_ms", now - start);
    event_ms(&v, "life_ms", now - l->begun_ns);
    if (l->pid > 0) {
        event_ms(&v, "cpu_ms", m->vm.vmm.cpu_ns);
        event_number(&v, "peak_bytes", (int64_t)m->vm.vmm.peak);
    }
    event_end(&v);
}

void machine_destroy(struct machine *m)
{
    int64_t start = clock_monotonic_ns();
    char violation[CONFINE_VIOLATION_MAX];

    confine_violation(&m->vm.confined, &m->vm.vmm, violation);
    if (m->vm.driver)
        m->vm.driver->destroy(&m->vm);
    guest_close(&m->guest);
    if (m->home)
        home_forget_child(m->home, &m->vm.vmm);
    if (m->life.id[0])
        tell_destroyed(m, violation, start);
    *m = MACHINE_NONE;
}

void machine_explain(struct machine *m, struct error *e)
{
    cleanup_buffer struct buffer words = {0};

    confine_explain(&m->vm.confined, &m->vm.vmm, e);
    if (!m->vm.driver || (e->kind != ERROR_TIMEOUT && e->kind != ERROR_VM_LOST))
        return;
    m->vm.driver->diagnose(&m->vm, &words);
    if (words.size == 0)
        return;
    const char *line = text_last_line(words.data);
    size_t at = strlen(e->text);
    if (line[0])
        snprintf(e->text + at, sizeof(e->text) - at, " (its last words: %.200s)", line);
}

/* Connects and greets; a restored guest is also told to resume. */
static int greet(struct machine *m, const struct call *call, bool restored, int64_t deadline,
                 int64_t *ret_connected, struct error *e)
{
    int fd = m->vm.driver->connect(&m->vm, deadline, &call->cancel, e);

    if (fd < 0)
        return -1;
    *ret_connected = clock_monotonic_ns();
    guest_open(&m->guest, fd, m->vm.vmm.pidfd, &call->cancel);
    m->guest.vmm_fd = m->vm.events_fd;
    m->guest.vmm_stopped = m->vm.driver->stopped;
    return restored ? guest_hello_again(&m->guest, deadline, e) : guest_hello(&m->guest, deadline, e);
}

/*
 * Before 1.16 a restored Firecracker may hand the guest what comes with the first connection before the guest has taken
 * the reset of its transport (Firecracker's issue 5882): then this connection breaks or is never answered, and the next one
 * is good. So it is closed and made again; each time with more patience, since a guest may be slow for other reasons.
 */
static int greet_restored(struct machine *m, const struct call *call, int64_t deadline,
                          int64_t *ret_connected, struct error *e)
{
    struct error ignored = {0};

    for (int64_t patience = GREETING_MS;; patience *= 2) {
        int64_t until = deadline_in_ms(patience);
        bool last = until >= deadline || !m->vm.driver->connects_again;
        if (greet(m, call, true, last ? deadline : until, ret_connected, e) == 0)
            return 0;
        bool vmm_ended = deadline_wait_fd(m->vm.vmm.pidfd, POLLIN, 0, NULL, &ignored) != 0;
        if (last || vmm_ended || (e->kind != ERROR_VM_LOST && e->kind != ERROR_TIMEOUT))
            return -1;
        guest_close(&m->guest);
        *e = (struct error){0};
    }
}

/* Every place for a layer has a file: the image, where there is nothing else. */
static void name_layers(const struct machine_spec *spec, const char *ret[static VM_LAYERS_MAX + 1])
{
    unsigned count = 0;

    for (; spec->layers && spec->layers[count] && count < VM_LAYERS_MAX; count++)
        ret[count] = spec->layers[count];
    for (; spec->bare && count < VM_LAYERS_MAX; count++)
        ret[count] = spec->placeholder ? spec->placeholder : spec->image;
    ret[count] = NULL;
}

/* The guest's vda is initd's own root, vdb the scratch disk (vm_name_disks); the layers follow. */
static int say_root(struct machine *m, const struct machine_spec *spec, int64_t deadline, struct error *e)
{
    static const char *const types[] = {[IMAGE_LAYER_EROFS] = "erofs", [IMAGE_LAYER_EXT4] = "ext4"};
    cleanup_buffer struct buffer words = {0};

    for (unsigned i = 0; spec->layers[i]; i++) {
        buffer_add_text(&words, "%s:vd%c", types[spec->layer_kinds[i]], 'c' + (int)i);
        buffer_add(&words, "", 1);
    }
    if (guest_make_root(&m->guest, &words, spec->shape.disk_mib ? "vdb" : "", deadline, e) == 0)
        return 0;
    machine_explain(m, e);
    return error_wrap(e, "the guest cannot make its root of the image %s", spec->language);
}

static int get_ready(struct machine *m, const struct call *call, const struct machine_spec *spec,
                     bool restored, int64_t deadline, struct error *e)
{
    int64_t start = clock_monotonic_ns(), connected = start;
    int result = restored ? greet_restored(m, call, deadline, &connected, e)
                          : greet(m, call, false, deadline, &connected, e);
    int64_t greeted = clock_monotonic_ns();
    struct event v;

    if (result == 0) {
        result = guest_resume(&m->guest, deadline, e);
        if (result < 0 && e->kind == ERROR_TIMEOUT)
            error_wrap(e, "initd is there, but its guest does not get ready");
    }
    if (result < 0) {
        machine_explain(m, e);
        return -1;
    }
    if (spec->bare && spec->layers && say_root(m, spec, deadline, e) < 0)
        return -1;
    int64_t now = m->life.ready_ns = clock_monotonic_ns();
    life_event(&v, &m->life, "ready");
    event_ms(&v, "connect_ms", connected - start);
    event_ms(&v, "hello_ms", greeted - connected);
    event_ms(&v, "resume_ms", now - greeted);
    event_ms(&v, "total_ms", now - m->life.begun_ns);
    event_end(&v);
    return 0;
}

/* A new scratch disk, an fd or -1. made_in: where the snapshot that is made of its VM wants it; copy_of: the disk of the
 * snapshot that is restored. Of the two one at most. */
static int open_disk(const struct host *host, const struct call *call, uint64_t mib, const char *made_in,
                     const char *copy_of, struct error *e)
{
    if (copy_of)
        return disk_copy_nameless(copy_of, host->home.scratch, e);
    if (!made_in)
        return disk_make_nameless(host->home.scratch, mib, &call->cancel, e);
    if (disk_make(made_in, mib, &call->cancel, e) < 0)
        return -1;
    int fd = open(made_in, O_RDWR | O_CLOEXEC);
    return fd < 0 ? error_errno(e, "cannot open %s", made_in) : fd;
}

/* The same for a driver that takes it by name, or NULL. The caller frees the name and removes the file. */
static char *name_disk(const struct host *host, const struct call *call, uint64_t mib, const char *made_in,
                       const char *copy_of, struct error *e)
{
    if (copy_of)
        return disk_copy_named(copy_of, host->home.scratch, e);
    if (!made_in)
        return disk_make_named(host->home.scratch, mib, &call->cancel, e);
    return disk_make(made_in, mib, &call->cancel, e) == 0 ? text_copy(made_in) : NULL;
}

/* One that the VM does not use has its place all the same, as in the snapshot that is made of one. */
static char *name_bare_disk(const struct host *host, const struct call *call, const struct machine_spec *spec,
                            bool make_snapshot, struct error *e)
{
    if (spec->disk)
        return disk_name_again(spec->disk, host->home.scratch, e);
    return spec->shape.disk_mib && !make_snapshot
               ? disk_make_named(host->home.scratch, spec->shape.disk_mib, &call->cancel, e)
               : disk_make_placeholder(host->home.scratch, e);
}

static int get_bare_disk(const struct host *host, const struct call *call, const struct machine_spec *spec,
                         bool make_snapshot, int *ret_fd, char **ret_name, struct error *e)
{
    char *name = name_bare_disk(host, call, spec, make_snapshot, e);
    int result = name ? 0 : -1;

    if (name && !host->driver->disk_by_name) {
        *ret_fd = open(name, O_RDWR | O_CLOEXEC);
        result = *ret_fd < 0 ? error_errno(e, "cannot open %s", name) : 0;
        unlink(name);
        free(name);
    } else {
        *ret_name = name;
    }
    return result;
}

/* The VM's own scratch disk, as its driver takes it; -1 and NULL when it has none. */
static int get_disk(const struct host *host, const struct call *call, const struct machine_spec *spec,
                    const char *snapshot_directory, bool restore, int *ret_fd, char **ret_name,
                    struct error *e)
{
    cleanup_free char *path =
        snapshot_directory ? text_format("%s/" SNAPSHOT_DISK, snapshot_directory) : NULL;
    const char *made_in = restore ? NULL : path, *copy_of = restore ? path : NULL;

    *ret_fd = -1;
    *ret_name = NULL;
    if (spec->bare)
        return get_bare_disk(host, call, spec, path && !restore, ret_fd, ret_name, e);
    if (spec->shape.disk_mib == 0)
        return 0;
    if (host->driver->disk_by_name)
        *ret_name = name_disk(host, call, spec->shape.disk_mib, made_in, copy_of, e);
    else
        *ret_fd = open_disk(host, call, spec->shape.disk_mib, made_in, copy_of, e);
    return *ret_name || *ret_fd >= 0 ? 0 : -1;
}

/* A guest that KVM really runs is ready in a second; one that it does not run must not cost the whole patience. */
static int64_t ready_deadline(const struct host *host, const struct accelerator *with)
{
    int64_t ms = (int64_t)host->config.boot_timeout * 1000;

    return deadline_in_ms(with->on_trial && ms > KVM_TRIAL_MS ? KVM_TRIAL_MS : ms);
}

static void tell_created(const struct machine *m, const struct machine_spec *spec)
{
    struct event v;

    life_event(&v, &m->life, "created");
    event_number(&v, "memory_mib", (int64_t)spec->shape.memory_mib);
    event_number(&v, "vcpus", (int64_t)spec->shape.vcpus);
    if (spec->shape.disk_mib)
        event_number(&v, "disk_mib", (int64_t)spec->shape.disk_mib);
    event_end(&v);
}

/* The VMM runs, and a restored guest with it. */
static int take_over(struct machine *m, struct host *host, bool restore, struct error *e)
{
    int64_t started = m->vm.vmm.started_ns;
    struct event v;

    m->home = &host->home;
    m->life.pid = m->vm.vmm.pid;
    if (home_record_child(&host->home, &m->vm.vmm, e) < 0)
        return -1;
    life_event(&v, &m->life, restore ? "restored" : "booted");
    event_ms(&v, "spawn_ms", started ? started - m->life.begun_ns : -1);
    event_ms(&v, "load_ms", started && restore ? clock_monotonic_ns() - started : -1);
    event_end(&v);
    return 0;
}

static int launch(struct machine *m, struct host *host, const struct call *call,
                  const struct machine_spec *spec, const char *snapshot_directory, bool restore,
                  struct error *e)
{
    cleanup_free char *vmm = host_find_vmm(host, e);
    cleanup_free char *jailer = NULL;

    *m = MACHINE_NONE;
    cleanup_free char *disk_name = NULL;
    cleanup_fd int disk_fd = -1;
    const struct confinement *confine = vmm ? host_confinement(host, e) : NULL;
    if (!vmm || !confine || host_find_jailer(host, vmm, &jailer, e) < 0 ||
        get_disk(host, call, spec, snapshot_directory, restore, &disk_fd, &disk_name, e) < 0)
        return -1;
    int64_t deadline = ready_deadline(host, &spec->accelerator);
    const char *layers[VM_LAYERS_MAX + 1];
    name_layers(spec, layers);
    struct vm_spec vm = {.vmm = vmm,
                         .confine = confine,
                         .kernel = spec->kernel,
                         .kernel_args = host->config.kernel_args,
                         .image = spec->image,
                         .layers = layers,
                         .bare = spec->bare,
                         .shape = spec->shape,
                         .accel = spec->accelerator.choice,
                         .tsc_khz = spec->accelerator.tsc_khz,
                         .disk_fd = disk_fd,
                         .disk = disk_name,
                         .scratch = host->home.scratch,
                         .data = host->config.data,
                         .jailer = jailer,
                         .home = &host->home,
                         .template = spec->template};
    life_begin(&m->life, host->driver->name, config_accel_name(spec->accelerator.choice), spec->language,
               spec->snapshot, call->trace_id);
    tell_created(m, spec);
    int result = restore ? host->driver->restore(&m->vm, &vm, snapshot_directory, deadline, &call->cancel, e)
                         : host->driver->start(&m->vm, &vm, snapshot_directory, deadline, &call->cancel, e);
    if (result < 0 && disk_name)
        unlink(disk_name); /* a driver that failed early has not taken it */
    if (result == 0)
        result = take_over(m, host, restore, e);
    if (result == 0)
        result = get_ready(m, call, spec, restore, deadline, e);
    if (result < 0) {
        life_because_error(&m->life, e);
        machine_destroy(m);
        host_accelerator_failed(host, &spec->accelerator, e);
        return error_wrap(e, restore ? "the VM could not be restored" : "the VM could not be booted");
    }
    host_accelerator_works(host, &spec->accelerator);
    return 0;
}

int machine_boot(struct machine *m, struct host *host, const struct call *call,
                 const struct machine_spec *spec, const char *snapshot_directory, struct error *e)
{
    if (access(spec->kernel, R_OK) < 0) {
        *m = MACHINE_NONE;
        return error_errno(e, "cannot read the guest kernel %s (build it with: make kernel)", spec->kernel);
    }
    return launch(m, host, call, spec, snapshot_directory, false, e);
}

int machine_restore(struct machine *m, struct host *host, const struct call *call,
                    const struct machine_spec *spec, const char *snapshot_directory, struct error *e)
{
    return launch(m, host, call, spec, snapshot_directory, true, e);
}
