#include "handle.h"

#include "file.h"
#include "job.h"
#include "job_stream.h"
#include "strings.h"

static void break_flow(struct conn *c, uint32_t stream, uint16_t request)
{
    conn_break(c, stream, request, PROTO_ERR_FLOW, "outside of the window");
}

static void take_file_end(struct conn *c, uint32_t stream)
{
    uint16_t request;
    struct fault f = file_take_end(c, stream, &request);

    if (f.code == PROTO_ERR_FLOW)
        break_flow(c, stream, MSG_END);
    else
        handle_answer_fault(c, stream, request, f);
}

static void take_file_data(struct conn *c, uint32_t stream, const struct msg_data *m)
{
    struct file_progress p;
    struct fault f = file_take(c, stream, m, &p);

    if (f.code == PROTO_ERR_FLOW)
        break_flow(c, stream, MSG_DATA);
    else if (f.code || p.done)
        handle_answer(c, stream, p.request, f);
    else if (p.window)
        CONN_SEND(c, window, stream,
                  &((struct msg_window){.channel = 0, .consumed = p.taken, .limit = p.limit}));
}

/* A stream that is not in use has ended while the message was under way; so these three ignore it. */

void handle_data(struct conn *c, uint32_t stream, const struct msg_data *m)
{
    struct job *j = job_find_stream(c, stream);

    if (m->channel != 0 || m->data.size == 0)
        conn_break(c, stream, MSG_DATA, PROTO_ERR_MALFORMED,
                   "DATA is empty, or its channel goes out of the guest");
    else if (j && !channels_take(&j->io, m->offset, m->data))
        break_flow(c, stream, MSG_DATA);
    else if (!j && file_has_stream(c, stream))
        take_file_data(c, stream, m);
}

void handle_end(struct conn *c, uint32_t stream, const struct msg_end *m)
{
    struct job *j = job_find_stream(c, stream);

    if (m->channel != 0)
        conn_break(c, stream, MSG_END, PROTO_ERR_MALFORMED, "the channel goes out of the guest");
    else if (j && !channels_take_end(&j->io, m->offset))
        break_flow(c, stream, MSG_END);
    else if (!j && file_has_stream(c, stream))
        take_file_end(c, stream);
    else if (!j)
        strings_drop(c, stream); /* the host has changed its mind */
}

void handle_strings(struct conn *c, uint32_t stream, const struct msg_strings *m)
{
    if (strings_take(c, stream, m) != 0)
        conn_break(c, stream, MSG_STRINGS, PROTO_ERR_FLOW, "not the next part of the strings");
}

void handle_window(struct conn *c, uint32_t stream, const struct msg_window *m)
{
    struct job *j = job_find_stream(c, stream);
    bool is_file = !j && file_has_stream(c, stream);

    if (j ? !job_take_window(j, m) : is_file && file_take_window(c, stream, m) != 0)
        break_flow(c, stream, MSG_WINDOW);
    else if (!j && !is_file && (j = job_find_told(c, stream)))
        job_take_late_window(j, m);
}
