/* /api/v1/sessions/{id}/files: bytes, ranges and directories. No path here is one of the host's. */
#include "api/server.h"

#include "base/cleanup.h"
#include "core/program.h"
#include "service/answer_view.h"

#include <string.h>
#include <sys/stat.h>

#define PATH_SIZE_MAX 4096        /* bytes, as PATH_MAX */
#define FILE_SIZE_MAX (32u << 20) /* bytes of one answer or request */
#define ENTRIES_MAX 10000         /* of a directory that are listed */
#define FILE_MS 60000             /* how long the guest may take */

/* ---- what is asked for --------------------------------------------------------------------------- */

/* What follows /files in the request's path; percent-decoding left a NUL as it was. */
static int take_path(struct exchange *x)
{
    const char *path = strchr(x->path + strlen("/api/v1/sessions/"), '/') + strlen("/files");
    size_t size = strlen(path);

    if (size >= PATH_SIZE_MAX)
        return refuse(&x->refusal, REFUSAL_INVALID, "the path is longer than %d bytes", PATH_SIZE_MAX - 1);
    if (strstr(path, "%00"))
        return refuse(&x->refusal, REFUSAL_INVALID, "the path holds a NUL character");
    for (const char *p = path; (p = strstr(p, "/..")); p += 3)
        if (!p[3] || p[3] == '/')
            return refuse(&x->refusal, REFUSAL_INVALID, "the path has a \"..\"");
    x->guest_path = text_copy(path);
    x->file.list = path[size - 1] == '/' || http_query(x, "list");
    while (size > 1 && x->guest_path[size - 1] == '/')
        x->guest_path[--size] = '\0';
    return 0;
}

/* A range that is not understood is as none (RFC 9110, section 14.2); several are, too. */
static void take_range(struct exchange *x)
{
    const char *range = http_header(x, "Range");
    struct file_query *q = &x->file;

    if (!range || strncmp(range, "bytes=", 6) != 0 || strlen(range) > 64)
        return;
    cleanup_free char *first = text_copy(range + 6);
    char *last = strchr(first, '-');
    if (!last)
        return;
    *last++ = '\0';
    q->last = UINT64_MAX;
    q->from_end = !first[0];
    if (q->from_end) {
        q->ranged = text_to_u64(last, 0, INT64_MAX, &q->last);
        return;
    }
    q->ranged = text_to_u64(first, 0, INT64_MAX, &q->first) &&
                (!last[0] || text_to_u64(last, q->first, INT64_MAX, &q->last));
}

/* text NULL: it is not given. */
static int parse_mode(struct exchange *x, const char *text)
{
    char *end;

    if (!text)
        return 0;
    unsigned long value = strtoul(text, &end, 8);
    if (text[0] < '0' || text[0] > '7' || *end || value > 07777)
        return refuse(&x->refusal, REFUSAL_INVALID, "the mode must be octal, from 0 to 7777");
    x->file.mode = (uint32_t)value;
    return 0;
}

/* In the query or in a header; with both, the query counts. */
static int take_mode(struct exchange *x)
{
    x->file.mode = x->file.list ? 0755 : 0644;
    return parse_mode(x, http_header(x, "X-File-Mode")) < 0 ? -1 : parse_mode(x, http_query(x, "mode"));
}

