#include "broker/stock.h"

#include "base/file.h"
#include "image/ensure.h"
#include "image/import.h"

/* ---- languages ----------------------------------------------------------------------------------- */

int stock_of_language(struct stock_language *ret, struct image *image, const struct host *host,
                      const struct language *l, struct error *e)
{
    int installed = image_find_current(image, &host->config, &host->home, l->name, &l->recipe, e);

    if (installed < 0)
        return -1;
    bool replaced = installed && image_replaces(image, &l->recipe);
    *ret = (struct stock_language){.name = l->name,
                                   .title = l->title,
                                   .aliases = l->aliases,
                                   .extension = l->extension,
                                   .extensions = l->extensions,
                                   .source = l->source,
                                   .compiled = l->build != NULL,
                                   .primed = replaced ? l->imported_prime : l->prime,
                                   .suite = l->recipe.suite,
                                   .packages = l->recipe.packages,
                                   .npm = l->recipe.npm,
                                   .pip = l->recipe.pip,
                                   .oci = l->recipe.oci,
                                   .imported = replaced ? image->origin_of : NULL,
                                   .memory_mib = l->shape.memory_mib,
                                   .vcpus = l->shape.vcpus,
                                   .installed = installed,
                                   .hello = l->hello,
                                   .expect = l->expect};
    return 0;
}

struct packing {
    struct stock_pack *pack;
    const struct host *host;
};

static int pack_language(const struct language *l, void *context, struct error *e)
{
    struct packing *p = context;
    struct stock_language row;
    struct image image;

    if (stock_of_language(&row, &image, p->host, l, e) < 0)
        return -1;
    stock_pack_add(p->pack, &row);
    image_done(&image);
    return 0;
}

int stock_pack_languages(struct stock_pack *p, const struct host *host, struct error *e)
{
    p->kind = STOCK_LANGUAGE;
    return language_each(host->config.data, pack_language, &(struct packing){p, host}, e);
}

int stock_pack_language(struct stock_pack *p, const struct host *host, const char *name, struct error *e)
{
    struct language l;

    p->kind = STOCK_LANGUAGE;
    if (language_find(&l, host->config.data, name, e) < 0)
        return -1;
    int result = pack_language(&l, &(struct packing){p, host}, e);
    language_done(&l);
    return result;
}

/* ---- images -------------------------------------------------------------------------------------- */

struct stock_image stock_of_image(const struct image *i)
{
    return (struct stock_image){.name = i->name,
                                .uuid = i->uuid,
                                .digest = i->digest,
                                .size = i->size,
                                .allocated = file_allocated(i->path),
                                .created = (uint64_t)i->created,
                                .initd = i->initd,
                                .imported = i->oci != NULL,
                                .disk_mib = i->disk_mib,
                                .path = i->path};
}

void stock_pack_image(struct stock_pack *p, const struct image *i)
{
    struct stock_image row = stock_of_image(i);

    row.path = NULL;
    p->kind = STOCK_IMAGE;
    stock_pack_add(p, &row);
}

static int pack_image(const struct image *i, void *pack)
{
    stock_pack_image(pack, i);
    return 0;
}

int stock_pack_images(struct stock_pack *p, const struct host *host, struct error *e)
{
    p->kind = STOCK_IMAGE;
    return image_each(&host->home, pack_image, p, e);
}

struct stock_record stock_of_record(const struct image_entry *entry)
{
    const struct image *i = &entry->image;

    return (struct stock_record){.uuid = i->uuid,
                                 .parent = i->parent,
                                 .names = entry->names.data,
                                 .tags = entry->tags.data,
                                 .origin = image_origin_name(i->origin),
                                 .origin_of = i->origin_of,
                                 .created = (uint64_t)i->created,
                                 .layers = i->layer_count,
                                 .own = image_own_bytes(i),
                                 .all = image_all_bytes(i),
                                 .children = entry->children,
                                 .workdir = i->defaults.workdir,
                                 .user = i->defaults.user};
}

void stock_pack_record(struct stock_pack *p, const struct image_entry *entry)
{
    struct stock_record row = stock_of_record(entry);

    p->kind = STOCK_RECORD;
    stock_pack_add(p, &row);
}

static int pack_record(const struct image_entry *entry, void *pack)
{
    stock_pack_record(pack, entry);
    return 0;
}

int stock_pack_records(struct stock_pack *p, const struct host *host, const struct inventory_wish *wish,
                       struct error *e)
{
    struct inventory all;

    p->kind = STOCK_RECORD;
    if (inventory_read(&all, &host->home, e) < 0)
        return -1;
    int result = inventory_select(&all, wish, pack_record, p);
    inventory_done(&all);
    return result;
}

/* ---- snapshots ----------------------------------------------------------------------------------- */

struct stock_snapshot stock_of_snapshot(const struct snapshot *s, bool made)
{
    return (struct stock_snapshot){.key = s->key,
                                   .language = s->language,
                                   .memory_mib = s->shape.memory_mib,
                                   .vcpus = s->shape.vcpus,
                                   .disk_mib = s->shape.disk_mib,
                                   .primed = s->primed_job != 0,
                                   .apparent = s->apparent,
                                   .allocated = s->allocated,
                                   .created = (uint64_t)s->created,
                                   .made = made,
                                   .problem = s->problem};
}

void stock_pack_snapshot(struct stock_pack *p, const struct snapshot *s, bool made)
{
    struct stock_snapshot row = stock_of_snapshot(s, made);

    row.problem = NULL;
    p->kind = STOCK_SNAPSHOT;
    stock_pack_add(p, &row);
}

static int pack_snapshot(const struct snapshot *s, void *pack)
{
    stock_pack_snapshot(pack, s, false);
    return 0;
}

int stock_pack_snapshots(struct stock_pack *p, const struct host *host, struct error *e)
{
    p->kind = STOCK_SNAPSHOT;
    return snapshot_each(host, pack_snapshot, p, e);
}
