#include "core/inputs.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "core/manifest.h"

#include <string.h>
#include <sys/utsname.h>

#define VERSION_MAX 120 /* bytes of it that are kept */
#define VERSION_DEADLINE_MS 10000
#define CPUINFO_MAX (16 << 20)

/* The first line of "VMM --version", printable. */
static int ask_version(const char *vmm, struct buffer *ret, struct error *e)
{
    const char *argv[] = {vmm, "--version", NULL};
    cleanup_buffer struct buffer text = {0};

    if (child_capture(argv, 65536, deadline_in_ms(VERSION_DEADLINE_MS), NULL, &text, e) < 0)
        return error_wrap(e, "cannot find out the version of the VMM");
    text.data[strcspn(text.data, "\n")] = '\0';
    buffer_add_text(ret, "%.*s", VERSION_MAX, text_make_plain(text.data));
    return ret->size ? 0 : error_set(e, ERROR_GENERAL, "%s does not tell its version", vmm);
}

/* Asked once for each binary, which its digest names. */
static int find_version(const struct home *h, const char *vmm, const char *digest, struct buffer *ret,
                        struct error *e)
{
    cleanup_free char *cache = text_format("version-%.32s", digest);

    if (home_cache_read(h, cache, VERSION_MAX, ret) && ret->size > 0)
        return 0;
    if (ask_version(vmm, ret, e) < 0)
        return -1;
    home_cache_write(h, cache, ret->data);
    return 0;
}

/* A string that JSON cannot hold becomes null, which the check at the end refuses. */
static void set_text(json_t *inputs, const char *name, const char *value)
{
    json_t *text = json_string(value);

    json_object_set_new(inputs, name, text ? text : json_null());
}

static void set_number(json_t *inputs, const char *name, uint64_t value)
{
    json_object_set_new(inputs, name, json_integer((json_int_t)value));
}

static int add_vmm(json_t *inputs, const struct host *host, const struct accelerator *with, struct error *e)
{
    cleanup_buffer struct buffer version = {0};
    cleanup_free char *vmm = host_find_vmm(host, e);
    char digest[DIGEST_HEX_SIZE];

    if (!vmm || home_digest(&host->home, vmm, digest, e) < 0 ||
        find_version(&host->home, vmm, digest, &version, e) < 0)
        return -1;
    set_text(inputs, "vmm", host->driver->name);
    set_text(inputs, "vmm_version", version.data);
    set_text(inputs, "vmm_sha256", digest);
    set_text(inputs, "accelerator", config_accel_name(with->choice));
    return 0;
}

/* What follows the colon of the first line of /proc/cpuinfo that begins so; NULL: there is none. On the heap. */
static char *cpuinfo_value(const char *cpuinfo, const char *name)
{
    for (const char *line = cpuinfo; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        size_t size = strcspn(line, "\n"), key = strlen(name);
        const char *colon = memchr(line, ':', size);
        if (colon && strncmp(line, name, key) == 0) {
            cleanup_free char *value =
                text_format("%.*s", (int)(size - (size_t)(colon + 1 - line)), colon + 1);
            return text_copy(text_trim(value));
        }
    }
    return NULL;
}

/* With KVM a guest sees the host's processor, so the snapshot is good for equal ones only, and for the same KVM; an
 * emulated guest knows its clock rate only. The first processor stands for all. */
static int add_processor(json_t *inputs, const struct accelerator *with, struct error *e)
{
    cleanup_buffer struct buffer cpuinfo = {0};
    char digest[DIGEST_HEX_SIZE];
    struct utsname u = {0};

    if (with->choice != ACCEL_KVM) {
        set_text(inputs, "cpu_model", "emulated");
        set_number(inputs, "tsc_khz", with->tsc_khz);
        return 0;
    }
    if (file_read("/proc/cpuinfo", CPUINFO_MAX, &cpuinfo, e) < 0)
        return -1;
    cleanup_free char *model = cpuinfo_value(cpuinfo.data, "model name");
    cleanup_free char *flags = cpuinfo_value(cpuinfo.data, "flags");
    if (!model || !flags)
        return error_set(e, ERROR_GENERAL, "/proc/cpuinfo does not tell the processor's model and flags");
    digest_bytes(flags, strlen(flags), digest);
    uname(&u);
    set_text(inputs, "cpu_model", model);
    set_text(inputs, "cpu_flags_sha256", digest);
    set_text(inputs, "host_kernel", u.release);
    return 0;
}

/* The machine that the driver makes today: another version of this program may make another one. What is an input by
 * itself is left out of it, so that the reason is told once. */
static void add_machine(json_t *inputs, const struct host *host, const struct machine_spec *spec)
{
    static const char *const places[VM_LAYERS_MAX + 1] = {"", "", "", "", ""};
    bool disk = spec->shape.disk_mib || spec->bare;
    const struct vm_spec vm = {.kernel_args = "",
                               .layers = spec->bare ? places : spec->layers,
                               .bare = spec->bare,
                               .shape.vcpus = spec->shape.vcpus,
                               .tsc_khz = spec->accelerator.tsc_khz ? 1 : 0,
                               .accel = spec->accelerator.choice,
                               .disk_fd = disk ? 0 : -1,
                               .disk = disk ? SNAPSHOT_DISK : NULL};
    cleanup_buffer struct buffer machine = {0};
    char digest[DIGEST_HEX_SIZE];

    host->driver->describe(&vm, &machine);
    digest_bytes(machine.data, machine.size, digest);
    set_text(inputs, "machine_sha256", digest);
}

/* One text, so that a manifest has few inputs; an image without layers has none, as before there were any. */
static void add_layers_inputs(json_t *inputs, const struct image *image)
{
    cleanup_buffer struct buffer all = {0};

    for (unsigned i = 0; i < image->layer_count; i++)
        buffer_add_text(&all, "%s%s", i ? "," : "", image->layers[i].digest);
    if (all.size)
        set_text(inputs, "layers_sha256", all.data);
}

static int collect(json_t *inputs, const struct host *host, const struct language *l,
                   const struct image *image, const struct machine_spec *spec, struct error *e)
{
    char kernel[DIGEST_HEX_SIZE];

    if (add_vmm(inputs, host, &spec->accelerator, e) < 0 ||
        add_processor(inputs, &spec->accelerator, e) < 0 ||
        home_digest(&host->home, spec->kernel, kernel, e) < 0)
        return -1;
    add_machine(inputs, host, spec);
    set_number(inputs, "format", MANIFEST_FORMAT);
    set_text(inputs, "kernel_sha256", kernel);
    set_text(inputs, "kernel_arguments", host->config.kernel_args);
    set_text(inputs, "image_sha256", image->digest);
    add_layers_inputs(inputs, image);
    set_text(inputs, "initd", image->initd ? image->initd : "");
    set_number(inputs, "memory_mib", spec->shape.memory_mib);
    set_number(inputs, "vcpus", spec->shape.vcpus);
    set_number(inputs, "disk_mib", spec->shape.disk_mib);
    set_text(inputs, "language", l->name);
    set_text(inputs, "language_sha256", l->digest);
    if (!manifest_check_inputs(inputs))
        return error_set(
            e, ERROR_USAGE,
            "the kernel's arguments, or another setting, are not plain text of at most 4096 bytes");
    return 0;
}

json_t *inputs_collect(const struct host *host, const struct language *l, const struct image *image,
                       const struct machine_spec *spec, struct error *e)
{
    json_t *inputs = json_object();

    if (collect(inputs, host, l, image, spec, e) == 0)
        return inputs;
    json_decref(inputs);
    return NULL;
}
