/*
 * golden: writes annotated hex of frames.
 *
 *   golden write DIR    DIR/NAME.hex for each message, DIR/example-N-NAME.hex for each worked example
 *   golden seeds DIR    seeds for the fuzzers, DIR/messages/NAME and DIR/frame/NAME
 *   golden examples     the worked examples of PROTOCOL.md, in Markdown
 *
 * Files that exist are left alone: a vector that changes is a protocol that changes.
 */
#include "golden/examples.h"
#include "golden/fill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COLUMNS 16 /* bytes on a line */

/* ---- one line, or more, for each field ------------------------------------------------------------ */

static void print_hex(FILE *out, const uint8_t *data, size_t size, const char *comment)
{
    for (size_t i = 0; i < size; i++) {
        fprintf(out, "%02x", data[i]);
        size_t column = i % COLUMNS;
        if (i == size - 1 && i < COLUMNS)
            fprintf(out, "%*s", (int)(COLUMNS - 1 - column) * 3, "");
        if (i < COLUMNS && (column == COLUMNS - 1 || i == size - 1))
            fprintf(out, "  # %s", comment);
        fputs(column == COLUMNS - 1 || i == size - 1 ? "\n" : " ", out);
    }
}

static void note_integer(char *out, size_t size, const char *name, uint64_t v)
{
    snprintf(out, size, "%s %llu", name, (unsigned long long)v);
}

/* As in C, without quotes: \0 for the NUL that is part of a string on the wire. */
static void note_text(char *out, size_t size, const char *name, const char *data, size_t length)
{
    int n = snprintf(out, size, "%s ", name);
    size_t used = (size_t)n;

    for (size_t i = 0; i < length && used + 5 < size; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c == '\0')
            used += (size_t)sprintf(out + used, "\\0");
        else if (c < 0x20 || c > 0x7e)
            used += (size_t)sprintf(out + used, "\\x%02x", c);
        else
            out[used++] = (char)c;
    }
    out[used] = '\0';
}

#define note_u8(out, room, name, v) note_integer(out, room, name, v)
#define note_u16(out, room, name, v) note_integer(out, room, name, v)
#define note_u32(out, room, name, v) note_integer(out, room, name, v)
#define note_u64(out, room, name, v) note_integer(out, room, name, v)
#define note_str(out, room, name, v) note_text(out, room, name, v, strlen(v) + 1)
#define note_strs(out, room, name, v) note_text(out, room, name, (v).data, (v).size)
#define note_u32s(out, room, name, v) snprintf(out, room, "%s, %u integers", name, (v).count)
#define note_bytes(out, room, name, v) snprintf(out, room, "%s, %u bytes", name, (v).size)
#define note_uuid(out, room, name, v) snprintf(out, room, "%s", name)

static void print_header(FILE *out, const char *name, const uint8_t *frame, size_t size)
{
    char note[64];

    snprintf(note, sizeof(note), "length %zu", size - FRAME_HEADER_SIZE);
    print_hex(out, frame, 4, note);
    snprintf(note, sizeof(note), "type %s", name);
    print_hex(out, frame + 4, 2, note);
    print_hex(out, frame + 6, 2, "flags 0");
    note_integer(note, sizeof(note), "stream", (uint64_t)frame[8] | frame[9] << 8 | frame[10] << 16);
    if (frame[11])
        snprintf(note, sizeof(note), "stream 0x%02x%02x%02x%02x", frame[11], frame[10], frame[9], frame[8]);
    print_hex(out, frame + 8, 4, note);
}

#define F(type, field, doc)                                                                                  \
    {                                                                                                        \
        const uint8_t *before = w.pos;                                                                       \
        wire_put_##type(&w, m->field);                                                                       \
        note_##type(note, sizeof(note), #field, m->field);                                                   \
        print_hex(out, before, (size_t)(w.pos - before), note);                                              \
    }
#define M(NAME, name, number, sender, doc)                                                                   \
    static void print_##name(FILE *out, const struct msg_##name *m, uint32_t stream)                         \
    {                                                                                                        \
        static uint8_t frame[FRAME_MAX], again[FRAME_MAX];                                                   \
        char note[256];                                                                                      \
        size_t size = msg_##name##_frame(m, stream, frame, sizeof(frame));                                   \
        struct wire_writer w = wire_writer_of(again, sizeof(again));                                         \
        (void)note;                                                                                          \
        print_header(out, #NAME, frame, size);                                                               \
        PROTO_FIELDS_##name(F);                                                                              \
        if ((size_t)(w.pos - again) != size - FRAME_HEADER_SIZE ||                                           \
            memcmp(again, frame + FRAME_HEADER_SIZE, size - FRAME_HEADER_SIZE) != 0)                         \
            abort();                                                                                         \
    }
PROTO_MESSAGES(M)
#undef M
#undef F

/* ---- files ---------------------------------------------------------------------------------------- */

/* A new file to write, or NULL when it exists. */
static FILE *create_file(const char *directory, const char *name, const char *suffix)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s%s", directory, name, suffix);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST)
        return NULL;
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out) {
        perror(path);
        exit(1);
    }
    printf("%s\n", path);
    return out;
}

