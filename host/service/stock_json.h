/* stock_json: languages, images and snapshots as JSON. schema.def has the names of the fields. */
#ifndef CAPSID_SERVICE_STOCK_JSON_H
#define CAPSID_SERVICE_STOCK_JSON_H

#include "broker/stock_pack.h"
#include "service/schema.h"

/* The first that there is as that object, or all as their list; the stock is done with then. New references, NULL with an
 * error. */
json_t *stock_json_one(enum schema_object object, struct stock *s, struct error *e);
json_t *stock_json_all(struct stock *s, struct error *e);

#endif
