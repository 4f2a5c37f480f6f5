#include "contree/instance.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* The member, or NULL where there is none or it is null. */
static const json_t *given(const json_t *body, const char *name)
{
    const json_t *v = json_object_get(body, name);

    return json_is_null(v) ? NULL : v;
}

static int take_flag(const json_t *body, const char *name, bool fallback, bool *ret, struct refusal *r)
{
    const json_t *v = given(body, name);

    *ret = v ? json_is_true(v) : fallback;
    return !v || json_is_boolean(v) ? 0 : refuse(r, REFUSAL_INVALID, "\"%s\" must be true or false", name);
}

static int take_id(const json_t *body, const char *name, json_int_t *ret, struct refusal *r)
{
    const json_t *v = given(body, name);

    *ret = json_integer_value(v);
    return (!v || json_is_integer(v)) && *ret >= 0 && *ret < UINT32_MAX
               ? 0
               : refuse(r, REFUSAL_INVALID, "\"%s\" must be a whole number", name);
}

/* What is as it is in our request. */
static void put_same(json_t *run, const char *as, const json_t *from, const char *name)
{
    const json_t *v = given(from, name);

    if (v && !(json_is_string(v) && json_string_length(v) == 0))
        json_object_set(run, as, (json_t *)(uintptr_t)v);
}

/* ---- parts ----------------------------------------------------------------------------------------- */

static int put_command(json_t *run, const json_t *body, struct refusal *r)
{
    const json_t *command = given(body, "command"), *args = given(body, "args");
    bool shell;

    if (!json_is_string(command))
        return refuse(r, REFUSAL_INVALID, "\"command\" must be a string");
    if (args && !json_is_array(args))
        return refuse(r, REFUSAL_INVALID, "\"args\" must be a list of strings");
    if (take_flag(body, "shell", false, &shell, r) < 0)
        return -1;
    if (shell)
        return json_object_set(run, "shell", (json_t *)(uintptr_t)command);
    json_t *argv = json_array();
    json_array_append(argv, (json_t *)(uintptr_t)command);
    if (args)
        json_array_extend(argv, (json_t *)(uintptr_t)args);
    return json_object_set_new(run, "argv", argv);
}

/* A variable that is null is none. */
static int put_env(json_t *run, const json_t *body, struct refusal *r)
{
    const json_t *env = given(body, "env");
    const char *name;
    json_t *v;

    if (!env)
        return 0;
    if (!json_is_object(env))
        return refuse(r, REFUSAL_INVALID, "\"env\" must be an object of strings");
    json_t *ours = json_object();
    json_object_foreach((json_t *)(uintptr_t)env, name, v)
    {
        if (!json_is_null(v))
            json_object_set(ours, name, v);
    }
    return json_object_set_new(run, "env", ours);
}

static int put_stdin(json_t *run, const json_t *body, struct refusal *r)
{
    const json_t *in = given(body, "stdin"), *encoding = given(in, "encoding");
    bool closed;

    if (!in)
        return 0;
    if (!json_is_object(in) || !json_is_string(given(in, "value")))
        return refuse(r, REFUSAL_INVALID, "\"stdin\" must be an object with \"value\"");
    if (take_flag(in, "close", true, &closed, r) < 0)
        return -1;
    if (!closed)
        return refuse(r, REFUSAL_INVALID,
                      "\"stdin\" cannot be left open here: give all of it, or nothing (</dev/null)");
    if (encoding && strcmp(json_string_value(encoding) ? json_string_value(encoding) : "", "ascii") != 0)
        json_object_set(run, "stdin_encoding", (json_t *)(uintptr_t)encoding);
    return json_object_set(run, "stdin", (json_t *)(uintptr_t)given(in, "value"));
}

/* The octal digits of a mode: "0644", "0o100644", or a number. */
static const char *mode_digits(const json_t *mode, char out[static 16])
{
    const char *s = json_string_value(mode);

    if (json_is_integer(mode))
        snprintf(out, 16, "%llo", (unsigned long long)json_integer_value(mode) & 07777);
    else if (s && strncmp(s, "0o", 2) == 0)
        s += 2;
    if (s) {
        size_t size = strlen(s); /* the type of a file is not asked for */
        snprintf(out, 16, "%.15s", size > 4 ? s + size - 4 : s);
    }
    return out;
}

