#include "core/resident.h"

#include "core/account.h"

#include <stdlib.h>
#include <string.h>

void resident_init(struct resident *r, const char *const *env, const char *workdir)
{
    size_t own = count_strings(program_root.env), count = count_strings(env);

    *r = (struct resident){.user = program_root, .own_directory = workdir != NULL};
    r->env = memory_allocate((own + count + 1) * sizeof(*r->env));
    memcpy(r->env, program_root.env, own * sizeof(*r->env));
    for (size_t i = 0; i < count; i++)
        r->env[own + i] = env[i];
    r->env[own + count] = NULL;
    r->user.env = r->env;
    if (workdir)
        r->user.directory = workdir;
}

/* A variable of the image counts more than what is known of its user. */
static void take_account(struct resident *r, const struct account *a)
{
    size_t home = 0;

    r->user.uid = a->uid;
    r->user.gid = a->gid;
    if (a->uid == 0)
        return;
    r->home = text_copy(a->home ? a->home : "/");
    r->variable = text_format("HOME=%s", r->home);
    while (strncmp(r->env[home], "HOME=", 5) != 0) /* root has one */
        home++;
    r->env[home] = r->variable;
    if (!r->own_directory)
        r->user.directory = r->home;
}

int resident_find(struct resident *r, struct guest *g, const char *user, int64_t deadline, struct error *e)
{
    struct account a;

    if (!user || !user[0] || strcmp(user, "0") == 0 || strcmp(user, "root") == 0)
        return 0;
    if (account_find(&a, g, user, deadline, e) < 0)
        return -1;
    take_account(r, &a);
    account_done(&a);
    return 0;
}

void resident_done(struct resident *r)
{
    free(r->env);
    free(r->home);
    free(r->variable);
    *r = (struct resident){0};
}
