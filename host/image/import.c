#include "image/import.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "image/adopt.h"
#include "image/build.h"
#include "image/catalog.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define IMPORT_FORMAT "1"
#define IMPORT_DEADLINE_MS (60 * 60 * 1000)
#define LOOK_MS 300 /* how often the size of what was pulled is looked at */
#define RESULT_MAX (1u << 20)
#define DEFAULT_BYTES (8ull << 30)
#define DEFAULT_ENTRIES 1000000
#define DEFAULT_RATIO 250
#define ENGINE_POLICY "/etc/containers/policy.json"

struct import {
    const struct config *config;
    struct home *home;
    const struct import_request *request;
    const struct cancel *cancel;
    char label[IMAGE_UUID_SIZE + 32]; /* what it is called until it is an image */
    int64_t deadline;
    char *source; /* owned, as all strings here; what skopeo is told */
    char *work;
    char *layout;
    char *temporary;
    char *log;
    char *output;
    char *result;
    char *packages;
};

static void import_done(struct import *i)
{
    char *strings[] = {i->source, i->work,   i->layout, i->temporary,
                       i->log,    i->output, i->result, i->packages};

    for (size_t n = 0; n < sizeof(strings) / sizeof(strings[0]); n++)
        free(strings[n]);
}

/* ---- where from ------------------------------------------------------------------------------------ */

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* A reference without transport is a name in a registry, as docker pull takes it. */
static char *find_source(const char *reference, struct error *e)
{
    static const char *const others[] = {
        "containers-storage:", "dir:", "docker-daemon:", "oci-archive:", "ostree:", "sif:", "tarball:"};

    for (const char *p = reference; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f) {
            error_set(e, ERROR_USAGE, "--image has a blank or control character in it");
            return NULL;
        }
    for (size_t n = 0; n < sizeof(others) / sizeof(others[0]); n++)
        if (begins(reference, others[n])) {
            error_set(e, ERROR_USAGE,
                      "--image %.64s cannot be used; give docker://NAME, oci:DIRECTORY:TAG or "
                      "docker-archive:FILE",
                      reference);
            return NULL;
        }
    if (!reference[0] || reference[0] == '-' || strlen(reference) > 1024) {
        error_set(e, ERROR_USAGE, "--image is not a reference; for example docker://alpine:3.19");
        return NULL;
    }
    bool complete =
        begins(reference, "docker://") || begins(reference, "oci:") || begins(reference, "docker-archive:");
    return text_format("%s%s", complete ? "" : "docker://", reference);
}

/* Only a registry on this machine may do without TLS. */
static bool is_loopback(const char *source)
{
    static const char prefix[] = "docker://";
    static const char *const hosts[] = {"localhost", "127.0.0.1", "[::1]"};
    const char *host = source + sizeof(prefix) - 1;

    if (!begins(source, prefix))
        return false;
    for (size_t n = 0; n < sizeof(hosts) / sizeof(hosts[0]); n++) {
        char after = begins(host, hosts[n]) ? host[strlen(hosts[n])] : 'x';
        if (after == ':' || after == '/')
            return true;
    }
    return false;
}

/* ---- pulling --------------------------------------------------------------------------------------- */

/* Bytes of the files in a directory and one below each of its directories. */
static uint64_t bytes_in(const char *path, int depth)
{
    cleanup_dir DIR *dir = opendir(path);
    uint64_t total = 0;
    struct stat st;

    for (struct dirent *d; dir && (d = readdir(dir));) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
            fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        cleanup_free char *below = text_format("%s/%s", path, d->d_name);
        if (S_ISREG(st.st_mode))
            total += (uint64_t)st.st_size;
        else if (S_ISDIR(st.st_mode) && depth > 0)
            total += bytes_in(below, depth - 1);
    }
    return total;
}

