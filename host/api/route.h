/* route: which handler a method and a path have. Pure. */
#ifndef CAPSID_API_ROUTE_H
#define CAPSID_API_ROUTE_H

#include "service/refusal.h"

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct backend;

/* Who does the work: the thread that speaks HTTP, for what never waits; or those of a lane. L(NAME, "as it is shown") */
#define ROUTE_LANES(L)                                                                                       \
    L(RUN, "run")   /* programs, each with a thread while it waits for its VM */                             \
    L(MAKE, "make") /* images and snapshots */                                                               \
    L(LIST, "list") /* what there is */                                                                      \
    L(SESSION, "session")

enum route_lane {
    LANE_NONE,
#define ROUTE_LANE_ENUM(name, text) LANE_##name,
    ROUTE_LANES(ROUTE_LANE_ENUM)
#undef ROUTE_LANE_ENUM
        LANE_COUNT
};

const char *route_lane_name(enum route_lane lane);

/* ROUTE_PROGRAM: JSON, alone or in parts (server.h). */
enum route_body { ROUTE_NO_BODY, ROUTE_JSON, ROUTE_BYTES, ROUTE_PROGRAM };

struct route {
    const char *method;
    const char *
        pattern; /* path; a part "{}" stands for any one part that is not empty, a last part "{*}" for any rest */
    enum route_lane lane;
    bool open; /* needs no token */
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
