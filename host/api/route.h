/* route: which handler a method and a path have. Pure. */
#ifndef CAPSID_API_ROUTE_H
#define CAPSID_API_ROUTE_H

#include "service/task.h"

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct backend;

/* ROUTE_PROGRAM: JSON, alone or in parts (server.h). */
enum route_body { ROUTE_NO_BODY, ROUTE_JSON, ROUTE_BYTES, ROUTE_PROGRAM };

struct route {
    const char *method;
    const char *
        pattern; /* path; a part "{}" stands for any one part that is not empty, a last part "{*}" for any rest */
    enum task_lane lane; /* whose threads do the work */
    bool open;           /* needs no token */
    enum route_body body;
    bool streams;                      /* can answer with a stream of events */
    int (*prepare)(struct exchange *); /* never waits; 0, or -1 with the exchange's refusal set */
    int (*work)(struct exchange *, struct backend *); /* the same in a worker */
};

#define ROUTE_ARGUMENT_MAX 128
#define ROUTE_ALLOW_MAX 64

/*
 * HEAD is as GET. The table ends with a row without a method. argument gets what stood for "{}", of which a pattern has one at most. NULL with a refusal:
 * no such path; or no such method, and then allow lists those there are.
 */
const struct route *route_find(const struct route *table, const char *method, const char *path,
                               char argument[static ROUTE_ARGUMENT_MAX], char allow[static ROUTE_ALLOW_MAX],
                               struct refusal *r);

#endif