/* The last line of the log, without the prefix that skopeo puts before it. */
static void find_reason(const char *log, char *out, size_t size)
{
    char line[2048] = "", last[2048] = "no output";
    cleanup_file FILE *f = fopen(log, "re");

    while (f && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0])
            strcpy(last, line);
    }
    char *message = strstr(last, "msg=\"");
    snprintf(out, size, "%.600s", message ? message + 5 : last);
    size_t end = strlen(out);
    if (message && end > 0 && out[end - 1] == '"')
        out[end - 1] = '\0';
    text_make_plain(out);
}

/* Waits for skopeo; ends it when it has written more than an image may have. */
static int wait_for_pull(struct import *i, struct child *c, uint64_t max_bytes, struct error *e)
{
    int code = 0, ended = 0;

    while (ended == 0) {
        if (clock_monotonic_ns() > i->deadline)
            return error_set(e, ERROR_TIMEOUT, "skopeo did not end in time");
        ended = child_wait(c, deadline_in_ms(LOOK_MS), i->cancel, &code, e);
        if (ended >= 0 && bytes_in(i->layout, 3) + bytes_in(i->temporary, 3) > max_bytes)
            return error_set(
                e, ERROR_GENERAL,
                "it has more than the limit of %llu bytes; if you trust it, raise it with --max-size",
                (unsigned long long)max_bytes);
    }
    if (ended < 0)
        return -1;
    if (code != 0) {
        char reason[640];
        find_reason(i->log, reason, sizeof(reason));
        return error_set(e, ERROR_GENERAL, "%s (log: %s)", reason, i->log);
    }
    return 0;
}

static int pull(struct import *i, uint64_t max_bytes, struct error *e)
{
    cleanup_free char *destination = text_format("oci:%s:image", i->layout);
    cleanup_fd int log = file_open(i->log, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, e);
    struct arguments a = {0};
    struct child c = CHILD_NONE;

    if (log < 0)
        return -1;
    arguments_add(&a, "skopeo");
    arguments_add(&a, "--override-os");
    arguments_add(&a, "linux");
    arguments_add(&a, "--override-arch");
    arguments_add(&a, "amd64");
    arguments_add(&a, "--tmpdir");
    arguments_add(&a, i->temporary);
    /* The machine's own policy about signatures, where there is one. */
    if (!file_exists(ENGINE_POLICY))
        arguments_add(&a, "--insecure-policy");
    arguments_add(&a, "copy");
    arguments_add(&a, "--remove-signatures");
    if (is_loopback(i->source))
        arguments_add(&a, "--src-tls-verify=false");
    arguments_add(&a, "--");
    arguments_add(&a, i->source);
    arguments_add(&a, destination);
    struct child_spec spec = {.argv = a.words, .stdin_fd = -1, .stdout_fd = log, .stderr_fd = log};

    if (child_spawn(&c, &spec, e) < 0)
        return error_wrap(e, "skopeo is needed (the Debian package skopeo)");
    int result = home_record_child(i->home, &c, e) < 0 || wait_for_pull(i, &c, max_bytes, e) < 0 ? -1 : 0;
    child_kill(&c);
    home_forget_child(i->home, &c);
    return result < 0 ? error_wrap(e, "%s cannot be pulled", i->source) : 0;
}

/* ---- unpacking ------------------------------------------------------------------------------------- */

/* "a b c" as a JSON list, as the unpacker wants it. */
static char *cmd_as_json(const char *cmd)
{
    cleanup_free char *copy = text_copy(cmd);
    char *state = NULL;
    json_t *list = json_array();

    for (char *word = strtok_r(copy, " ", &state); word; word = strtok_r(NULL, " ", &state))
        json_array_append_new(list, json_string(word));
    char *text = json_dumps(list, 0);
    json_decref(list);
    return text;
}