static void close_file(FILE *out)
{
    if (fclose(out) != 0) {
        perror("fclose");
        exit(1);
    }
}

static void write_vectors(const char *directory)
{
    struct filler f;
    FILE *out;
    char title[64];
    int number = 0;

#define M(NAME, name, number, sender, doc)                                                                   \
    if ((out = create_file(directory, #NAME, ".hex"))) {                                                     \
        struct msg_##name m;                                                                                 \
        msg_fill_##name(&m, &f);                                                                             \
        print_##name(out, &m, FILL_STREAM);                                                                  \
        close_file(out);                                                                                     \
    }
    PROTO_MESSAGES(M)
#undef M

#define E(NAME, name, stream, doc, ...)                                                                      \
    snprintf(title, sizeof(title), "example-%d-%s", ++number, #NAME);                                        \
    if ((out = create_file(directory, title, ".hex"))) {                                                     \
        print_##name(out, &(struct msg_##name){__VA_ARGS__}, stream);                                        \
        close_file(out);                                                                                     \
    }
    EXAMPLES(E)
#undef E
}

/* messages: u16 type, payload. frame: two bytes of settings, then one frame, or a whole conversation. */
static void write_seeds(const char *directory)
{
    static uint8_t frame[FRAME_MAX];
    char path[4096];
    struct filler f;
    FILE *out;
    size_t size;

#define M(NAME, name, number, sender, doc)                                                                   \
    snprintf(path, sizeof(path), "%s/messages", directory);                                                  \
    if ((out = create_file(path, #NAME, ""))) {                                                              \
        struct msg_##name m;                                                                                 \
        msg_fill_##name(&m, &f);                                                                             \
        size = msg_##name##_frame(&m, FILL_STREAM, frame, sizeof(frame));                                    \
        fwrite(frame + 4, 1, 2, out);                                                                        \
        fwrite(frame + FRAME_HEADER_SIZE, 1, size - FRAME_HEADER_SIZE, out);                                 \
        close_file(out);                                                                                     \
    }
    PROTO_MESSAGES(M)
#undef M

    snprintf(path, sizeof(path), "%s/frame", directory);
    static const char *const names[] = {"tiny-buffer", "small-buffer", "middle-buffer", "full-buffer"};
    for (unsigned i = 0; i < 4; i++) {
        if (!(out = create_file(path, names[i], "")))
            continue;
        fputc((int)i * 37, out);
        fputc((int)i * 2, out);
#define E(NAME, name, stream, doc, ...)                                                                      \
    size = msg_##name##_frame(&(struct msg_##name){__VA_ARGS__}, stream, frame, sizeof(frame));              \
    fwrite(frame, 1, size, out);
        EXAMPLES(E)
#undef E
        close_file(out);
    }
}

static const char HOST[] = "host", GUEST[] = "guest",
                  BOTH[] = "guest"; /* BOTH: DATA, END of a job's output */

static void print_examples(void)
{
    static const char *const sender_of[] = {
#define M(NAME, name, number, sender, doc) [number] = sender,
        PROTO_MESSAGES(M)
#undef M
    };

#define E(NAME, name, stream, doc, ...)                                                                      \
    printf("\n**%s** from the %s. %s\n\n```\n", #NAME, sender_of[MSG_##NAME], doc);                          \
    print_##name(stdout, &(struct msg_##name){__VA_ARGS__}, stream);                                         \
    printf("```\n");
    EXAMPLES(E)
#undef E
    printf("\n");
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "write") == 0)
        write_vectors(argv[2]);
    else if (argc == 3 && strcmp(argv[1], "seeds") == 0)
        write_seeds(argv[2]);
    else if (argc == 2 && strcmp(argv[1], "examples") == 0)
        print_examples();
    else {
        fprintf(stderr, "usage: golden write DIR | seeds DIR | examples\n");
        return 1;
    }
    return 0;
}
