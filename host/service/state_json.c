#include "service/state_json.h"

#include "base/cleanup.h"

#include <string.h>
#include <sys/stat.h>

static bool is_utf8(const char *s)
{
    return !s || text_utf8_prefix(s, strlen(s)) == strlen(s);
}

static void put_path(json_t *j, const char *name, const char *path, bool plain)
{
    cleanup_free char *text = plain ? text_copy(path) : text_base64(path, strlen(path));

    json_object_set_new(j, name, json_string(text));
}

json_t *state_entry_json(const struct state_entry *i)
{
    bool plain = is_utf8(i->path) && is_utf8(i->target);
    json_t *j = json_object();

    put_path(j, "path", i->path, plain);
    if (i->target)
        put_path(j, "link", i->target, plain);
    if (!plain)
        json_object_set_new(j, "encoding", json_string("base64"));
    if (i->digest[0])
        json_object_set_new(j, "sha256", json_string(i->digest));
    if (S_ISDIR(i->mode))
        json_object_set_new(j, "directory", json_true());
    json_object_set_new(j, "mode", json_sprintf("%04o", i->mode & 07777));
    return j;
}
