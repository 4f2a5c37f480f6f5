/* Images by their UUIDs and tags. */
#include "api/server.h"

#include <stdio.h>
#include <string.h>

#define LIST_MAX 1000
#define LIST_USUAL 100

static int query_tag(struct exchange *x, const char *name)
{
    const char *text = http_query(x, name);

    if (text && strlen(text) >= sizeof(x->image.tag))
        return refuse(&x->refusal, REFUSAL_INVALID, "%s has more than %d bytes", name, LINE_TAG_SIZE - 1);
    snprintf(x->image.tag, sizeof(x->image.tag), "%s", text ? text : "");
    return 0;
}

int handle_list_records(struct exchange *x)
{
    struct line_image *i = &x->image;

    i->whole = http_query(x, "tag");
    if (i->whole && http_query(x, "prefix"))
        return refuse(&x->refusal, REFUSAL_INVALID, "tag and prefix do not go together");
    return query_flag(x, "tagged", &i->tagged) < 0 ||
                   query_number(x, "limit", 1, LIST_MAX, LIST_USUAL, &i->limit) < 0 ||
                   query_number(x, "offset", 0, UINT32_MAX, 0, &i->offset) < 0 ||
                   query_moment(x, "since", &i->since) < 0 || query_moment(x, "until", &i->until) < 0
               ? -1
               : query_tag(x, i->whole ? "tag" : "prefix");
}

int work_list_records(struct exchange *x, struct backend *b)
{
    struct error e = {0};
    json_t *j = backend_image_records(b, &x->task->call, &x->image, &e);

    if (!j)
        return exchange_fail(x, &e);
    exchange_answer(x, 200, j);
    return 0;
}

static int take_reference(struct exchange *x, const char *reference)
{
    if (strlen(reference) >= sizeof(x->image.reference))
        return refuse(&x->refusal, REFUSAL_NOT_FOUND, "no image is called that");
    snprintf(x->image.reference, sizeof(x->image.reference), "%s", reference);
    return 0;
}

int handle_record(struct exchange *x)
{
    return take_reference(x, x->argument);
}

int handle_tag(struct exchange *x)
{
    if (take_reference(x, x->argument) < 0 || exchange_parse(x, SCHEMA_OBJECT_TAG, NULL) < 0)
        return -1;
    snprintf(x->image.tag, sizeof(x->image.tag), "%s", x->task->request.tag);
    return 0;
}

int handle_untag(struct exchange *x)
{
    return take_reference(x, x->argument) < 0 ? -1 : query_tag(x, "tag");
}

static int answer_record(struct exchange *x, struct backend *b, enum line_kind kind)
{
    struct error e = {0};
    json_t *j = backend_image_record(b, &x->task->call, kind, &x->image, &e);

    if (!j)
        return exchange_fail(x, &e);
    exchange_answer(x, 200, j);
    return 0;
}

int work_show_record(struct exchange *x, struct backend *b)
{
    return answer_record(x, b, LINE_RECORD);
}

int work_drop_record(struct exchange *x, struct backend *b)
{
    return answer_record(x, b, LINE_DROP);
}

int work_tag(struct exchange *x, struct backend *b)
{
    return answer_record(x, b, LINE_TAG);
}

int work_untag(struct exchange *x, struct backend *b)
{
    return answer_record(x, b, LINE_UNTAG);
}
