#include "cli/look.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "service/look_json.h"
#include "core/look_copy.h"
#include "core/look_tar.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST_LIMIT 10000
#define TOTAL_LIMIT 1000
#define SIZE_LIMIT_MIB 10240
#define TIMEOUT 300

/* One question. */
struct job {
    struct look look;
    const struct look_options *options;
    bool json;
    char **arguments; /* behind the image */
    struct error *error;
};

static uint64_t or_else(uint64_t value, uint64_t otherwise)
{
    return value ? value : otherwise;
}

static uint64_t most_bytes(const struct job *j)
{
    return or_else(j->options->max_size, SIZE_LIMIT_MIB) << 20;
}

/* ---- on a terminal -------------------------------------------------------------------------------- */

/* In one line; the caller frees it. */
static char *plain(const char *s)
{
    return text_make_plain(text_copy(s));
}

static void print_mode(uint32_t mode, char out[static 11])
{
    const char letters[] = "rwxrwxrwx";

    out[0] = S_ISREG(mode)    ? '-'
             : S_ISDIR(mode)  ? 'd'
             : S_ISLNK(mode)  ? 'l'
             : S_ISFIFO(mode) ? 'p'
             : S_ISSOCK(mode) ? 's'
             : S_ISCHR(mode)  ? 'c'
                              : 'b';
    for (int i = 0; i < 9; i++)
        out[1 + i] = mode & (0400u >> i) ? letters[i] : '-';
    const struct {
        uint32_t bit;
        int at;
        char with, without;
    } special[] = {{S_ISUID, 3, 's', 'S'}, {S_ISGID, 6, 's', 'S'}, {S_ISVTX, 9, 't', 'T'}};
    for (int i = 0; i < 3; i++)
        if (mode & special[i].bit)
            out[special[i].at] = out[special[i].at] == 'x' ? special[i].with : special[i].without;
    out[10] = '\0';
}

/* Beside the answer, which is whole as far as it goes. */
static void say_skipped(const struct look_end *end)
{
    if (end->skipped)
        log_warning("left out: %llu", (unsigned long long)end->skipped);
}

/* ---- ls ------------------------------------------------------------------------------------------ */

struct listing {
    const char *path;
    json_t *entries; /* NULL: they are printed */
};

static void print_file(const struct look_file *f, const char *name)
{
    cleanup_free char *shown = plain(name);
    cleanup_free char *target = f->target ? plain(f->target) : NULL;
    char mode[11], when[24];

    print_mode(f->mode, mode);
    cli_print("%s %5u %5u %12llu %s %s%s%s\n", mode, f->uid, f->gid, (unsigned long long)f->size,
              cli_time(f->mtime_s, when), shown, target ? " -> " : "", target ? target : "");
}

/* A directory is not told with its own entries. */
static int on_listed(void *listing, const struct look_file *f, struct error *e)
{
    const struct listing *l = listing;
    const char *name = f->name[0] ? f->name : l->path;

    (void)e;
    if (!f->name[0] && S_ISDIR(f->mode))
        return 0;
    if (l->entries)
        json_array_append_new(l->entries, look_file_json(f, name));
    else
        print_file(f, name);
    return 0;
}

static int print_listing(const struct listing *l, const struct look_end *end, struct error *e)
{
    if (!l->entries) {
        if (end->truncated)
            log_warning("there are more: --after goes on behind the last name, and --limit takes more");
        say_skipped(end);
        return 0;
    }
    json_t *j = look_files_json(l->entries, end);
    json_object_set_new(j, "path", json_string(l->path));
    return cli_print_json(j, e);
}

static int list_files(struct job *j)
{
    struct listing listing = {.path = j->arguments[0] ? j->arguments[0] : "/",
                              .entries = j->json ? json_array() : NULL};
    const struct look_visitor visitor = {.on_file = on_listed, .context = &listing};
    struct look_end end;

    int result = look_list(&j->look, listing.path, j->options->after, or_else(j->options->limit, LIST_LIMIT),
                           &visitor, &end, j->error);
    if (result == 0)
        result = print_listing(&listing, &end, j->error);
    json_decref(listing.entries);
    return result;
}

/* ---- cat, tar, cp -------------------------------------------------------------------------------- */

