#include "service/request_parse.h"

#include "base/cleanup.h"
#include "base/jsontext.h"

#include <stdlib.h>
#include <string.h>

/* What a request is made from: the names in its messages are those of schema.def. */
struct parser {
    struct request *request;
    enum schema_object object;
    const json_t *j;
    struct refusal *r;
};

#define FIELD(p, member) schema_find((p)->object, SCHEMA_OF_REQUEST, offsetof(struct request, member))
#define NAME(p, member) FIELD(p, member)->name
#define GIVEN(p, member) schema_member((p)->j, NAME(p, member))
#define SOURCE_NAME(member)                                                                                  \
    schema_find(SCHEMA_OBJECT_FILE, SCHEMA_OF_SOURCE, offsetof(struct request_source, member))->name

/* ---- text to values ------------------------------------------------------------------------------- */

static int check_shape(const char *data, size_t size, struct refusal *r)
{
    switch (jsontext_shape(data, size, REQUEST_VALUES_MAX)) {
    case JSONTEXT_DEEP:
        return refuse(r, REFUSAL_INVALID, "the body is nested more than %d deep", JSONTEXT_DEPTH_MAX);
    case JSONTEXT_MANY:
        return refuse(r, REFUSAL_INVALID, "the body holds more than %d values", REQUEST_VALUES_MAX);
    case JSONTEXT_FINE:
        break;
    }
    return 0;
}

static int check_size(size_t size, struct refusal *r)
{
    if (size > REQUEST_SIZE_MAX)
        return refuse(r, REFUSAL_TOO_LARGE, "the body is larger than %u MiB", REQUEST_SIZE_MAX >> 20);
    return size ? 0 : refuse(r, REFUSAL_INVALID, "the body is empty, but must be a JSON object");
}

/* An object, within the bounds of request.h; the caller's to release. NULL: the refusal is set. */
static json_t *parse_json(const char *data, size_t size, struct refusal *r)
{
    json_error_t error;

    if (check_size(size, r) < 0 || check_shape(data, size, r) < 0)
        return NULL;
    json_t *j = json_loadb(data, size, JSON_REJECT_DUPLICATES, &error);
    if (!j) {
        enum json_error_code code = json_error_code(&error);
        text_make_plain(error.text);
        if (code == json_error_null_character || code == json_error_null_byte_in_key)
            refuse(r, REFUSAL_INVALID, "the body holds a NUL character (\\u0000); send such data as base64");
        else
            refuse(r, REFUSAL_INVALID, "the body is not JSON: line %d, column %d: %s", error.line,
                   error.column, error.text);
        return NULL;
    }
    if (json_is_object(j))
        return j;
    json_decref(j);
    refuse(r, REFUSAL_INVALID, "the body must be a JSON object");
    return NULL;
}

/* ---- files --------------------------------------------------------------------------------------- */

static int refuse_file(struct error *e, struct refusal *r)
{
    text_make_plain(e->text);
    return refuse(r, REFUSAL_INVALID, "%.600s", e->text);
}

/* Takes content over. */
static int add_file(struct parser *p, const char *name, struct buffer *content, bool executable)
{
    struct sources *s = &p->request->sources;
    struct error e = {0};

    if (content->size > SOURCES_FILE_SIZE_MAX || s->size + content->size > SOURCES_SIZE_MAX)
        return refuse(p->r, REFUSAL_TOO_LARGE,
                      "the files are too large: %u MiB is the limit of one, %u MiB of all",
                      SOURCES_FILE_SIZE_MAX >> 20, SOURCES_SIZE_MAX >> 20);
    return sources_add_named(s, name, executable, content, &e) < 0 ? refuse_file(&e, p->r) : 0;
}

