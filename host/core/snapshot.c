#include "core/snapshot.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "core/program.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#define MANIFEST "manifest.json"
#define MANIFEST_MAX 65536
#define FORMAT "1" /* part of every key */
#define MAKE_DEADLINE_MS (10 * 60 * 1000)
#define SETTLE_MS 30000
#define WARM_MS 120000 /* how long a warm-up command may run */
#define SPACE_MARGIN_MIB 16
#define KEY_SHORT 16 /* digits of a key that people see */

static const char *const file_names[] = {SNAPSHOT_MEMORY, SNAPSHOT_STATE, SNAPSHOT_DISK};
#define FILE_COUNT (sizeof(file_names) / sizeof(file_names[0]))

void snapshot_done(struct snapshot *s)
{
    free(s->key);
    free(s->directory);
    free(s->language);
    *s = (struct snapshot){0};
}

/* With KVM a guest sees the host's processor, so the snapshot is good for equal ones only; emulated, its
 * clock rate. */
static int add_processor(struct buffer *b, const struct supervisor *s, struct error *e)
{
    cleanup_buffer struct buffer cpuinfo = {0};
    char digest[DIGEST_HEX_SIZE];
    struct utsname u = {0};

    if (s->accel.accel != ACCEL_KVM) {
        buffer_add_text(b, "processor emulated\ntsc %llu kHz\n", (unsigned long long)s->tsc_khz);
        return 0;
    }
    if (file_read("/proc/cpuinfo", 16 << 20, &cpuinfo, e) < 0)
        return -1;
    uname(&u);
    buffer_add_text(b, "host kernel %s\n", u.release);
    for (char *state = NULL, *line = strtok_r(cpuinfo.data, "\n", &state); line;
         line = strtok_r(NULL, "\n", &state)) {
        if (strncmp(line, "model name", 10) == 0 || strncmp(line, "flags", 5) == 0) {
            digest_bytes(line, strlen(line), digest);
            buffer_add_text(b, "processor %s\n", digest);
        }
        if (strncmp(line, "flags", 5) == 0) /* of the first processor; the others are alike */
            break;
    }
    return 0;
}

static int compute_key(struct supervisor *s, const struct language *l, const struct image *image,
                       const struct machine_spec *spec, struct buffer *inputs,
                       char ret[static DIGEST_HEX_SIZE], struct error *e)
{
    char vmm_digest[DIGEST_HEX_SIZE], kernel_digest[DIGEST_HEX_SIZE];
    cleanup_free char *vmm = supervisor_find_vmm(s, e);

    if (!vmm || supervisor_decide_accel(s, e) < 0 || home_digest(&s->home, vmm, vmm_digest, e) < 0 ||
        home_digest(&s->home, spec->kernel, kernel_digest, e) < 0)
        return -1;
    buffer_add_text(inputs, "format %s\ndriver %s\nvmm %s\naccel %s\n", FORMAT, s->driver->name, vmm_digest,
                    config_accel_name(s->accel.accel));
    if (add_processor(inputs, s, e) < 0)
        return -1;
    buffer_add_text(inputs,
                    "kernel %s\nkernel arguments %s\nimage %s\nlanguage %s\nmemory %llu MiB\nvcpus %llu\n",
                    kernel_digest, s->config.kernel_args, image->digest, l->digest,
                    (unsigned long long)spec->memory_mib, (unsigned long long)spec->vcpus);
    if (spec->disk_mib > 0)
        buffer_add_text(inputs, "disk %llu MiB\n", (unsigned long long)spec->disk_mib);
    digest_bytes(inputs->data, inputs->size, ret);
    return 0;
}

static char *snapshot_directory(const struct supervisor *s, const char *key)
{
    return home_path(&s->home, "snapshots/%s", key);
}

