#include "core/look_stream.h"

#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct look_stream {
    enum look_question question;
    struct look_bounds left;
    const struct look_visitor *visitor; /* borrowed */
    uint64_t files;                     /* that came, itself included */
    uint64_t awaited;                   /* bytes of the last one that are to come */
    bool done;
    struct look_end end;
    uint32_t os_errno;
    char why[LOOK_TEXT_MAX + 1];
    char last[LOOK_NAME_MAX + 1]; /* name of a list */
    char name[LOOK_PATH_MAX + 1], target[LOOK_PATH_MAX + 1];
    struct frame_reader reader;
    uint8_t buffer[FRAME_MAX];
};

static int violation(struct error *e, const char *what)
{
    return error_set(e, ERROR_VM_LOST, "what the guest tells of the image's files breaks the rules: %s",
                     what);
}

static bool is_part(const char *part, size_t size)
{
    return size > 0 && size <= LOOK_NAME_MAX && !(size == 1 && part[0] == '.') &&
           !(size == 2 && part[0] == '.' && part[1] == '.');
}

static bool is_path(const char *path)
{
    size_t size;

    for (unsigned depth = 1;; depth++, path += size + 1) {
        size = strcspn(path, "/");
        if (!is_part(path, size) || depth > LOOK_DEPTH_MAX + 1)
            return false;
        if (!path[size])
            return true;
    }
}

/* Without a NUL, and not too long. */
static bool take_string(struct wire_bytes from, char *ret, size_t most)
{
    if (from.size > most || (from.size && memchr(from.data, '\0', from.size)))
        return false;
    if (from.size)
        memcpy(ret, from.data, from.size);
    ret[from.size] = '\0';
    return true;
}

static bool is_type(uint32_t mode)
{
    return mode <= (S_IFMT | 07777) && (S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISCHR(mode) ||
                                        S_ISBLK(mode) || S_ISFIFO(mode) || S_ISSOCK(mode));
}

static bool take_file(struct look_stream *s, const struct look_msg_entry *m, struct look_file *ret)
{
    bool link = S_ISLNK(m->mode);

    *ret = (struct look_file){.name = s->name,
                              .mode = m->mode,
                              .uid = m->uid,
                              .gid = m->gid,
                              .size = S_ISREG(m->mode) ? m->size : 0,
                              .mtime_s = (int64_t)m->mtime_s,
                              .mtime_ns = m->mtime_ns,
                              .major = m->major,
                              .minor = m->minor,
                              .target = link ? s->target : NULL};
    return is_type(m->mode) && m->size <= INT64_MAX && m->mtime_ns < 1000000000 &&
           take_string(m->name, s->name, LOOK_PATH_MAX) && take_string(m->target, s->target, LOOK_PATH_MAX) &&
           link == (s->target[0] != '\0');
}

/* Entries come in order, so none comes twice, and none but those that were asked for. */
static int check_listed(struct look_stream *s, struct error *e)
{
    if (strchr(s->name, '/') || !is_part(s->name, strlen(s->name)) || strcmp(s->name, s->last) <= 0)
        return violation(e, "a name is not where it belongs");
    if (s->left.files == 0)
        return violation(e, "there are more names than were asked for");
    s->left.files--;
    strcpy(s->last, s->name);
    return 0;
}

static int check_node(struct look_stream *s, const struct look_file *f, struct error *e)
{
    if (s->files > 0 && !is_path(s->name))
        return violation(e, "a path leads elsewhere");
    if (s->left.bytes < LOOK_NODE_BYTES || f->size > s->left.bytes - LOOK_NODE_BYTES)
        return error_set(e, ERROR_BUSY, "the files have more bytes than are allowed");
    s->left.bytes -= LOOK_NODE_BYTES + f->size;
    s->awaited = f->size;
    return 0;
}

static int check_told_file(struct look_stream *s, const struct look_file *f, struct error *e)
{
    if ((s->files == 0) != (s->name[0] == '\0') || s->awaited)
        return violation(e, "a file is not where it belongs");
    if (s->question == LOOK_WALK)
        return check_node(s, f, e);
    if (s->question == LOOK_LIST)
        return s->files == 0 ? 0 : check_listed(s, e);
    if (s->question != LOOK_READ || s->files > 0 || !S_ISREG(f->mode))
        return violation(e, "a file was not asked for");
    return 0;
}

static int take_entry(struct look_stream *s, const struct frame *frame, struct error *e)
{
    struct look_msg_entry m;
    struct look_file f;

    if (!look_entry_decode(&m, frame) || !take_file(s, &m, &f))
        return violation(e, "a file cannot be");
    if (check_told_file(s, &f, e) < 0)
        return -1;
    s->files++;
    return s->visitor->on_file ? s->visitor->on_file(s->visitor->context, &f, e) : 0;
}

