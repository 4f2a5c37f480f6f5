#include "api/body.h"

#include "api/fields.h"
#include "base/cleanup.h"
#include "language/language.h"
#include "vmm/disk.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* ---- files --------------------------------------------------------------------------------------- */

static int add_file(struct body_run *b, const char *name, const json_t *content, const json_t *encoding,
                    bool executable, struct refusal *r)
{
    cleanup_buffer struct buffer bytes = {0};
    struct error e = {0};

    if (fields_content("content", content, encoding, &bytes, r) < 0)
        return -1;
    if (bytes.size > SOURCES_FILE_SIZE_MAX || b->sources.size + bytes.size > SOURCES_SIZE_MAX)
        return refuse(r, REFUSAL_TOO_LARGE,
                      "the files are too large: %u MiB is the limit of one, %u MiB of all",
                      SOURCES_FILE_SIZE_MAX >> 20, SOURCES_SIZE_MAX >> 20);
    if (sources_add_named(&b->sources, name, executable, &bytes, &e) < 0) {
        text_make_plain(e.text);
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
        text_make_plain(e.text);
        return refuse(r, REFUSAL_INVALID, "%.600s", e.text);
    }
    return 0;
}

static int add_link(struct body_run *b, const char *name, const char *target, const json_t *content,
                    struct refusal *r)
{
    struct error e = {0};

    if (!name || content)
        return refuse(r, REFUSAL_INVALID, "a link in \"files\" needs \"name\" and has no \"content\"");
    if (sources_add_named_link(&b->sources, name, target, &e) < 0) {
        text_make_plain(e.text);
        return refuse(r, REFUSAL_INVALID, "%.600s", e.text);
    }
    return 0;
}

static int take_file(struct body_run *b, json_t *file, struct refusal *r)
{
    cleanup_free char *name = NULL, *link = NULL;
    bool executable = false, directory = false;
    const struct field fields[] = {{"name", FIELD_TEXT, &name, 1, 1024},
                                   {FIELD_IS_FLAG("directory", FIELD_BOOL, &directory)},
                                   {"link", FIELD_TEXT, &link, 1, 1024},
                                   {FIELD_IS_OTHER("content")},
                                   {FIELD_IS_OTHER("encoding")},
                                   {FIELD_IS_FLAG("executable", FIELD_BOOL, &executable)},
                                   {0}};

    if (!json_is_object(file))
        return refuse(r, REFUSAL_INVALID,
                      "each of \"files\" must be an object with \"name\" and \"content\"");
    if (fields_take(fields, file, " in \"files\"", r) < 0)
        return -1;
    if (directory && link)
        return refuse(r, REFUSAL_INVALID, "what is a \"link\" in \"files\" is no \"directory\"");
    if (link)
        return add_link(b, name, link, fields_member(file, "content"), r);
    if (directory)
        return add_directory(b, name, fields_member(file, "content"), r);
    if (!name || !fields_member(file, "content"))
        return refuse(r, REFUSAL_INVALID, "each of \"files\" needs \"name\" and \"content\"");
    return add_file(b, name, fields_member(file, "content"), fields_member(file, "encoding"), executable, r);
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
    json_t *code = fields_member(j, "code"), *files = fields_member(j, "files");
    cleanup_buffer struct buffer bytes = {0};
    cleanup_free char *first = NULL;
    struct error e = {0};

    if (!code == !files)
        return refuse(r, REFUSAL_INVALID, "give either \"code\" or \"files\"%s", code ? ", not both" : "");
    if (files) {
        if (take_files(b, files, &first, r) < 0)
            return -1;
        if (b->entry && !sources_find(&b->sources, b->entry)) {
            text_make_plain(b->entry);
            return refuse(r, REFUSAL_INVALID, "\"entry\": there is no file \"%.64s\" among those given",
                          b->entry);
        }
        if (!b->entry && !b->sources.tree && !first)
            return refuse(r, REFUSAL_INVALID, "there is no file to run among \"files\"");
        if (!b->entry && !b->sources.tree && b->sources.count > 1)
            b->entry = text_copy(first);
        return 0;
    }
    if (b->entry || b->sources.tree)
        return refuse(r, REFUSAL_INVALID, "\"%s\" is for programs in \"files\"", b->entry ? "entry" : "tree");
    if (!b->language)
        return refuse(r, REFUSAL_INVALID, "\"language\" is required");
    if (fields_content("code", code, fields_member(j, "code_encoding"), &bytes, r) < 0)
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

    if (fields_content("stdin", v, encoding, s, r) < 0)
        return -1;
    if (s->size > BODY_STDIN_MAX)
        return refuse(
            r, REFUSAL_TOO_LARGE,
            "\"stdin\" is larger than 1 MiB; up to %u MiB can be sent as a part of multipart/form-data",
            BODY_STDIN_PART_MAX >> 20);
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

    if ((args = fields_member(j, "args")) && take_words("args", args, &b->args, r) < 0)
        return -1;
    if ((env = fields_member(j, "env")) && take_env(&b->env, env, r) < 0)
        return -1;
    if ((input = fields_member(j, "stdin")))
        return take_stdin(b, input, fields_member(j, "stdin_encoding"), may_batch, r);
    return 0;
}

