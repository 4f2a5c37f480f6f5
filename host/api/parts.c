/* A body of multipart/form-data: what goes where. */
#include "api/server.h"

#include "base/file.h"

#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#define LINE_MAX_SIZE 16384 /* of the headers of a part, and how much of it is taken at a time */

static int take_request(struct exchange *x, const char *data, size_t size)
{
    if (x->body.size + size > REQUEST_SIZE_MAX)
        return refuse(&x->refusal, REFUSAL_TOO_LARGE, "the part \"request\" is larger than %u MiB",
                      REQUEST_SIZE_MAX >> 20);
    if (exchange_hold(x, size) < 0)
        return -1;
    buffer_add(&x->body, data, size);
    return 0;
}

static int take_stdin(struct exchange *x, const char *data, size_t size)
{
    if (x->task->stdin_fd < 0)
        x->task->stdin_fd = memfd_create("stdin", MFD_CLOEXEC);
    if (x->task->stdin_fd < 0)
        return refuse(&x->refusal, REFUSAL_OVERLOAD, "the server has too many files open");
    if (x->stdin_size + size > REQUEST_STDIN_PART_MAX)
        return refuse(&x->refusal, REFUSAL_TOO_LARGE, "the part \"stdin\" is larger than %u MiB",
                      REQUEST_STDIN_PART_MAX >> 20);
    if (exchange_hold(x, size) < 0)
        return -1;
    if (file_write_fd(x->task->stdin_fd, data, size) < 0)
        return refuse(&x->refusal, REFUSAL_OVERLOAD, "the server has no memory for the standard input");
    x->stdin_size += size;
    return 0;
}

/* offset: of the data in its part. A part that begins although it was there goes on where that ended. */
static enum MHD_Result on_data(void *exchange, enum MHD_ValueKind kind, const char *key, const char *filename,
                               const char *type, const char *encoding, const char *data, uint64_t offset,
                               size_t size)
{
    struct exchange *x = exchange;
    bool request = key && strcmp(key, "request") == 0;

    (void)kind, (void)filename, (void)type;
    if (!request && (!key || strcmp(key, "stdin") != 0))
        refuse(&x->refusal, REFUSAL_INVALID, "the parts of the body are \"request\" and \"stdin\"");
    else if (offset != (request ? x->body.size : x->stdin_size))
        refuse(&x->refusal, REFUSAL_INVALID, "the part \"%s\" is given twice", key);
    else if (encoding && strcasecmp(encoding, "binary") != 0 && strcasecmp(encoding, "8bit") != 0 &&
             strcasecmp(encoding, "7bit") != 0)
        refuse(&x->refusal, REFUSAL_INVALID,
               "a part has a Content-Transfer-Encoding that HTTP does not have");
    else
        (request ? take_request : take_stdin)(x, data, size);
    return x->refusal.kind ? MHD_NO : MHD_YES;
}

int parts_begin(struct exchange *x)
{
    x->parts = MHD_create_post_processor(x->connection, LINE_MAX_SIZE, on_data, x);
    return x->parts
               ? 0
               : refuse(&x->refusal, REFUSAL_MEDIA_TYPE,
                        "the Content-Type names no boundary of the parts, which has at least 2 characters");
}

int parts_take(struct exchange *x, const char *data, size_t size)
{
    if (MHD_post_process(x->parts, data, size) == MHD_YES && !x->refusal.kind)
        return 0;
    if (!x->refusal.kind)
        refuse(&x->refusal, REFUSAL_INVALID, "the body is not multipart/form-data of that boundary");
    return -1;
}

int parts_end(struct exchange *x)
{
    enum MHD_Result whole = MHD_destroy_post_processor(x->parts);

    x->parts = NULL;
    if (x->refusal.kind)
        return -1;
    if (whole != MHD_YES)
        return refuse(&x->refusal, REFUSAL_INVALID, "the last part of the body has no end");
    if (x->body.size == 0)
        return refuse(&x->refusal, REFUSAL_INVALID,
                      "the body has no part \"request\", which is a JSON object");
    return 0;
}

int parts_check(struct exchange *x, bool possible)
{
    if (x->task->stdin_fd < 0)
        return 0;
    if (!possible)
        return refuse(&x->refusal, REFUSAL_INVALID, "a command in the background has no standard input");
    request_drop_stdins(&x->task->request);
    return 0;
}