static int take_file_data(struct look_stream *s, const struct frame *frame, struct error *e)
{
    uint64_t *left = s->question == LOOK_READ ? &s->left.bytes : &s->awaited;
    struct look_msg_data m;

    if (!look_data_decode(&m, frame) || m.data.size == 0 || m.data.size > LOOK_DATA_MAX || s->files == 0 ||
        (s->question != LOOK_READ && s->question != LOOK_WALK) || m.data.size > *left)
        return violation(e, "there are bytes of no file");
    *left -= m.data.size;
    return s->visitor->on_data ? s->visitor->on_data(s->visitor->context, m.data.data, m.data.size, e) : 0;
}

static int take_match(struct look_stream *s, const struct frame *frame, struct error *e)
{
    struct look_msg_match m;

    if (!look_match_decode(&m, frame) || s->question != LOOK_GREP || s->left.matches == 0 || m.line == 0 ||
        m.text.size > LOOK_TEXT_MAX || m.cut > 1 || !take_string(m.path, s->name, LOOK_PATH_MAX) ||
        (s->name[0] && !is_path(s->name)))
        return violation(e, "a line was not asked for");
    s->left.matches--;
    const struct look_match match = {.path = s->name,
                                     .line = m.line,
                                     .text = (const char *)m.text.data,
                                     .size = m.text.size,
                                     .cut = m.cut};
    return s->visitor->on_match ? s->visitor->on_match(s->visitor->context, &match, e) : 0;
}

static int take_done(struct look_stream *s, const struct frame *frame, struct error *e)
{
    struct look_msg_done m;

    if (!look_done_decode(&m, frame) || m.truncated > 1 || !take_string(m.text, s->why, LOOK_TEXT_MAX))
        return violation(e, "its end is malformed");
    if (m.os_errno == 0 && (s->awaited || (s->files == 0 && s->question != LOOK_GREP)))
        return violation(e, "a file is not complete");
    s->os_errno = m.os_errno;
    s->end = (struct look_end){.truncated = m.truncated, .skipped = m.skipped};
    s->done = true;
    return 0;
}

static int take_message(struct look_stream *s, const struct frame *f, struct error *e)
{
    if (s->done)
        return violation(e, "there is more behind its end");
    switch (f->type) {
    case LOOK_ENTRY:
        return take_entry(s, f, e);
    case LOOK_DATA:
        return take_file_data(s, f, e);
    case LOOK_MATCH:
        return take_match(s, f, e);
    case LOOK_DONE:
        return take_done(s, f, e);
    default:
        return violation(e, "there is no such message");
    }
}

struct look_stream *look_stream_open(enum look_question question, const struct look_bounds *bounds,
                                     const struct look_visitor *visitor)
{
    struct look_stream *s = memory_allocate(sizeof(*s));

    s->question = question;
    s->left = *bounds;
    s->visitor = visitor;
    if (bounds->after)
        memcpy(s->last, bounds->after, strnlen(bounds->after, LOOK_NAME_MAX));
    frame_reader_init(&s->reader, s->buffer, sizeof(s->buffer));
    return s;
}

int look_stream_take(struct look_stream *s, const void *data, size_t size, struct error *e)
{
    const uint8_t *from = data;
    struct frame f;
    size_t room;
    int next;

    while (size) {
        uint8_t *space = frame_reader_space(&s->reader, &room);
        size_t n = room < size ? room : size;
        memcpy(space, from, n);
        frame_reader_added(&s->reader, n);
        from += n;
        size -= n;
        while ((next = frame_reader_next(&s->reader, &f)) > 0)
            if (take_message(s, &f, e) < 0)
                return -1;
        if (next < 0)
            return violation(e, "it is no message");
    }
    return 0;
}

static enum error_kind kind_of_failure(uint32_t os_errno)
{
    switch (os_errno) {
    case ENOENT:
        return ERROR_NOT_FOUND;
    case EILSEQ: /* the pattern */
    case ENOTDIR:
    case EISDIR:
    case EINVAL: /* no regular file */
    case ELOOP:
    case ENAMETOOLONG:
        return ERROR_USAGE;
    default:
        return ERROR_GENERAL;
    }
}

int look_stream_end(const struct look_stream *s, struct look_end *ret, struct error *e)
{
    if (!s->done || frame_reader_pending(&s->reader))
        return violation(e, "it ends early");
    *ret = s->end;
    if (s->os_errno == 0)
        return 0;
    char text[201];
    strncpy(text, s->why, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    text_make_plain(text);
    if (s->os_errno == EILSEQ)
        return error_set(e, ERROR_USAGE, "the pattern cannot be used: %s", text);
    return error_set(e, kind_of_failure(s->os_errno), "%s in the image: %s", text,
                     s->os_errno == EINVAL ? "not a regular file" : strerror((int)s->os_errno));
}

void look_stream_close(struct look_stream *s)
{
    free(s);
}
