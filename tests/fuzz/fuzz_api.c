/* links: host */
/* What a client may send as a body, a path or an id: the first byte chooses. */
#include "api/server.h"
#include "api/trace.h"

#include <stdlib.h>
#include <string.h>

static void check(bool fine)
{
    if (!fine)
        abort();
}

/* Whatever was accepted keeps to the limits, and leads nowhere but below the program's directory. */
static void check_run(const struct request *b, const struct request_limits *limits)
{
    check(b->sources.count > 0 && b->sources.count <= SOURCES_FILES_MAX &&
          b->sources.size <= SOURCES_SIZE_MAX);
    check(b->run.timeout <= limits->timeout && b->run.shape.memory_mib <= limits->shape.memory_mib &&
          b->run.shape.vcpus <= limits->shape.vcpus);
    check(b->stdins.count <= REQUEST_BATCH_MAX);
    for (size_t i = 0; i < b->sources.count; i++) {
        const char *name = b->sources.files[i].name;
        check(!name || (name[0] != '/' && strncmp(name, "../", 3) != 0 && !strstr(name, "/../")));
    }
    for (size_t i = 0; i < b->stdins.count; i++)
        check(b->stdins.list[i].size <= REQUEST_STDIN_MAX);
}

static void parse(const char *text, size_t size)
{
    const struct request_limits limits = {
        .timeout = 300, .shape.memory_mib = 1024, .shape.vcpus = 4, .shape.disk_mib = 100, .output = 1000};
    struct refusal r = {0};
    struct request q;

    if (request_parse(&q, SCHEMA_OBJECT_RUN, text, size, NULL, &limits, &r) == 0) {
        check_run(&q, &limits);
        request_done(&q);
    } else {
        json_t *j = refusal_json(SCHEMA_OBJECT_ERROR, &r, "t");
        check(r.kind && j && !strchr(r.text, '\n'));
        json_decref(j);
    }
    if (request_parse(&q, SCHEMA_OBJECT_EXECUTE, text, size, "c", &limits, &r) == 0) {
        check(q.run.argv || q.sources.count > 0);
        request_done(&q);
    }
    if (request_parse(&q, size % 2 ? SCHEMA_OBJECT_SNAPSHOT : SCHEMA_OBJECT_SESSION, text, size, NULL,
                      &limits, &r) == 0) {
        check(q.run.language != NULL);
        request_done(&q);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char argument[ROUTE_ARGUMENT_MAX], allow[ROUTE_ALLOW_MAX];
    struct refusal r = {0};
    struct answer a = {0};
    struct trace t;

    if (size < 1)
        return -1;
    if (data[0] == '{') {
        parse((const char *)data, size);
        return 0;
    }
    char *text = malloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    const struct route *found =
        route_find(api_routes, data[0] % 2 ? "GET" : "POST", text, argument, allow, &r);
    check(!found == !!r.kind && strlen(argument) < sizeof(argument));
    page_find(text, text, &a);
    trace_begin(&t, text, text);
    check(strlen(t.parent) == 55 && strlen(t.id) > 0 && strlen(t.id) <= TRACE_ID_MAX);
    free(text);
    return 0;
}