static int add_source(struct parser *p, struct request_source *f, bool has_content)
{
    const char *files = NAME(p, sources), *content = SOURCE_NAME(content);
    struct sources *s = &p->request->sources;
    struct error e = {0};

    if (f->directory && f->link)
        return refuse(p->r, REFUSAL_INVALID, "what is a \"%s\" in \"%s\" is no \"%s\"", SOURCE_NAME(link),
                      files, SOURCE_NAME(directory));
    if ((f->directory || f->link) && has_content)
        return refuse(p->r, REFUSAL_INVALID, "a %s in \"%s\" has no \"%s\"", f->link ? "link" : "directory",
                      files, content);
    if (f->link)
        return sources_add_named_link(s, f->name, f->link, &e) < 0 ? refuse_file(&e, p->r) : 0;
    if (f->directory)
        return sources_add_named_directory(s, f->name, &e) < 0 ? refuse_file(&e, p->r) : 0;
    if (!has_content)
        return refuse(p->r, REFUSAL_INVALID, "each of \"%s\" needs \"%s\" and \"%s\"", files,
                      SOURCE_NAME(name), content);
    return add_file(p, f->name, &f->content, f->executable);
}

/* The first file that is no directory is in *ret_first. */
static int take_source(struct parser *p, const json_t *j, char **ret_first)
{
    cleanup_free char *where = text_format(" in \"%s\"", NAME(p, sources));
    struct request_source f = {0};

    if (!json_is_object(j))
        return refuse(p->r, REFUSAL_INVALID, "each of \"%s\" must be an object with \"%s\" and \"%s\"",
                      NAME(p, sources), SOURCE_NAME(name), SOURCE_NAME(content));
    int result = schema_take(SCHEMA_OBJECT_FILE, &f, j, where, NULL, p->r);
    if (result == 0)
        result = add_source(p, &f, schema_member(j, SOURCE_NAME(content)));
    if (result == 0 && !*ret_first && sources_find(&p->request->sources, f.name))
        *ret_first = text_copy(f.name);
    schema_done(SCHEMA_OF_SOURCE, &f);
    return result;
}

static int take_named(struct parser *p, const char *name, const json_t *text)
{
    cleanup_buffer struct buffer content = {0};

    if (schema_take_bytes(SOURCE_NAME(content), text, NULL, &content, p->r) < 0)
        return -1;
    return add_file(p, name, &content, false);
}

/* A list of objects, or one object of names and contents. */
static int take_files(struct parser *p, json_t *files, char **ret_first)
{
    const char *name;
    json_t *v;
    size_t i;

    if (json_array_size(files) == 0 && json_object_size(files) == 0)
        return refuse(p->r, REFUSAL_INVALID, "\"%s\" must be a list of files that is not empty",
                      NAME(p, sources));
    json_object_foreach(files, name, v)
    {
        if (take_named(p, name, v) < 0)
            return -1;
        if (!*ret_first)
            *ret_first = text_copy(name);
    }
    json_array_foreach(files, i, v)
    {
        if (take_source(p, v, ret_first) < 0)
            return -1;
    }
    return 0;
}

/* ---- programs ------------------------------------------------------------------------------------- */

/* The main file: the entry, or the first of several, unless they are a directory. */
static int choose_entry(struct parser *p, char **first)
{
    struct request *q = p->request;

    if (q->run.entry && !sources_find(&q->sources, q->run.entry)) {
        cleanup_free char *entry = text_copy(q->run.entry);
        return refuse(p->r, REFUSAL_INVALID, "\"%s\": there is no file \"%.64s\" among those given",
                      NAME(p, run.entry), text_make_plain(entry));
    }
    if (q->run.entry || q->sources.tree)
        return 0;
    if (!*first)
        return refuse(p->r, REFUSAL_INVALID, "there is no file to run among \"%s\"", NAME(p, sources));
    if (q->sources.count > 1) {
        q->run.entry = *first;
        *first = NULL;
    }
    return 0;
}

static int take_code(struct parser *p)
{
    struct request *q = p->request;
    struct error e = {0};

    if (q->run.entry)
        return refuse(p->r, REFUSAL_INVALID, "\"%s\" is for programs in \"%s\"", NAME(p, run.entry),
                      NAME(p, sources));
    if (q->sources.tree)
        return refuse(p->r, REFUSAL_INVALID, "\"%s\" is for programs in \"%s\"", NAME(p, sources.tree),
                      NAME(p, sources));
    if (!q->run.language)
        return refuse(p->r, REFUSAL_INVALID, "\"%s\" is required", NAME(p, run.language));
    return sources_add_code(&q->sources, &q->code, NULL, &e) < 0 ? refuse_file(&e, p->r) : 0;
}

