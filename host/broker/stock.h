/* stock: what there is, languages, images and snapshots, is told as rows (stock_rows.h), to who runs the server and to its clients. */
#ifndef CAPSID_STOCK_H
#define CAPSID_STOCK_H

#include "broker/stock_pack.h"
#include "core/host.h"
#include "core/snapshot.h"
#include "image/image.h"
#include "image/inventory.h"
#include "language/language.h"

/* What is told of one, all of it; borrows from what it is made of. made: a snapshot was made just now. Of a language, *image is the
 * one that it runs in, {0}: it is to be made; the caller is done with it after the row. */
int stock_of_language(struct stock_language *ret, struct image *image, const struct host *host,
                      const struct language *l, struct error *e);
struct stock_image stock_of_image(const struct image *i);
struct stock_record stock_of_record(const struct image_entry *entry);
struct stock_snapshot stock_of_snapshot(const struct snapshot *s, bool made);

/* Adds one, or all, to what goes to a client, without what is not for it. */
int stock_pack_language(struct stock_pack *p, const struct host *host, const char *name, struct error *e);
int stock_pack_languages(struct stock_pack *p, const struct host *host, struct error *e);
int stock_pack_images(struct stock_pack *p, const struct host *host, struct error *e);
int stock_pack_snapshots(struct stock_pack *p, const struct host *host, struct error *e);
int stock_pack_records(struct stock_pack *p, const struct host *host, const struct inventory_wish *wish,
                       struct error *e);
void stock_pack_record(struct stock_pack *p, const struct image_entry *entry);
void stock_pack_image(struct stock_pack *p, const struct image *i);
void stock_pack_snapshot(struct stock_pack *p, const struct snapshot *s, bool made);

#endif
