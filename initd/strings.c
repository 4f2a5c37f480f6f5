#include "strings.h"

#include "limits.h"

#include <string.h>
#include <sys/mman.h>

/* argv and env of one request, back to back. */
static struct strings {
    const struct conn *conn; /* NULL: the slot is free */
    uint32_t stream;
    uint32_t argv_size, env_size, got;
    uint8_t *data; /* owned, a mapping of its own; NULL: there is a fault, and what comes is dropped */
    struct fault fault;
} table[STRINGS_MAX];

static struct strings *find_strings(const struct conn *c, uint32_t stream)
{
    for (unsigned i = 0; i < STRINGS_MAX; i++)
        if (table[i].conn == c && (!c || table[i].stream == stream))
            return &table[i];
    return NULL;
}

static size_t size_of(const struct strings *s)
{
    return (size_t)s->argv_size + s->env_size;
}

bool strings_has_stream(const struct conn *c, uint32_t stream)
{
    return find_strings(c, stream);
}

bool strings_any(void)
{
    for (unsigned i = 0; i < STRINGS_MAX; i++)
        if (table[i].conn)
            return true;
    return false;
}

static size_t bytes_held(void)
{
    size_t held = 0;

    for (unsigned i = 0; i < STRINGS_MAX; i++)
        held += table[i].data ? size_of(&table[i]) : 0;
    return held;
}

static struct fault map(struct strings *s)
{
    size_t size = size_of(s);

    if (s->argv_size > PROTO_STRINGS_MAX || s->env_size > PROTO_STRINGS_MAX || size > PROTO_STRINGS_MAX)
        return fault_of(PROTO_ERR_LIMIT, "argv and env are too large");
    if (bytes_held() + size > STRINGS_BYTES_MAX)
        return fault_of(PROTO_ERR_BUSY, "strings of other jobs are in the way; try again");
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return fault_of(PROTO_ERR_BUSY, "no memory for the strings; try again");
    s->data = data;
    return FAULT_NONE;
}

static struct strings *begin(const struct conn *c, uint32_t stream, const struct msg_strings *m)
{
    struct strings *s = find_strings(NULL, 0);

    if (!s)
        return NULL;
    *s = (struct strings){.conn = c, .stream = stream, .argv_size = m->argv_size, .env_size = m->env_size};
    s->fault = map(s);
    return s;
}

int strings_take(const struct conn *c, uint32_t stream, const struct msg_strings *m)
{
    struct strings *s = find_strings(c, stream);

    if (!s && m->offset == 0)
        s = begin(c, stream, m);
    if (!s) /* there was no slot, which its request is told */
        return 0;
    if (m->argv_size != s->argv_size || m->env_size != s->env_size || m->offset != s->got ||
        m->data.size == 0 || m->data.size > size_of(s) - s->got)
        return PROTO_ERR_FLOW;
    if (s->data)
        memcpy(s->data + s->got, m->data.data, m->data.size);
    s->got += m->data.size;
    return 0;
}

/* Strings back to back, each with its NUL, as the decoder of a frame wants them. */
static bool are_ended(const uint8_t *data, uint32_t size)
{
    return size == 0 || data[size - 1] == '\0';
}

struct fault strings_of(const struct conn *c, uint32_t stream, struct wire_strs *argv, struct wire_strs *env)
{
    const struct strings *s = find_strings(c, stream);

    if (!s && argv->size == 0 && !find_strings(NULL, 0))
        return fault_of(PROTO_ERR_BUSY, "strings of other jobs are in the way; try again");
    if (!s)
        return wire_strs_count(*argv) + wire_strs_count(*env) > PROTO_FRAME_STRINGS_MAX
                   ? fault_of(PROTO_ERR_LIMIT, "too many arguments or variables without STRINGS")
                   : FAULT_NONE;
    if (s->fault.code)
        return s->fault;
    if (argv->size || env->size)
        return fault_of(PROTO_ERR_INVALID, "argv and env are here and in STRINGS");
    const uint8_t *second = s->data + s->argv_size;
    if (s->got != size_of(s) || !are_ended(s->data, s->argv_size) || !are_ended(second, s->env_size))
        return fault_of(PROTO_ERR_INVALID, "STRINGS are incomplete, or their last one has no NUL");
    *argv = (struct wire_strs){.data = (const char *)s->data, .size = s->argv_size};
    *env = (struct wire_strs){.data = (const char *)second, .size = s->env_size};
    return FAULT_NONE;
}

static void forget_strings(struct strings *s)
{
    if (s->data)
        munmap(s->data, size_of(s));
    *s = (struct strings){0};
}

void strings_drop(const struct conn *c, uint32_t stream)
{
    struct strings *s = find_strings(c, stream);

    if (s)
        forget_strings(s);
}

void strings_drop_conn(const struct conn *c)
{
    for (unsigned i = 0; i < STRINGS_MAX; i++)
        if (table[i].conn == c)
            forget_strings(&table[i]);
}
