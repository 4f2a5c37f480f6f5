#include "image/image.h"

#include <stdlib.h>

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