static json_t *read_manifest(const char *directory, struct error *e)
{
    cleanup_free char *path = text_format("%s/" MANIFEST, directory);
    cleanup_buffer struct buffer text = {0};
    json_error_t why;

    if (file_read(path, MANIFEST_MAX, &text, e) < 0)
        return NULL;
    json_t *j = json_loads(text.data, 0, &why);
    if (!j)
        error_set(e, ERROR_CORRUPT, "%s is corrupt: %s", path, why.text);
    return j;
}

static int read_snapshot(struct snapshot *ret, const struct supervisor *s, const char *key, struct error *e)
{
    cleanup_free char *directory = snapshot_directory(s, key);
    json_int_t memory, vcpus, created, job;
    const char *language;
    json_t *j = read_manifest(directory, e);

    if (!j)
        return -1;
    if (json_unpack(j, "{s:s, s:I, s:I, s:I, s:I}", "language", &language, "memory_mib", &memory, "vcpus",
                    &vcpus, "created", &created, "primed_job", &job) < 0) {
        json_decref(j);
        return error_set(e, ERROR_CORRUPT, "%s/" MANIFEST " is corrupt", directory);
    }
    *ret = (struct snapshot){.key = text_copy(key),
                             .directory = text_copy(directory),
                             .language = text_copy(language),
                             .memory_mib = (uint64_t)memory,
                             .vcpus = (uint64_t)vcpus,
                             .created = created,
                             .primed_job = (uint32_t)job};
    json_decref(j);
    for (size_t i = 0; i < FILE_COUNT; i++) {
        cleanup_free char *path = text_format("%s/%s", directory, file_names[i]);
        ret->allocated += file_allocated(path);
    }
    return 0;
}

static int verify_file(const struct supervisor *s, const char *directory, const char *name,
                       const json_t *manifest, struct error *e)
{
    cleanup_free char *path = text_format("%s/%s", directory, name);
    const char *wanted = json_string_value(json_object_get(json_object_get(manifest, "sha256"), name));
    char digest[DIGEST_HEX_SIZE];

    if (!wanted && strcmp(name, SNAPSHOT_DISK) == 0) /* this one has none */
        return 0;
    if (home_digest(&s->home, path, digest, e) < 0)
        return -1;
    if (!wanted || strcmp(wanted, digest) != 0)
        return error_set(e, ERROR_CORRUPT, "%s is corrupt", path);
    return 0;
}

static int verify(const struct supervisor *s, const struct snapshot *snapshot, struct error *e)
{
    json_t *j = read_manifest(snapshot->directory, e);
    int result = j ? 0 : -1;

    for (size_t i = 0; result == 0 && i < FILE_COUNT; i++)
        result = verify_file(s, snapshot->directory, file_names[i], j, e);
    json_decref(j);
    return result;
}

/* 1: it is there and sound; 0: it is not there; -1: it is there, but not usable. */
static int find_snapshot(struct snapshot *ret, const struct supervisor *s, const char *key, struct error *e)
{
    cleanup_free char *directory = snapshot_directory(s, key);

    if (!file_exists(directory))
        return 0;
    if (read_snapshot(ret, s, key, e) == 0) {
        if (verify(s, ret, e) == 0)
            return 1;
        snapshot_done(ret);
    }
    return error_wrap(e, "snapshot %.*s cannot be used (remove it with: capsid snapshot rm %.*s)", KEY_SHORT,
                      key, KEY_SHORT, key);
}

/* What a warm-up command prints: the last line of standard error that is not empty, printable. */
struct last_line {
    char text[200], current[200];
    size_t size;
};

static int keep_last_line(void *context, int channel, const void *data, size_t size, struct error *e)
{
    struct last_line *l = context;

    (void)e;
    for (const char *p = data; channel == 2 && size > 0; p++, size--) {
        if (*p == '\n') {
            l->size = 0;
        } else if (l->size < sizeof(l->current) - 1) {
            l->current[l->size++] = isprint((unsigned char)*p) ? *p : '?';
            l->current[l->size] = '\0';
            memcpy(l->text, l->current, sizeof(l->text));
        }
    }
    return 0;
}

