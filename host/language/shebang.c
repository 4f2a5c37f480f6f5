/* The first line of a script, #!: which interpreter it names. */
#include "language/language.h"

#include <ctype.h>
#include <string.h>

#define LINE_SIZE 256 /* BINPRM_BUF_SIZE of Linux: it reads no more */

/* The next word of *at, which ends with a NUL then; NULL: there is none. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, " \t\r");

    *at = word + strcspn(word, " \t\r");
    if (**at)
        *(*at)++ = '\0';
    return word[0] ? word : NULL;
}

static char *base_of(char *path)
{
    return strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
}

/* An option of env(1) whose value is the next word. */
static bool has_value(const char *word)
{
    static const char *const options[] = {"-u", "--unset", "-C", "--chdir"};

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (strcmp(word, options[i]) == 0)
            return true;
    return false;
}

/* What env(1) would start: -S and the word after it may be one. */
static char *after_env(char **at)
{
    char *word;

    while ((word = next_word(at))) {
        char *split = strncmp(word, "--split-string=", 15) == 0 ? word + 15
                      : strncmp(word, "-S", 2) == 0             ? word + 2
                      : strncmp(word, "-vS", 3) == 0            ? word + 3
                                                                : NULL;
        if (split && split[0])
            return split;
        if (has_value(word))
            next_word(at);
        else if (word[0] != '-' && !strchr(word, '='))
            return word;
    }
    return NULL;
}

bool language_interpreter(const char *content, size_t size, char ret[static LANGUAGE_INTERPRETER_MAX])
{
    char line[LINE_SIZE] = "", *at = line + 2;

    if (size < 2 || memcmp(content, "#!", 2) != 0)
        return false;
    const char *end = memchr(content, '\n', size < LINE_SIZE ? size : LINE_SIZE);
    size_t length = end ? (size_t)(end - content) : size;
    if (length >= LINE_SIZE || memchr(content, '\0', length))
        return false;
    memcpy(line, content, length);
    char *word = next_word(&at);
    if (word && strcmp(base_of(word), "env") == 0)
        word = after_env(&at);
    if (!word)
        return false;
    const char *name = base_of(word);
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._+-", *p))
            return false;
    if (!name[0] || strlen(name) >= LANGUAGE_INTERPRETER_MAX)
        return false;
    strcpy(ret, name);
    return true;
}

bool language_has_interpreter(const struct language *l, const char *name)
{
    const char *version = name + strcspn(name, ".-");

    /* python3.11 is python3, guile-3.0 is guile; python2 is no python. */
    while (version[0] && version[1 + strspn(version + 1, "0123456789.")])
        version += 1 + strcspn(version + 1, ".-");
    char base[LANGUAGE_INTERPRETER_MAX] = "";
    memcpy(base, name, (size_t)(version - name));
    return language_list_has(l->interpreters, name) ||
           (version[0] && version[1] && language_list_has(l->interpreters, base));
}
