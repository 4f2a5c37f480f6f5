#include "broker/stock_pack.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <string.h>
#include <unistd.h>

struct head {
    uint64_t kind, count;
};

/* ---- what rows are made of ------------------------------------------------------------------------ */

enum member_kind { MEMBER_END, MEMBER_text, MEMBER_number, MEMBER_flag };

struct member {
    enum member_kind kind;
    size_t offset;
};

#define M(member_kind, member) {MEMBER_##member_kind, offsetof(struct ROW, member)},
#define ROW stock_language
static const struct member languages[] = {STOCK_LANGUAGES(M){MEMBER_END, 0}};
#undef ROW
#define ROW stock_image
static const struct member images[] = {STOCK_IMAGES(M){MEMBER_END, 0}};
#undef ROW
#define ROW stock_record
static const struct member image_records[] = {STOCK_RECORDS(M){MEMBER_END, 0}};
#undef ROW
#define ROW stock_snapshot
static const struct member snapshots[] = {STOCK_SNAPSHOTS(M){MEMBER_END, 0}};
#undef ROW
#undef M

static const struct {
    size_t size;
    const struct member *members;
} kinds[STOCK_KINDS_COUNT] = {
    [STOCK_LANGUAGE] = {sizeof(struct stock_language), languages},
    [STOCK_IMAGE] = {sizeof(struct stock_image), images},
    [STOCK_RECORD] = {sizeof(struct stock_record), image_records},
    [STOCK_SNAPSHOT] = {sizeof(struct stock_snapshot), snapshots},
};

/* ---- packing -------------------------------------------------------------------------------------- */

/* What stands in a packed row for a text. */
static uintptr_t pack_text(struct stock_pack *p, const char *text)
{
    uintptr_t ret = p->texts.size + 1;

    if (!text)
        return 0;
    buffer_add(&p->texts, text, strlen(text) + 1);
    return ret;
}

void stock_pack_add(struct stock_pack *p, const void *row)
{
    size_t begin = p->rows.size;

    p->count++;
    buffer_add(&p->rows, row, kinds[p->kind].size);
    for (const struct member *m = kinds[p->kind].members; m->kind; m++) {
        char *place = p->rows.data + begin + m->offset;
        const char *text;
        if (m->kind != MEMBER_text)
            continue;
        memcpy(&text, place, sizeof(text));
        const uintptr_t packed = pack_text(p, text);
        memcpy(place, &packed, sizeof(packed));
    }
}

int stock_pack_seal(const struct stock_pack *p, struct error *e)
{
    const struct head head = {p->kind, p->count};
    cleanup_buffer struct buffer all = {0};

    buffer_add(&all, &head, sizeof(head));
    buffer_add(&all, p->rows.data, p->rows.size);
    buffer_add(&all, p->texts.data, p->texts.size);
    if (all.size > STOCK_SIZE_MAX)
        return error_set(e, ERROR_GENERAL, "there is more than can be told, %zu bytes", all.size);
    int fd = file_sealed("answer", all.data, all.size);
    return fd < 0 ? error_errno(e, "cannot hold the answer") : fd;
}

void stock_pack_done(struct stock_pack *p)
{
    buffer_free(&p->rows);
    buffer_free(&p->texts);
    p->count = 0;
}

/* ---- unpacking ------------------------------------------------------------------------------------ */

/* Where texts are, which end with a NUL unless there are none. */
struct texts {
    const char *data;
    size_t size;
};

static bool unpack_member(char *place, enum member_kind kind, const struct texts *texts)
{
    unsigned char flag;
    uintptr_t packed;

    if (kind == MEMBER_flag) {
        memcpy(&flag, place, 1);
        return flag <= 1; /* a bool that is neither true nor false is not to be looked at as one */
    }
    if (kind == MEMBER_number)
        return true;
    memcpy(&packed, place, sizeof(packed));
    if (packed > texts->size)
        return false;
    const char *text = packed ? texts->data + (packed - 1) : NULL;
    memcpy(place, &text, sizeof(text));
    return true;
}

static bool unpack_rows(struct stock *s, const struct texts *texts)
{
    const size_t size = kinds[s->kind].size;

    for (size_t i = 0; i < s->count; i++)
        for (const struct member *m = kinds[s->kind].members; m->kind; m++)
            if (!unpack_member(s->rows + i * size + m->offset, m->kind, texts))
                return false;
    return true;
}

static bool unpack_all(struct stock *s)
{
    struct head head;

    if (s->data.size < sizeof(head))
        return false;
    memcpy(&head, s->data.data, sizeof(head));
    size_t left = s->data.size - sizeof(head);
    if (head.kind >= STOCK_KINDS_COUNT || head.count > left / kinds[head.kind].size)
        return false;
    s->kind = (enum stock_kind)head.kind;
    s->count = head.count;
    s->rows = s->data.data + sizeof(head);
    size_t size = head.count * kinds[head.kind].size;
    const struct texts texts = {s->rows + size, left - size};
    return (texts.size == 0 || texts.data[texts.size - 1] == '\0') && unpack_rows(s, &texts);
}

int stock_unpack(struct stock *ret, int fd, struct error *e)
{
    struct stock s = {0};

    *ret = s;
    int result = lseek(fd, 0, SEEK_SET) < 0 ? error_errno(e, "the answer")
                                            : file_read_fd(fd, "the answer", STOCK_SIZE_MAX, &s.data, e);
    if (result == 0 && !unpack_all(&s))
        result = error_set(e, ERROR_GENERAL, "a list from the server's other part is malformed");
    if (result < 0)
        buffer_free(&s.data);
    else
        *ret = s;
    return result;
}

const void *stock_row(const struct stock *s, size_t number)
{
    return s->rows + number * kinds[s->kind].size;
}

void stock_done(struct stock *s)
{
    buffer_free(&s->data);
    *s = (struct stock){0};
}
