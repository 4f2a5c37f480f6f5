#include "core/manifest.h"

#include "base/cleanup.h"
#include "vmm/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUTS_MAX 64
#define VALUE_MAX 4096 /* bytes; a kernel's command line has 2048 at most */
#define MEMORY_MIB_MAX (1 << 20)
#define VCPUS_MAX 1024
#define DISK_MIB_LIMIT (1 << 30) /* far above what vmm/disk.h makes */

const char *const manifest_files[MANIFEST_FILES] = {SNAPSHOT_MEMORY, SNAPSHOT_STATE, SNAPSHOT_DISK};

void manifest_done(struct manifest *m)
{
    json_decref(m->inputs);
    free(m->language);
    *m = (struct manifest){0};
}

void manifest_key(const json_t *inputs, char ret[static DIGEST_HEX_SIZE])
{
    cleanup_free char *text = json_dumps(inputs, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);

    digest_bytes(text ? text : "", text ? strlen(text) : 0, ret);
}

/* What goes to a terminal one day. */
static bool is_plain(const char *s, size_t max)
{
    size_t size = strlen(s);

    for (size_t i = 0; i < size; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
            return false;
    return size <= max;
}

bool manifest_check_inputs(const json_t *inputs)
{
    const char *name;
    json_t *value;

    if (!json_is_object(inputs) || json_object_size(inputs) > INPUTS_MAX)
        return false;
    json_object_foreach((json_t *)inputs, name, value)
    {
        if (!text_is_name(name))
            return false;
        if (!json_is_integer(value) &&
            !(json_is_string(value) && is_plain(json_string_value(value), VALUE_MAX)))
            return false;
    }
    return true;
}

static bool parse_file(struct manifest_file *ret, const json_t *files, const char *name)
{
    const char *digest;
    json_int_t size;

    if (json_unpack(json_object_get(files, name), "{s:I, s:s !}", "size", &size, "sha256", &digest) < 0 ||
        size < 0 || !digest_is_hex(digest))
        return false;
    ret->size = (uint64_t)size;
    memcpy(ret->sha256, digest, DIGEST_HEX_SIZE);
    return true;
}

/* NULL, or what is wrong. */
static const char *parse_object(struct manifest *m, const char *key, json_t *j)
{
    const char *named, *language;
    json_int_t memory, vcpus, disk, created, job;
    json_t *inputs, *files;
    char computed[DIGEST_HEX_SIZE];

    if (json_is_string(json_object_get(j, "inputs")))
        return "it was made by an earlier version of capsid";
    if (json_unpack(j, "{s:s, s:o, s:o, s:I, s:I}", "key", &named, "inputs", &inputs, "files", &files,
                    "created", &created, "primed_job", &job) < 0)
        return "a field is missing or has another type";
    if (!manifest_check_inputs(inputs))
        return "its inputs are not sound";
    manifest_key(inputs, computed);
    if (strcmp(named, key) != 0 || strcmp(computed, key) != 0)
        return "it belongs to another snapshot";
    if (json_unpack(inputs, "{s:s, s:I, s:I, s:I}", "language", &language, "memory_mib", &memory, "vcpus",
                    &vcpus, "disk_mib", &disk) < 0 ||
        !text_is_long_name(language) || memory < 1 || memory > MEMORY_MIB_MAX || vcpus < 1 ||
        vcpus > VCPUS_MAX || disk < 0 || disk > DISK_MIB_LIMIT)
        return "its inputs are not sound";
    if (created < 0 || job < 0 || job > UINT32_MAX)
        return "a number is out of range";
    m->shape = (struct vm_shape){(uint64_t)memory, (uint64_t)vcpus, (uint64_t)disk};
    for (size_t i = 0; i < manifest_file_count(m->shape); i++)
        if (!parse_file(&m->files[i], files, manifest_files[i]))
            return "it does not describe every file";
    m->inputs = json_incref(inputs);
    m->language = text_copy(language);
    m->created = created;
    m->primed_job = (uint32_t)job;
    return NULL;
}

int manifest_parse(struct manifest *ret, const char *key, const char *text, size_t size, struct error *e)
{
    json_error_t why;
    json_t *j = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);

    *ret = (struct manifest){0};
    if (!j)
        return error_set(e, ERROR_CORRUPT, "it is not JSON: line %d", why.line);
    const char *wrong = parse_object(ret, key, j);
    json_decref(j);
    return wrong ? error_set(e, ERROR_CORRUPT, "%s", wrong) : 0;
}