int handle_session_file(struct exchange *x)
{
    if (handle_session(x) < 0 || take_path(x) < 0 || take_mode(x) < 0)
        return -1;
    take_range(x);
    if (x->body.size > FILE_SIZE_MAX)
        return refuse(&x->refusal, REFUSAL_TOO_LARGE, "the file is larger than %u MiB", FILE_SIZE_MAX >> 20);
    if (strcmp(x->guest_path, "/") == 0 && strcmp(x->method, "GET") != 0 && strcmp(x->method, "HEAD") != 0)
        return refuse(&x->refusal, REFUSAL_INVALID, "the root directory stays as it is");
    if (x->body.size > 0 && x->file.list)
        return refuse(&x->refusal, REFUSAL_INVALID, "a directory has no content");
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------------- */

static enum file_kind kind_of(uint32_t mode)
{
    return S_ISREG(mode)   ? FILE_IS_REGULAR
           : S_ISDIR(mode) ? FILE_IS_DIRECTORY
           : S_ISLNK(mode) ? FILE_IS_SYMLINK
                           : FILE_IS_OTHER;
}

/* As ENTRY or WRITTEN; of f only what these tell counts. */
static json_t *describe_file(enum schema_object object, const char *name, const struct guest_file *f)
{
    char mode[8];
    const struct file_view view = {
        .name = {.data = (char *)(uintptr_t)name, .size = strlen(name)},
        .kind = kind_of(f->mode),
        .mode = mode,
        .size = f->size & INT64_MAX,
        .modified = f->mtime_ns / 1000000000,
    };

    snprintf(mode, sizeof(mode), "%04o", f->mode & 07777);
    return schema_json(object, SCHEMA_OF_FILE, &view, NULL);
}

struct listing {
    json_t *entries;
    bool cut;
};

static bool add_entry(const char *name, const struct guest_file *f, void *context)
{
    struct listing *l = context;

    if (json_array_size(l->entries) >= ENTRIES_MAX) {
        l->cut = true;
        return false;
    }
    json_array_append_new(l->entries, describe_file(SCHEMA_OBJECT_ENTRY, name, f));
    return true;
}

static int list(struct exchange *x, struct guest *g, int64_t deadline, struct error *e)
{
    struct listing l = {.entries = json_array()};

    if (guest_list(g, x->guest_path, add_entry, &l, deadline, e) < 0) {
        json_decref(l.entries);
        return -1;
    }
    const struct listing_view view = {
        .items = l.entries, .count = json_array_size(l.entries), .truncated = l.cut};
    exchange_answer(x, 200, schema_json(SCHEMA_OBJECT_DIRECTORY, SCHEMA_OF_LISTING, &view, NULL));
    json_decref(l.entries);
    return 0;
}

/* The first byte and how many; the file may change before it is read. -1 with a refusal. */
static int plan_range(struct exchange *x, const struct guest_file *f, uint64_t *ret_first,
                      uint64_t *ret_length)
{
    const struct file_query *q = &x->file;

    *ret_first = 0;
    *ret_length = FILE_SIZE_MAX + 1;
    if (!q->ranged && f->size > FILE_SIZE_MAX)
        return refuse(&x->refusal, REFUSAL_TOO_LARGE,
                      "the file is larger than %u MiB; ask for parts of it with Range", FILE_SIZE_MAX >> 20);
    if (!q->ranged)
        return 0;
    *ret_first = !q->from_end ? q->first : f->size > q->last ? f->size - q->last : 0;
    if (*ret_first >= f->size || (q->from_end && q->last == 0)) {
        snprintf(x->answer.range, sizeof(x->answer.range), "bytes */%llu", (unsigned long long)f->size);
        return refuse(&x->refusal, REFUSAL_RANGE, "the file has %llu bytes", (unsigned long long)f->size);
    }
    uint64_t last = q->from_end || q->last >= f->size ? f->size - 1 : q->last;
    *ret_length = last - *ret_first + 1 < FILE_SIZE_MAX ? last - *ret_first + 1 : FILE_SIZE_MAX;
    return 0;
}

static int read_file_session_file(struct exchange *x, struct guest *g, int64_t deadline, struct error *e)
{
    struct buffer *body = &x->answer.body;
    struct guest_file f;
    uint64_t first, length;

    if (guest_stat(g, x->guest_path, &f, deadline, e) < 0)
        return -1;
    if (S_ISDIR(f.mode))
        return list(x, g, deadline, e);
    if (plan_range(x, &f, &first, &length) < 0)
        return 0;
    /* A file without a size can have content, in /proc for one. */
    if (exchange_hold(x, 2 * (size_t)(x->file.ranged ? length : f.size ? f.size : FILE_SIZE_MAX)) < 0)
        return 0;
    if (f.size && !x->file.ranged)
        length = f.size;
    if (guest_read_file(g, x->guest_path, first, length, &f, body, deadline, e) < 0)
        return -1;
    if (body->size > FILE_SIZE_MAX)
        return refuse(&x->refusal, REFUSAL_TOO_LARGE, "the file is larger than %u MiB", FILE_SIZE_MAX >> 20);
    x->answer.status = x->file.ranged ? 206 : 200;
    x->answer.type = "application/octet-stream";
    snprintf(x->answer.file_mode, sizeof(x->answer.file_mode), "%04o", f.mode & 07777);
    if (x->file.ranged && body->size > 0)
        snprintf(x->answer.range, sizeof(x->answer.range), "bytes %llu-%llu/%llu", (unsigned long long)first,
                 (unsigned long long)(first + body->size - 1), (unsigned long long)f.size);
    return 0;
}

/* ---- calls --------------------------------------------------------------------------------------- */

/* Does one of them with the session's guest. */
static int with_guest(struct exchange *x,
                      int (*call)(struct exchange *, struct guest *, int64_t deadline, struct error *))
{
    struct session_user u;
    struct error e = {0};

    if (session_enter(x->used_session, x->task->call.cancel.fd, SESSION_CALL, &u, &x->refusal) < 0)
        return -1;
    int result = call(x, &u.guest, deadline_in_ms(FILE_MS), &e);
    if (result < 0 && !x->refusal.kind)
        session_fail(u.session, &e, &x->refusal);
    session_leave(&u);
    return x->refusal.kind ? -1 : 0;
}

int work_get_file(struct exchange *x, struct backend *b)
{
    (void)b;
    return with_guest(x, x->file.list ? list : read_file_session_file);
}

static int write_file(struct exchange *x, struct guest *g, int64_t deadline, struct error *e)
{
    const struct guest_file f = {.mode = (x->file.list ? S_IFDIR : S_IFREG) | x->file.mode,
                                 .size = x->body.size};

    if (guest_write_file(g, x->guest_path, f.mode, x->file.list ? 0 : PROTO_WRITE_ATOMIC, PROGRAM_UID,
                         PROGRAM_UID, x->body.data ? x->body.data : "", x->body.size, deadline, e) < 0)
        return -1;
    exchange_answer(x, 201, describe_file(SCHEMA_OBJECT_WRITTEN, "", &f));
    return 0;
}

int work_put_file(struct exchange *x, struct backend *b)
{
    (void)b;
    return with_guest(x, write_file);
}

static int delete_file(struct exchange *x, struct guest *g, int64_t deadline, struct error *e)
{
    if (guest_remove(g, x->guest_path, deadline, e) < 0)
        return -1;
    x->answer.status = 204;
    return 0;
}

int work_delete_file(struct exchange *x, struct backend *b)
{
    (void)b;
    return with_guest(x, delete_file);
}
