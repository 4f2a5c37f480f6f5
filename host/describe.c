/*
 * describe: what service/schema.def says, for the build: makes files that are a part of the product. It is not one itself.
 *
 *   describe openapi <TEMPLATE   the OpenAPI description, which has the paths, with the schemas of all objects
 *   describe table NAME          a line "field TAB words TAB default" for each field of "request" or "result"
 */
#include "base/cleanup.h"
#include "service/schema.h"

#include <stdio.h>
#include <string.h>

static int fail(const char *what)
{
    fprintf(stderr, "describe: %s\n", what);
    return 1;
}

/* ---- OpenAPI -------------------------------------------------------------------------------------- */

static int add_schemas(json_t *schemas)
{
    for (enum schema_object i = SCHEMA_OBJECT_NONE + 1; i < SCHEMA_OBJECTS_COUNT; i++) {
        const char *name = schema_object_name(i);
        if (name && json_object_get(schemas, name))
            return fail(name);
        if (name)
            json_object_set_new(schemas, name, schema_describe(i));
    }
    return 0;
}

static int print_openapi(void)
{
    json_error_t error;
    json_t *j = json_loadf(stdin, JSON_REJECT_DUPLICATES, &error),
           *schemas = json_object_get(json_object_get(j, "components"), "schemas");

    if (!schemas)
        return fail(j ? "the template has no components" : error.text);
    if (add_schemas(schemas) != 0)
        return fail("is in the template, too");
    int result = json_dumpf(j, stdout, JSON_INDENT(1));
    json_decref(j);
    return result == 0 && putchar('\n') != EOF && fflush(stdout) == 0 ? 0 : fail("cannot write");
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

static int print_table(const char *name)
{
    static const struct {
        const char *name;
        enum schema_object object;
    } tables[] = {{"request", SCHEMA_OBJECT_RUN}, {"result", SCHEMA_OBJECT_RESULT}};

    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (strcmp(tables[i].name, name) != 0)
            continue;
        schema_each(tables[i].object, f) print_row(f);
        return fflush(stdout) == 0 ? 0 : fail("cannot write");
    }
    return fail("there is no such table");
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "openapi") == 0)
        return print_openapi();
    if (argc == 3 && strcmp(argv[1], "table") == 0)
        return print_table(argv[2]);
    return fail("see the head of describe.c");
}
