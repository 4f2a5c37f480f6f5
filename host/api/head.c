#include "api/head.h"

#include "base/text.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define VERSION_SIZE 8 /* of "HTTP/1.1"; the library takes no other */
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define NAME_CHARACTERS LETTERS "!#$%&'*+-.^_`|~"
#define HOST_CHARACTERS LETTERS "-._~[]:"
#define HOST_MAX 262 /* a name of 255 bytes, and a port */

struct fields {
    const char *fault; /* NULL: there is none yet */
    const char *next;  /* where the next line begins; NULL: that is not known */
    unsigned hosts, lengths, codings;
};

/*
 * libmicrohttpd before 1.0 says less than what came: it ends a text at a NUL byte, takes a line that begins with one for the end of the head, and
 * adds a line that goes on to the name of the one before. All that it says lies where the head was read to, so it has to lie end to end.
 * From 1.0 on it refuses such heads itself, and what it says need not lie so.
 */
static bool library_leaves_out(void)
{
    return strncmp(MHD_get_version(), "0.", 2) == 0;
}

static bool is_name(const char *name, const char *wanted)
{
    return strcasecmp(name, wanted) == 0;
}

static const char *find_fault(const char *name, size_t name_size, const char *value, size_t value_size)
{
    if (name_size == 0 || strspn(name, NAME_CHARACTERS) != name_size)
        return "a header's name has characters that names do not have";
    for (size_t i = 0; i < value_size; i++)
        if (((unsigned char)value[i] < ' ' && value[i] != '\t') || value[i] == 0x7f)
            return "a header's value has control characters";
    if (is_name(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) && strcasecmp(value, "chunked") != 0)
        return "the Transfer-Encoding is not \"chunked\"";
    if (is_name(name, MHD_HTTP_HEADER_CONTENT_LENGTH) &&
        (value_size == 0 || strspn(value, "0123456789") != value_size))
        return "the Content-Length is not a number";
    if (is_name(name, MHD_HTTP_HEADER_HOST) &&
        (value_size > HOST_MAX || strspn(value, HOST_CHARACTERS) != value_size))
        return "the Host is none";
    return NULL;
}

/* Is this line where the one before ended, and nothing in it but what is told? */
static bool follows(struct fields *f, const char *name, size_t name_size, const char *value,
                    size_t value_size)
{
    if (name != f->next || value <= name + name_size)
        return false;
    const char *blank = name + name_size + 1;
    while (blank < value && (*blank == ' ' || *blank == '\t'))
        blank++;
    f->next = value + value_size + 2;
    return blank == value;
}

static enum MHD_Result take_field(void *fields, enum MHD_ValueKind kind, const char *name, size_t name_size,
                                  const char *value, size_t value_size)
{
    struct fields *f = fields;

    (void)kind;
    if (f->next && !follows(f, name, name_size, value, value_size))
        f->fault = "a header has a NUL byte, or its line goes on or has no carriage return";
    else
        f->fault = find_fault(name, name_size, value ? value : "", value_size);
    f->hosts += is_name(name, MHD_HTTP_HEADER_HOST);
    f->lengths += is_name(name, MHD_HTTP_HEADER_CONTENT_LENGTH);
    f->codings += is_name(name, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    return f->fault ? MHD_NO : MHD_YES;
}

static const char *check_fields(struct MHD_Connection *connection, const char *version, struct fields *f)
{
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, take_field, f);
    if (f->fault)
        return f->fault;
    if (f->lengths > 1)
        return "there are two headers Content-Length";
    if (f->codings > 1 || (f->codings && f->lengths))
        return "there is another header besides Transfer-Encoding that says where the body ends";
    if (f->codings && strcmp(version, MHD_HTTP_VERSION_1_0) == 0)
        return "HTTP/1.0 has no Transfer-Encoding";
    return f->hosts > 1 ? "there are two headers Host" : NULL;
}

/* The first line, of which method and version are told, and the end of the head. */
static const char *check_whole(const struct head *h, struct MHD_Connection *connection, const char *method,
                               const char *version)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    bool exact = library_leaves_out();
    struct fields f = {.next = exact ? version + VERSION_SIZE + 2 : NULL};

    if (!h->target ||
        (exact && (method + strlen(method) + 1 != h->target || h->target + h->target_size + 1 != version)))
        return "the first line is not a method, a path and a version";
    if (h->target_fault)
        return h->target_fault;
    const char *fault = check_fields(connection, version, &f);
    if (!fault && exact && info && f.next + 2 != method + info->header_size)
        return "a header has a NUL byte, or its line goes on or has no carriage return";
    return fault;
}

int head_check(const struct head *h, struct MHD_Connection *connection, const char *method,
               const char *version, struct refusal *r)
{
    const char *fault = check_whole(h, connection, method, version);

    return fault ? refuse(r, REFUSAL_INVALID, "this is not a request of HTTP: %s", fault) : 0;
}

/* How many bytes of the target come before the host; 0: it is not all of a URI. */
static size_t scheme_size(const char *target)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (strncasecmp(target, schemes[i], strlen(schemes[i])) == 0)
            return strlen(schemes[i]);
    return 0;
}

void head_begin(struct head *h, const char *target)
{
    bool ended = h->ended;

    *h = (struct head){.target = target, .ended = ended};
    if (!target)
        return;
    h->target_size = strlen(target);
    h->host_at = scheme_size(target);
    h->host_size = h->host_at ? strcspn(target + h->host_at, "/?") : 0;
    if (!h->host_at && target[0] != '/' && strcmp(target, "*") != 0)
        h->target_fault = "what is asked for is neither a path nor a URI";
    if (h->host_at && (h->host_size == 0 || h->host_size > HOST_MAX ||
                       strspn(target + h->host_at, HOST_CHARACTERS) < h->host_size))
        h->target_fault = "the URI has no host, or more than that and a port";
}

void head_target(const struct head *h, const char *decoded, const char *host_header, char **ret_path,
                 char **ret_host)
{
    const char *path = decoded + h->host_at + h->host_size; /* none of these bytes was encoded */

    *ret_path = text_copy(h->host_at && !path[0] ? "/" : path);
    *ret_host =
        h->host_at ? text_format("%.*s", (int)h->host_size, h->target + h->host_at) : text_copy(host_header);
}
