#include "broker/reach.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_SIZE_MAX (1u << 20)
#define CLIENTS_MAX 4096

struct reacher {
    char name[65];
    struct policy policy;
};

struct reach {
    char *path;           /* owned; NULL: there is no file */
    pthread_mutex_t lock; /* a leaf */
    struct reacher *all;  /* owned */
    size_t count;
};

static void free_reachers(struct reacher *all, size_t count)
{
    for (size_t i = 0; i < count; i++)
        policy_done(&all[i].policy);
    free(all);
}

static struct reacher *find_reacher(struct reacher *all, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(all[i].name, name) == 0)
            return &all[i];
    return NULL;
}

/* NAME RULE..., which is changed. */
static int parse_reach_line(char *line, struct reacher *all, size_t *count, struct error *e)
{
    char *state = NULL, *name = strtok_r(line, " \t\r", &state);

    if (!name)
        return 0;
    if (strcmp(name, "*") != 0 && !text_is_name(name))
        return error_set(e, ERROR_USAGE, "\"%.64s\" is no name of a token, nor *", name);
    struct reacher *r = find_reacher(all, *count, name);
    if (!r && *count == CLIENTS_MAX)
        return error_set(e, ERROR_USAGE, "more than %d names", CLIENTS_MAX);
    if (!r) {
        r = &all[(*count)++];
        snprintf(r->name, sizeof(r->name), "%s", name);
    }
    for (char *rule = strtok_r(NULL, " \t\r", &state); rule; rule = strtok_r(NULL, " \t\r", &state))
        if (policy_add(&r->policy, rule, e) < 0)
            return -1;
    return 0;
}

static int read_reach_file(const char *path, struct buffer *ret, struct error *e)
{
    cleanup_fd int fd = file_open(path, O_RDONLY, e);
    struct stat st;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0)
        return error_errno(e, "cannot read %s", path);
    if (st.st_mode & 022)
        return error_set(e, ERROR_USAGE, "others than its owner may write %s; run: chmod go-w %s", path,
                         path);
    return file_read_fd(fd, path, FILE_SIZE_MAX, ret, e);
}

int reach_reload(struct reach *r, struct error *e)
{
    cleanup_buffer struct buffer text = {0};
    int number = 0;
    size_t count = 0;

    if (!r->path)
        return 0;
    if (read_reach_file(r->path, &text, e) < 0)
        return error_wrap(e, "the policy for networks");
    struct reacher *all = memory_allocate(CLIENTS_MAX * sizeof(*all)), *old;
    for (char *line = text.data, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        line[strcspn(line, "#")] = '\0';
        number++;
        if (parse_reach_line(line, all, &count, e) == 0)
            continue;
        free_reachers(all, count);
        return error_wrap(e, "%s: line %d", r->path, number);
    }
    pthread_mutex_lock(&r->lock);
    size_t old_count = r->count;
    old = r->all;
    r->all = all;
    r->count = count;
    pthread_mutex_unlock(&r->lock);
    free_reachers(old, old_count);
    return 0;
}

struct reach *reach_open(const char *path, struct error *e)
{
    struct reach *r = memory_allocate(sizeof(*r));

    *r = (struct reach){.path = text_copy(path)};
    pthread_mutex_init(&r->lock, NULL);
    if (reach_reload(r, e) == 0)
        return r;
    reach_close(r);
    return NULL;
}

void reach_close(struct reach *r)
{
    if (!r)
        return;
    free_reachers(r->all, r->count);
    pthread_mutex_destroy(&r->lock);
    free(r->path);
    free(r);
}

bool reach_of(struct reach *r, const char *owner, struct policy *ret)
{
    *ret = (struct policy){0};
    pthread_mutex_lock(&r->lock);
    const struct reacher *found = find_reacher(r->all, r->count, owner);
    if (!found)
        found = find_reacher(r->all, r->count, "*");
    if (found)
        policy_copy(ret, &found->policy);
    pthread_mutex_unlock(&r->lock);
    return ret->count > 0;
}
