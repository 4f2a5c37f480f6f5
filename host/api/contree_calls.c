/* ConTree's REST interface: images, files, who asks. */
#include "api/server.h"

#include "base/moment.h"
#include "contree/shown.h"

#include <string.h>

#define LIST_MAX 1000
#define LIST_USUAL 100

/* ---- images ---------------------------------------------------------------------------------------- */

static int take_query_text(struct exchange *x, const char *name, char *out, size_t size)
{
    const char *text = http_query(x, name);

    if (text && strlen(text) >= size)
        return refuse(&x->refusal, REFUSAL_INVALID, "%s has more than %zu bytes", name, size - 1);
    snprintf(out, size, "%s", text ? text : "");
    return 0;
}

int handle_contree_images(struct exchange *x)
{
    struct line_image *i = &x->image;

    i->named = true;
    return query_flag(x, "tagged", &i->tagged) < 0 ||
                   query_number(x, "limit", 1, LIST_MAX, LIST_USUAL, &i->limit) < 0 ||
                   query_number(x, "offset", 0, UINT32_MAX, 0, &i->offset) < 0 ||
                   query_moment(x, "since", &i->since) < 0 || query_moment(x, "until", &i->until) < 0 ||
                   take_query_text(x, "tag", i->tag, sizeof(i->tag)) < 0
               ? -1
               : take_query_text(x, "uuid", i->reference, sizeof(i->reference));
}

/* One image, by its UUID, as a list; one that is not there is an empty list. */
static json_t *list_one(struct exchange *x, struct backend *b, struct error *e)
{
    json_t *record = backend_image_record(b, &x->task->call, LINE_RECORD, &x->image, e);

    if (!record && e->kind != ERROR_NOT_FOUND)
        return NULL;
    json_t *list = json_array();
    if (record)
        json_array_append_new(list, record);
    return json_pack("{s:o}", "images", list);
}

int work_contree_images(struct exchange *x, struct backend *b)
{
    struct error e = {0};
    json_t *records =
        x->image.reference[0] ? list_one(x, b, &e) : backend_image_records(b, &x->task->call, &x->image, &e);

    if (!records)
        return exchange_fail(x, &e);
    exchange_answer(x, 200, contree_images(records, x->image.tag));
    json_decref(records);
    return 0;
}

/* What becomes of one; a new reference, or NULL with the refusal set. */
static json_t *ask_record(struct exchange *x, struct backend *b, enum line_kind kind)
{
    struct error e = {0};
    json_t *record = backend_image_record(b, &x->task->call, kind, &x->image, &e);

    if (!record)
        exchange_fail(x, &e);
    return record;
}

static int tell_image(struct exchange *x, json_t *record, const char *tag)
{
    if (!record)
        return -1;
    exchange_answer(x, 200, contree_image(record, tag));
    json_decref(record);
    return 0;
}

int work_contree_tag(struct exchange *x, struct backend *b)
{
    return tell_image(x, ask_record(x, b, LINE_TAG), x->image.tag);
}

int work_contree_untag(struct exchange *x, struct backend *b)
{
    return tell_image(x, ask_record(x, b, LINE_UNTAG), NULL);
}

int work_contree_image(struct exchange *x, struct backend *b)
{
    return tell_image(x, ask_record(x, b, LINE_RECORD), NULL);
}

/* The front has no network, and the broker makes no image that a client names. */
int handle_contree_import(struct exchange *x)
{
    return refuse(&x->refusal, REFUSAL_INVALID,
                  "this server imports no images for its clients; whoever runs it does, with: capsid rootfs "
                  "from-docker --image IMAGE --tag TAG");
}

int handle_contree_find(struct exchange *x)
{
    const char *tag = http_query(x, "tag");

    if (!tag || strlen(tag) >= LINE_TAG_SIZE)
        return refuse(&x->refusal, REFUSAL_INVALID, "tag must be given, with at most %d bytes",
                      LINE_TAG_SIZE - 1);
    snprintf(x->image.reference, sizeof(x->image.reference), "tag:%s", tag);
    return 0;
}

int work_contree_find(struct exchange *x, struct backend *b)
{
    json_t *record = ask_record(x, b, LINE_RECORD);

    if (!record)
        return -1;
    json_t *image = contree_image(record, x->image.reference + strlen("tag:"));
    json_decref(record);
    snprintf(x->answer.location, sizeof(x->answer.location), CONTREE_PATH "inspect/%s/",
             json_string_value(json_object_get(image, "uuid")));
    return exchange_answer(x, 302, image);
}

/* ---- files ----------------------------------------------------------------------------------------- */

static json_t *file_json(const struct file_item *i)
{
    char created[MOMENT_TEXT_SIZE];

    moment_print(i->created * 1000000000, created);
    return json_pack("{s:s, s:s, s:I, s:s, s:s}", "uuid", i->uuid, "sha256", i->digest, "size",
                     (json_int_t)i->size, "created_at", created, "updated_at", created);
}

int work_contree_add_file(struct exchange *x, struct backend *b)
{
    if (work_add_file(x, b) < 0)
        return -1;
    x->answer.location[0] = '\0';
    return 0;
}

static bool add_file_json(const struct file_item *i, void *context)
{
    json_array_append_new(context, file_json(i));
    return json_array_size(context) < FILES_LISTED_MAX;
}

int work_contree_files(struct exchange *x, struct backend *b)
{
    json_t *list = json_array();
    struct error e = {0};

    (void)b;
    if (files_each(&x->server->files, x->task->owner, add_file_json, list, &e) < 0) {
        json_decref(list);
        return exchange_fail(x, &e);
    }
    return exchange_answer(x, 200, json_pack("{s:o}", "files", list));
}

/* What is known of it, and not what it holds. */
int work_contree_file(struct exchange *x, struct backend *b)
{
    struct error e = {0};
    struct file_item i;

    (void)b;
    if (files_find(&x->server->files, x->task->owner, x->argument, &i, &e) < 0)
        return exchange_fail(x, &e);
    return exchange_answer(x, 200, file_json(&i));
}

/* ---- who asks -------------------------------------------------------------------------------------- */

int contree_tell_whoami(struct exchange *x)
{
    return exchange_answer(
        x, 200,
        contree_whoami(x->task->owner, x->server->limits.timeout, backend_places(x->server->backend)));
}
