#include "core/program.h"

#include "base/cleanup.h"

#include <ctype.h>
#include <string.h>
#include <sys/stat.h>

static const char *const runner_env[] = {"PATH=/usr/local/bin:/usr/bin:/bin",
                                         ("HOME=" PROGRAM_DIRECTORY),
                                         "TMPDIR=/tmp",
                                         "USER=runner",
                                         "LOGNAME=runner",
                                         "SHELL=/bin/sh",
                                         NULL};
const struct program_user program_runner = {PROGRAM_UID, PROGRAM_UID, PROGRAM_DIRECTORY, runner_env, true};

static const char *const root_env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                       "HOME=/root",
                                       "USER=root",
                                       "LOGNAME=root",
                                       "SHELL=/bin/sh",
                                       NULL};
const struct program_user program_root = {0, 0, "/root", root_env, false};

static void add_string(struct buffer *b, const char *s)
{
    buffer_add(b, s, strlen(s) + 1);
}

/* Adds path as one word of a shell command. */
static void add_quoted(struct buffer *b, const char *path)
{
    bool plain = true;

    for (const char *p = path; *p; p++)
        plain = plain && (isalnum((unsigned char)*p) || strchr("/._+-@%,:=", *p));
    if (plain) {
        buffer_add(b, path, strlen(path));
        return;
    }
    buffer_add(b, "'", 1);
    for (const char *p = path; *p; p++) {
        if (*p == '\'')
            buffer_add(b, "'\\''", 4);
        else
            buffer_add(b, p, 1);
    }
    buffer_add(b, "'", 1);
}

/* Adds text, its markers replaced, without a NUL. */
static void add_expanded(struct buffer *b, const struct program *p, const char *text, bool quoted)
{
    const struct {
        const char *marker, *value;
    } markers[] = {{"{source}", p->source}, {"{dir}", p->directory}, {"{output}", p->output}};

    while (*text) {
        const char *value = NULL;
        for (size_t i = 0; !value && i < sizeof(markers) / sizeof(markers[0]); i++) {
            size_t size = strlen(markers[i].marker);
            if (strncmp(text, markers[i].marker, size) == 0) {
                value = markers[i].value;
                text += size;
            }
        }
        if (!value)
            buffer_add(b, text++, 1);
        else if (quoted)
            add_quoted(b, value);
        else
            buffer_add(b, value, strlen(value));
    }
}

/* Splits run at spaces and replaces markers inside the words. */
static int add_run(struct program *p, const char *run, struct error *e)
{
    cleanup_free char *copy = text_copy(run);
    char *state = NULL;
    int words = 0;

    for (char *word = strtok_r(copy, " ", &state); word; word = strtok_r(NULL, " ", &state)) {
        if (++words > LANGUAGE_WORDS_MAX)
            return error_set(e, ERROR_GENERAL, "the run command has more than %d words", LANGUAGE_WORDS_MAX);
        add_expanded(&p->argv, p, word, false);
        buffer_add(&p->argv, "", 1);
    }
    return 0;
}

static bool same_variable(const char *a, const char *b)
{
    size_t size = strcspn(a, "=");

    return strncmp(a, b, size + 1) == 0;
}

size_t count_strings(const char *const *words)
{
    size_t count = 0;

    while (words && words[count])
        count++;
    return count;
}

/* getenv(3) takes the first of equal names, so only the last is passed on. */
static void add_env(struct program *p, const struct language *l, const char *const *env)
{
    size_t count = 0, all_count = count_strings(p->user->env) + l->env_count + count_strings(env);
    const char **all = memory_allocate((all_count + 1) * sizeof(*all));

    for (const char *const *v = p->user->env; *v; v++)
        all[count++] = *v;
    for (unsigned i = 0; i < l->env_count; i++)
        all[count++] = l->env[i];
    for (; env && *env; env++)
        all[count++] = *env;
    for (size_t i = 0; i < count; i++) {
        bool replaced = false;
        for (size_t later = i + 1; later < count; later++)
            replaced = replaced || same_variable(all[i], all[later]);
        if (!replaced)
            add_string(&p->env, all[i]);
    }
    free(all);
}