/* The hello program under the name of the language's sources; some want it to end with a newline. */
static int write_hello(struct guest *g, const struct language *l, const struct program *p, int64_t deadline,
                       struct error *e)
{
    cleanup_free char *text = text_format("%s\n", l->hello ? l->hello : "");

    if (program_prepare(g, deadline, e) < 0)
        return -1;
    return l->hello ? guest_write_file(g, p->source, S_IFREG | 0644, 0, PROGRAM_UID, PROGRAM_UID, text,
                                       strlen(text), deadline, e)
                    : 0;
}

static int run_warm_up(struct guest *g, const struct language *l, const struct program *p, struct error *e)
{
    int64_t deadline = deadline_in_ms(WARM_MS + SETTLE_MS);
    cleanup_buffer struct buffer argv = {0};
    struct last_line last = {0};
    const struct job_io io = {.stdin_fd = -1, .on_output = keep_last_line, .context = &last};
    struct msg_exit exit = {0};

    if (write_hello(g, l, p, deadline, e) < 0)
        return -1;
    program_shell(p, l->warm, &argv);
    const struct msg_exec m = {.argv = {.data = argv.data, .size = (uint32_t)argv.size},
                               .env = {.data = p->env.data, .size = (uint32_t)p->env.size},
                               .cwd = PROGRAM_DIRECTORY,
                               .uid = PROGRAM_UID,
                               .gid = PROGRAM_UID,
                               .wall_ms = WARM_MS};
    if (guest_run_job(g, &m, NULL, &io, deadline, &exit, e) < 0)
        return -1;
    if (exit.cause == PROTO_CAUSE_TIMEOUT)
        return error_set(e, ERROR_GENERAL, "it did not end within %d s", WARM_MS / 1000);
    if (exit.cause != PROTO_CAUSE_EXITED)
        return error_set(e, ERROR_GENERAL, "it was ended%s%s%s",
                         exit.cause == PROTO_CAUSE_OOM ? ", out of memory (raise memory in [vm])"
                                                       : " by a signal",
                         last.text[0] ? ": " : "", last.text);
    if (exit.status != 0)
        return error_set(e, ERROR_GENERAL, "it ended with status %d: %s", (int)exit.status,
                         last.text[0] ? last.text : "nothing on standard error");
    /* What it left elsewhere, such as a compiler's cache below /tmp, stays on purpose. */
    return guest_remove(g, PROGRAM_DIRECTORY, deadline, e);
}

/* Runs the language's warm-up command in the directory that jobs will have, as they will run. */
static int warm_up(struct machine *m, const struct language *l, struct error *e)
{
    struct program p;

    if (!l->warm)
        return 0;
    if (program_init(&p, l, l->source, NULL, NULL, e) < 0)
        return -1;
    int result = run_warm_up(&m->guest, l, &p, e);
    program_done(&p);
    return result < 0 ? error_wrap(e, "the warm-up command failed") : 0;
}

/* Starts the interpreter, up to the point where it asks for its program. */
static int prime(struct machine *m, const struct language *l, uint32_t *ret_job, struct error *e)
{
    int64_t deadline = deadline_in_ms(SETTLE_MS * 2);
    struct program p;

    *ret_job = 0;
    if (program_prepare(&m->guest, deadline, e) < 0)
        return -1;
    if (!l->prime)
        return 0;
    if (program_init(&p, l, l->source, NULL, NULL, e) < 0)
        return -1;
    struct msg_prime request = {.argv = {.data = p.argv.data, .size = (uint32_t)p.argv.size},
                                .env = {.data = p.env.data, .size = (uint32_t)p.env.size},
                                .cwd = PROGRAM_DIRECTORY,
                                .uid = PROGRAM_UID,
                                .gid = PROGRAM_UID,
                                .script = p.source,
                                .settle_ms = SETTLE_MS};
    int result = guest_prime(&m->guest, &request, ret_job, deadline, e);
    program_done(&p);
    return result < 0 ? error_wrap(e, "the interpreter could not be primed") : 0;
}

