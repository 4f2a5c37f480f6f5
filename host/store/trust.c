#include "store/trust.h"

#include "base/accounts.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#define NOBODY                                                                                               \
    65534 /* how a user namespace shows what belongs to users that it does not have (user_namespaces(7)) */

/* Whether some users of the machine are not to be seen here: the map is not that of all ids. */
static bool in_user_namespace(void)
{
    cleanup_file FILE *f = fopen("/proc/self/uid_map", "re");
    unsigned long long inside, outside, count;

    return f && (fscanf(f, "%llu %llu %llu", &inside, &outside, &count) != 3 || count < UINT32_MAX);
}

static bool others_may_write(const struct stat *st)
{
    return (st->st_mode & S_IWOTH) ||
           ((st->st_mode & S_IWGRP) && !accounts_is_private_group(st->st_gid, geteuid()));
}

int trust_directory(const char *path, struct error *e)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return error_errno(e, "cannot look at %s", path);
    if (!S_ISDIR(st.st_mode))
        return error_set(e, ERROR_GENERAL, "%s is no directory; remove it", path);
    if (st.st_uid != geteuid())
        return error_set(e, ERROR_GENERAL,
                         "%s belongs to user %u, and this is user %u; run capsid as its owner", path,
                         st.st_uid, geteuid());
    if (others_may_write(&st))
        return error_set(e, ERROR_GENERAL, "others may write into %s; run: chmod go-w %s", path, path);
    return 0;
}

static int trust_parent(const char *parent, struct error *e)
{
    struct stat st;

    if (stat(parent, &st) < 0)
        return error_errno(e, "cannot look at %s", parent);
    bool known = st.st_uid == 0 || st.st_uid == geteuid() || (st.st_uid == NOBODY && in_user_namespace());
    if (!known)
        return error_set(e, ERROR_GENERAL,
                         "%s belongs to user %u, who may put another directory in its place", parent,
                         st.st_uid);
    if (others_may_write(&st) && !(st.st_mode & S_ISVTX))
        return error_set(
            e, ERROR_GENERAL,
            "others may write into %s, and put another directory in its place; run: chmod go-w %s", parent,
            parent);
    return 0;
}

int trust_parents(const char *path, struct error *e)
{
    cleanup_free char *parent = text_copy(path);

    for (char *slash; (slash = strrchr(parent, '/')) && parent[1];) {
        slash[slash == parent] = '\0'; /* the last one is the root itself */
        if (trust_parent(parent, e) < 0)
            return -1;
    }
    return 0;
}
