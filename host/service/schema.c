#include "service/schema.h"

#include "broker/line.h"
#include "broker/stock_rows.h"
#include "messages.h"
#include "service/answer_view.h"
#include "service/operation_view.h"
#include "service/refusal_view.h"
#include "service/request.h"
#include "service/result.h"
#include "service/session_view.h"
#include "service/stream_view.h"
#include "vmm/disk.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(SCHEMA_OBJECTS_COUNT <= 64, "a field has a bit for each object");

/* ---- the tables ----------------------------------------------------------------------------------- */

#define NAME(id, name, ...) name,
static const char *const run_ends[] = {"", RUN_ENDS(NAME)};
static const char *const run_keeps[] = {RUN_KEEPS(NAME)};
static const char *const run_kepts[] = {RUN_KEPTS(NAME)};
static const char *const result_phases[] = {RESULT_PHASES(NAME)};
static const char *const result_statuses[] = {RESULT_STATUSES(NAME)};
static const char *const result_states[] = {RESULT_STATES(NAME)};
static const char *const refusal_statuses[] = {"error"};
static const char *const refusal_codes[] = {"", REFUSALS(NAME)};
static const char *const stream_events[] = {STREAM_EVENTS(NAME)};
static const char *const operation_kinds[] = {OPERATION_KINDS(NAME)};
static const char *const operation_statuses[] = {OPERATION_STATUSES(NAME)};
static const char *const egress_decisions[] = {EGRESS_DECISIONS(NAME)};
static const char *const session_conditions[] = {SESSION_CONDITIONS(NAME)};
static const char *const health_statuses[] = {HEALTH_STATUSES(NAME)};
static const char *const background_statuses[] = {"running"};
static const char *const file_kinds[] = {FILE_KINDS(NAME)};
#undef NAME

/* The types of members, and those that they are of, as names that a row is made with. */
#define SCHEMA_TYPE(kind, type) typedef type schema_type_##kind;
SCHEMA_KINDS(SCHEMA_TYPE)
#define SCHEMA_STRUCT(id, type) typedef type schema_of_##id;
SCHEMA_STRUCTS(SCHEMA_STRUCT)

/* A member of another type than its kind has does not compile. */
/* clang-format off */
#define OFFSET(kind, of, member) _Generic(((of *)0)->member, schema_type_##kind: offsetof(of, member))
/* clang-format on */
#define FIELD(struct_id, field_kind, field_name, member, in, field_words, ...)                               \
    {.kind = SCHEMA_##field_kind,                                                                            \
     .of = SCHEMA_OF_##struct_id,                                                                            \
     .offset = OFFSET(field_kind, schema_of_##struct_id, member),                                            \
     .name = field_name,                                                                                     \
     .objects = in,                                                                                          \
     .words = field_words,                                                                                   \
     __VA_ARGS__},
#define PHASE(kind, name, member, in, ...)                                                                   \
    FIELD(RESULT, kind, name, last.member, (in) & ~IN_PHASES, __VA_ARGS__)                                   \
    FIELD(PHASE, kind, name, member, (in)&IN_PHASES, __VA_ARGS__)

#define ALSO(other) .also = other
#define BETWEEN(least, most) .min = least, .max = most
#define ENTRIES(most) .entries = most
#define LIMIT(member) .limited = true, .limit = offsetof(struct request_limits, member)
#define DEFAULT(number) .fallback = number
#define FLAG(long_name, short_name, value) .flag = long_name, .letter = short_name, .argument = value
#define HELP(text) .help = text
#define REQUIRED .required = true
#define LEFT_OUT .left_out = true
#define OR_NULL .or_null = true
#define KEYS(function, text) .is_key = function, .keys = text
#define OF(object) .inner = SCHEMA_OBJECT_##object
#define NAMES(table, count) .names = table, .names_count = count

const struct schema_field schema_fields[] = {
#include "service/schema.def"
    {0}};

const struct schema_info schema_objects[SCHEMA_OBJECTS_COUNT] = {
#define TAKEN true
#define GIVEN false
#define MANY .many = true
#define OBJECT(id, object_name, how, object_words, ...)                                                      \
    [SCHEMA_OBJECT_##id] = {.name = object_name, .taken = how, .words = object_words, __VA_ARGS__},
#include "service/schema.def"
};

/* ---- looking things up ---------------------------------------------------------------------------- */

const struct schema_field *schema_next(enum schema_object object, const struct schema_field *f)
{
    for (f = f ? f + 1 : schema_fields; f->name; f++)
        if (f->objects >> object & 1)
            return f;
    return NULL;
}

const struct schema_field *schema_find(enum schema_object object, enum schema_struct of, size_t offset)
{
    schema_each(object, f)
    {
        if (f->of == of && f->offset == offset)
            return f;
    }
    abort();
}

bool schema_choose(const struct schema_field *f, const char *name, unsigned *ret)
{
    for (*ret = 0; *ret < f->names_count; ++*ret)
        if (f->names[*ret][0] && strcmp(f->names[*ret], name) == 0)
            return true;
    return false;
}

unsigned schema_choice(const struct schema_field *f, const char *name)
{
    unsigned which;

    return schema_choose(f, name, &which) ? which : 0;
}
