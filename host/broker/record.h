/* record: images by their UUIDs and tags, for clients: lists, tags, removal. Private to broker/. */
#ifndef CAPSID_BROKER_RECORD_H
#define CAPSID_BROKER_RECORD_H

#include "broker/errand.h"

/* Does what the errand wants of images (LINE_RECORDS and the like), and answers. */
void serve_records(struct errand *r);

#endif
