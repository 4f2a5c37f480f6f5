#include "egress/resolve.h"

#include "base/child.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <string.h>

#define KEPT_MS 30000
#define ANSWER_MAX 65536         /* bytes */
#define GETENT_NO_KEY "status 2" /* getent(1) */

void resolver_open(struct resolver *r)
{
    memset(r, 0, sizeof(*r));
    pthread_mutex_init(&r->lock, NULL);
}

void resolver_close(struct resolver *r)
{
    pthread_mutex_destroy(&r->lock);
}

static bool find_kept(struct resolver *r, const char *name, struct resolved *ret)
{
    bool found = false;

    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; !found && i < RESOLVER_KEPT; i++) {
        found = strcmp(r->kept[i].name, name) == 0 && !deadline_passed(r->kept[i].until);
        if (found)
            *ret = r->kept[i].found;
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

static void keep_name(struct resolver *r, const char *name, const struct resolved *found)
{
    pthread_mutex_lock(&r->lock);
    unsigned i = r->next++ % RESOLVER_KEPT;
    strcpy(r->kept[i].name, name);
    r->kept[i].found = *found;
    r->kept[i].until = deadline_in_ms(KEPT_MS);
    pthread_mutex_unlock(&r->lock);
}

static bool is_known(const struct resolved *r, const struct address *a)
{
    for (size_t i = 0; i < r->count; i++)
        if (memcmp(&r->addresses[i], a, sizeof(*a)) == 0)
            return true;
    return false;
}

/* Lines of "ADDRESS TYPE [NAME]". */
static void read_answer(char *text, struct resolved *ret)
{
    char *state = NULL;

    for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
        struct address a;
        line[strcspn(line, " \t%")] = '\0';
        if (ret->count < RESOLVED_MAX && address_parse(line, &a) && !is_known(ret, &a))
            ret->addresses[ret->count++] = a;
    }
}

int resolve_name(struct resolver *r, const char *name, struct resolved *ret, int64_t deadline,
                 const struct cancel *cancel, struct error *e)
{
    /* The machine's search list is for its users, not for guests. */
    const char *const argv[] = {
        "env", "LOCALDOMAIN=", "RES_OPTIONS=ndots:1 timeout:3 attempts:2", "getent", "ahosts", name, NULL};
    cleanup_buffer struct buffer answer = {0};

    *ret = (struct resolved){0};
    if (find_kept(r, name, ret))
        return 0;
    int result = child_capture(argv, ANSWER_MAX, deadline, cancel, &answer, e);
    if (result == 0 && answer.size)
        read_answer(answer.data, ret);
    if (ret->count == 0) {
        bool unknown = result == 0 || strstr(e->text, GETENT_NO_KEY);
        return unknown                    ? error_set(e, ERROR_NOT_FOUND, "there is no such name")
               : e->kind == ERROR_TIMEOUT ? error_set(e, ERROR_TIMEOUT, "no name server answered in time")
                                          : -1;
    }
    keep_name(r, name, ret);
    return 0;
}