static int freeze(struct supervisor *s, const struct language *l, const struct machine_spec *spec,
                  const char *directory, uint32_t *ret_job, struct error *e)
{
    struct machine m;

    if (machine_boot(&m, s, spec, directory, e) < 0)
        return -1;
    int result = warm_up(&m, l, e);
    if (result == 0)
        result = prime(&m, l, ret_job, e);
    int64_t deadline = deadline_in_ms((int64_t)s->config.boot_timeout * 1000);
    if (result == 0)
        result = guest_quiesce(&m.guest, deadline, e);
    if (result == 0)
        result = s->driver->snapshot(&m.vm, deadline, &s->cancel, e);
    machine_destroy(&m);
    return result;
}

static int sync_file(const char *path, struct error *e)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? error_errno(e, "cannot sync %s", path) : 0;
}

static int write_manifest(struct supervisor *s, const struct language *l, const struct machine_spec *spec,
                          const char *directory, const char *key, const struct buffer *inputs, uint32_t job,
                          struct error *e)
{
    cleanup_free char *path = text_format("%s/" MANIFEST, directory);
    char digest[DIGEST_HEX_SIZE];
    json_t *digests = json_object();

    for (size_t i = 0; i < FILE_COUNT; i++) {
        cleanup_free char *file = text_format("%s/%s", directory, file_names[i]);
        if (spec->disk_mib == 0 && strcmp(file_names[i], SNAPSHOT_DISK) == 0)
            continue;
        if (sync_file(file, e) < 0 || home_digest(&s->home, file, digest, e) < 0) {
            json_decref(digests);
            return -1;
        }
        json_object_set_new(digests, file_names[i], json_string(digest));
    }
    json_t *j = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:o}", "key", key, "language", l->name,
                          "memory_mib", (json_int_t)spec->memory_mib, "vcpus", (json_int_t)spec->vcpus,
                          "created", (json_int_t)(clock_realtime_ns() / 1000000000), "primed_job",
                          (json_int_t)job, "inputs", inputs->data, "sha256", digests);
    cleanup_free char *text = json_dumps(j, JSON_INDENT(2));
    json_decref(j);
    return file_replace(path, s->home.scratch, text, strlen(text), 0600, e);
}

static int make(struct supervisor *s, const struct language *l, const struct machine_spec *spec,
                const char *key, const struct buffer *inputs, struct error *e)
{
    cleanup_free char *scratch = text_format("%s/snapshot-%.*s", s->home.scratch, KEY_SHORT, key);
    cleanup_free char *directory = snapshot_directory(s, key);
    int64_t start = clock_monotonic_ns();
    struct error ignored = {0};
    uint32_t job = 0;

    log_progress("Making the snapshot of %s (%llu MiB, %llu vCPU)", l->name,
                 (unsigned long long)spec->memory_mib, (unsigned long long)spec->vcpus);
    /* A guest that writes to memory for which the disk has no room would take QEMU down with SIGBUS. */
    if (file_require_space(s->home.path, (spec->memory_mib + SPACE_MARGIN_MIB) << 20, e) < 0 ||
        file_make_directories(scratch, e) < 0)
        return error_wrap(e, "the snapshot of %s could not be made", l->name);
    if (freeze(s, l, spec, scratch, &job, e) < 0 ||
        write_manifest(s, l, spec, scratch, key, inputs, job, e) < 0 || file_remove_tree(directory, e) < 0 ||
        (rename(scratch, directory) < 0 && error_errno(e, "cannot create %s", directory) < 0)) {
        file_remove_tree(scratch, &ignored);
        return error_wrap(e, "the snapshot of %s could not be made", l->name);
    }
    log_progress("  %s: snapshot %.*s done in %.1f s", l->name, KEY_SHORT, key,
                 (double)(clock_monotonic_ns() - start) / 1e9);
    return 0;
}