static int take_program(struct parser *p)
{
    json_t *code = GIVEN(p, code), *files = GIVEN(p, sources);
    cleanup_free char *first = NULL;

    if (!code == !files)
        return refuse(p->r, REFUSAL_INVALID, "give either \"%s\" or \"%s\"%s", NAME(p, code),
                      NAME(p, sources), code ? ", not both" : "");
    if (code)
        return take_code(p);
    return take_files(p, files, &first) < 0 ? -1 : choose_entry(p, &first);
}

/* On the heap, each word too. */
static const char *const *shell_words(const char *line)
{
    const char **words = memory_allocate(4 * sizeof(*words));

    words[0] = text_copy("/bin/sh");
    words[1] = text_copy("-c");
    words[2] = text_copy(line);
    words[3] = NULL;
    return words;
}

/* A command in an image. */
static int take_image(struct parser *p)
{
    struct request *q = p->request;

    if (q->run.language || q->run.packages || GIVEN(p, code) || GIVEN(p, sources) || GIVEN(p, run.args) ||
        q->run.entry)
        return refuse(p->r, REFUSAL_INVALID, "\"%s\" is for commands: there is no program and no \"%s\"",
                      NAME(p, run.image), NAME(p, run.language));
    if (!q->shell == !q->run.argv)
        return refuse(p->r, REFUSAL_INVALID, "\"%s\" needs either \"%s\" or \"%s\"", NAME(p, run.image),
                      NAME(p, run.argv), NAME(p, shell));
    if (q->shell)
        q->run.argv = shell_words(q->shell);
    if (!q->run.argv[0] || !q->run.argv[0][0])
        return refuse(p->r, REFUSAL_INVALID, "\"%s\" needs a program", NAME(p, run.argv));
    return 0;
}

/* What is for commands in an image alone. */
static int check_no_image(struct parser *p)
{
    const struct request *q = p->request;

    if (p->object == SCHEMA_OBJECT_RUN &&
        (q->run.argv || q->shell || q->run.user || q->run.keep || q->run.max_layer))
        return refuse(p->r, REFUSAL_INVALID, "\"%s\", \"%s\", \"%s\", \"%s\" and \"%s\" go with \"%s\"",
                      NAME(p, run.argv), NAME(p, shell), NAME(p, run.user), NAME(p, run.keep),
                      NAME(p, run.max_layer), NAME(p, run.image));
    return 0;
}

/* A command in a session, instead of a program. */
static int take_command(struct parser *p)
{
    const struct request *q = p->request;
    json_t *files = GIVEN(p, sources);
    cleanup_free char *first = NULL;

    if (GIVEN(p, code) || GIVEN(p, run.args) || q->run.entry ||
        (q->background && (GIVEN(p, stdins) || GIVEN(p, run.timeout) || files)))
        return refuse(p->r, REFUSAL_INVALID,
                      "\"%s\" goes with neither \"%s\", \"%s\" nor \"%s\", and in the background with "
                      "neither \"%s\", \"%s\" nor \"%s\"",
                      NAME(p, run.argv), NAME(p, code), NAME(p, run.entry), NAME(p, run.args),
                      NAME(p, sources), NAME(p, stdins), NAME(p, run.timeout));
    if (!q->run.argv[0] || !q->run.argv[0][0])
        return refuse(p->r, REFUSAL_INVALID, "\"%s\" needs a program", NAME(p, run.argv));
    return files ? take_files(p, files, &first) : 0;
}

/* ---- standard input ------------------------------------------------------------------------------- */

