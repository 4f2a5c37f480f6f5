#include "core/network_log.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

static bool is_same(const struct network_entry *n, const struct egress_record *r)
{
    return n->port == r->port && n->decision == r->decision && strcmp(n->host, r->host) == 0 &&
           strcmp(n->address ? n->address : "", r->address) == 0;
}

static struct network_entry *new_entry(struct network_log *log, const struct egress_record *r)
{
    if (!log->entries)
        log->entries = memory_allocate(NETWORK_ENTRIES_MAX * sizeof(*log->entries));
    struct network_entry *n = &log->entries[log->count++];
    *n = (struct network_entry){.host = text_copy(r->host),
                                .port = r->port,
                                .address = r->address[0] ? text_copy(r->address) : NULL,
                                .decision = r->decision,
                                .why = r->text[0] ? text_copy(r->text) : NULL};
    return n;
}

void network_log_add(struct network_log *log, const struct egress_record *r)
{
    struct network_entry *found = NULL;

    for (size_t i = log->count; i-- > 0 && !found;)
        if (is_same(&log->entries[i], r))
            found = &log->entries[i];
    if (!found && log->count == NETWORK_ENTRIES_MAX) {
        log->omitted++;
        return;
    }
    found = found ? found : new_entry(log, r);
    found->connections++;
    found->bytes_in += r->received;
    found->bytes_out += r->sent;
}

void network_log_free(struct network_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        free((void *)(uintptr_t)log->entries[i].host);
        free((void *)(uintptr_t)log->entries[i].address);
        free((void *)(uintptr_t)log->entries[i].why);
    }
    free(log->entries);
    *log = (struct network_log){0};
}
