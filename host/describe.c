/*
 * describe: what service/schema.def and service/refusal.h say, for the build: makes files that are a part of the product. It is not one itself.
 *
 *   describe openapi <TEMPLATE   the OpenAPI description: the template has the paths, and each method's errors by their status
 *   describe table NAME          a line "field TAB words TAB default" for each field of "request" or "result"; or of "errors"
 */
#include "base/cleanup.h"
#include "service/refusal_view.h"
#include "service/schema.h"
#include "service/stream_view.h"

#include <stdio.h>
#include <string.h>

static int fail_manual(const char *what)
{
    fprintf(stderr, "describe: %s\n", what);
    return 1;
}

/* ---- OpenAPI -------------------------------------------------------------------------------------- */

static json_t *reference(enum schema_object object)
{
    return json_pack("{s:s+}", "$ref", "#/components/schemas/", schema_objects[object].name);
}

/* One kind of the lines of a stream: an object, with the name of its event. */
static json_t *stream_line(enum schema_object object, const enum stream_event *events, size_t count)
{
    const struct schema_field *f =
        schema_find(SCHEMA_OBJECT_STREAM_LINE, SCHEMA_OF_STREAM, offsetof(struct stream_view, event));
    json_t *names = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(names, json_string(f->names[events[i]]));
    return json_pack("{s:[o], s:{s:{s:o}}, s:[s], s:b}", "allOf", reference(object), "properties", f->name,
                     "enum", names, "required", f->name, "unevaluatedProperties", 0);
}

static json_t *stream_lines(void)
{
    static const enum stream_event start[] = {STREAM_EVENT_START}, end[] = {STREAM_EVENT_END},
                                   output[] = {STREAM_EVENT_STDOUT, STREAM_EVENT_STDERR},
                                   error[] = {STREAM_EVENT_ERROR};

    return json_pack("{s:s, s:[o, o, o, o]}", "description",
                     "One line of application/x-ndjson; as text/event-stream, the name is the event and the "
                     "rest its data.",
                     "oneOf", stream_line(SCHEMA_OBJECT_STREAM_START, start, 1),
                     stream_line(SCHEMA_OBJECT_STREAM_OUTPUT, output, 2),
                     stream_line(SCHEMA_OBJECT_STREAM_END, end, 1),
                     stream_line(SCHEMA_OBJECT_STREAM_ERROR, error, 1));
}

/* Of all objects that have a name. */
static json_t *make_schemas(void)
{
    json_t *schemas = json_object();

    for (enum schema_object i = SCHEMA_OBJECT_NONE + 1; i < SCHEMA_OBJECTS_COUNT; i++)
        if (schema_objects[i].name)
            json_object_set_new(schemas, schema_objects[i].name, schema_describe(i));
    json_object_set_new(schemas, "StreamEvent", stream_lines());
    return schemas;
}

/* "E001 the request makes no sense; E011 ...", of all statuses or of one; the caller frees it. */
static char *refusals_of(json_int_t status)
{
    struct buffer text = {0};

    for (enum refusal_kind i = REFUSAL_NONE + 1; i < REFUSALS_COUNT; i++)
        if (!status || refusal_status(i) == status)
            buffer_add_text(&text, "%s%s %s", text.size ? "; " : "", refusal_code(i), refusal_words(i));
    return text.data;
}

static json_t *error_response(json_int_t status)
{
    cleanup_free char *words = refusals_of(status);
    json_t *j = json_pack("{s:s, s:{s:{s:{s:s}}}}", "description", words ? words : "", "content",
                          "application/json", "schema", "$ref", "#/components/schemas/Error");

    if (status == 429 || status == 503)
        json_object_set_new(j, "headers",
                            json_pack("{s:{s:{s:s}}}", "Retry-After", "schema", "type", "integer"));
    return j;
}

/* Each "errors": [400, ...] among the responses of a method becomes these. */
static void add_errors(json_t *responses)
{
    json_t *errors = json_incref(json_object_get(responses, "errors")), *status;
    size_t i;

    json_object_del(responses, "errors");
    json_array_foreach(errors, i, status)
    {
        cleanup_free char *name = text_format("%d", (int)json_integer_value(status));
        json_object_set_new(responses, name, error_response(json_integer_value(status)));
    }
    json_decref(errors);
}

static void add_all_errors(json_t *paths)
{
    const char *path, *method;
    json_t *methods, *one;

    json_object_foreach(paths, path, methods)
    {
        json_object_foreach(methods, method, one) add_errors(json_object_get(one, "responses"));
    }
}

static void add_codes(json_t *schemas)
{
    const char *name =
        schema_find(SCHEMA_OBJECT_ERROR, SCHEMA_OF_REFUSAL, offsetof(struct refusal_view, kind))->name;
    cleanup_free char *all = refusals_of(0);
    json_t *error =
        json_object_get(json_object_get(schemas, schema_objects[SCHEMA_OBJECT_ERROR].name), "properties");

    json_object_set_new(json_object_get(error, name), "description", json_string(all));
}

static int print_openapi(void)
{
    json_error_t error;
    json_t *j = json_loadf(stdin, JSON_REJECT_DUPLICATES, &error),
           *components = json_object_get(j, "components"), *schemas = make_schemas();

    if (!components)
        return fail_manual(j ? "the template has no components" : error.text);
    add_all_errors(json_object_get(j, "paths"));
    add_codes(schemas);
    json_object_update_missing(schemas, json_object_get(components, "schemas")); /* of what has no struct */
    json_object_set_new(components, "schemas", schemas);
    int result = json_dumpf(j, stdout, JSON_INDENT(1));
    json_decref(j);
    return result == 0 && putchar('\n') != EOF && fflush(stdout) == 0 ? 0 : fail_manual("cannot write");
}

/* ---- tables for the manual ------------------------------------------------------------------------- */

static void print_row(const struct schema_field *f)
{
    cleanup_free char *words = schema_words(f);

    printf("%s\t%s", f->name, words);
    for (unsigned i = 0, told = 0; i < f->names_count; i++)
        if (f->names[i][0])
            printf("%s%s", told++ ? ", " : ": ", f->names[i]);
    if (f->fallback)
        printf("\t%llu", (unsigned long long)f->fallback);
    putchar('\n');
}

static int print_errors(void)
{
    for (enum refusal_kind i = REFUSAL_NONE + 1; i < REFUSALS_COUNT; i++)
        printf("%s\t%s\tstatus %d\n", refusal_code(i), refusal_words(i), refusal_status(i));
    return fflush(stdout) == 0 ? 0 : fail_manual("cannot write");
}

static int print_table(const char *name)
{
    static const struct {
        const char *name;
        enum schema_object object;
    } tables[] = {{"request", SCHEMA_OBJECT_RUN}, {"result", SCHEMA_OBJECT_RESULT}};

    if (strcmp(name, "errors") == 0)
        return print_errors();
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (strcmp(tables[i].name, name) != 0)
            continue;
        schema_each(tables[i].object, f)
        {
            print_row(f);
        }
        return fflush(stdout) == 0 ? 0 : fail_manual("cannot write");
    }
    return fail_manual("there is no such table");
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "openapi") == 0)
        return print_openapi();
    if (argc == 3 && strcmp(argv[1], "table") == 0)
        return print_table(argv[2]);
    return fail_manual("see the head of describe.c");
}