static int unpack(struct import *i, uint64_t max_bytes, struct error *e)
{
    const struct import_request *r = i->request;
    cleanup_free char *tool = text_format("%s/import-oci", i->config->data);
    cleanup_free char *initd = text_format("%s/initd", i->config->data);
    cleanup_free char *bytes = text_format("%llu", (unsigned long long)max_bytes);
    cleanup_free char *entries =
        text_format("%llu", (unsigned long long)(r->max_entries ? r->max_entries : DEFAULT_ENTRIES));
    cleanup_free char *ratio =
        text_format("%llu", (unsigned long long)(r->max_ratio ? r->max_ratio : DEFAULT_RATIO));
    cleanup_free char *cmd = r->cmd ? cmd_as_json(r->cmd) : NULL;
    struct arguments a = {0};

    arguments_add_namespaces(&a);
    const char *words[] = {tool,      i->layout,   i->work, initd,   i->output,
                           i->result, i->packages, bytes,   entries, ratio};
    for (size_t n = 0; n < sizeof(words) / sizeof(words[0]); n++)
        arguments_add(&a, words[n]);
    if (cmd)
        arguments_add(&a, cmd);
    if (image_run_builder(i->home, &a, i->log, i->label, i->deadline, i->cancel, e) < 0) {
        if (strstr(e->text, "no line matching user"))
            error_set(e, e->kind,
                      "your user has no range of user ids; run: sudo usermod --add-subuids 100000-165535 "
                      "--add-subgids 100000-165535 NAME, or import as root");
        return error_wrap(e, "%s cannot be made an image", i->source);
    }
    return 0;
}

/* What decides the bytes: the manifest names everything by its digest. */
static int hash_inputs(struct import *i, const json_t *oci, char ret[static DIGEST_HEX_SIZE], struct error *e)
{
    cleanup_free char *initd = text_format("%s/initd", i->config->data);
    cleanup_free char *tool = text_format("%s/import-oci", i->config->data);
    const char *manifest = json_string_value(json_object_get(oci, "manifest"));
    char initd_digest[DIGEST_HEX_SIZE], tool_digest[DIGEST_HEX_SIZE];
    cleanup_buffer struct buffer all = {0};

    if (home_digest(i->home, initd, initd_digest, e) < 0 || home_digest(i->home, tool, tool_digest, e) < 0)
        return -1;
    buffer_add_text(&all, "import %s\ninitd %s\ntool %s\nmanifest %s\ncmd %s\n", IMPORT_FORMAT, initd_digest,
                    tool_digest, manifest ? manifest : "", i->request->cmd ? i->request->cmd : "");
    digest_bytes(all.data, all.size, ret);
    return 0;
}

static int adopt(struct import *i, struct image *ret, struct error *e)
{
    cleanup_buffer struct buffer text = {0};
    char inputs[DIGEST_HEX_SIZE];

    if (file_read(i->result, RESULT_MAX, &text, e) < 0)
        return -1;
    json_t *oci = json_loadb(text.data, text.size, 0, NULL);
    if (!json_is_object(oci)) {
        json_decref(oci);
        return error_set(e, ERROR_CORRUPT, "%s is not a JSON object", i->result);
    }
    json_object_set_new(oci, "image", json_string(i->source));
    int result = hash_inputs(i, oci, inputs, e);
    if (result == 0)
        result = image_adopt(ret, i->config, i->home,
                             &(struct image_adoption){
                                 .name = i->request->name,
                                 .inputs = inputs,
                                 .paths = &(struct build_paths){.output = i->output, .lock_out = i->packages},
                                 .oci = oci,
                                 .disk_mib = i->request->disk_mib},
                             i->cancel, e);
    if (result == 0 && ret->name)
        catalog_follow(i->home, ret->name);
    else if (result == 0)
        catalog_follow_id(i->home, ret->uuid);
    json_decref(oci);
    return result;
}

static int import_locked(struct import *i, struct image *ret, struct error *e)
{
    uint64_t max_bytes = i->request->max_bytes ? i->request->max_bytes : DEFAULT_BYTES;
    int64_t start = clock_monotonic_ns();

    if (file_make_directories(i->work, e) < 0 || file_make_directories(i->temporary, e) < 0)
        return -1;
    log_progress("Importing the image %s from %s (log: %s)", i->label, i->source, i->log);
    if (pull(i, max_bytes, e) < 0 || unpack(i, max_bytes, e) < 0 || adopt(i, ret, e) < 0)
        return -1;
    log_progress("  %s: done in %.1f s", i->label, (double)(clock_monotonic_ns() - start) / 1e9);
    return 0;
}