static int ensure(struct snapshot *ret, struct supervisor *s, const struct language *l,
                  const struct machine_spec *spec, const char *key, const struct buffer *inputs, bool force,
                  bool *made, struct error *e)
{
    int found = force ? 0 : find_snapshot(ret, s, key, e);

    if (found != 0)
        return found < 0 ? -1 : 0;
    cleanup_free char *lock = text_format("snapshot-%.*s", KEY_SHORT, key);
    cleanup_free char *waiting = text_format("making the snapshot of %s", l->name);
    cleanup_fd int fd = home_lock(&s->home, lock, waiting, deadline_in_ms(MAKE_DEADLINE_MS), &s->cancel, e);
    if (fd < 0)
        return -1;
    found = force ? 0 : find_snapshot(ret, s, key, e);
    if (found != 0)
        return found < 0 ? -1 : 0;
    if (make(s, l, spec, key, inputs, e) < 0)
        return -1;
    *made = true;
    return read_snapshot(ret, s, key, e);
}

int snapshot_ensure(struct snapshot *ret, struct supervisor *s, const struct language *l,
                    const struct image *image, const struct machine_spec *spec, bool force, bool *ret_made,
                    struct error *e)
{
    cleanup_buffer struct buffer inputs = {0};
    char key[DIGEST_HEX_SIZE];
    bool made = false;

    if (compute_key(s, l, image, spec, &inputs, key, e) < 0 ||
        ensure(ret, s, l, spec, key, &inputs, force, &made, e) < 0)
        return -1;
    if (ret_made)
        *ret_made = made;
    return 0;
}

static int is_key(const struct dirent *d)
{
    return d->d_name[0] != '.' && strlen(d->d_name) == DIGEST_HEX_SIZE - 1 && text_is_name(d->d_name);
}

int snapshot_each(struct supervisor *s, int (*visit)(const struct snapshot *snapshot, void *context),
                  void *context, struct error *e)
{
    cleanup_free char *directory = home_path(&s->home, "snapshots");
    struct dirent **entries;
    int count = scandir(directory, &entries, is_key, alphasort), result = 0;

    if (count < 0)
        return error_errno(e, "cannot read %s", directory);
    for (int i = 0; i < count; i++) {
        struct snapshot snapshot = {0};
        struct error why = {0};
        if (result == 0 && read_snapshot(&snapshot, s, entries[i]->d_name, &why) == 0)
            result = visit(&snapshot, context);
        else if (result == 0)
            log_warning("snapshot %.*s: %s", KEY_SHORT, entries[i]->d_name, why.text);
        snapshot_done(&snapshot);
        free(entries[i]);
    }
    free(entries);
    return result;
}

int snapshot_remove(struct supervisor *s, const char *key, struct error *e)
{
    cleanup_free char *directory = home_path(&s->home, "snapshots");
    cleanup_free char *match = NULL;
    struct dirent **entries;
    int count = scandir(directory, &entries, is_key, alphasort), matches = 0;

    for (int i = 0; i < count; i++) {
        if (key[0] && strncmp(entries[i]->d_name, key, strlen(key)) == 0 && matches++ == 0)
            match = text_copy(entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    if (matches != 1)
        return error_set(e, ERROR_NOT_FOUND,
                         "%s snapshot has a key beginning with \"%.64s\"; see: capsid snapshot list",
                         matches ? "more than one" : "no", key);
    /* Out of the way in one step, so that nobody sees half a snapshot. */
    cleanup_free char *path = snapshot_directory(s, match);
    cleanup_free char *doomed = text_format("%s/removed-%.*s", s->home.scratch, KEY_SHORT, match);
    if (rename(path, doomed) < 0)
        return error_errno(e, "cannot remove %s", path);
    return file_remove_tree(doomed, e);
}