static int take_one_stdin(struct parser *p, const struct schema_field *f, const json_t *v)
{
    struct request_stdins *s = &p->request->stdins;
    struct buffer *b = &s->list[s->count++];

    if (schema_take_bytes(f->name, v, schema_member(p->j, f->also), b, p->r) < 0)
        return -1;
    if (b->size > f->max)
        return refuse(
            p->r, REFUSAL_TOO_LARGE,
            "\"%s\" is larger than %llu MiB; up to %u MiB can be sent as a part of multipart/form-data",
            f->name, (unsigned long long)f->max >> 20, REQUEST_STDIN_PART_MAX >> 20);
    return 0;
}

static int take_stdins(struct parser *p)
{
    const struct schema_field *f = FIELD(p, stdins);
    struct request_stdins *s = &p->request->stdins;
    json_t *v = schema_member(p->j, f->name), *one;
    size_t count = json_array_size(v), i;

    if (!v)
        return 0;
    if (!json_is_string(v) && !(f->entries && json_is_array(v)))
        return refuse(p->r, REFUSAL_INVALID, "\"%s\" must be a string%s", f->name,
                      f->entries ? " or a list of strings" : "");
    s->given = json_incref(v);
    s->batch = json_is_array(v);
    if (s->batch && (count == 0 || count > f->entries))
        return refuse(p->r, REFUSAL_INVALID, "\"%s\" must have 1 to %zu entries", f->name, f->entries);
    s->list = memory_allocate((s->batch ? count : 1) * sizeof(s->list[0]));
    if (!s->batch)
        return take_one_stdin(p, f, v);
    json_array_foreach(v, i, one)
    {
        if (take_one_stdin(p, f, one) < 0)
            return -1;
    }
    return 0;
}

void request_drop_stdins(struct request *q)
{
    for (size_t i = 0; i < q->stdins.count; i++)
        buffer_free(&q->stdins.list[i]);
    free(q->stdins.list);
    json_decref(q->stdins.given);
    q->stdins = (struct request_stdins){0};
}

/* ---- whole requests ------------------------------------------------------------------------------- */

/* The packages as part of the language's name, which is all that is handed on. */
static int take_packages(struct parser *p)
{
    struct run_request *run = &p->request->run;
    struct error e = {0};
    char *name = language_variant(run->language, run->packages, &e);

    if (!name) {
        text_make_plain(e.text);
        return refuse(p->r, REFUSAL_INVALID, "%.600s", e.text);
    }
    free((void *)run->language);
    run->language = name;
    return 0;
}

/* What no table says: how the fields of a program go together. */
static int take_rest(struct parser *p)
{
    const struct request *q = p->request;

    if (p->object != SCHEMA_OBJECT_RUN && p->object != SCHEMA_OBJECT_EXECUTE)
        return q->run.packages ? take_packages(p) : 0;
    if (q->background && !q->run.argv)
        return refuse(p->r, REFUSAL_INVALID, "\"%s\" is for \"%s\"", NAME(p, background), NAME(p, run.argv));
    if (q->background && (q->state || q->puts))
        return refuse(p->r, REFUSAL_INVALID, "\"%s\" goes with neither \"%s\" nor \"%s\"",
                      NAME(p, background), NAME(p, state), NAME(p, puts));
    if (q->run.image ? take_image(p) < 0
                     : check_no_image(p) < 0 || (q->run.argv ? take_command(p) : take_program(p)) < 0)
        return -1;
    return take_stdins(p);
}

int request_parse(struct request *ret, enum schema_object object, const char *json, size_t size,
                  const char *language, const struct request_limits *limits, struct refusal *r)
{
    json_t *j = parse_json(json, size, r);
    struct parser p = {.request = ret, .object = object, .j = j, .r = r};

    *ret = (struct request){.run.language = text_copy(language)};
    int result = j ? schema_take(object, ret, j, "", limits, r) : -1;
    if (result == 0)
        result = take_rest(&p);
    json_decref(j);
    if (result < 0)
        request_done(ret);
    return result;
}

void request_done(struct request *q)
{
    schema_done(SCHEMA_OF_REQUEST, q);
    request_drop_stdins(q);
    sources_done(&q->sources);
    *q = (struct request){0};
}
