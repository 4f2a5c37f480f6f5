#include "api/body.h"

#include "base/cleanup.h"
#include "language/language.h"
#include "vmm/disk.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* ---- text to values ------------------------------------------------------------------------------ */

/*
 * Depth and number of values, counted before the parser gets to see the text: it recurses, and takes some 100 bytes
 * for a value that has two.
 */
static int check_shape(const char *data, size_t size, struct refusal *r)
{
    size_t depth = 0, values = 0;
    bool string = false;

    for (size_t i = 0; i < size; i++) {
        char c = data[i];
        if (string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                string = false;
        } else if (c == '"') {
            string = true;
        } else if (c == '[' || c == '{') {
            values++;
            if (++depth > BODY_DEPTH_MAX)
                return refuse(r, REFUSAL_INVALID, "the body is nested more than %d deep", BODY_DEPTH_MAX);
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        } else if (c == ',') {
            values++;
        }
        if (values > BODY_VALUES_MAX)
            return refuse(r, REFUSAL_INVALID, "the body holds more than %d values", BODY_VALUES_MAX);
    }
    return 0;
}

/* The parser's words may quote what it read; only what is text of one line goes on. */
static void clean(char *text)
{
    text[text_utf8_prefix(text, strlen(text))] = '\0';
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = '?';
}

