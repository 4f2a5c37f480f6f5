#include "questions.h"
#include "tell.h"
#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* The first names of those that were seen: a heap, whose greatest is names[0]. */
static char *names[LOOK_PAGE_MAX];
static size_t count;

static void swap_names(size_t a, size_t b)
{
    char *was = names[a];

    names[a] = names[b];
    names[b] = was;
}

static void sift_up(size_t i)
{
    for (; i > 0 && strcmp(names[i], names[(i - 1) / 2]) > 0; i = (i - 1) / 2)
        swap_names(i, (i - 1) / 2);
}

static void sift_down(size_t i)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < count && strcmp(names[child + 1], names[child]) > 0)
            child++;
        if (child >= count || strcmp(names[child], names[i]) <= 0)
            return;
        swap_names(i, child);
        i = child;
    }
}

static char *copy_name(const char *name)
{
    char *ret = strdup(name);

    if (!ret)
        tell_failed("a page of names");
    return ret;
}

/* Whether there was no room for one of them. */
static bool keep_name(const char *name, uint64_t limit)
{
    if (count < limit) {
        names[count++] = copy_name(name);
        sift_up(count - 1);
        return false;
    }
    if (count && strcmp(name, names[0]) < 0) {
        free(names[0]);
        names[0] = copy_name(name);
        sift_down(0);
    }
    return true;
}

static bool keep_names(DIR *d, uint64_t limit, const char *after, const char *path)
{
    struct dirent *entry;
    bool truncated = false;

    for (errno = 0; (entry = readdir(d)); errno = 0) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, after) > 0)
            truncated = keep_name(name, limit) || truncated;
    }
    if (errno)
        tell_failed(path);
    return truncated;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* How many could not be looked at. */
static uint64_t tell_kept(int directory)
{
    uint64_t skipped = 0;
    struct stat st;

    qsort(names, count, sizeof(names[0]), compare_names);
    for (size_t i = 0; i < count; i++) {
        if (fstatat(directory, names[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
            skipped++;
        else
            tell_entry(names[i], &st, S_ISLNK(st.st_mode) ? walk_target(directory, names[i]) : NULL);
    }
    return skipped;
}

void look_list(const char *path, uint64_t limit, const char *after)
{
    struct stat st;

    if (stat(path, &st) < 0)
        tell_failed(path);
    tell_entry("", &st, NULL);
    if (!S_ISDIR(st.st_mode))
        tell_done(0, false, 0, NULL);
    DIR *d = opendir(path);
    if (!d)
        tell_failed(path);
    bool truncated = keep_names(d, limit < LOOK_PAGE_MAX ? limit : LOOK_PAGE_MAX, after, path);
    tell_done(0, truncated, tell_kept(dirfd(d)), NULL);
}
