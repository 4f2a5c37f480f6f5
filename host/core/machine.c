#include "core/machine.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/disk.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>

#define KVM_TRIAL_MS 10000

void machine_destroy(struct machine *m)
{
    if (m->vm.driver)
        m->vm.driver->destroy(&m->vm);
    guest_close(&m->guest);
    *m = MACHINE_NONE;
}

/* The last line of the guest's console, or of the VMM, often says why. */
static void add_last_words(struct machine *m, struct error *e)
{
    cleanup_buffer struct buffer words = {0};
    char line[201];
    size_t used = 0;

    m->vm.driver->diagnose(&m->vm, &words);
    if (words.size == 0)
        return;
    char *text = text_trim(words.data), *last = strrchr(text, '\n');
    for (const char *p = last ? last + 1 : text; *p && used < sizeof(line) - 1; p++)
        line[used++] = isprint((unsigned char)*p) ? *p : '?';
    line[used] = '\0';
    if (used > 0) {
        size_t at = strlen(e->text);
        snprintf(e->text + at, sizeof(e->text) - at, " (its last words: %s)", line);
    }
}

static int get_ready(struct machine *m, struct supervisor *s, int64_t deadline, struct error *e)
{
    int fd = m->vm.driver->connect(&m->vm, deadline, &s->cancel, e);

    if (fd < 0)
        return -1;
    guest_open(&m->guest, fd, m->vm.vmm.pidfd, &s->cancel);
    if (guest_hello(&m->guest, deadline, e) < 0 || guest_resume(&m->guest, deadline, e) < 0) {
        if (e->kind == ERROR_TIMEOUT || e->kind == ERROR_VM_LOST)
            add_last_words(m, e);
        return -1;
    }
    return 0;
}

/* The VM's own scratch disk: an fd, -1 with an error, or -1 in *ret when it has none. */
static int open_disk(struct supervisor *s, const struct machine_spec *spec, const char *snapshot_directory,
                     bool restore, int *ret, struct error *e)
{
    cleanup_free char *path =
        snapshot_directory ? text_format("%s/" SNAPSHOT_DISK, snapshot_directory) : NULL;

    *ret = -1;
    if (spec->disk_mib == 0)
        return 0;
    if (restore)
        *ret = disk_copy_nameless(path, s->home.scratch, e);
    else if (!path)
        *ret = disk_make_nameless(s->home.scratch, spec->disk_mib, &s->cancel, e);
    else if (disk_make(path, spec->disk_mib, &s->cancel, e) == 0)
        *ret = open(path, O_RDWR | O_CLOEXEC);
    return *ret < 0 ? -1 : 0;
}

/* A guest that KVM really runs is ready in a second; one that it does not run must not cost the whole patience. */
static int64_t ready_deadline(const struct supervisor *s)
{
    int64_t ms = (int64_t)s->config.boot_timeout * 1000;

    return deadline_in_ms(s->accel.open && s->accel.accel == ACCEL_KVM && ms > KVM_TRIAL_MS ? KVM_TRIAL_MS
                                                                                            : ms);
}

static int launch(struct machine *m, struct supervisor *s, const struct machine_spec *spec,
                  const char *snapshot_directory, bool restore, struct error *e)
{
    int64_t start = clock_monotonic_ns();
    cleanup_free char *vmm = supervisor_find_vmm(s, e);
    cleanup_free char *jailer = NULL;

    *m = MACHINE_NONE;
    cleanup_fd int disk = -1;
    if (!vmm || supervisor_decide_accel(s, e) < 0 || supervisor_decide_confinement(s, e) < 0 ||
        supervisor_find_jailer(s, vmm, &jailer, e) < 0 ||
        open_disk(s, spec, snapshot_directory, restore, &disk, e) < 0)
        return -1;
    int64_t deadline = ready_deadline(s);
    struct vm_spec vm = {.vmm = vmm,
                         .confine = &s->confinement,
                         .kernel = spec->kernel,
                         .kernel_args = s->config.kernel_args,
                         .image = spec->image,
                         .memory_mib = spec->memory_mib,
                         .vcpus = spec->vcpus,
                         .accel = s->accel.accel,
                         .tsc_khz = s->tsc_khz,
                         .disk_fd = disk,
                         .scratch = s->home.scratch,
                         .jailer = jailer,
                         .home = &s->home,
                         .template = spec->template};
    int result = restore ? s->driver->restore(&m->vm, &vm, snapshot_directory, deadline, &s->cancel, e)
                         : s->driver->start(&m->vm, &vm, snapshot_directory, deadline, &s->cancel, e);
    if (result == 0)
        result = home_record_child(&s->home, &m->vm.vmm, e);
    log_debug("vm event=%s driver=%s accel=%s ms=%.1f", restore ? "restored" : "started", s->driver->name,
              config_accel_name(s->accel.accel), (double)(clock_monotonic_ns() - start) / 1e6);
    if (result == 0)
        result = get_ready(m, s, deadline, e);
    if (result < 0) {
        machine_destroy(m);
        supervisor_accel_failed(s, e);
        return error_wrap(e, restore ? "the VM could not be restored" : "the VM could not be booted");
    }
    supervisor_accel_works(s);
    log_debug("vm event=ready ms=%.1f", (double)(clock_monotonic_ns() - start) / 1e6);
    return 0;
}

int machine_boot(struct machine *m, struct supervisor *s, const struct machine_spec *spec,
                 const char *snapshot_directory, struct error *e)
{
    if (access(spec->kernel, R_OK) < 0) {
        *m = MACHINE_NONE;
        return error_errno(e, "cannot read the guest kernel %s (build it with: make kernel)", spec->kernel);
    }
    return launch(m, s, spec, snapshot_directory, false, e);
}

int machine_restore(struct machine *m, struct supervisor *s, const struct machine_spec *spec,
                    const char *snapshot_directory, struct error *e)
{
    return launch(m, s, spec, snapshot_directory, true, e);
}