/* One that gets no name is called by where it comes from. */
static void set_label(struct import *i)
{
    char digest[DIGEST_HEX_SIZE];

    digest_bytes(i->source, strlen(i->source), digest);
    if (i->request->name)
        snprintf(i->label, sizeof(i->label), "%s", i->request->name);
    else
        snprintf(i->label, sizeof(i->label), "of-%.12s", digest);
}

static void set_paths(struct import *i)
{
    const char *scratch = i->home->scratch;

    i->work = text_format("%s/import-%s", scratch, i->label);
    i->layout = text_format("%s/layout-%s", scratch, i->label);
    i->temporary = text_format("%s/pull-%s", scratch, i->label);
    i->log = home_path(i->home, "log/import-%s.log", i->label);
    i->output = text_format("%s/import-%s.erofs", scratch, i->label);
    i->result = text_format("%s/import-%s.json", scratch, i->label);
    i->packages = text_format("%s/import-%s.packages", scratch, i->label);
}

int image_import(struct image *ret, const struct config *config, struct home *h,
                 const struct import_request *request, const struct cancel *cancel, struct error *e)
{
    if (request->name && !text_is_name(request->name))
        return error_set(e, ERROR_USAGE, "--name must be a plain name: letters, digits and . _ + -");
    struct import i = {.config = config,
                       .home = h,
                       .request = request,
                       .cancel = cancel,
                       .deadline = deadline_in_ms(IMPORT_DEADLINE_MS),
                       .source = find_source(request->reference, e)};
    if (!i.source)
        return -1;
    set_label(&i);
    set_paths(&i);
    cleanup_free char *lock = text_format("image-%s", i.label);
    cleanup_free char *waiting = text_format("making the image %s", i.label);
    cleanup_fd int fd = home_lock(h, lock, waiting, i.deadline, cancel, e);
    int result = fd < 0 ? -1 : import_locked(&i, ret, e);
    import_done(&i);
    return result;
}

/* ---- using it -------------------------------------------------------------------------------------- */

/* What a job has for itself, whatever the image says: its user is not the image's. */
static bool is_the_jobs(const char *variable)
{
    return begins(variable, "HOME=") || begins(variable, "USER=") || begins(variable, "LOGNAME=") ||
           begins(variable, "TMPDIR=");
}

int image_each_variable(const struct image *i,
                        int (*take)(const char *variable, void *context, struct error *e), void *context,
                        struct error *e)
{
    int result = 0;

    for (char **v = i->defaults.env; result == 0 && v && *v; v++)
        if (!is_the_jobs(*v))
            result = take(*v, context, e);
    return result;
}

bool image_replaces(const struct image *i, const struct recipe *recipe)
{
    return i->origin == IMAGE_IMPORTED && !recipe->oci;
}

int image_find_imported(struct image *ret, const struct home *h, const char *name, const char *oci,
                        struct error *e)
{
    struct image i = {0};
    struct error why = {0};

    if (image_find(&i, h, name, &why) < 0) {
        *e = why;
        return why.kind != ERROR_NOT_FOUND
                   ? -1
                   : error_set(e, ERROR_NOT_FOUND,
                               "language %s needs an imported image; make it with: capsid rootfs from-docker "
                               "--name %s --image %s",
                               name, name, oci);
    }
    int result =
        i.oci ? image_verify(&i, h, e)
              : error_set(e, ERROR_GENERAL,
                          "the image %s was not imported; make it anew with: capsid rootfs from-docker "
                          "--name %s --image %s",
                          name, name, oci);
    if (result == 0)
        *ret = i;
    else
        image_done(&i);
    return result;
}
