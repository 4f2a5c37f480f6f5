#include "config/definition.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>

#define DEFINITION_MAX (64 * 1024)
#define LINE_MAX_SIZE 198 /* of inih */

struct reading {
    definition_set *set;
    void *context;
    struct error *error;
    bool failed;
};

static int on_definition(void *reading, const char *section, const char *key, const char *value)
{
    struct reading *r = reading;

    if (!r->failed)
        r->failed = r->set(r->context, section, key, value, r->error) < 0;
    return 1;
}

/* The parser would take the rest of a long line for another line. */
static int check_text(const struct buffer *text, const char *path, struct error *e)
{
    unsigned number = 1;

    if (memchr(text->data, '\0', text->size))
        return error_set(e, ERROR_GENERAL, "%s: has a NUL byte; it is not a text file", path);
    for (const char *line = text->data; *line; number++) {
        size_t size = strcspn(line, "\n");
        if (size > LINE_MAX_SIZE)
            return error_set(
                e, ERROR_GENERAL,
                "%s: line %u has %zu characters, %d are the most; continue it on an indented line", path,
                number, size, LINE_MAX_SIZE);
        line += size + (line[size] == '\n');
    }
    return 0;
}

int definition_read(const char *path, definition_set *set, void *context,
                    char ret_digest[static DIGEST_HEX_SIZE], struct error *e)
{
    struct reading r = {.set = set, .context = context, .error = e};
    cleanup_buffer struct buffer text = {0};

    if (file_read(path, DEFINITION_MAX, &text, e) < 0)
        return -1;
    buffer_add(&text, "", 0); /* an empty file has its NUL, too */
    if (check_text(&text, path, e) < 0)
        return -1;
    int line = ini_parse_string(text.data, on_definition, &r);
    if (!r.failed && line != 0)
        return error_set(e, ERROR_GENERAL, "%s: line %d is not INI", path, line);
    digest_bytes(text.data, text.size, ret_digest);
    return r.failed ? -1 : 0;
}

void definition_join(char **field, const char *value)
{
    char *joined = *field ? text_format("%s %s", *field, value) : text_copy(value);

    free(*field);
    *field = joined;
}

void definition_drop_empty(char **field)
{
    if (*field && !(*field)[0]) {
        free(*field);
        *field = NULL;
    }
}
