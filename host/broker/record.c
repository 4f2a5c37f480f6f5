#include "broker/record.h"

#include "broker/stock.h"
#include "image/catalog.h"
#include "image/remove.h"
#include "image/tags.h"

#include <string.h>

static int list_records(struct errand *r, struct stock_pack *p, struct error *e)
{
    const struct line_image *i = &r->request.image;
    const struct inventory_wish wish = {.tagged = i->tagged,
                                        .named = i->named,
                                        .prefix = i->tag[0] && !i->whole ? i->tag : NULL,
                                        .tag = i->tag[0] && i->whole ? i->tag : NULL,
                                        .since = i->since,
                                        .until = i->until,
                                        .offset = i->offset,
                                        .limit = i->limit};

    return stock_pack_records(p, &r->broker->host, &wish, e);
}

static int tell_record(const struct home *h, const char *uuid, struct stock_pack *p, struct error *e)
{
    struct inventory all;

    if (inventory_read(&all, h, e) < 0)
        return -1;
    const struct image_entry *entry = inventory_find(&all, uuid);
    if (entry)
        stock_pack_record(p, entry);
    inventory_done(&all);
    return entry ? 0 : error_set(e, ERROR_NOT_FOUND, "the image %s was removed meanwhile", uuid);
}

static int give_tag(struct errand *r, const struct image *i, struct error *e)
{
    const struct home *h = &r->broker->host.home;

    if (image_tag(i, h, r->request.image.tag, NULL, &r->call.cancel, e) < 0)
        return -1;
    catalog_follow_tag(h, r->request.image.tag);
    return 0;
}

struct untagging {
    struct errand *errand;
    struct error *error;
};

static int take_tag(const char *tag, void *context)
{
    const struct untagging *u = context;
    const struct home *h = &u->errand->broker->host.home;

    if (image_untag(h, tag, &u->errand->call.cancel, u->error) < 0)
        return -1;
    catalog_follow_tag(h, tag);
    return 0;
}

/* Another image's stay. */
static int take_tags(struct errand *r, const struct image *i, struct error *e)
{
    const char *tag = r->request.image.tag;
    char uuid[IMAGE_UUID_SIZE];
    struct inventory all;

    if (tag[0]) {
        if (image_find_tag(uuid, &r->broker->host.home, tag, e) < 0)
            return -1;
        return strcmp(uuid, i->uuid) == 0
                   ? take_tag(tag, &(struct untagging){r, e})
                   : error_set(e, ERROR_NOT_FOUND, "%s is the tag of another image, %s", tag, uuid);
    }
    if (inventory_read(&all, &r->broker->host.home, e) < 0)
        return -1;
    const struct image_entry *entry = inventory_find(&all, i->uuid);
    int result = entry ? inventory_each_word(&entry->tags, take_tag, &(struct untagging){r, e}) : 0;
    inventory_done(&all);
    return result;
}

/* The image as it is then, or was. */
static int serve_one(struct errand *r, const struct image *i, struct stock_pack *p, struct error *e)
{
    const struct home *h = &r->broker->host.home;
    uint64_t freed;

    switch ((enum line_kind)r->request.kind) {
    case LINE_TAG:
        return give_tag(r, i, e) < 0 ? -1 : tell_record(h, i->uuid, p, e);
    case LINE_UNTAG:
        return take_tags(r, i, e) < 0 ? -1 : tell_record(h, i->uuid, p, e);
    case LINE_DROP:
        return tell_record(h, i->uuid, p, e) < 0 ? -1 : image_delete(h, i, &freed, &r->call.cancel, e);
    default:
        return tell_record(h, i->uuid, p, e);
    }
}

void serve_records(struct errand *r)
{
    struct stock_pack p = {.kind = STOCK_RECORD};
    struct image i = {0};
    struct error e = {0};

    if (r->request.kind == LINE_RECORDS)
        list_records(r, &p, &e);
    else if (image_resolve(&i, &r->broker->host.home, r->request.image.reference, &e) == 0)
        serve_one(r, &i, &p, &e);
    image_done(&i);
    errand_tell_stock(r, &p, &e);
    stock_pack_done(&p);
}
