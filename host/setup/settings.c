/* Settings in /etc/capsid/capsid.conf. All other lines stay as they are. */
#include "setup/steps.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "config/config.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define CONF "/etc/capsid/capsid.conf"
#define CONF_MAX (1 << 20)
#define SECTION "[capsid]"
#define DEFAULT_HOME "/var/lib/capsid" /* of root; config.c */

/* ---- lines of an INI file -------------------------------------------------------------------------- */

struct lines {
    char **line; /* owned, without newlines */
    size_t count;
};

static void insert_line(struct lines *l, size_t at, char *text)
{
    char **grown = memory_allocate((l->count + 1) * sizeof(*grown));

    for (size_t i = 0; i <= l->count; i++)
        grown[i] = i < at ? l->line[i] : i == at ? text : l->line[i - 1];
    free(l->line);
    l->line = grown;
    l->count++;
}

static void lines_done(struct lines *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->line[i]);
    free(l->line);
    *l = (struct lines){0};
}

static int read_lines(const struct setup *s, struct lines *ret, bool *ret_exists, struct error *e)
{
    cleanup_free char *path = setup_path(s, CONF);
    cleanup_buffer struct buffer text = {0};

    *ret = (struct lines){0};
    *ret_exists = access(path, F_OK) == 0;
    if (!*ret_exists)
        return errno == ENOENT ? 0 : error_errno(e, "cannot look at %s", path);
    if (file_read(path, CONF_MAX, &text, e) < 0)
        return -1;
    for (char *p = text.data; *p;) {
        size_t size = strcspn(p, "\n");
        insert_line(ret, ret->count, text_format("%.*s", (int)size, p));
        p += size + (p[size] == '\n');
    }
    return 0;
}

static int write_lines(const struct setup *s, const struct lines *l, struct error *e)
{
    cleanup_free char *path = setup_path(s, CONF);
    cleanup_free char *directory = text_copy(path);
    cleanup_buffer struct buffer text = {0};
    struct stat st;
    mode_t mode = stat(path, &st) == 0 ? st.st_mode & 07777 : 0644;

    *strrchr(directory, '/') = '\0';
    buffer_add(&text, "", 0);
    for (size_t i = 0; i < l->count; i++)
        buffer_add_text(&text, "%s\n", l->line[i]);
    if (mkdir(directory, 0755) < 0 && errno != EEXIST)
        return error_errno(e, "cannot create directory %s", directory);
    return file_replace(path, directory, text.data, text.size, mode, e);
}

static bool is_section(const char *line)
{
    return line[strspn(line, " \t")] == '[';
}

static bool sets_key(const char *line, const char *key)
{
    const char *p = line + strspn(line, " \t");
    size_t size = strlen(key);

    if (strncmp(p, key, size) != 0)
        return false;
    p += size;
    p += strspn(p, " \t");
    return *p == '=' || *p == ':';
}

/* The line that sets key, the last one as that one counts; -1: there is none. *ret_section: the line after that of
 * the section, 0: there is no section. */
static ssize_t find_key(const struct lines *l, const char *key, size_t *ret_section)
{
    bool inside = false;
    ssize_t found = -1;

    *ret_section = 0;
    for (size_t i = 0; i < l->count; i++) {
        const char *line = l->line[i];
        if (is_section(line))
            inside = strncmp(line + strspn(line, " \t"), SECTION, strlen(SECTION)) == 0;
        if (inside && is_section(line))
            *ret_section = i + 1;
        else if (inside && sets_key(line, key))
            found = (ssize_t)i;
    }
    return found;
}

static void set_line(struct lines *l, const char *key, const char *text)
{
    size_t section;
    ssize_t at = find_key(l, key, &section);

    if (at >= 0) {
        free(l->line[at]);
        l->line[at] = text_copy(text);
        return;
    }
    if (section == 0) {
        insert_line(l, l->count, text_copy(SECTION));
        section = l->count;
    }
    insert_line(l, section, text_copy(text));
}

static void remove_line(struct lines *l, size_t at)
{
    free(l->line[at]);
    memmove(l->line + at, l->line + at + 1, (l->count - at - 1) * sizeof(*l->line));
    l->count--;
}

/* ---- what is to be set ----------------------------------------------------------------------------- */

/* A setting that this build does not have would make it refuse the whole file. */
static bool is_setting(const char *key, const char *value)
{
    struct config probe = {0};
    struct error ignored = {0};
    bool known = config_set(&probe, key, value, "setup", &ignored) == 0;

    config_done(&probe);
    return known;
}

static void want(json_t *wanted, const char *key, const char *value)
{
    if (!is_setting(key, value))
        return;
    cleanup_free char *line = text_format("%s = %s", key, value);
    json_object_set_new(wanted, key, json_string(line));
}

/* key -> line; NULL with an error. */
static json_t *wanted_lines(struct setup *s, struct error *e)
{
    json_t *wanted = json_object();
    uint64_t first, last;

    if (setup_choose_range(s, &first, &last, e) < 0) {
        json_decref(wanted);
        return NULL;
    }
    cleanup_free char *range = text_format("%llu-%llu", (unsigned long long)first, (unsigned long long)last);
    want(wanted, "vm_uids", range);
    if (strcmp(s->options->home, DEFAULT_HOME) != 0)
        want(wanted, "home", s->options->home);
    for (int i = 0; i < SETUP_SOURCES; i++) {
        cleanup_free char *installed = setup_installed_path(s, i);
        cleanup_free char *path = setup_path(s, installed);
        if (s->options->sources[i].from || (setup_noted(s, setup_source_name(i)) && file_exists(path)))
            want(wanted, setup_source_name(i), installed);
    }
    return wanted;
}

