#include "core/program.h"

#include "base/cleanup.h"

#include <string.h>
#include <sys/stat.h>

static void add_string(struct buffer *b, const char *s)
{
    buffer_add(b, s, strlen(s) + 1);
}

/* Splits run at spaces; {source} inside a word becomes the program's path. */
static int build_argv(struct program *p, const char *run, struct error *e)
{
    static const char marker[] = "{source}";
    cleanup_free char *copy = text_copy(run);
    char *state = NULL;
    int words = 0;

    for (char *word = strtok_r(copy, " ", &state); word; word = strtok_r(NULL, " ", &state)) {
        char *at = strstr(word, marker);
        if (++words > LANGUAGE_WORDS_MAX)
            return error_set(e, ERROR_GENERAL, "the run command has more than %d words", LANGUAGE_WORDS_MAX);
        if (at) {
            *at = '\0';
            cleanup_free char *whole = text_format("%s%s%s", word, p->source, at + sizeof(marker) - 1);
            add_string(&p->argv, whole);
        } else {
            add_string(&p->argv, word);
        }
    }
    return 0;
}

/* A variable that every program has, unless the language sets it. */
static void add_usual(struct program *p, const struct language *l, const char *variable)
{
    size_t size = strcspn(variable, "=") + 1;

    for (unsigned i = 0; i < l->env_count; i++)
        if (strncmp(l->env[i], variable, size) == 0)
            return;
    add_string(&p->env, variable);
}

int program_init(struct program *p, const struct language *l, struct error *e)
{
    *p = (struct program){.source = text_format(PROGRAM_DIRECTORY "/%s", l->source),
                          .fed = text_format(PROGRAM_DIRECTORY "/.%s.fed", l->source)};
    if (build_argv(p, l->run, e) < 0) {
        program_done(p);
        return -1;
    }
    add_usual(p, l, "PATH=/usr/local/bin:/usr/bin:/bin");
    add_usual(p, l, "HOME=" PROGRAM_DIRECTORY);
    add_usual(p, l, "TMPDIR=/tmp");
    add_usual(p, l, "USER=runner");
    for (unsigned i = 0; i < l->env_count; i++)
        add_string(&p->env, l->env[i]);
    return 0;
}

void program_done(struct program *p)
{
    free(p->source);
    free(p->fed);
    buffer_free(&p->argv);
    buffer_free(&p->env);
    *p = (struct program){0};
}

int program_prepare(struct guest *g, int64_t deadline, struct error *e)
{
    return guest_write_file(g, PROGRAM_DIRECTORY, S_IFDIR | 0755, 0, PROGRAM_UID, PROGRAM_UID, "", 0,
                            deadline, e);
}
