#include "api/status.h"

#include "api/server.h"
#include "base/cleanup.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>

static void add_client(const struct token_use *use, void *clients)
{
    json_array_append_new(clients, json_pack("{s:s, s:I, s:I}", "owner", use->name, "working",
                                             (json_int_t)use->working, "held_bytes", (json_int_t)use->held));
}

static void add_owner(const char *owner, unsigned busy, unsigned waiting, void *owners)
{
    json_array_append_new(owners, json_pack("{s:s, s:I, s:I}", "owner", owner, "busy", (json_int_t)busy,
                                            "waiting", (json_int_t)waiting));
}

static json_t *describe_lanes(struct api_server *s)
{
    json_t *lanes = json_array();

    for (enum task_lane l = LANE_RUN; l < LANE_COUNT; l++) {
        const struct lane_use use = lane_used(&s->tasks.lanes[l]);
        json_t *owners = json_array();
        lane_each(&s->tasks.lanes[l], add_owner, owners);
        json_array_append_new(lanes, json_pack("{s:s, s:I, s:I, s:I, s:o}", "lane", task_lane_name(l), "busy",
                                               (json_int_t)use.busy, "waiting", (json_int_t)use.waiting,
                                               "threads", (json_int_t)use.threads, "owners", owners));
    }
    return lanes;
}

static json_t *describe_status(struct api_server *s)
{
    const struct ledger_use operations = ledger_measure(&s->ledger, "operations");
    unsigned running, waiting;
    json_t *clients = json_array();

    backend_count(s->backend, &running, &waiting);
    tokens_each(s->tokens, add_client, clients);
    return json_pack("{s:s, s:f, s:b, s:{s:i, s:i}, s:{s:I, s:I}, s:{s:I, s:I}, s:o, s:o}", "version",
                     CAPSID_VERSION, "uptime_seconds", (double)(clock_monotonic_ns() - s->started_ns) / 1e9,
                     "stopping", (int)s->stopping, "requests", "open", (int)s->exchanges, "held_bytes",
                     (int)s->tasks.held, "programs", "running", (json_int_t)running, "waiting",
                     (json_int_t)waiting, "operations", "pending", (json_int_t)operations.unfinished,
                     "finished", (json_int_t)operations.finished, "clients", clients, "lanes",
                     describe_lanes(s));
}

int status_open(struct api_server *s)
{
    json_t *j = describe_status(s);
    cleanup_free char *text = json_dumps(j, JSON_COMPACT);

    json_decref(j);
    return text ? file_sealed("status", text, strlen(text)) : -1;
}
