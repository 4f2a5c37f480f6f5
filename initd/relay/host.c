#include "host.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* A queue that is never written when it is empty has no more than this: control messages of all numbers beside the DATA. */
#define QUEUE_SIZE (256u << 10)
#define QUEUE_ROOM (64u << 10)

static uint8_t queue[QUEUE_SIZE];
static size_t queue_start, queue_end;
static uint8_t input[FRAME_MAX];
static struct frame_reader reader;

bool host_has_room(void)
{
    return queue_end - queue_start <= QUEUE_SIZE - QUEUE_ROOM - RELAY_FRAME_MAX;
}

static void make_room(void)
{
    if (QUEUE_SIZE - queue_end >= RELAY_FRAME_MAX)
        return;
    memmove(queue, queue + queue_start, queue_end - queue_start);
    queue_end -= queue_start;
    queue_start = 0;
    if (QUEUE_SIZE - queue_end < RELAY_FRAME_MAX) /* the host asks without reading what it is told */
        _exit(1);
}

void host_tell(const struct relay_message *m)
{
    make_room();
    queue_end += relay_encode(m, queue + queue_end);
}

void host_tell_empty(enum relay_type type, uint32_t stream)
{
    host_tell(&(struct relay_message){.type = type, .stream = stream});
}

void host_note(const char *text)
{
    host_tell(&(struct relay_message){
        .type = RELAY_NOTE, .data = (const uint8_t *)text, .size = (uint32_t)strlen(text)});
}

bool host_flush(void)
{
    while (queue_start < queue_end) {
        ssize_t n = write(STDOUT_FILENO, queue + queue_start, queue_end - queue_start);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0 && errno != EINTR)
            _exit(1);
        queue_start += n > 0 ? (size_t)n : 0;
    }
    queue_start = queue_end = 0;
    return false;
}

void host_read(void (*take)(const struct relay_message *m))
{
    struct relay_message m;
    struct frame f;
    size_t room;
    int next;

    if (!reader.buffer)
        frame_reader_init(&reader, input, sizeof(input));
    uint8_t *space = frame_reader_space(&reader, &room);
    ssize_t n = read(STDIN_FILENO, space, room);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        _exit(0);
    frame_reader_added(&reader, (size_t)n);
    while ((next = frame_reader_next(&reader, &f)) > 0) {
        if (!relay_decode(&m, &f))
            _exit(1);
        take(&m);
    }
    if (next < 0)
        _exit(1);
}
