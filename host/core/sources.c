#include "core/sources.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_MAX_BYTES 1024 /* of a whole relative path */

void sources_done(struct sources *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free(s->files[i].name);
        free(s->files[i].told);
        buffer_free(&s->files[i].content);
    }
    free(s->files);
    *s = (struct sources){0};
}

const struct source_file *sources_find(const struct sources *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (S_ISREG(s->files[i].mode) && s->files[i].name && strcmp(s->files[i].name, name) == 0)
            return &s->files[i];
    return NULL;
}

/* A new entry; NULL with an error when there is no room, or the name is taken. */
static struct source_file *add_entry(struct sources *s, const char *name, const char *told, uint32_t mode,
                                     struct error *e)
{
    if (s->count == SOURCES_FILES_MAX) {
        error_set(e, ERROR_USAGE, "%s: more than %d files and directories; give fewer", told,
                  SOURCES_FILES_MAX);
        return NULL;
    }
    for (size_t i = 0; name && i < s->count; i++) {
        if (s->files[i].name && strcmp(s->files[i].name, name) == 0) {
            error_set(e, ERROR_USAGE,
                      "%s and %s would both be %s in the guest; rename one, or put them in a directory",
                      s->files[i].told, told, name);
            return NULL;
        }
    }
    if (!s->files)
        s->files = memory_allocate(SOURCES_FILES_MAX * sizeof(s->files[0]));
    struct source_file *f = &s->files[s->count++];
    *f = (struct source_file){.name = text_copy(name), .told = text_copy(told), .mode = mode};
    return f;
}

static int count_size(struct sources *s, size_t size, const char *told, struct error *e)
{
    s->size += size;
    if (s->size > SOURCES_SIZE_MAX)
        return error_set(e, ERROR_USAGE, "%s: all files together are larger than %u MiB; give fewer", told,
                         SOURCES_SIZE_MAX >> 20);
    return 0;
}

int sources_add_code(struct sources *s, struct buffer *content, const char *told, struct error *e)
{
    struct source_file *f = add_entry(s, NULL, told, S_IFREG | 0644, e);

    if (!f)
        return -1;
    f->content = *content;
    *content = (struct buffer){0};
    return count_size(s, f->content.size, told ? told : "the program", e);
}

static int check_name(const char *name, struct error *e)
{
    size_t size = strlen(name);
    int depth = 0;

    if (size == 0 || size > NAME_MAX_BYTES || text_utf8_prefix(name, size) != size)
        return error_set(e, ERROR_USAGE, "file name \"%.64s\": must be 1 to %d bytes of UTF-8", name,
                         NAME_MAX_BYTES);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 127)
            return error_set(e, ERROR_USAGE, "a file name holds a control character");
    if (name[0] == '/')
        return error_set(e, ERROR_USAGE, "file name \"%.64s\": must be relative", name);
    for (const char *part = name; part; depth++) {
        size_t length = strcspn(part, "/");
        if (length == 0 || length > 255 || (length == 1 && part[0] == '.') ||
            (length == 2 && part[0] == '.' && part[1] == '.'))
            return error_set(e, ERROR_USAGE,
                             "file name \"%.64s\": has a part that is empty, \".\", \"..\" or too long",
                             name);
        part = part[length] ? part + length + 1 : NULL;
    }
    if (depth > SOURCES_DEPTH_MAX)
        return error_set(e, ERROR_USAGE, "file name \"%.64s\": more than %d directories within each other",
                         name, SOURCES_DEPTH_MAX);
    return 0;
}

static const struct source_file *find_any(const struct sources *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->files[i].name && strcmp(s->files[i].name, name) == 0)
            return &s->files[i];
    return NULL;
}

/* Checks the name, and adds the directories above it that are not there yet. */
static int add_parents(struct sources *s, const char *name, struct error *e)
{
    cleanup_free char *path = text_copy(name);

    if (check_name(name, e) < 0)
        return -1;
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const struct source_file *parent = find_any(s, path);
        if (parent && !S_ISDIR(parent->mode))
            return error_set(e, ERROR_USAGE, "file name \"%.64s\": \"%.64s\" is a file, not a directory",
                             name, path);
        if (!parent && !add_entry(s, path, name, S_IFDIR | 0755, e))
            return -1;
        *slash = '/';
    }
    return 0;
}

int sources_add_named_directory(struct sources *s, const char *name, struct error *e)
{
    if (add_parents(s, name, e) < 0)
        return -1;
    const struct source_file *there = find_any(s, name);
    if (there && !S_ISDIR(there->mode))
        return error_set(e, ERROR_USAGE, "file name \"%.64s\": given twice", name);
    return there || add_entry(s, name, name, S_IFDIR | 0755, e) ? 0 : -1;
}

