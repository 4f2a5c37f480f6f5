#include "image/inventory.h"

#include "base/cleanup.h"
#include "image/ids.h"
#include "image/tags.h"

#include <stdlib.h>
#include <string.h>

static int by_uuid(const void *a, const void *b)
{
    return strcmp(((const struct image_entry *)a)->image.uuid, ((const struct image_entry *)b)->image.uuid);
}

static void entry_done(struct image_entry *entry)
{
    buffer_free(&entry->names);
    buffer_free(&entry->tags);
    image_done(&entry->image);
}

void inventory_done(struct inventory *all)
{
    for (size_t n = 0; n < all->count; n++)
        entry_done(&all->entries[n]);
    free(all->entries);
    *all = (struct inventory){0};
}

struct image_entry *inventory_find(const struct inventory *all, const char *uuid)
{
    struct image_entry wanted;

    snprintf(wanted.image.uuid, sizeof(wanted.image.uuid), "%s", uuid);
    return all->count ? bsearch(&wanted, all->entries, all->count, sizeof(wanted), by_uuid) : NULL;
}

/* ---- reading ------------------------------------------------------------------------------------- */

static void add_word(struct buffer *list, const char *word)
{
    buffer_add_text(list, "%s%s", list->size ? "," : "", word);
}

static int add_image(const struct image *i, void *context)
{
    struct inventory *all = context;

    if (all->count % 64 == 0 &&
        !(all->entries = realloc(all->entries, (all->count + 64) * sizeof(all->entries[0]))))
        abort();
    struct image_entry *entry = &all->entries[all->count++];
    *entry = (struct image_entry){.image = image_copy(i)};
    if (i->name)
        add_word(&entry->names, i->name);
    free(entry->image.name);
    entry->image.name = NULL;
    return 0;
}

/* Of the same image its own manifest first, which image_find_id() finds, too; then by name. */
static int by_uuid_and_name(const void *a, const void *b)
{
    const struct image_entry *x = a, *y = b;
    int order = by_uuid(a, b);

    return order ? order : strcmp(x->names.size ? x->names.data : "", y->names.size ? y->names.data : "");
}

/* An image of several names, or with a manifest of its own beside, is one. */
static void merge_same(struct inventory *all)
{
    size_t kept = 0;

    for (size_t n = 0; n < all->count; n++) {
        struct image_entry *last = kept ? &all->entries[kept - 1] : NULL, *now = &all->entries[n];
        if (last && strcmp(last->image.uuid, now->image.uuid) == 0) {
            if (now->names.size)
                add_word(&last->names, now->names.data);
            entry_done(now);
        } else {
            all->entries[kept++] = *now;
        }
    }
    all->count = kept;
}

/* One that is gone meanwhile has no tags. */
static int add_tag(const char *tag, const char *uuid, void *context)
{
    struct image_entry *entry = inventory_find(context, uuid);

    if (entry)
        add_word(&entry->tags, tag);
    return 0;
}

static void count_children(struct inventory *all)
{
    for (size_t n = 0; n < all->count; n++) {
        const char *uuid = all->entries[n].image.parent;
        struct image_entry *parent = uuid ? inventory_find(all, uuid) : NULL;
        if (parent)
            parent->children++;
    }
}

int inventory_read(struct inventory *ret, const struct home *h, struct error *e)
{
    *ret = (struct inventory){0};
    int result = image_each_known(h, add_image, ret, e);
    if (result == 0 && ret->count > 0) {
        qsort(ret->entries, ret->count, sizeof(ret->entries[0]), by_uuid_and_name);
        merge_same(ret);
        count_children(ret);
        result = image_each_tag(h, add_tag, ret, e);
    }
    if (result < 0)
        inventory_done(ret);
    return result;
}

/* ---- what is in it ------------------------------------------------------------------------------- */

int inventory_each_word(const struct buffer *list, int (*visit)(const char *word, void *context),
                        void *context)
{
    cleanup_free char *words = text_copy(list->size ? list->data : "");
    char *state = NULL;
    int result = 0;

    for (char *word = strtok_r(words, ",", &state); word && result == 0; word = strtok_r(NULL, ",", &state))
        result = visit(word, context);
    return result;
}

static int begins_so(const char *tag, void *prefix)
{
    return strncmp(tag, prefix, strlen(prefix)) == 0;
}

static int is_it(const char *tag, void *wanted)
{
    return strcmp(tag, wanted) == 0;
}

/* Whether it has a tag of which that holds; wanted NULL: yes. */
static bool has_tag(const struct image_entry *entry, int (*holds)(const char *tag, void *wanted),
                    const char *wanted)
{
    return !wanted || inventory_each_word(&entry->tags, holds, (void *)(uintptr_t)wanted);
}

static int begins_after_lang(const char *name, void *prefix)
{
    cleanup_free char *tag = text_format(LANGUAGE_BEGIN "%s", name);

    return begins_so(tag, prefix);
}

/* Whether one of its names, as it is named among tags, begins so. */
static bool has_name(const struct image_entry *entry, const char *prefix)
{
    return inventory_each_word(&entry->names, begins_after_lang, (void *)(uintptr_t)prefix) != 0;
}

static bool is_wanted(const struct image_entry *entry, const struct inventory_wish *w)
{
    return (!w->tagged || entry->tags.size || (w->named && entry->names.size)) &&
           (has_tag(entry, begins_so, w->prefix) || (w->named && has_name(entry, w->prefix))) &&
           has_tag(entry, is_it, w->tag) && (!w->since || entry->image.created >= w->since) &&
           (!w->until || entry->image.created < w->until);
}

/* Of the same second by UUID, so that pages of a list fit together. */
static int by_age(const void *a, const void *b)
{
    const struct image *x = &(*(struct image_entry *const *)a)->image,
                       *y = &(*(struct image_entry *const *)b)->image;

    return x->created != y->created ? (x->created < y->created ? 1 : -1) : strcmp(x->uuid, y->uuid);
}

int inventory_select(const struct inventory *all, const struct inventory_wish *wish,
                     int (*visit)(const struct image_entry *entry, void *context), void *context)
{
    struct image_entry **chosen = memory_allocate((all->count + 1) * sizeof(chosen[0]));
    size_t count = 0;
    int result = 0;

    for (size_t n = 0; n < all->count; n++)
        if (is_wanted(&all->entries[n], wish))
            chosen[count++] = &all->entries[n];
    qsort(chosen, count, sizeof(chosen[0]), by_age);
    for (size_t n = wish->offset;
         n < count && result == 0 && (!wish->limit || n - wish->offset < wish->limit); n++)
        result = visit(chosen[n], context);
    free(chosen);
    return result;
}
