#include "image/image.h"

#include <stdlib.h>

static struct image_defaults copy_defaults(const struct image_defaults *from)
{
    size_t count = 0;

    while (from->env && from->env[count])
        count++;
    struct image_defaults d = {.workdir = text_copy(from->workdir),
                               .user = text_copy(from->user),
                               .env = count ? memory_allocate((count + 1) * sizeof(char *)) : NULL};
    for (size_t n = 0; n < count; n++)
        d.env[n] = text_copy(from->env[n]);
    return d;
}

struct image image_copy(const struct image *from)
{
    struct image i = *from;

    i.name = text_copy(from->name);
    i.parent = text_copy(from->parent);
    i.origin_of = text_copy(from->origin_of);
    i.defaults = copy_defaults(&from->defaults);
    i.path = text_copy(from->path);
    i.digest = text_copy(from->digest);
    i.inputs = text_copy(from->inputs);
    i.initd = text_copy(from->initd);
    i.oci = text_copy(from->oci);
    for (unsigned n = 0; n < from->layer_count; n++) {
        i.layers[n].path = text_copy(from->layers[n].path);
        i.layers[n].digest = text_copy(from->layers[n].digest);
    }
    return i;
}

static void defaults_done(struct image_defaults *d)
{
    for (char **v = d->env; v && *v; v++)
        free(*v);
    free(d->env);
    free(d->workdir);
    free(d->user);
}

void image_done(struct image *i)
{
    for (unsigned n = 0; n < i->layer_count; n++) {
        free(i->layers[n].path);
        free(i->layers[n].digest);
    }
    defaults_done(&i->defaults);
    free(i->name);
    free(i->parent);
    free(i->origin_of);
    free(i->path);
    free(i->digest);
    free(i->inputs);
    free(i->initd);
    free(i->oci);
    *i = (struct image){0};
}

const char *image_label(const struct image *i)
{
    return i->name ? i->name : i->uuid;
}
