#include "oci/installed.h"

#include "base/cleanup.h"
#include "oci/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define DATABASE_MAX (32u << 20) /* bytes of one file; those of large distributions have 5 MB */
#define PIECES_MAX 10000
#define NAME_SIZE 256

/* What is known of the entry that is being read. */
struct entry {
    char name[NAME_SIZE], version[NAME_SIZE];
    bool absent; /* known, but not installed: only its configuration is left */
};

/* As image/packages.c wants words: the databases of an image may hold anything. */
static bool is_word(const char *s)
{
    return s[0] &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:~+_-") == strlen(s) &&
           strlen(s) <= 128;
}

static void end_entry(struct installed *ret, const char *kind, struct entry *entry)
{
    if (!entry->absent && (entry->name[0] || entry->version[0])) {
        if (is_word(entry->name) && is_word(entry->version) && !strchr(entry->name, ':'))
            buffer_add_text(&ret->lines, "%s %s %s -\n", kind, entry->name, entry->version);
        else
            ret->skipped++;
    }
    *entry = (struct entry){0};
}

/* True when the line of size bytes is that field; then its value, cut at NAME_SIZE, is in out. */
static bool take_field_installed(const char *line, size_t size, const char *field, char out[static NAME_SIZE])
{
    size_t name = strlen(field);

    if (size < name || strncmp(line, field, name) != 0)
        return false;
    snprintf(out, NAME_SIZE, "%.*s", (int)(size - name < NAME_SIZE ? size - name : NAME_SIZE), line + name);
    return true;
}

/* Entries are lines of fields, with an empty line between two. deb-control(5); apk's are letters. */
static void parse_installed(struct installed *ret, const char *text, const char *kind, const char *name,
                            const char *version, const char *status)
{
    struct entry entry = {0};
    char value[NAME_SIZE];

    while (*text) {
        size_t size = strcspn(text, "\n");
        if (size == 0)
            end_entry(ret, kind, &entry);
        else if (status && take_field_installed(text, size, status, value))
            entry.absent = !strstr(value, " installed");
        else if (!take_field_installed(text, size, name, entry.name))
            take_field_installed(text, size, version, entry.version);
        text += size + (text[size] == '\n');
    }
    end_entry(ret, kind, &entry);
}

void installed_parse_dpkg(struct installed *ret, const char *text)
{
    parse_installed(ret, text, "deb", "Package: ", "Version: ", "Status: ");
}

void installed_parse_apk(struct installed *ret, const char *text)
{
    parse_installed(ret, text, "apk", "P:", "V:", NULL);
}

typedef void parser(struct installed *ret, const char *text);

static int read_file_installed(struct installed *ret, int root, const char *path, parser *parse_text,
                               struct error *e)
{
    cleanup_buffer struct buffer text = {0};

    if (tree_read(root, path, DATABASE_MAX, &text, e) < 0)
        return -1;
    if (text.data)
        parse_text(ret, text.data);
    return 0;
}

/* Each file in a directory of pieces; those that end in .md5sums are something else. */
static int read_pieces(struct installed *ret, int root, const char *path, struct error *e)
{
    int fd = tree_open_directory(root, path, e), result = 0;

    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    cleanup_dir DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return error_errno(e, "/%s in the image", path);
    }
    unsigned count = 0;
    for (struct dirent *d; result == 0 && (d = readdir(dir));) {
        cleanup_free char *file = text_format("%s/%s", path, d->d_name);
        if (d->d_name[0] == '.' || strstr(d->d_name, ".md5sums"))
            continue;
        if (++count > PIECES_MAX)
            return error_set(e, ERROR_CORRUPT, "/%s in the image has more than %d files", path, PIECES_MAX);
        result = read_file_installed(ret, root, file, installed_parse_dpkg, e);
    }
    return result;
}

static bool is_there(int root, const char *path)
{
    struct error ignored = {0};
    cleanup_fd int fd = tree_open_directory(root, path, &ignored);

    return fd >= 0;
}

int installed_read(struct installed *ret, int root, struct error *e)
{
    *ret = (struct installed){0};
    if (read_file_installed(ret, root, "var/lib/dpkg/status", installed_parse_dpkg, e) < 0 ||
        read_pieces(ret, root, "var/lib/dpkg/status.d", e) < 0 ||
        read_file_installed(ret, root, "lib/apk/db/installed", installed_parse_apk, e) < 0)
        return -1;
    ret->rpm = is_there(root, "var/lib/rpm") || is_there(root, "usr/lib/sysimage/rpm");
    return 0;
}