static int print_bytes(void *context, const void *data, size_t size, struct error *e)
{
    (void)context;
    return fwrite(data, 1, size, stdout) == size ? 0 : error_errno(e, "cannot write standard output");
}

static int print_file_content(struct job *j)
{
    const struct look_visitor visitor = {.on_data = print_bytes};

    return look_read(&j->look, j->arguments[0], 0, INT64_MAX, &visitor, j->error);
}

static int print_archive(struct job *j)
{
    struct look_end end;

    if (look_archive(&j->look, j->arguments[0] ? j->arguments[0] : "/", most_bytes(j), print_bytes, NULL,
                     &end, j->error) < 0)
        return -1;
    say_skipped(&end);
    return 0;
}

static int copy_out(struct job *j)
{
    struct look_end end;

    if (look_copy(&j->look, j->arguments[0], j->arguments[1], j->options->recursive, most_bytes(j), &end,
                  j->error) < 0)
        return -1;
    say_skipped(&end);
    return 0;
}

/* ---- grep ---------------------------------------------------------------------------------------- */

struct matches {
    const char *path;
    json_t *found; /* NULL: they are printed */
};

/* As it can be asked for; the caller frees it. */
static char *whole_path(const char *path, const char *below)
{
    size_t size = strlen(path);

    return text_format("%s%s%s", path, below[0] && path[size - 1] != '/' ? "/" : "", below);
}

static int on_match(void *matches, const struct look_match *m, struct error *e)
{
    const struct matches *all = matches;
    cleanup_free char *path = whole_path(all->path, m->path);

    (void)e;
    if (!all->found) {
        cleanup_free char *text = text_format("%.*s", (int)m->size, m->text);
        text_make_plain(path);
        cli_print("%s:%llu:%s\n", path, (unsigned long long)m->line, text_make_plain(text));
        return 0;
    }
    json_array_append_new(all->found, look_match_json(m, path));
    return 0;
}

static int print_matches(const struct matches *all, const struct look_end *end, struct error *e)
{
    if (all->found)
        return cli_print_json(look_matches_json(all->found, end), e);
    if (end->truncated)
        log_warning("there may be more: --max-total and --timeout allow it");
    return 0;
}

static int grep(struct job *j)
{
    const struct look_options *o = j->options;
    struct matches all = {.path = j->arguments[1] ? j->arguments[1] : "/",
                          .found = j->json ? json_array() : NULL};
    const struct look_visitor visitor = {.on_match = on_match, .context = &all};
    const struct look_search search = {.pattern = j->arguments[0],
                                       .path = all.path,
                                       .glob = o->glob,
                                       .max_count = o->max_count,
                                       .max_total = or_else(o->max_total, TOTAL_LIMIT),
                                       .ignore_case = o->ignore_case};
    struct look_end end;

    int result = look_grep(&j->look, &search, &visitor, &end, j->error);
    if (result == 0)
        result = print_matches(&all, &end, j->error);
    json_decref(all.found);
    return result;
}

/* ---- all of them ----------------------------------------------------------------------------------- */

int cli_look(struct cli *cli, struct host *host, const struct look_options *o, char **arguments,
             struct error *e)
{
    static const struct {
        const char *name;
        int (*run)(struct job *j);
    } questions[] = {{"ls", list_files},
                     {"cat", print_file_content},
                     {"tar", print_archive},
                     {"cp", copy_out},
                     {"grep", grep}};
    struct job j = {.options = o, .json = cli->json, .arguments = arguments + 2, .error = e};
    size_t i = 0;

    while (strcmp(questions[i].name, arguments[0]) != 0)
        i++;
    if (questions[i].run == print_archive && isatty(STDOUT_FILENO))
        return error_set(e, ERROR_USAGE, "an archive is not for a terminal: send it to a file, > FILE.tar");
    int result = look_open(&j.look, host, &cli->call, arguments[1], or_else(o->timeout, TIMEOUT) * 1000, e);
    if (result == 0)
        result = questions[i].run(&j);
    if (result < 0 && e->kind == ERROR_TIMEOUT)
        error_wrap(e, "not within %llu s, and --timeout allows more",
                   (unsigned long long)or_else(o->timeout, TIMEOUT));
    look_close(&j.look);
    return result;
}