static bool is_set(const struct lines *l, const char *key, const char *line)
{
    size_t section;
    ssize_t at = find_key(l, key, &section);

    return at >= 0 && strcmp(l->line[at], line) == 0;
}

static int plan_settings(struct setup *s, struct buffer *what, struct error *e)
{
    json_t *wanted = wanted_lines(s, e), *line;
    int plan = PLAN_DONE;
    struct lines lines;
    const char *key;
    bool exists;

    if (!wanted || read_lines(s, &lines, &exists, e) < 0) {
        json_decref(wanted);
        return -1;
    }
    buffer_add_text(what, CONF);
    json_object_foreach(wanted, key, line)
    {
        buffer_add_text(what, "%s %s", what->size == strlen(CONF) ? ":" : ",", key);
        if (!is_set(&lines, key, json_string_value(line)))
            plan = PLAN_TO_DO;
    }
    if (json_object_size(wanted) == 0)
        plan = PLAN_SKIP;
    json_decref(wanted);
    lines_done(&lines);
    return plan;
}

/* What undoing will need: for each key the line that is set now and the one that was there before setup. */
static json_t *note_settings(struct setup *s, const struct lines *l, json_t *wanted, bool exists)
{
    cleanup_free char *directory = setup_path(s, "/etc/capsid");
    const json_t *before = setup_noted(s, setup_step_settings.name), *was = json_object_get(before, "keys");
    json_t *keys = was ? json_deep_copy(was) : json_object(), *line;
    const char *key;
    size_t section;

    json_object_foreach(wanted, key, line)
    {
        ssize_t at = find_key(l, key, &section);
        json_t *old = json_object_get(keys, key);
        const char *own = json_string_value(json_object_get(old, "line"));
        json_t *original = at >= 0 ? json_string(l->line[at]) : json_null();
        if (own && at >= 0 && strcmp(own, l->line[at]) == 0) {
            json_decref(original);
            original = json_incref(json_object_get(old, "before"));
        }
        json_object_set_new(keys, key, json_pack("{s:O, s:o}", "line", line, "before", original));
    }
    return json_pack("{s:o, s:b, s:b}", "keys", keys, "file",
                     !exists || json_is_true(json_object_get(before, "file")), "directory",
                     !file_exists(directory) || json_is_true(json_object_get(before, "directory")));
}

static int make_settings(struct setup *s, struct error *e)
{
    json_t *wanted = wanted_lines(s, e), *line;
    struct lines lines;
    const char *key;
    bool exists;

    if (!wanted || read_lines(s, &lines, &exists, e) < 0) {
        json_decref(wanted);
        return -1;
    }
    int result = setup_note(s, setup_step_settings.name, note_settings(s, &lines, wanted, exists), e);
    json_object_foreach(wanted, key, line) set_line(&lines, key, json_string_value(line));
    if (result == 0)
        result = write_lines(s, &lines, e);
    json_decref(wanted);
    lines_done(&lines);
    return result;
}

/* Puts back what was there, unless somebody has changed it since. */
static int restore_lines(struct lines *l, json_t *note, struct buffer *what)
{
    int all = 1;
    const char *key;
    json_t *entry;
    size_t section;

    json_object_foreach(json_object_get(note, "keys"), key, entry)
    {
        const char *own = json_string_value(json_object_get(entry, "line"));
        const char *before = json_string_value(json_object_get(entry, "before"));
        ssize_t at = find_key(l, key, &section);
        if (at < 0 || (before && strcmp(l->line[at], before) == 0))
            continue;
        if (!own || strcmp(l->line[at], own) != 0) {
            buffer_add_text(what, ", but %s was changed since", key);
            all = 0;
        } else if (before) {
            set_line(l, key, before);
        } else {
            remove_line(l, (size_t)at);
        }
    }
    return all;
}

static int undo_settings(struct setup *s, json_t *note, struct buffer *what, struct error *e)
{
    cleanup_free char *path = setup_path(s, CONF);
    cleanup_free char *directory = setup_path(s, "/etc/capsid");
    bool own_directory = json_is_true(json_object_get(note, "directory"));
    struct lines lines;
    bool exists;

    buffer_add_text(what, CONF);
    if (read_lines(s, &lines, &exists, e) < 0)
        return -1;
    int result = exists ? restore_lines(&lines, note, what) : 1;
    bool empty = lines.count == 0 || (lines.count == 1 && strcmp(lines.line[0], SECTION) == 0);
    if (exists && empty && json_is_true(json_object_get(note, "file"))) {
        if (unlink(path) < 0)
            result = error_errno(e, "cannot remove %s", path);
    } else if (exists && write_lines(s, &lines, e) < 0) {
        result = -1;
    }
    lines_done(&lines);
    if (result >= 0 && own_directory)
        rmdir(directory); /* not while others are in it */
    return result;
}

const struct step setup_step_settings = {"settings", plan_settings, make_settings, undo_settings};
