/* capsid status: what servers that use this state directory have at the moment. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "server/status.h"
#include "store/home.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

struct status_values {
    uint64_t interval; /* seconds between two looks; 0: one look */
};

static const struct cli_option options[] = {
    {"watch", 'w', "SECONDS", "look again and again, until Ctrl-C",
     CLI_NUMBER(struct status_values, interval, 1, 3600)},
    {0},
};

static const char details[] =
    "For each server: how many VMs there are of each kind and may be, memory and disk that they may come to "
    "take, pools, who has "
    "what (owners are names of tokens), operations, and each VM that somebody has.\n"
    "With --json: one object for each look.\n";

static struct status_values values;

/* ---- asking -------------------------------------------------------------------------------------- */

/* {"servers": [...]} */
static json_t *look_status(const struct home *h, struct error *e)
{
    cleanup_free char *run = home_path(h, "run");
    cleanup_dir DIR *d = opendir(run);
    json_t *servers = json_array();

    for (struct dirent *entry; d && (entry = readdir(d));) {
        cleanup_free char *directory = text_format("%s/%s", run, entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        json_t *one = status_ask(directory, e);
        if (one) {
            json_array_append_new(servers, one);
        } else if (e->kind != ERROR_NOT_FOUND) {
            json_decref(servers);
            return NULL;
        }
        *e = (struct error){0}; /* a process that is no server */
    }
    return json_pack("{s:o}", "servers", servers);
}

/* ---- printing ------------------------------------------------------------------------------------ */

static long long number(const json_t *j, const char *name)
{
    const json_t *v = json_object_get(j, name);

    return json_is_real(v) ? (long long)json_real_value(v) : (long long)json_integer_value(v);
}

static const char *text(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? s : "";
}

static void print_totals(const json_t *server)
{
    const json_t *used = json_object_get(server, "used"), *bounds = json_object_get(server, "bounds");
    json_t *max = json_object_get(bounds, "vms");
    const json_t *vms = json_object_get(used, "vms"), *count;
    const char *kind;

    cli_print("VMs    ");
    json_object_foreach(max, kind, count)
        cli_print("  %s %lld/%lld", kind, number(vms, kind), (long long)json_integer_value(count));
    cli_print("  waiting %lld/%lld\n", number(used, "waiting"), number(bounds, "waiting"));
    cli_print("Memory   %lld of %lld MiB   Disk %lld of %lld MiB\n", number(used, "memory_mib"),
              number(bounds, "memory_mib"), number(used, "disk_mib"), number(bounds, "disk_mib"));
}

static void print_front(const json_t *front)
{
    const json_t *operations = json_object_get(front, "operations");

    if (!json_is_object(front)) {
        cli_print("The part that reads requests does not answer\n");
        return;
    }
    cli_print("Requests %lld open   Operations %lld pending, %lld finished\n",
              number(json_object_get(front, "requests"), "open"), number(operations, "pending"),
              number(operations, "finished"));
}

static void print_pools(const json_t *pools)
{
    json_t *one;
    size_t i;

    if (json_array_size(pools) > 0)
        cli_print("\n%-16s %6s %8s %6s %6s %8s %8s\n", "POOL", "READY", "WARMING", "TAKEN", "SIZE", "SERVED",
                  "MIB");
    json_array_foreach(pools, i, one) cli_print(
        "%-16s %6lld %8lld %6lld %6lld %8lld %8lld\n", text(one, "language"), number(one, "ready"),
        number(one, "warming"), number(one, "taken"), number(one, "size"), number(one, "served_total"),
        (number(one, "memory_bytes") + number(one, "template_bytes")) >> 20);
}

static void print_owners(const json_t *owners)
{
    json_t *one;
    size_t i;

    if (json_array_size(owners) > 0)
        cli_print("\n%-24s %7s %5s %8s %7s %8s %8s\n", "OWNER", "POOLED", "OWN", "SESSION", "WAITING", "MIB",
                  "DISK");
    json_array_foreach(owners, i, one)
    {
        const json_t *vms = json_object_get(one, "vms");
        cli_print("%-24s %7lld %5lld %8lld %7lld %8lld %8lld\n", text(one, "owner"), number(vms, "pooled"),
                  number(vms, "own"), number(vms, "session"), number(one, "waiting"),
                  number(one, "memory_mib"), number(one, "disk_mib"));
    }
}

/* What is worked on for whom, and what waits; nothing where nothing is. */
static void print_lanes(const json_t *lanes)
{
    json_t *lane, *one;
    bool begun = false;
    size_t i, k;

    json_array_foreach(lanes, i, lane)
    {
        json_array_foreach(json_object_get(lane, "owners"), k, one)
        {
            if (!begun)
                cli_print("\n%-10s %-24s %7s %7s\n", "REQUESTS", "OWNER", "WORKING", "WAITING");
            begun = true;
            cli_print("%-10s %-24s %7lld %7lld\n", text(lane, "lane"), text(one, "owner"),
                      number(one, "busy"), number(one, "waiting"));
        }
    }
}

static void print_vms(const json_t *vms)
{
    json_t *one;
    size_t i;

    if (json_array_size(vms) > 0)
        cli_print("\n%-18s %-14s %-16s %-8s %6s %6s %8s\n", "VM", "LANGUAGE", "OWNER", "KIND", "MIB", "VCPUS",
                  "SECONDS");
    json_array_foreach(vms, i, one)
        cli_print("%-18s %-14s %-16s %-8s %6lld %6lld %8lld\n", text(one, "id"), text(one, "language"),
                  text(one, "owner"), text(one, "kind"), number(one, "memory_mib"), number(one, "vcpus"),
                  number(one, "seconds"));
}

static void print_server(const json_t *server)
{
    json_t *listening = json_object_get(server, "listening"), *where;
    size_t i;

    cli_print("Server %lld, up %lld s", number(server, "pid"),
              number(json_object_get(server, "front"), "uptime_seconds"));
    json_array_foreach(listening, i, where) cli_print(", %s", json_string_value(where));
    cli_print("\n");
    print_totals(server);
    print_front(json_object_get(server, "front"));
    print_pools(json_object_get(server, "pools"));
    print_owners(json_object_get(server, "owners"));
    print_lanes(json_object_get(json_object_get(server, "front"), "lanes"));
    print_vms(json_object_get(server, "vms"));
}

static void print_all(const json_t *all)
{
    json_t *servers = json_object_get(all, "servers"), *one;
    size_t i;

    if (json_array_size(servers) == 0)
        cli_print("No server uses this state directory (capsid api starts one)\n");
    json_array_foreach(servers, i, one)
    {
        if (i > 0)
            cli_print("\n");
        print_server(one);
    }
}

/* ---- the verb ------------------------------------------------------------------------------------ */

static int look_once(struct cli *cli, const struct home *h, struct error *e)
{
    json_t *all = look_status(h, e);

    if (!all)
        return -1;
    if (cli->json)
        return cli_print_json(all, e);
    print_all(all);
    json_decref(all);
    return fflush(stdout) == 0 ? 0 : error_errno(e, "cannot write standard output");
}

static int run_verb_status(struct cli *cli, void *context, int argc, char **argv, struct error *e)
{
    const struct status_values *v = context;
    struct home home = {0};

    if (argc > 0)
        return error_set(e, ERROR_USAGE, "unexpected argument \"%.64s\"; see: capsid status --help", argv[0]);
    int result = home_open(&home, cli->config.home, e);
    if (result == 0)
        result = look_once(cli, &home, e);
    while (result == 0 && v->interval &&
           deadline_poll(NULL, 0, deadline_in_ms((int64_t)v->interval * 1000), &cli->call.cancel, e) == 0) {
        if (!cli->json)
            cli_print("\n");
        result = look_once(cli, &home, e);
    }
    home_close(&home);
    return result < 0 || (e->kind && e->kind != ERROR_CANCELLED) ? -1 : 0;
}

const struct cli_verb verb_status = {
    .name = "status",
    .arguments = "",
    .summary = "show the VMs, pools and operations of servers",
    .details = details,
    .options = options,
    .run = run_verb_status,
    .values = &values,
};