static int check_lengths(const struct buffer *strings, const char *what, size_t *ret_count, struct error *e)
{
    for (const char *s = strings->data, *end = s + strings->size; s && s < end; s += strlen(s) + 1) {
        ++*ret_count;
        if (strlen(s) >= PROTO_STRING_MAX)
            return error_set(
                e, ERROR_USAGE,
                "%s (%.32s...) has %zu bytes; Linux takes at most %d in one: use a file or standard input",
                what, s, strlen(s), PROTO_STRING_MAX - 1);
    }
    return 0;
}

/* What the guest's execve(2) would refuse with E2BIG; PROTO_STRINGS_MAX says why. */
static int check_strings(const struct program *p, struct error *e)
{
    size_t count = 0;

    if (check_lengths(&p->argv, "an argument", &count, e) < 0 ||
        check_lengths(&p->env, "an environment variable", &count, e) < 0)
        return -1;
    size_t size = p->argv.size + p->env.size + count * sizeof(uint64_t);
    return size <= PROTO_STRINGS_MAX ? 0
                                     : error_set(e, ERROR_USAGE,
                                                 "the arguments and the environment have %zu bytes with 8 "
                                                 "more for each string; Linux takes at "
                                                 "most %d: use a file or standard input",
                                                 size, PROTO_STRINGS_MAX);
}

int program_init(struct program *p, const struct language *l, const struct program_user *user,
                 const char *entry, const char *const *args, const char *const *env, struct error *e)
{
    *p = (struct program){.user = user,
                          .source = text_format("%s/%s", user->directory, entry),
                          .fed = text_format("%s/.%s.fed", user->directory, l->source)};
    p->directory = text_copy(p->source);
    *strrchr(p->directory, '/') = '\0';
    p->output = text_format("%s/main", p->directory);
    int result = add_run(p, l->run, e);
    for (size_t i = 0; args && args[i]; i++)
        add_string(&p->argv, args[i]);
    add_env(p, l, env);
    if (result == 0)
        result = check_strings(p, e);
    if (result < 0)
        program_done(p);
    return result;
}

void program_done(struct program *p)
{
    free(p->source);
    free(p->directory);
    free(p->output);
    free(p->fed);
    buffer_free(&p->argv);
    buffer_free(&p->env);
    *p = (struct program){0};
}

int program_command(struct program *p, const char *const *argv, struct error *e)
{
    p->argv.size = 0;
    for (; *argv; argv++)
        add_string(&p->argv, *argv);
    return check_strings(p, e);
}

void program_shell(const struct program *p, const char *command, struct buffer *ret_argv)
{
    add_string(ret_argv, "/bin/sh");
    add_string(ret_argv, "-c");
    add_expanded(ret_argv, p, command, true);
    buffer_add(ret_argv, "", 1);
}

char *program_cwd(const struct program_user *user, const char *cwd)
{
    return cwd && cwd[0] == '/' ? text_copy(cwd) : text_format("%s/%s", user->directory, cwd ? cwd : "");
}

struct msg_exec program_job(const struct program *p, const struct buffer *argv, const char *cwd,
                            uint16_t flags)
{
    return (struct msg_exec){.argv = {.data = argv->data, .size = (uint32_t)argv->size},
                             .env = {.data = p->env.data, .size = (uint32_t)p->env.size},
                             .cwd = cwd,
                             .uid = p->user->uid,
                             .gid = p->user->gid,
                             .flags = flags};
}

int program_prepare(struct guest *g, int64_t deadline, struct error *e)
{
    return guest_write_file(g, PROGRAM_DIRECTORY, S_IFDIR | 0755, 0, PROGRAM_UID, PROGRAM_UID, "", 0,
                            deadline, e);
}