static int take_run(struct body_run *b, json_t *j, const struct body_limits *limits, struct refusal *r)
{
    const struct field fields[] = {
        {"language", FIELD_TEXT, &b->language, 1, 64},
        {"lang", FIELD_TEXT, &b->language, 1, 64},
        {FIELD_IS_OTHER("code")},
        {FIELD_IS_OTHER("code_encoding")},
        {FIELD_IS_OTHER("files")},
        {"entry", FIELD_TEXT, &b->entry, 1, 1024},
        {FIELD_IS_FLAG("tree", FIELD_BOOL, &b->sources.tree)},
        {FIELD_IS_OTHER("stdin")},
        {FIELD_IS_OTHER("stdin_encoding")},
        {FIELD_IS_OTHER("args")},
        {FIELD_IS_OTHER("env")},
        {"cwd", FIELD_TEXT, &b->cwd, 1, 1024},
        {"timeout", FIELD_NUMBER, &b->timeout, 1, limits->timeout},
        {"build_timeout", FIELD_NUMBER, &b->build_timeout, 1, limits->timeout},
        {"memory_mib", FIELD_NUMBER, &b->shape.memory_mib, BODY_MEMORY_MIN, limits->shape.memory_mib},
        {"vcpus", FIELD_NUMBER, &b->shape.vcpus, 1, limits->shape.vcpus},
        {"disk_mib", FIELD_NUMBER, &b->shape.disk_mib, DISK_MIB_MIN, limits->shape.disk_mib},
        {"max_output", FIELD_NUMBER, &b->max_output, 1, limits->output},
        {"truncate_output_at", FIELD_NUMBER, &b->max_output, 1, limits->output},
        {FIELD_IS_FLAG("snapshot", FIELD_NOT, &b->cold)},
        {FIELD_IS_FLAG("prime", FIELD_NOT, &b->unprimed)},
        {FIELD_IS_FLAG("wait", FIELD_NOT, &b->detached)},
        {0},
    };

    return fields_take(fields, j, "", r) < 0 || take_sources(b, j, r) < 0 ? -1 : take_rest(b, j, true, r);
}

int body_run_parse(struct body_run *ret, const char *data, size_t size, const struct body_limits *limits,
                   struct refusal *r)
{
    json_t *j = fields_parse(data, size, r);

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
        {FIELD_IS_FLAG("force", FIELD_BOOL, &ret->force)},
        {snapshot ? "memory_mib" : NULL, FIELD_NUMBER, &ret->shape.memory_mib, BODY_MEMORY_MIN,
         limits->shape.memory_mib},
        {"vcpus", FIELD_NUMBER, &ret->shape.vcpus, 1, limits->shape.vcpus},
        {"disk_mib", FIELD_NUMBER, &ret->shape.disk_mib, DISK_MIB_MIN, limits->shape.disk_mib},
        {0},
    };
    json_t *j = fields_parse(data, size, r);

    *ret = (struct body_create){0};
    int result = j ? fields_take(fields, j, "", r) : -1;
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
        {"memory_mib", FIELD_NUMBER, &ret->shape.memory_mib, BODY_MEMORY_MIN, limits->shape.memory_mib},
        {"vcpus", FIELD_NUMBER, &ret->shape.vcpus, 1, limits->shape.vcpus},
        {"disk_mib", FIELD_NUMBER, &ret->shape.disk_mib, DISK_MIB_MIN, limits->shape.disk_mib},
        {"idle_timeout", FIELD_NUMBER, &ret->idle, 1, SESSION_IDLE_MAX},
        {"timeout", FIELD_NUMBER, &ret->timeout, 1, SESSION_AGE_MAX},
        {FIELD_IS_OTHER("env")},
        {0},
    };
    json_t *j = fields_parse(data, size, r), *env;

    *ret = (struct body_session){.idle = SESSION_IDLE, .timeout = SESSION_AGE};
    int result = j ? fields_take(fields, j, "", r) : -1;
    if (result == 0 && !ret->language)
        result = refuse(r, REFUSAL_INVALID, "\"language\" is required");
    if (result == 0 && (env = fields_member(j, "env")))
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
        {FIELD_IS_OTHER("argv")},
        {FIELD_IS_OTHER("code")},
        {FIELD_IS_OTHER("code_encoding")},
        {FIELD_IS_OTHER("files")},
        {"entry", FIELD_TEXT, &b->run.entry, 1, 1024},
        {FIELD_IS_OTHER("stdin")},
        {FIELD_IS_OTHER("stdin_encoding")},
        {FIELD_IS_OTHER("args")},
        {FIELD_IS_OTHER("env")},
        {"cwd", FIELD_TEXT, &b->run.cwd, 1, 1024},
        {"timeout", FIELD_NUMBER, &b->run.timeout, 1, limits->timeout},
        {"max_output", FIELD_NUMBER, &b->run.max_output, 1, limits->output},
        {FIELD_IS_FLAG("background", FIELD_BOOL, &b->background)},
        {FIELD_IS_FLAG("keep_processes", FIELD_BOOL, &b->keep)},
        {0},
    };
    json_t *argv = fields_member(j, "argv"), *files = fields_member(j, "files");
    cleanup_free char *first = NULL;

    b->run.language = text_copy(language);
    if (fields_take(fields, j, "", r) < 0)
        return -1;
    if (!argv)
        return b->background ? refuse(r, REFUSAL_INVALID, "\"background\" is for \"argv\"")
               : take_sources(&b->run, j, r) < 0 ? -1
                                                 : take_rest(&b->run, j, false, r);
    if (fields_member(j, "code") || fields_member(j, "args") || b->run.entry ||
        (b->background && (fields_member(j, "stdin") || fields_member(j, "timeout") || files)))
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
    json_t *j = fields_parse(data, size, r);

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
