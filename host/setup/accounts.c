/* Users, groups and ranges of ids. The files are changed by Debian's own tools (package passwd), which lock them. */
#include "setup/steps.h"

#include "base/accounts.h"
#include "base/child.h"
#include "base/cleanup.h"
#include "base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define TOOL_MS 60000
#define TOOL_WORDS 16

/*
 * login.defs(5): useradd(8) gives people 65536 ids each, from SUB_UID_MIN 100000 up to SUB_UID_MAX 600100000. We begin
 * where a dozen of them would end.
 */
#define RANGE_SIZE 65536u
#define RANGE_MIN 900000u
#define RANGE_MAX 600100000u

#define UDEV_DIRECTORY "/etc/udev/rules.d"
#define UDEV_RULE_FILE UDEV_DIRECTORY "/60-capsid-kvm.rules"
#define UDEV_RULE "# Made by capsid setup.\nKERNEL==\"kvm\", GROUP=\"" SETUP_USER "\", MODE=\"0660\"\n"

/*
 * Runs one of the tools on the tree that is set up. It is let run to its end even when this process is killed
 * (setpriv(1), util-linux): half a line in /etc/passwd is worse than a user too many, which the record knows of.
 */
static int run_tool(const struct setup *s, const char *const *words, struct error *e)
{
    const char *argv[TOOL_WORDS] = {"setpriv", "--pdeathsig", "clear", words[0]};
    cleanup_fd int log = memfd_create("tool", MFD_CLOEXEC);
    struct child c = CHILD_NONE;
    size_t count = 4;
    char text[400];
    int status = 0;

    if (s->options->root[0]) {
        argv[count++] = "--prefix";
        argv[count++] = s->options->root;
    }
    for (size_t i = 1; words[i] && count < TOOL_WORDS - 1; i++)
        argv[count++] = words[i];
    struct child_spec spec = {.argv = argv, .stdin_fd = -1, .stdout_fd = log, .stderr_fd = log};
    if (log < 0)
        return error_errno(e, "memfd_create");
    if (child_spawn(&c, &spec, e) < 0)
        return -1;
    int ended = child_wait(&c, deadline_in_ms(TOOL_MS), NULL, &status, e);
    if (ended <= 0) {
        child_kill(&c);
        return ended < 0 ? -1 : error_set(e, ERROR_TIMEOUT, "%s did not end", words[0]);
    }
    if (status == 0)
        return 0;
    ssize_t n = pread(log, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return error_set(e, ERROR_GENERAL, "%s failed with status %d%s%s", words[0],
                     WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text[0] ? ": " : "",
                     text);
}

bool setup_find_row(const struct setup *s, const char *path, const char *name, char **ret)
{
    cleanup_free char *full = setup_path(s, path);
    cleanup_file FILE *f = fopen(full, "re");
    size_t size = strlen(name), room = 0;
    char *line = NULL;

    while (f && getline(&line, &room, f) > 0) {
        if (strncmp(line, name, size) == 0 && line[size] == ':') {
            line[strcspn(line, "\n")] = '\0';
            *ret = line;
            return true;
        }
    }
    free(line);
    *ret = NULL;
    return false;
}

static bool has_row(const struct setup *s, const char *path, const char *name)
{
    cleanup_free char *row = NULL;

    return setup_find_row(s, path, name, &row);
}

/* ---- group and user ------------------------------------------------------------------------------ */

static int plan_group(struct setup *s, struct buffer *what, struct error *e)
{
    (void)e;
    buffer_add_text(what, SETUP_USER);
    return has_row(s, "/etc/group", SETUP_USER) ? PLAN_DONE : PLAN_TO_DO;
}

static int make_group(struct setup *s, struct error *e)
{
    const char *argv[] = {"groupadd", "--system", SETUP_USER, NULL};

    return setup_note(s, setup_step_group.name, json_true(), e) < 0 ? -1 : run_tool(s, argv, e);
}

static int undo_group(struct setup *s, json_t *note, struct buffer *what, struct error *e)
{
    const char *argv[] = {"groupdel", SETUP_USER, NULL};

    (void)note;
    buffer_add_text(what, SETUP_USER);
    return has_row(s, "/etc/group", SETUP_USER) && run_tool(s, argv, e) < 0 ? -1 : 1;
}

static int plan_user(struct setup *s, struct buffer *what, struct error *e)
{
    (void)e;
    buffer_add_text(what, SETUP_USER ", without a shell");
    return has_row(s, "/etc/passwd", SETUP_USER) ? PLAN_DONE : PLAN_TO_DO;
}

static int make_user(struct setup *s, struct error *e)
{
    const char *argv[] = {"useradd",    "--system",       "--gid",   SETUP_USER,          "--no-create-home",
                          "--home-dir", s->options->home, "--shell", "/usr/sbin/nologin", SETUP_USER,
                          NULL};

    return setup_note(s, setup_step_user.name, json_true(), e) < 0 ? -1 : run_tool(s, argv, e);
}

/* userdel(8) also removes the user's group of the same name; one that was there before is taken from it first. */
static int undo_user(struct setup *s, json_t *note, struct buffer *what, struct error *e)
{
    const char *other_group[] = {"usermod", "--gid", "nogroup", SETUP_USER, NULL};
    const char *remove[] = {"userdel", SETUP_USER, NULL};

    (void)note;
    buffer_add_text(what, SETUP_USER);
    if (!has_row(s, "/etc/passwd", SETUP_USER))
        return 1;
    if (!setup_noted(s, setup_step_group.name) && run_tool(s, other_group, e) < 0)
        return -1;
    return run_tool(s, remove, e) < 0 ? -1 : 1;
}

/* ---- ids for VMs --------------------------------------------------------------------------------- */

struct search {
    uint64_t first, size;
    bool moved;
};

/* Moves the first id behind what is in its way. */
static void move_behind(const struct account_ids *ids, void *context)
{
    struct search *s = context;

    if (ids->first >= s->first + s->size || ids->last < s->first)
        return;
    s->first = ids->last + 1;
    s->moved = true;
}

static bool move_behind_all(const struct setup *s, uint64_t *first, uint64_t size)
{
    struct search search = {.first = *first, .size = size};

    accounts_each(s->options->root, move_behind, &search);
    *first = search.first;
    return search.moved;
}

/* The range that the user has in a file already. */
static bool own_range(const struct setup *s, const char *path, uint64_t *first, uint64_t *last)
{
    cleanup_free char *row = NULL;
    unsigned long long a, b;

    if (!setup_find_row(s, path, SETUP_USER, &row) || sscanf(row, "%*[^:]:%llu:%llu", &a, &b) != 2 || b == 0)
        return false;
    *first = a;
    *last = a + b - 1;
    return true;
}

int setup_choose_range(struct setup *s, uint64_t *first, uint64_t *last, struct error *e)
{
    const struct setup_options *o = s->options;
    json_t *note = setup_noted(s, setup_step_range.name);
    json_int_t a, b;

    *first = o->first;
    *last = o->last;
    if (!o->last && (own_range(s, "/etc/subuid", first, last) || own_range(s, "/etc/subgid", first, last)))
        return 0;
    if (note && json_unpack(note, "{s:I, s:I}", "first", &a, "last", &b) == 0) {
        if (o->last && (o->first != (uint64_t)a || o->last != (uint64_t)b))
            return error_set(e, ERROR_USAGE, "VMs have the ids %lld-%lld already; run setup --remove first",
                             (long long)a, (long long)b);
        *first = (uint64_t)a;
        *last = (uint64_t)b;
        return 0;
    }
    uint64_t start = o->last ? o->first : RANGE_MIN, size = o->last ? o->last - o->first + 1 : RANGE_SIZE;
    uint64_t mine_first, mine_last;
    if (o->last && own_range(s, "/etc/subuid", &mine_first, &mine_last) && mine_first == o->first &&
        mine_last == o->last)
        return 0;
    while (move_behind_all(s, &start, size))
        if (o->last || start + size > RANGE_MAX)
            return error_set(e, ERROR_GENERAL,
                             o->last ? "ids %llu-%llu are partly in use; see /etc/subuid and /etc/passwd"
                                     : "no free range of ids is left",
                             (unsigned long long)o->first, (unsigned long long)o->last);
    *first = start;
    *last = start + size - 1;
    return 0;
}

static int plan_range(struct setup *s, struct buffer *what, struct error *e)
{
    uint64_t first, last, a, b, c, d;

    if (setup_choose_range(s, &first, &last, e) < 0)
        return -1;
    buffer_add_text(what, "user and group ids %llu-%llu in /etc/subuid and /etc/subgid",
                    (unsigned long long)first, (unsigned long long)last);
    bool users = own_range(s, "/etc/subuid", &a, &b), groups = own_range(s, "/etc/subgid", &c, &d);
    if ((users && (a != first || b != last)) || (groups && (c != first || d != last)))
        return error_set(e, ERROR_GENERAL,
                         "the user " SETUP_USER " has other ids in /etc/subuid or /etc/subgid than %llu-%llu",
                         (unsigned long long)first, (unsigned long long)last);
    return users && groups ? PLAN_DONE : PLAN_TO_DO;
}

/* The tools want both files to be there. */
static int touch(const struct setup *s, const char *path, struct error *e)
{
    cleanup_free char *full = setup_path(s, path);
    cleanup_fd int fd = open(full, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    return fd < 0 ? error_errno(e, "cannot open %s", full) : 0;
}

static int make_range(struct setup *s, struct error *e)
{
    uint64_t first, last, a, b;

    if (setup_choose_range(s, &first, &last, e) < 0)
        return -1;
    bool users = !own_range(s, "/etc/subuid", &a, &b), groups = !own_range(s, "/etc/subgid", &a, &b);
    json_t *before = setup_noted(s, setup_step_range.name);
    json_t *note = json_pack("{s:I, s:I, s:b, s:b}", "first", (json_int_t)first, "last", (json_int_t)last,
                             "users", users || json_is_true(json_object_get(before, "users")), "groups",
                             groups || json_is_true(json_object_get(before, "groups")));
    cleanup_free char *range = text_format("%llu-%llu", (unsigned long long)first, (unsigned long long)last);
    const char *add_users[] = {"usermod", "--add-subuids", range, SETUP_USER, NULL};
    const char *add_groups[] = {"usermod", "--add-subgids", range, SETUP_USER, NULL};

    if (setup_note(s, setup_step_range.name, note, e) < 0 || touch(s, "/etc/subuid", e) < 0 ||
        touch(s, "/etc/subgid", e) < 0)
        return -1;
    return (users && run_tool(s, add_users, e) < 0) || (groups && run_tool(s, add_groups, e) < 0) ? -1 : 0;
}

static int undo_range(struct setup *s, json_t *note, struct buffer *what, struct error *e)
{
    json_int_t first, last;
    int users, groups;

    if (json_unpack(note, "{s:I, s:I, s:b, s:b}", "first", &first, "last", &last, "users", &users, "groups",
                    &groups) < 0)
        return error_set(e, ERROR_CORRUPT, "the record of setup is corrupt");
    cleanup_free char *range = text_format("%lld-%lld", (long long)first, (long long)last);
    const char *remove_users[] = {"usermod", "--del-subuids", range, SETUP_USER, NULL};
    const char *remove_groups[] = {"usermod", "--del-subgids", range, SETUP_USER, NULL};

    buffer_add_text(what, "user and group ids %s", range);
    if (!has_row(s, "/etc/passwd", SETUP_USER))
        return 1;
    if ((users && has_row(s, "/etc/subuid", SETUP_USER) && run_tool(s, remove_users, e) < 0) ||
        (groups && has_row(s, "/etc/subgid", SETUP_USER) && run_tool(s, remove_groups, e) < 0))
        return -1;
    return 1;
}

/* ---- /dev/kvm ------------------------------------------------------------------------------------ */

/* The members of group kvm, NULL when there is no such group; the caller frees it. */
static char *kvm_members(const struct setup *s)
{
    cleanup_free char *row = NULL;

    return setup_find_row(s, "/etc/group", "kvm", &row) ? text_format(",%s,", strrchr(row, ':') + 1) : NULL;
}

static int plan_kvm(struct setup *s, struct buffer *what, struct error *e)
{
    if (s->options->kvm == SETUP_KVM_NONE)
        return PLAN_SKIP;
    if (s->options->kvm == SETUP_KVM_UDEV) {
        cleanup_free char *rule = setup_path(s, UDEV_RULE_FILE);
        cleanup_buffer struct buffer text = {0};
        buffer_add_text(what,
                        UDEV_RULE_FILE " (from the next boot on, or: udevadm trigger --name-match=kvm)");
        if (!file_exists(rule))
            return PLAN_TO_DO;
        if (file_read(rule, 65536, &text, e) < 0)
            return -1;
        return strcmp(text.data, UDEV_RULE) == 0
                   ? PLAN_DONE
                   : error_set(e, ERROR_GENERAL, "%s is there already and says something else", rule);
    }
    cleanup_free char *members = kvm_members(s);
    if (!members)
        return error_set(e, ERROR_GENERAL, "there is no group kvm here; use --kvm udev");
    buffer_add_text(what, "user " SETUP_USER " in group kvm");
    return strstr(members, "," SETUP_USER ",") ? PLAN_DONE : PLAN_TO_DO;
}

static int make_kvm(struct setup *s, struct error *e)
{
    const char *argv[] = {"usermod", "--append", "--groups", "kvm", SETUP_USER, NULL};
    json_t *note = setup_noted(s, setup_step_kvm.name);

    note = note ? json_deep_copy(note) : json_object();
    cleanup_free char *rule = setup_path(s, UDEV_RULE_FILE);
    cleanup_free char *directory = setup_path(s, UDEV_DIRECTORY);
    json_object_set_new(note, s->options->kvm == SETUP_KVM_UDEV ? "udev" : "group", json_true());
    if (s->options->kvm == SETUP_KVM_UDEV && !file_exists(directory))
        json_object_set_new(note, "directory", json_true());
    if (setup_note(s, setup_step_kvm.name, note, e) < 0)
        return -1;
    if (s->options->kvm == SETUP_KVM_GROUP)
        return run_tool(s, argv, e);
    return setup_make_parents(rule, e) < 0 ||
                   file_replace(rule, directory, UDEV_RULE, strlen(UDEV_RULE), 0644, e) < 0
               ? -1
               : 0;
}

/* All groups that name the user as a member, but kvm; usermod(8) of Debian 12 can only set the whole list. */
static char *other_groups(const struct setup *s)
{
    cleanup_free char *path = setup_path(s, "/etc/group");
    cleanup_file FILE *f = fopen(path, "re");
    cleanup_free char *line = NULL;
    struct buffer list = {0};
    size_t room = 0;

    buffer_add(&list, "", 0);
    while (f && getline(&line, &room, f) > 0) {
        line[strcspn(line, "\n")] = '\0';
        cleanup_free char *members = text_format(",%s,", strrchr(line, ':') ? strrchr(line, ':') + 1 : "");
        line[strcspn(line, ":")] = '\0';
        if (strstr(members, "," SETUP_USER ",") && strcmp(line, "kvm") != 0)
            buffer_add_text(&list, "%s%s", list.size ? "," : "", line);
    }
    return list.data;
}

static int undo_kvm(struct setup *s, json_t *note, struct buffer *what, struct error *e)
{
    cleanup_free char *members = kvm_members(s);
    cleanup_free char *rule = setup_path(s, UDEV_RULE_FILE);
    cleanup_free char *directory = setup_path(s, UDEV_DIRECTORY);
    cleanup_buffer struct buffer text = {0};

    if (json_object_get(note, "group") && members && strstr(members, "," SETUP_USER ",")) {
        cleanup_free char *others = other_groups(s);
        const char *argv[] = {"usermod", "--groups", others, SETUP_USER, NULL};
        buffer_add_text(what, "user " SETUP_USER " in group kvm ");
        if (run_tool(s, argv, e) < 0)
            return -1;
    }
    if (!json_object_get(note, "udev") || !file_exists(rule))
        return 1;
    buffer_add_text(what, UDEV_RULE_FILE);
    if (file_read(rule, 65536, &text, e) < 0)
        return -1;
    if (strcmp(text.data, UDEV_RULE) != 0) {
        buffer_add_text(what, " was changed since");
        return 0;
    }
    if (unlink(rule) < 0)
        return error_errno(e, "cannot remove %s", rule);
    if (json_object_get(note, "directory"))
        rmdir(directory); /* not while others are in it */
    return 1;
}

const struct step setup_step_group = {"group", plan_group, make_group, undo_group};
const struct step setup_step_user = {"user", plan_user, make_user, undo_user};
const struct step setup_step_range = {"ids of VMs", plan_range, make_range, undo_range};
const struct step setup_step_kvm = {"/dev/kvm", plan_kvm, make_kvm, undo_kvm};
