#include "service/refusal_json.h"

#include "base/cleanup.h"
#include "base/text.h"

json_t *refusal_json(enum schema_object object, const struct refusal *r, const char *trace_id)
{
    /* It may be cut within a character, and quote what is none. */
    cleanup_free char *message = text_make_plain_lines(text_copy(r->text));
    struct refusal_view view = {.kind = r->kind,
                                .message = message,
                                .trace_id = trace_id,
                                .retry_after = (uint64_t)r->retry_after,
                                .reason = &view};

    return schema_json(object, SCHEMA_OF_REFUSAL, &view, NULL);
}

json_t *refusal_reason(const struct refusal *r)
{
    return refusal_json(SCHEMA_OBJECT_REASON, r, NULL);
}
