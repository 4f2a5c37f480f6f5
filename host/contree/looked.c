#include "contree/looked.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <string.h>
#include <sys/stat.h>

/* What a guest says, as text: what is no UTF-8 becomes "?". */
static json_t *words_json(const char *data, size_t size)
{
    cleanup_free char *text = text_format("%.*s", (int)size, data);

    if (text_utf8_prefix(text, strlen(text)) != strlen(text))
        text_make_plain_lines(text);
    return json_string(text);
}

json_t *contree_file_item(const struct look_file *f)
{
    const char *target = f->target ? f->target : "";

    return json_pack("{s:I, s:o, s:i, s:i, s:i, s:i, s:i, s:I, s:i, s:b, s:b, s:b, s:b, s:b, s:o}", "size",
                     (json_int_t)f->size, "path", words_json(f->name, strlen(f->name)), "owner", (int)f->uid,
                     "group", (int)f->gid, "uid", (int)f->uid, "gid", (int)f->gid, "mode", (int)f->mode,
                     "mtime", (json_int_t)f->mtime_s, "nlink", 1, "is_dir", S_ISDIR(f->mode), "is_regular",
                     S_ISREG(f->mode), "is_symlink", S_ISLNK(f->mode), "is_socket", S_ISSOCK(f->mode),
                     "is_fifo", S_ISFIFO(f->mode), "symlink_to", words_json(target, strlen(target)));
}

json_t *contree_match(const struct look_match *m, const char *root)
{
    size_t end = strlen(root);

    while (end > 0 && root[end - 1] == '/')
        end--;
    cleanup_free char *path = text_format("%.*s%s%s", (int)end, root, m->path[0] ? "/" : "", m->path),
                      *line = text_format("%.*s\n", (int)m->size, m->text);
    return json_pack("{s:o, s:I, s:i, s:o, s:I, s:[], s:s}", "path", words_json(path, strlen(path)),
                     "line_number", (json_int_t)m->line, "absolute_offset", 0, "line_text",
                     words_json(line, strlen(line)), "line_bytes", (json_int_t)m->size + 1, "submatches",
                     "type", "match");
}