char *manifest_format(const struct manifest *m, const char *key)
{
    json_t *files = json_object();

    for (size_t i = 0; i < manifest_file_count(m->shape); i++)
        json_object_set_new(
            files, manifest_files[i],
            json_pack("{s:I, s:s}", "size", (json_int_t)m->files[i].size, "sha256", m->files[i].sha256));
    json_t *j = json_pack("{s:s, s:I, s:I, s:O, s:o}", "key", key, "created", (json_int_t)m->created,
                          "primed_job", (json_int_t)m->primed_job, "inputs", m->inputs, "files", files);
    char *text = json_dumps(j, JSON_INDENT(2));
    json_decref(j);
    return text;
}

static char *make_seal(const char *text, size_t size)
{
    char digest[DIGEST_HEX_SIZE];

    digest_bytes(text, size, digest);
    return text_format("%s  " MANIFEST_NAME "\n", digest);
}

/* Nobody but capsid writes here; still, a link, a device or a huge file must not be read. */
static int read_small(const char *path, size_t max, struct buffer *ret, struct error *e)
{
    cleanup_fd int fd = file_open(path, O_RDONLY | O_NOFOLLOW, e);
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return error_set(e, ERROR_CORRUPT, "%s is missing", path);
    if (fd < 0) {
        e->kind = errno == EINVAL ? ERROR_CORRUPT : e->kind;
        return -1;
    }
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size > max)
        return error_set(e, ERROR_CORRUPT, "%s is not a file of at most %zu bytes", path, max);
    return file_read_fd(fd, path, max, ret, e);
}

static int check_seal(const char *directory, const struct buffer *manifest, struct error *e)
{
    cleanup_free char *path = text_format("%s/" MANIFEST_SEAL_NAME, directory);
    cleanup_free char *wanted = make_seal(manifest->data, manifest->size);
    cleanup_buffer struct buffer seal = {0};

    if (read_small(path, MANIFEST_SEAL_MAX, &seal, e) < 0)
        return -1;
    if (strcmp(seal.data, wanted) != 0)
        return error_set(e, ERROR_CORRUPT,
                         "%s/" MANIFEST_NAME " is corrupt: it is not what " MANIFEST_SEAL_NAME " says",
                         directory);
    return 0;
}

int manifest_read(struct manifest *ret, const char *directory, const char *key, struct error *e)
{
    cleanup_free char *path = text_format("%s/" MANIFEST_NAME, directory);
    cleanup_buffer struct buffer text = {0};

    if (read_small(path, MANIFEST_MAX, &text, e) < 0)
        return -1;
    if (manifest_parse(ret, key, text.data, text.size, e) < 0)
        return error_wrap(e, "%s is not valid", path);
    if (check_seal(directory, &text, e) == 0)
        return 0;
    manifest_done(ret);
    return -1;
}

int manifest_write(const struct manifest *m, const char *key, const char *directory, const char *scratch,
                   struct error *e)
{
    cleanup_free char *path = text_format("%s/" MANIFEST_NAME, directory);
    cleanup_free char *seal_path = text_format("%s/" MANIFEST_SEAL_NAME, directory);
    cleanup_free char *text = manifest_format(m, key);

    if (!text || strlen(text) > MANIFEST_MAX)
        return error_set(e, ERROR_GENERAL, "the manifest of %s has more than %d bytes", directory,
                         MANIFEST_MAX);
    cleanup_free char *seal = make_seal(text, strlen(text));
    return file_replace(path, scratch, text, strlen(text), 0600, e) < 0
               ? -1
               : file_replace(seal_path, scratch, seal, strlen(seal), 0600, e);
}

/* A digest's beginning tells enough. */
static void add_value(struct buffer *b, const json_t *value)
{
    const char *s = json_string_value(value);

    if (!value)
        buffer_add_text(b, "nothing");
    else if (s)
        buffer_add_text(b, digest_is_hex(s) ? "%.12s" : "\"%.80s\"", s);
    else
        buffer_add_text(b, "%lld", (long long)json_integer_value(value));
}

static void add_difference(struct buffer *b, const char *name, const json_t *old, const json_t *now)
{
    buffer_add_text(b, "%s%s (was ", b->size ? ", " : "", name);
    add_value(b, old);
    buffer_add_text(b, ", is ");
    add_value(b, now);
    buffer_add_text(b, ")");
}

char *manifest_compare(const json_t *old, const json_t *now)
{
    struct buffer b = {0};
    const char *name;
    json_t *value;

    buffer_add(&b, "", 0);
    json_object_foreach((json_t *)old, name, value)
    {
        if (!json_equal(value, json_object_get(now, name)))
            add_difference(&b, name, value, json_object_get(now, name));
    }
    json_object_foreach((json_t *)now, name, value)
    {
        if (!json_object_get(old, name))
            add_difference(&b, name, NULL, value);
    }
    return b.data;
}
