#include "base/accounts.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *path;
    bool range; /* name:first:count; otherwise name:password:id:... */
} files[] = {{"/etc/passwd", false}, {"/etc/group", false}, {"/etc/subuid", true}, {"/etc/subgid", true}};

static bool parse_ids(struct account_ids *ret, const char *line, bool range)
{
    unsigned long long a, b = 1;

    if (range ? sscanf(line, "%63[^:]:%llu:%llu", ret->name, &a, &b) != 3 || b == 0
              : sscanf(line, "%63[^:]:%*[^:]:%llu", ret->name, &a) != 2 &&
                    sscanf(line, "%63[^:]::%llu", ret->name, &a) != 2) /* without a password field */
        return false;
    if (a > UINT32_MAX)
        return false;
    ret->first = a;
    ret->last = b > UINT32_MAX - a ? UINT32_MAX : a + b - 1;
    return true;
}

void accounts_each(const char *root, void (*visit)(const struct account_ids *ids, void *context),
                   void *context)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        cleanup_free char *path = text_format("%s%s", root, files[i].path);
        cleanup_file FILE *f = fopen(path, "re");
        struct account_ids ids = {.file = files[i].path};
        cleanup_free char *line = NULL;
        size_t room = 0;

        while (f && getline(&line, &room, f) > 0)
            if (parse_ids(&ids, line, files[i].range))
                visit(&ids, context);
    }
}

/* The numbers in the third and fourth field of a row of /etc/passwd. */
static bool user_of(const char *line, char name[static ACCOUNTS_NAME_MAX], uint64_t *id, uint64_t *group)
{
    unsigned long long a, b;

    if (sscanf(line, "%63[^:]:%*[^:]:%llu:%llu", name, &a, &b) != 3)
        return false;
    *id = a;
    *group = b;
    return true;
}

/* The members that the row of the group names, between commas: ",alice,bob,"; NULL: there is no such group. */
static char *members_of(gid_t group)
{
    cleanup_file FILE *f = fopen("/etc/group", "re");
    cleanup_free char *line = NULL;
    unsigned long long id;
    size_t room = 0;

    while (f && getline(&line, &room, f) > 0) {
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%*[^:]:%*[^:]:%llu", &id) == 1 && id == group)
            return text_format(",%s,", strrchr(line, ':') + 1);
    }
    return NULL;
}

bool accounts_is_private_group(gid_t group, uid_t user)
{
    cleanup_free char *members = members_of(group);
    cleanup_file FILE *f = members ? fopen("/etc/passwd", "re") : NULL;
    cleanup_free char *line = NULL;
    char name[ACCOUNTS_NAME_MAX];
    uint64_t id, own;
    size_t room = 0, named = 0, known = 0;

    if (!f)
        return false;
    for (const char *p = members + 1; *p; p += strcspn(p, ",") + 1)
        named += *p != ',';
    while (getline(&line, &room, f) > 0) {
        if (!user_of(line, name, &id, &own))
            continue;
        cleanup_free char *word = text_format(",%s,", name);
        bool member = strstr(members, word);
        known += member;
        if ((member || own == group) && id != 0 && id != user)
            return false;
    }
    return known == named; /* a member that is not in the file may be anybody */
}
