/* stock: what there is, as JSON for clients: languages, images, snapshots. Without paths: where things are kept is no client's
 * business. */
#ifndef CAPSID_STOCK_H
#define CAPSID_STOCK_H

#include "core/host.h"
#include "core/snapshot.h"
#include "image/image.h"

#include <jansson.h>

/* New references; the lists are objects with a count. NULL with an error. */
json_t *stock_languages(const struct host *host, struct error *e);
json_t *stock_language(const struct host *host, const char *name, struct error *e);
json_t *stock_images(const struct host *host, struct error *e);
json_t *stock_snapshots(const struct host *host, struct error *e);

/* One of them. */
json_t *stock_image(const struct image *i);
json_t *stock_snapshot(const struct snapshot *s);

#endif