static json_t *parse(const char *data, size_t size, struct refusal *r)
{
    json_error_t error;

    if (size > BODY_SIZE_MAX) {
        refuse(r, REFUSAL_TOO_LARGE, "the body is larger than %u MiB", BODY_SIZE_MAX >> 20);
        return NULL;
    }
    if (size == 0) {
        refuse(r, REFUSAL_INVALID, "the body is empty, but must be a JSON object");
        return NULL;
    }
    if (check_shape(data, size, r) < 0)
        return NULL;
    json_t *j = json_loadb(data, size, JSON_REJECT_DUPLICATES, &error);
    if (!j) {
        enum json_error_code code = json_error_code(&error);
        clean(error.text);
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

/* ---- one field ----------------------------------------------------------------------------------- */

enum field_kind { FIELD_TEXT, FIELD_NUMBER, FIELD_BOOL, FIELD_NOT, FIELD_OTHER };

struct field {
    const char *name;
    enum field_kind kind;
    void *target;
    uint64_t min, max; /* of a number; of the bytes of a text */
};

#define FIELD_IS_OTHER(name)                                                                                 \
    {                                                                                                        \
        name, FIELD_OTHER, NULL, 0, 0                                                                        \
    }
#define FIELD_IS_FLAG(name, kind, target)                                                                    \
    {                                                                                                        \
        name, kind, target, 0, 0                                                                             \
    }

static int take_number(const struct field *f, const json_t *v, struct refusal *r)
{
    double real = json_real_value(v);
    bool whole = json_is_real(v) && real > -1e15 && real < 1e15 && real == (double)(json_int_t)real;
    json_int_t n = whole ? (json_int_t)real : json_integer_value(v);

    if (!json_is_integer(v) && !whole) /* 1.0 is whole, as JSON Schema has it */
        return refuse(r, REFUSAL_INVALID, "\"%s\" must be a whole number", f->name);
    if (n < 0 || (uint64_t)n < f->min || (uint64_t)n > f->max)
        return refuse(r, REFUSAL_INVALID, "\"%s\" is %" JSON_INTEGER_FORMAT ", but must be from %llu to %llu",
                      f->name, n, (unsigned long long)f->min, (unsigned long long)f->max);
    *(uint64_t *)f->target = (uint64_t)n;
    return 0;
}

static int take_text(const struct field *f, const json_t *v, struct refusal *r)
{
    size_t size = json_string_length(v);
    char **target = f->target;

    if (!json_is_string(v))
        return refuse(r, REFUSAL_INVALID, "\"%s\" must be a string", f->name);
    if (size < f->min || size > f->max)
        return refuse(r, REFUSAL_INVALID, "\"%s\" must have %llu to %llu bytes", f->name,
                      (unsigned long long)f->min, (unsigned long long)f->max);
    if (*target)
        return refuse(r, REFUSAL_INVALID, "\"%s\" is given twice, under two names", f->name);
    *target = text_copy(json_string_value(v));
    return 0;
}

static int take_field(const struct field *f, const json_t *v, struct refusal *r)
{
    switch (f->kind) {
    case FIELD_TEXT:
        return take_text(f, v, r);
    case FIELD_NUMBER:
        return take_number(f, v, r);
    case FIELD_BOOL:
    case FIELD_NOT:
        if (!json_is_boolean(v))
            return refuse(r, REFUSAL_INVALID, "\"%s\" must be true or false", f->name);
        *(bool *)f->target = json_is_true(v) == (f->kind == FIELD_BOOL);
        return 0;
    case FIELD_OTHER:
        return 0;
    }
    return 0;
}

/* The fields end with one without a name. where is "" or says which part of the body it is. */
static int take_fields(const struct field *fields, json_t *j, const char *where, struct refusal *r)
{
    const char *key;
    json_t *v;

    json_object_foreach(j, key, v)
    {
        const struct field *f = fields;
        while (f->name && strcmp(f->name, key) != 0)
            f++;
        if (!f->name) {
            char name[65];
            snprintf(name, sizeof(name), "%s", key);
            clean(name);
            return refuse(r, REFUSAL_INVALID, "unknown field \"%s\"%s", name, where);
        }
        if (!json_is_null(v) && take_field(f, v, r) < 0)
            return -1;
    }
    return 0;
}

/* A member that is there and not null; else NULL. */
static json_t *member(const json_t *j, const char *name)
{
    json_t *v = json_object_get(j, name);

    return json_is_null(v) ? NULL : v;
}

/* A text, or with encoding "base64" any bytes. */
static int take_content(const char *name, const json_t *v, const json_t *encoding, struct buffer *ret,
                        struct refusal *r)
{
    if (!json_is_string(v))
        return refuse(r, REFUSAL_INVALID, "\"%s\" must be a string", name);
    const char *text = json_string_value(v), *how = encoding ? json_string_value(encoding) : "utf-8";
    if (!how || (strcmp(how, "utf-8") != 0 && strcmp(how, "base64") != 0))
        return refuse(r, REFUSAL_INVALID, "the encoding of \"%s\" must be \"utf-8\" or \"base64\"", name);
    if (strcmp(how, "utf-8") == 0)
        buffer_add(ret, text, json_string_length(v));
    else if (!text_base64_decode(text, json_string_length(v), ret))
        return refuse(r, REFUSAL_INVALID, "\"%s\" is not base64", name);
    return 0;
}

/* ---- files --------------------------------------------------------------------------------------- */

static int add_file(struct body_run *b, const char *name, const json_t *content, const json_t *encoding,
                    bool executable, struct refusal *r)
{
    cleanup_buffer struct buffer bytes = {0};
    struct error e = {0};

    if (take_content("content", content, encoding, &bytes, r) < 0)
        return -1;
    if (bytes.size > SOURCES_FILE_SIZE_MAX || b->sources.size + bytes.size > SOURCES_SIZE_MAX)
        return refuse(r, REFUSAL_TOO_LARGE,
                      "the files are too large: %u MiB is the limit of one, %u MiB of all",
                      SOURCES_FILE_SIZE_MAX >> 20, SOURCES_SIZE_MAX >> 20);
    if (sources_add_named(&b->sources, name, executable, &bytes, &e) < 0) {
        clean(e.text);
        return refuse(r, REFUSAL_INVALID, "%.600s", e.text);
    }
    return 0;
}

static int add_directory(struct body_run *b, const char *name, const json_t *content, struct refusal *r)
{
    struct error e = {0};

    if (!name || content)
        return refuse(r, REFUSAL_INVALID, "a directory in \"files\" needs \"name\" and has no \"content\"");
    if (sources_add_named_directory(&b->sources, name, &e) < 0) {
        clean(e.text);
        return refuse(r, REFUSAL_INVALID, "%.600s", e.text);
    }
    return 0;
}

static int take_file(struct body_run *b, json_t *file, struct refusal *r)
{
    cleanup_free char *name = NULL;
    bool executable = false, directory = false;
    const struct field fields[] = {{"name", FIELD_TEXT, &name, 1, 1024},
                                   FIELD_IS_FLAG("directory", FIELD_BOOL, &directory),
                                   FIELD_IS_OTHER("content"),
                                   FIELD_IS_OTHER("encoding"),
                                   FIELD_IS_FLAG("executable", FIELD_BOOL, &executable),
                                   {0}};

    if (!json_is_object(file))
        return refuse(r, REFUSAL_INVALID,
                      "each of \"files\" must be an object with \"name\" and \"content\"");
    if (take_fields(fields, file, " in \"files\"", r) < 0)
        return -1;
    if (directory)
        return add_directory(b, name, member(file, "content"), r);
    if (!name || !member(file, "content"))
        return refuse(r, REFUSAL_INVALID, "each of \"files\" needs \"name\" and \"content\"");
    return add_file(b, name, member(file, "content"), member(file, "encoding"), executable, r);
}

/* A list of objects, or one object of names and contents. */
static int take_files(struct body_run *b, json_t *files, char **ret_first, struct refusal *r)
{
    const char *name;
    json_t *v;
    size_t i;

    if ((!json_is_array(files) || json_array_size(files) == 0) &&
        (!json_is_object(files) || json_object_size(files) == 0))
        return refuse(r, REFUSAL_INVALID, "\"files\" must be a list of files that is not empty");
    if (json_is_object(files)) {
        json_object_foreach(files, name, v)
        {
            if (add_file(b, name, v, NULL, false, r) < 0)
                return -1;
            if (!*ret_first)
                *ret_first = text_copy(name);
        }
        return 0;
    }
    json_array_foreach(files, i, v)
    {
        if (take_file(b, v, r) < 0)
            return -1;
        const char *own = json_string_value(json_object_get(v, "name"));
        if (!*ret_first && sources_find(&b->sources, own))
            *ret_first = text_copy(own);
    }
    return 0;
}

static int take_sources(struct body_run *b, const json_t *j, struct refusal *r)
{
    json_t *code = member(j, "code"), *files = member(j, "files");
    cleanup_buffer struct buffer bytes = {0};
    cleanup_free char *first = NULL;
    struct error e = {0};

    if (!code == !files)
        return refuse(r, REFUSAL_INVALID, "give either \"code\" or \"files\"%s", code ? ", not both" : "");
    if (files) {
        if (take_files(b, files, &first, r) < 0)
            return -1;
        if (b->entry && !sources_find(&b->sources, b->entry)) {
            clean(b->entry);
            return refuse(r, REFUSAL_INVALID, "\"entry\": there is no file \"%.64s\" among those given",
                          b->entry);
        }
        if (!b->entry && !b->sources.tree && b->sources.count > 1)
            b->entry = text_copy(first);
        return 0;
    }
    if (b->entry || b->sources.tree)
        return refuse(r, REFUSAL_INVALID, "\"%s\" is for programs in \"files\"", b->entry ? "entry" : "tree");
    if (!b->language)
        return refuse(r, REFUSAL_INVALID, "\"language\" is required");
    if (take_content("code", code, member(j, "code_encoding"), &bytes, r) < 0)
        return -1;
    if (bytes.size > SOURCES_FILE_SIZE_MAX)
        return refuse(r, REFUSAL_TOO_LARGE, "\"code\" is larger than %u MiB", SOURCES_FILE_SIZE_MAX >> 20);
    if (sources_add_code(&b->sources, &bytes, NULL, &e) < 0)
        return refuse(r, REFUSAL_INVALID, "%.600s", e.text);
    return 0;
}

/* ---- words and standard input -------------------------------------------------------------------- */

static int count_words(size_t count, size_t size, const char *name, struct refusal *r)
{
    if (count > BODY_WORDS_MAX || size > BODY_WORDS_SIZE_MAX)
        return refuse(r, REFUSAL_INVALID, "\"%s\" has more than %d entries or %d bytes", name, BODY_WORDS_MAX,
                      BODY_WORDS_SIZE_MAX);
    return 0;
}

static int take_words(const char *name, const json_t *args, char ***ret, struct refusal *r)
{
    size_t count = json_array_size(args), size = 0, i;
    json_t *v;

    if (!json_is_array(args))
        return refuse(r, REFUSAL_INVALID, "\"%s\" must be a list of strings", name);
    if (count_words(count, 0, name, r) < 0)
        return -1;
    (*ret) = memory_allocate((count + 1) * sizeof(char *));
    json_array_foreach(args, i, v)
    {
        if (!json_is_string(v))
            return refuse(r, REFUSAL_INVALID, "\"%s\" must be a list of strings", name);
        (*ret)[i] = text_copy(json_string_value(v));
        size += json_string_length(v) + 1;
    }
    return count_words(count, size, name, r);
}

static int take_env(char ***ret, json_t *env, struct refusal *r)
{
    size_t count = json_object_size(env), size = 0, i = 0;
    const char *name;
    json_t *v;

    if (!json_is_object(env))
        return refuse(r, REFUSAL_INVALID, "\"env\" must be an object of strings");
    if (count_words(count, 0, "env", r) < 0)
        return -1;
    (*ret) = memory_allocate((count + 1) * sizeof(char *));
    json_object_foreach(env, name, v)
    {
        if (!json_is_string(v) || !language_is_variable(name))
            return refuse(r, REFUSAL_INVALID,
                          "\"env\" must be an object of strings, whose names have letters, "
                          "digits and _");
        (*ret)[i++] = text_format("%s=%s", name, json_string_value(v));
        size += strlen(name) + json_string_length(v) + 2;
    }
    return count_words(count, size, "env", r);
}

static int take_one_stdin(struct body_run *b, const json_t *v, const json_t *encoding, struct refusal *r)
{
    struct buffer *s = &b->stdins[b->stdin_count++];

    if (take_content("stdin", v, encoding, s, r) < 0)
        return -1;
    if (s->size > BODY_STDIN_MAX)
        return refuse(r, REFUSAL_TOO_LARGE, "\"stdin\" is larger than 1 MiB");
    return 0;
}

static int take_stdin(struct body_run *b, json_t *v, const json_t *encoding, bool may_batch,
                      struct refusal *r)
{
    size_t count = json_array_size(v), i;
    json_t *one;

    if (!json_is_string(v) && !(may_batch && json_is_array(v)))
        return refuse(r, REFUSAL_INVALID, "\"stdin\" must be a string%s",
                      may_batch ? " or a list of strings" : "");
    b->stdin_echo = json_incref(v);
    b->batch = json_is_array(v);
    if (b->batch && (count == 0 || count > BODY_BATCH_MAX))
        return refuse(r, REFUSAL_INVALID, "\"stdin\" must have 1 to %d entries", BODY_BATCH_MAX);
    b->stdins = memory_allocate((b->batch ? count : 1) * sizeof(b->stdins[0]));
    if (!b->batch)
        return take_one_stdin(b, v, encoding, r);
    json_array_foreach(v, i, one)
    {
        if (take_one_stdin(b, one, encoding, r) < 0)
            return -1;
    }
    return 0;
}

/* ---- whole bodies -------------------------------------------------------------------------------- */

static int take_rest(struct body_run *b, const json_t *j, bool may_batch, struct refusal *r)
{
    json_t *args, *env, *input;

    if ((args = member(j, "args")) && take_words("args", args, &b->args, r) < 0)
        return -1;
    if ((env = member(j, "env")) && take_env(&b->env, env, r) < 0)
        return -1;
    if ((input = member(j, "stdin")))
        return take_stdin(b, input, member(j, "stdin_encoding"), may_batch, r);
    return 0;
}

static int take_run(struct body_run *b, json_t *j, const struct body_limits *limits, struct refusal *r)
{
    const struct field fields[] = {
        {"language", FIELD_TEXT, &b->language, 1, 64},
        {"lang", FIELD_TEXT, &b->language, 1, 64},
        FIELD_IS_OTHER("code"),
        FIELD_IS_OTHER("code_encoding"),
        FIELD_IS_OTHER("files"),
        {"entry", FIELD_TEXT, &b->entry, 1, 1024},
        FIELD_IS_FLAG("tree", FIELD_BOOL, &b->sources.tree),
        FIELD_IS_OTHER("stdin"),
        FIELD_IS_OTHER("stdin_encoding"),
        FIELD_IS_OTHER("args"),
        FIELD_IS_OTHER("env"),
        {"cwd", FIELD_TEXT, &b->cwd, 1, 1024},
        {"timeout", FIELD_NUMBER, &b->timeout, 1, limits->timeout},
        {"build_timeout", FIELD_NUMBER, &b->build_timeout, 1, limits->timeout},
        {"memory_mib", FIELD_NUMBER, &b->memory, BODY_MEMORY_MIN, limits->memory},
        {"vcpus", FIELD_NUMBER, &b->vcpus, 1, limits->vcpus},
        {"disk_mib", FIELD_NUMBER, &b->disk, DISK_MIB_MIN, limits->disk},
        {"max_output", FIELD_NUMBER, &b->max_output, 1, limits->output},
        {"truncate_output_at", FIELD_NUMBER, &b->max_output, 1, limits->output},
        FIELD_IS_FLAG("snapshot", FIELD_NOT, &b->cold),
        FIELD_IS_FLAG("prime", FIELD_NOT, &b->unprimed),
        FIELD_IS_FLAG("wait", FIELD_NOT, &b->detached),
        {0},
    };

    return take_fields(fields, j, "", r) < 0 || take_sources(b, j, r) < 0 ? -1 : take_rest(b, j, true, r);
}

int body_run_parse(struct body_run *ret, const char *data, size_t size, const struct body_limits *limits,
                   struct refusal *r)
{
    json_t *j = parse(data, size, r);

    *ret = (struct body_run){0};
    int result = j ? take_run(ret, j, limits, r) : -1;
    json_decref(j);
    if (result < 0)
        body_run_done(ret);
    return result;
}

static void free_words(char **words)
{
    for (char **w = words; w && *w; w++)
        free(*w);
    free(words);
}

void body_run_done(struct body_run *b)
{
    for (size_t i = 0; i < b->stdin_count; i++)
        buffer_free(&b->stdins[i]);
    free(b->stdins);
    json_decref(b->stdin_echo);
    free_words(b->args);
    free_words(b->env);
    free(b->language);
    free(b->entry);
    free(b->cwd);
    sources_done(&b->sources);
    *b = (struct body_run){0};
}

int body_create_parse(struct body_create *ret, const char *data, size_t size,
                      const struct body_limits *limits, bool snapshot, struct refusal *r)
{
    const struct field fields[] = {
        {"language", FIELD_TEXT, &ret->language, 1, 64},
        {"lang", FIELD_TEXT, &ret->language, 1, 64},
        FIELD_IS_FLAG("force", FIELD_BOOL, &ret->force),
        {snapshot ? "memory_mib" : NULL, FIELD_NUMBER, &ret->memory, BODY_MEMORY_MIN, limits->memory},
        {"vcpus", FIELD_NUMBER, &ret->vcpus, 1, limits->vcpus},
        {0},
    };
    json_t *j = parse(data, size, r);

    *ret = (struct body_create){0};
    int result = j ? take_fields(fields, j, "", r) : -1;
    if (result == 0 && !ret->language)
        result = refuse(r, REFUSAL_INVALID, "\"language\" is required");
    json_decref(j);
    if (result < 0)
        body_create_done(ret);
    return result;
}

void body_create_done(struct body_create *b)
{
    free(b->language);
    *b = (struct body_create){0};
}

/* ---- sessions ------------------------------------------------------------------------------------ */

int body_session_parse(struct body_session *ret, const char *data, size_t size,
                       const struct body_limits *limits, struct refusal *r)
{
    const struct field fields[] = {
        {"language", FIELD_TEXT, &ret->language, 1, 63},
        {"lang", FIELD_TEXT, &ret->language, 1, 63},
        {"memory_mib", FIELD_NUMBER, &ret->memory, BODY_MEMORY_MIN, limits->memory},
        {"vcpus", FIELD_NUMBER, &ret->vcpus, 1, limits->vcpus},
        {"disk_mib", FIELD_NUMBER, &ret->disk, DISK_MIB_MIN, limits->disk},
        {"idle_timeout", FIELD_NUMBER, &ret->idle, 1, SESSION_IDLE_MAX},
        {"timeout", FIELD_NUMBER, &ret->timeout, 1, SESSION_AGE_MAX},
        FIELD_IS_OTHER("env"),
        {0},
    };
    json_t *j = parse(data, size, r), *env;

    *ret = (struct body_session){.idle = SESSION_IDLE, .timeout = SESSION_AGE};
    int result = j ? take_fields(fields, j, "", r) : -1;
    if (result == 0 && !ret->language)
        result = refuse(r, REFUSAL_INVALID, "\"language\" is required");
    if (result == 0 && (env = member(j, "env")))
        result = take_env(&ret->env, env, r);
    json_decref(j);
    if (result < 0)
        body_session_done(ret);
    return result;
}

void body_session_done(struct body_session *b)
{
    free(b->language);
    free_words(b->env);
    *b = (struct body_session){0};
}

static int take_exec(struct body_exec *b, json_t *j, const char *language, const struct body_limits *limits,
                     struct refusal *r)
{
    const struct field fields[] = {
        FIELD_IS_OTHER("argv"),
        FIELD_IS_OTHER("code"),
        FIELD_IS_OTHER("code_encoding"),
        FIELD_IS_OTHER("files"),
        {"entry", FIELD_TEXT, &b->run.entry, 1, 1024},
        FIELD_IS_OTHER("stdin"),
        FIELD_IS_OTHER("stdin_encoding"),
        FIELD_IS_OTHER("args"),
        FIELD_IS_OTHER("env"),
        {"cwd", FIELD_TEXT, &b->run.cwd, 1, 1024},
        {"timeout", FIELD_NUMBER, &b->run.timeout, 1, limits->timeout},
        {"max_output", FIELD_NUMBER, &b->run.max_output, 1, limits->output},
        FIELD_IS_FLAG("background", FIELD_BOOL, &b->background),
        {0},
    };
    json_t *argv = member(j, "argv"), *files = member(j, "files");
    cleanup_free char *first = NULL;

    b->run.language = text_copy(language);
    if (take_fields(fields, j, "", r) < 0)
        return -1;
    if (!argv)
        return b->background ? refuse(r, REFUSAL_INVALID, "\"background\" is for \"argv\"")
               : take_sources(&b->run, j, r) < 0 ? -1
                                                 : take_rest(&b->run, j, false, r);
    if (member(j, "code") || member(j, "args") || b->run.entry ||
        (b->background && (member(j, "stdin") || member(j, "timeout") || files)))
        return refuse(r, REFUSAL_INVALID,
                      "\"argv\" goes with neither \"code\", \"entry\" nor \"args\", and in "
                      "the background with neither \"files\", \"stdin\" nor \"timeout\"");
    if (take_words("argv", argv, &b->argv, r) < 0)
        return -1;
    if (!b->argv[0] || !b->argv[0][0])
        return refuse(r, REFUSAL_INVALID, "\"argv\" needs a program");
    return files && take_files(&b->run, files, &first, r) < 0 ? -1 : take_rest(&b->run, j, false, r);
}

int body_exec_parse(struct body_exec *ret, const char *data, size_t size, const char *language,
                    const struct body_limits *limits, struct refusal *r)
{
    json_t *j = parse(data, size, r);

    *ret = (struct body_exec){0};
    int result = j ? take_exec(ret, j, language, limits, r) : -1;
    json_decref(j);
    if (result < 0)
        body_exec_done(ret);
    return result;
}

void body_exec_done(struct body_exec *b)
{
    body_run_done(&b->run);
    free_words(b->argv);
    *b = (struct body_exec){0};
}