int sources_add_named(struct sources *s, const char *name, bool executable, struct buffer *content,
                      struct error *e)
{
    if (add_parents(s, name, e) < 0)
        return -1;
    if (find_any(s, name))
        return error_set(e, ERROR_USAGE, "file name \"%.64s\": given twice", name);
    if (content->size > SOURCES_FILE_SIZE_MAX)
        return error_set(e, ERROR_USAGE, "file \"%.64s\": larger than %u MiB", name,
                         SOURCES_FILE_SIZE_MAX >> 20);
    struct source_file *f = add_entry(s, name, name, S_IFREG | (executable ? 0755 : 0644), e);
    if (!f)
        return -1;
    f->content = *content;
    *content = (struct buffer){0};
    return count_size(s, f->content.size, name, e);
}

static int add_directory(struct sources *s, int fd, const char *name, const char *told, int depth,
                         struct error *e);

/* Adds what the open fd is. name "" is the job's directory itself. */
static int add_fd(struct sources *s, int fd, const char *name, const char *told, int depth, struct error *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return error_errno(e, "cannot read %s", told);
    if (strlen(name) > NAME_MAX_BYTES)
        return error_set(e, ERROR_USAGE, "%s: a path of more than %d bytes", told, NAME_MAX_BYTES);
    if (S_ISDIR(st.st_mode))
        return add_directory(s, fd, name, told, depth, e);
    if (!S_ISREG(st.st_mode))
        return error_set(e, ERROR_USAGE, "%s: neither a file nor a directory", told);
    struct source_file *f = add_entry(s, name, told, S_IFREG | (st.st_mode & 0100 ? 0755 : 0644), e);
    if (!f || file_read_fd(fd, told, SOURCES_FILE_SIZE_MAX, &f->content, e) < 0)
        return -1;
    return count_size(s, f->content.size, told, e);
}

static int add_child(struct sources *s, int parent, const char *child, const char *name, const char *told,
                     int depth, struct error *e)
{
    cleanup_free char *child_name = text_format("%s%s%s", name, name[0] ? "/" : "", child);
    cleanup_free char *child_told = text_format("%s/%s", told, child);
    /* Not blocking, for a FIFO would never open. */
    cleanup_fd int fd = openat(parent, child, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0 && errno == ELOOP)
        return error_set(e, ERROR_USAGE, "%s is a symbolic link, which is not followed; put a copy there",
                         child_told);
    if (fd < 0)
        return error_errno(e, "cannot open %s", child_told);
    return add_fd(s, fd, child_name, child_told, depth + 1, e);
}

static int not_dots(const struct dirent *d)
{
    return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static int add_directory(struct sources *s, int fd, const char *name, const char *told, int depth,
                         struct error *e)
{
    struct dirent **entries;
    int result = 0;

    if (depth > SOURCES_DEPTH_MAX)
        return error_set(e, ERROR_USAGE, "%s: more than %d directories within each other", told,
                         SOURCES_DEPTH_MAX);
    if (name[0] && !add_entry(s, name, told, S_IFDIR | 0755, e))
        return -1;
    int count = scandirat(fd, ".", &entries, not_dots, alphasort);
    if (count < 0)
        return error_errno(e, "cannot read %s", told);
    for (int i = 0; i < count; i++) {
        if (result == 0)
            result = add_child(s, fd, entries[i]->d_name, name, told, depth, e);
        free(entries[i]);
    }
    free(entries);
    return result;
}

int sources_add_path(struct sources *s, const char *path, bool alone, struct error *e)
{
    cleanup_free char *trimmed = text_copy(path);
    size_t size = strlen(trimmed);
    struct stat st;

    while (size > 1 && trimmed[size - 1] == '/')
        trimmed[--size] = '\0';
    /* The user named this one; only what a directory holds may be a trap. Standard input and the like stay
     * readable. */
    cleanup_fd int fd = open(trimmed, O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(e, "cannot open %s", path);
    const char *base = strrchr(trimmed, '/') ? strrchr(trimmed, '/') + 1 : trimmed;
    if (S_ISDIR(st.st_mode)) {
        s->tree = s->tree || s->count == 0;
        if (alone)
            return add_fd(s, fd, "", trimmed, 0, e);
    } else if (!S_ISREG(st.st_mode)) { /* a pipe of the shell: <(...) */
        struct source_file *f = add_entry(s, base, trimmed, S_IFREG | 0644, e);
        if (!f || file_read_input(fd, path, SOURCES_FILE_SIZE_MAX, s->cancel, &f->content, e) < 0)
            return -1;
        return count_size(s, f->content.size, path, e);
    }
    if (!base[0] || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return error_set(e, ERROR_USAGE, "%s has no name to keep beside other files; name it differently",
                         path);
    return add_fd(s, fd, base, trimmed, 0, e);
}