static int put_file(json_t *puts, const char *path, const json_t *spec, struct refusal *r)
{
    const json_t *mode = given(spec, "mode");
    const char *uuid = json_string_value(given(spec, "uuid"));
    json_int_t uid, gid;
    char digits[16];

    if (!uuid || (mode && !json_is_string(mode) && !json_is_integer(mode)))
        return refuse(
            r, REFUSAL_INVALID,
            "each of \"files\" is a path in the instance with {\"uuid\", \"uid\", \"gid\", \"mode\"}");
    if (take_id(spec, "uid", &uid, r) < 0 || take_id(spec, "gid", &gid, r) < 0)
        return -1;
    return json_array_append_new(puts, json_sprintf("%s:%s:%s:%lld:%lld", uuid, path,
                                                    mode ? mode_digits(mode, digits) : "0644", (long long)uid,
                                                    (long long)gid));
}

static int put_files(json_t *run, const json_t *body, struct refusal *r)
{
    const json_t *files = given(body, "files");
    const char *path;
    json_t *spec;

    if (!files || json_object_size(files) == 0)
        return json_is_object(files) || !files
                   ? 0
                   : refuse(r, REFUSAL_INVALID, "\"files\" must be an object of paths and uploads");
    json_t *puts = json_array();
    json_object_foreach((json_t *)(uintptr_t)files, path, spec)
    {
        if (put_file(puts, path, spec, r) < 0) {
            json_decref(puts);
            return -1;
        }
    }
    return json_object_set_new(run, "put", puts);
}

static int put_keep(json_t *run, const json_t *body, struct refusal *r)
{
    bool disposable, env, cwd;

    if (take_flag(body, "disposable", false, &disposable, r) < 0 ||
        take_flag(body, "preserve_env", false, &env, r) < 0 ||
        take_flag(body, "preserve_cwd", false, &cwd, r) < 0)
        return -1;
    if (env || cwd)
        return refuse(r, REFUSAL_INVALID,
                      "\"%s\" cannot be done here: an image's variables and directory stay as they are; "
                      "give them with each instance",
                      env ? "preserve_env" : "preserve_cwd");
    if (disposable)
        return 0;
    put_same(run, "max_layer_bytes", given(body, "resources_limits"), "max_layer_bytes");
    return json_object_set_new(run, "keep", json_string("always"));
}

static int put_user(json_t *run, const json_t *body, struct refusal *r)
{
    json_int_t uid, gid;

    if (take_id(body, "uid", &uid, r) < 0 || take_id(body, "gid", &gid, r) < 0)
        return -1;
    return json_object_set_new(run, "user", json_sprintf("%lld:%lld", (long long)uid, (long long)gid));
}

/* They ask for the most that there is anywhere. */
static int put_output(json_t *run, const json_t *body, uint64_t max_output, struct refusal *r)
{
    const json_t *size = given(body, "truncate_output_at");
    json_int_t wanted = size ? json_integer_value(size) : 1 << 20;

    if (size && (!json_is_integer(size) || wanted < 0))
        return refuse(r, REFUSAL_INVALID, "\"truncate_output_at\" must be a number of bytes");
    wanted = wanted < (json_int_t)max_output ? wanted : (json_int_t)max_output;
    return json_object_set_new(run, "max_output", json_integer(wanted ? wanted : 1));
}

static int put_network(json_t *run, const json_t *body, struct refusal *r)
{
    bool enabled;

    if (take_flag(given(body, "networking"), "enabled", false, &enabled, r) < 0)
        return -1;
    return enabled ? json_object_set_new(run, "net", json_pack("[s]", "*:*")) : 0;
}

json_t *contree_instance(const json_t *body, uint64_t max_output, struct refusal *r)
{
    json_t *run = json_object();

    put_same(run, "image", body, "image");
    put_same(run, "cwd", body, "cwd");
    put_same(run, "timeout", body, "timeout");
    json_object_set_new(run, "wait", json_false());
    if (json_object_get(run, "image") && put_command(run, body, r) == 0 && put_env(run, body, r) == 0 &&
        put_stdin(run, body, r) == 0 && put_files(run, body, r) == 0 && put_keep(run, body, r) == 0 &&
        put_user(run, body, r) == 0 && put_output(run, body, max_output, r) == 0 &&
        put_network(run, body, r) == 0)
        return run;
    if (!r->kind)
        refuse(r, REFUSAL_INVALID, "\"image\" and \"command\" must be texts that are not empty");
    json_decref(run);
    return NULL;
}
