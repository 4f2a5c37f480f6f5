#include "core/sources.h"

#include "base/cleanup.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_BYTES 1024 /* of a whole relative path */
#define LINKS_MAX 8         /* that lead to one another */

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

static const struct source_file *find_any(const struct sources *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->files[i].name && strcmp(s->files[i].name, name) == 0)
            return &s->files[i];
    return NULL;
}

/* The name, on the heap, that target has as seen from the link's directory, by its letters alone; NULL: it is absolute or
 * leads out. The empty name is the top. */
static char *resolve(const char *link, const char *target)
{
    struct buffer path = {0};

    if (target[0] == '/')
        return NULL;
    buffer_add(&path, link, strlen(link));
    path.size = strrchr(link, '/') ? (size_t)(strrchr(link, '/') - link) : 0;
    while (*target) {
        size_t length = strcspn(target, "/");
        if (length == 2 && strncmp(target, "..", 2) == 0) {
            if (path.size == 0) {
                buffer_free(&path);
                return NULL;
            }
            while (path.size > 0 && path.data[--path.size] != '/')
                ;
        } else if (length > 1 || (length == 1 && target[0] != '.')) {
            buffer_add(&path, "/", path.size ? 1 : 0);
            buffer_add(&path, target, length);
        }
        target += length + (target[length] == '/');
    }
    path.data[path.size] = '\0';
    return path.data;
}

const struct source_file *sources_find(const struct sources *s, const char *name)
{
    const struct source_file *f = find_any(s, name);

    for (int links = 0; f && S_ISLNK(f->mode); links++) {
        cleanup_free char *next = links < LINKS_MAX ? resolve(f->name, f->content.data) : NULL;
        f = next ? find_any(s, next) : NULL;
    }
    return f && S_ISREG(f->mode) ? f : NULL;
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

/* top: how much of name is the directory that must not be left. */
static int add_link(struct sources *s, const char *name, const char *told, size_t top, const char *target,
                    struct error *e)
{
    size_t size = strlen(target);
    cleanup_free char *inside = resolve(name + top, target);

    if (size == 0 || size > NAME_MAX_BYTES)
        return error_set(e, ERROR_USAGE, "%s: the target of a symbolic link must have 1 to %d bytes", told,
                         NAME_MAX_BYTES);
    if (!inside)
        return error_set(e, ERROR_USAGE, "%s is a symbolic link to %.200s, which is %s; put a copy there",
                         told, target,
                         target[0] == '/' ? "an absolute path" : "outside the directory that was given");
    struct source_file *f = add_entry(s, name, told, S_IFLNK | 0777, e);
    if (!f)
        return -1;
    buffer_add(&f->content, target, size);
    return count_size(s, size, told, e);
}

int sources_add_named_link(struct sources *s, const char *name, const char *target, struct error *e)
{
    if (add_parents(s, name, e) < 0)
        return -1;
    if (find_any(s, name))
        return error_set(e, ERROR_USAGE, "file name \"%.64s\": given twice", name);
    if (text_utf8_prefix(target, strlen(target)) != strlen(target))
        return error_set(e, ERROR_USAGE, "link \"%.64s\": its target must be UTF-8", name);
    return add_link(s, name, name, 0, target, e);
}

/* A place in what is being read. */
struct place {
    const char *name; /* in the guest; "": the job's directory itself */
    const char *told;
    size_t top; /* as add_link() wants it */
    int depth;
};

static int add_directory(struct sources *s, int fd, const struct place *p, struct error *e);

/* Adds what the open fd is. */
static int add_fd(struct sources *s, int fd, const struct place *p, struct error *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return error_errno(e, "cannot read %s", p->told);
    if (strlen(p->name) > NAME_MAX_BYTES)
        return error_set(e, ERROR_USAGE, "%s: a path of more than %d bytes", p->told, NAME_MAX_BYTES);
    if (S_ISDIR(st.st_mode))
        return add_directory(s, fd, p, e);
    if (!S_ISREG(st.st_mode))
        return error_set(e, ERROR_USAGE, "%s: neither a file nor a directory", p->told);
    struct source_file *f = add_entry(s, p->name, p->told, S_IFREG | (st.st_mode & 0100 ? 0755 : 0644), e);
    if (!f || file_read_fd(fd, p->told, SOURCES_FILE_SIZE_MAX, &f->content, e) < 0)
        return -1;
    return count_size(s, f->content.size, p->told, e);
}

static int add_link_at(struct sources *s, int parent, const char *child, const struct place *p,
                       struct error *e)
{
    char target[NAME_MAX_BYTES + 2];
    ssize_t n = readlinkat(parent, child, target, sizeof(target) - 1);

    if (n < 0)
        return error_errno(e, "cannot read %s", p->told);
    target[n] = '\0';
    return add_link(s, p->name, p->told, p->top, target, e);
}

static int add_child(struct sources *s, int parent, const char *child, const struct place *p, struct error *e)
{
    cleanup_free char *name = text_format("%s%s%s", p->name, p->name[0] ? "/" : "", child);
    cleanup_free char *told = text_format("%s/%s", p->told, child);
    const struct place here = {name, told, p->top, p->depth + 1};
    /* Not blocking, for a FIFO would never open. */
    cleanup_fd int fd = openat(parent, child, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0 && errno == ELOOP)
        return add_link_at(s, parent, child, &here, e);
    if (fd < 0)
        return error_errno(e, "cannot open %s", told);
    return add_fd(s, fd, &here, e);
}

static int not_dots(const struct dirent *d)
{
    return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static int add_directory(struct sources *s, int fd, const struct place *p, struct error *e)
{
    struct dirent **entries;
    int result = 0;

    if (p->depth > SOURCES_DEPTH_MAX)
        return error_set(e, ERROR_USAGE, "%s: more than %d directories within each other", p->told,
                         SOURCES_DEPTH_MAX);
    if (p->name[0] && !add_entry(s, p->name, p->told, S_IFDIR | 0755, e))
        return -1;
    int count = scandirat(fd, ".", &entries, not_dots, alphasort);
    if (count < 0)
        return error_errno(e, "cannot read %s", p->told);
    for (int i = 0; i < count; i++) {
        if (result == 0)
            result = add_child(s, fd, entries[i]->d_name, p, e);
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
            return add_fd(s, fd, &(struct place){"", trimmed, 0, 0}, e);
    } else if (!S_ISREG(st.st_mode)) { /* a pipe of the shell: <(...) */
        struct source_file *f = add_entry(s, base, trimmed, S_IFREG | 0644, e);
        if (!f || file_read_input(fd, path, SOURCES_FILE_SIZE_MAX, s->cancel, &f->content, e) < 0)
            return -1;
        return count_size(s, f->content.size, path, e);
    }
    if (!base[0] || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        return error_set(e, ERROR_USAGE, "%s has no name to keep beside other files; name it differently",
                         path);
    /* Beside others a directory keeps its name, and its links must not leave it all the same. */
    return add_fd(s, fd, &(struct place){base, trimmed, strlen(base) + 1, 0}, e);
}
