#include "setup/step.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define RECORD "setup.json"
#define RECORD_MAX (1 << 20)

char *setup_path(const struct setup *s, const char *path)
{
    return text_format("%s%s", s->options->root, path);
}

json_t *setup_noted(const struct setup *s, const char *step)
{
    return json_object_get(s->record, step);
}

int setup_make_parents(const char *path, struct error *e)
{
    cleanup_free char *copy = text_copy(path);

    for (char *p = strchr(copy + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
            return error_errno(e, "cannot create directory %s", copy);
        *p = '/';
    }
    return 0;
}

int setup_sync_directory(const char *path, struct error *e)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? error_errno(e, "cannot sync %s", path) : 0;
}

int setup_write_record(const struct setup *s, const char *directory, struct error *e)
{
    cleanup_free char *path = text_format("%s/" RECORD, directory);
    cleanup_free char *text = json_dumps(s->record, JSON_INDENT(2) | JSON_SORT_KEYS);

    return file_replace(path, directory, text, strlen(text), 0600, e) < 0
               ? -1
               : setup_sync_directory(directory, e);
}

int setup_note(struct setup *s, const char *step, json_t *note, struct error *e)
{
    json_object_set_new(s->record, step, note);
    return setup_write_record(s, s->home, e);
}

int setup_read_record(struct setup *s, struct error *e)
{
    cleanup_free char *path = text_format("%s/" RECORD, s->home);
    cleanup_buffer struct buffer text = {0};

    s->record = NULL;
    if (access(path, F_OK) < 0 && errno == ENOENT)
        s->record = json_object();
    else if (file_read(path, RECORD_MAX, &text, e) < 0)
        return -1;
    else
        s->record = json_loads(text.data, 0, NULL);
    if (!json_is_object(s->record)) {
        json_decref(s->record);
        s->record = NULL;
        return error_set(e, ERROR_CORRUPT, "%s is corrupt; what setup made here must be removed by hand",
                         path);
    }
    return 0;
}

int setup_remove_record(const struct setup *s, struct error *e)
{
    cleanup_free char *path = text_format("%s/" RECORD, s->home);

    return unlink(path) < 0 && errno != ENOENT ? error_errno(e, "cannot remove %s", path) : 0;
}
