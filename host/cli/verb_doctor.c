/* capsid doctor: what works on this machine, and what to do about the rest. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "confine/renounce.h"
#include "core/bare.h"
#include "core/snapshot.h"
#include "files/files.h"
#include "image/catalog.h"
#include "image/import.h"
#include "image/inventory.h"
#include "service/ledger.h"
#include "vmm/firecracker_api.h"
#include "vmm/firecracker_jail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define DISK_WANTED (1ull << 30)

enum verdict { FINE, WARNING, FAILURE };

struct report {
    const struct cli *cli;
    json_t *checks; /* owned */
    bool failed;
};

static void tell(struct report *r, enum verdict verdict, const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void tell(struct report *r, enum verdict verdict, const char *name, const char *format, ...)
{
    static const char *const words[] = {"ok", "warning", "fail"};
    char detail[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    r->failed = r->failed || verdict == FAILURE;
    json_array_append_new(
        r->checks, json_pack("{s:s, s:s, s:s}", "check", name, "verdict", words[verdict], "detail", detail));
}

static void check_accelerator(struct report *r, struct host *host)
{
    struct accel_verdict probed = {0};
    struct accelerator decided;
    char reason[sizeof(probed.reason)];
    struct error e = {0};

    if (host_accelerator(host, &decided, &e) < 0) {
        tell(r, FAILURE, "accelerator", "%s", e.text);
        return;
    }
    host_accelerator_reason(host, reason, sizeof(reason));
    if (host->config.accel == ACCEL_KVM && accel_decide(&probed, &host->home, ACCEL_AUTO, &e) == 0 &&
        probed.accel != ACCEL_KVM)
        tell(r, WARNING, "accelerator", "kvm, as configured, but %s", probed.reason);
    else if (decided.choice == ACCEL_KVM)
        tell(r, FINE, "accelerator", "kvm: %s", reason);
    else
        tell(r, WARNING, "accelerator", "tcg, guests are emulated: %s", reason);
}

/* For a VMM that is chosen and has one. */
static void check_jailer(struct report *r, const struct host *host, const char *vmm)
{
    struct error e = {0};
    char *jailer = NULL;

    if (host_find_jailer(host, vmm, &jailer, &e) < 0)
        tell(r, FAILURE, "jailer", "%s", e.text);
    else if (jailer && firecracker_jail_lacks_libraries(vmm))
        tell(r, WARNING, "jailer",
             "%s: %s is dynamically linked and finds no libraries in a jail; take a static one, as releases "
             "are, or set jailer = none",
             jailer, vmm);
    else
        tell(r, FINE, "jailer", "%s", jailer ? jailer : "not used");
    free(jailer);
}

/* One that is not chosen need not be there. */
static void check_vmm(struct report *r, struct host *host, const struct vm_driver *driver)
{
    struct error e = {0};
    cleanup_buffer struct buffer version = {0};
    bool chosen = host->driver == driver;
    cleanup_free char *path = host_find_vmm_of(host, driver, &e);
    const char *argv[] = {path, "--version", NULL}, *fault = NULL;

    if (!path) {
        tell(r, chosen ? FAILURE : FINE, driver->name, "%s", e.text);
        return;
    }
    if (child_capture(argv, 4096, deadline_in_ms(10000), &r->cli->call.cancel, &version, &e) < 0) {
        tell(r, FAILURE, driver->name, "%s", e.text);
        return;
    }
    version.data[strcspn(version.data, "\n")] = '\0';
    if (driver->judge && driver->judge(version.data, &fault, &e) < 0) {
        tell(r, FAILURE, driver->name, "%s (%.60s); %s", path, version.data, e.text);
        return;
    }
    tell(r, fault ? WARNING : FINE, driver->name, "%s (%s)%s%s", path, version.data, fault ? "; " : "",
         fault ? fault : "");
    if (chosen && driver->has_jailer)
        check_jailer(r, host, path);
}

static void check_file(struct report *r, const char *name, const char *path, const char *remedy)
{
    if (access(path, R_OK) == 0)
        tell(r, FINE, name, "%s", path);
    else
        tell(r, FAILURE, name, "%s: %s; %s", path, strerror(errno), remedy);
}

static void check_data(struct report *r, const struct host *host)
{
    cleanup_free char *initd = text_format("%s/initd", host->config.data);
    cleanup_free char *bare = bare_root_path(host);
    cleanup_free char *names = language_names(host->config.data);

    check_file(r, "kernel", host->config.kernel, "build it with: make kernel");
    check_file(r, "initd", initd, "build it with: make");
    check_file(r, "bare-root", bare, "build it with: make");
    if (names[0])
        tell(r, FINE, "languages", "%s", names);
    else
        tell(r, FAILURE, "languages", "no definitions in %s/languages; is CAPSID_DATA right?",
             host->config.data);
}

static void check_ids(struct report *r, const struct confinement *c)
{
    uint32_t all = c->last_id - c->first_id + 1, free_ids = confine_free_ids(c);

    if (free_ids == all)
        tell(r, FINE, "ids of VMs", "%u-%u", c->first_id, c->last_id);
    else
        tell(r, WARNING, "ids of VMs",
             "%u-%u: %u of them belong to others (%s) and are not used; see vm_uids", c->first_id, c->last_id,
             all - free_ids, c->holder);
}

/* A line for each part; the rest (no capabilities, no_new_privs, filter, limits, closed files) always holds. */
static void check_confinement(struct report *r, struct host *host)
{
    struct error e = {0};

    const struct confinement *c = host_confinement(host, &e);
    if (!c) {
        tell(r, FAILURE, "confinement", "%s", e.text);
        return;
    }
    for (enum confine_part part = 0; part < CONFINE_PARTS; part++)
        if (c->have[part])
            tell(r, FINE, "confinement", "%s", confine_part_name(part));
        else
            tell(r, WARNING, "confinement", "%s: missing, %s", confine_part_name(part), c->reason[part]);
    if (c->have[CONFINE_USER] && geteuid() == 0)
        check_ids(r, c);
    if (c->off)
        tell(r, WARNING, "confinement", "the VMM runs with all rights of this user");
    else
        tell(r, FINE, "confinement",
             "no capabilities, no new privileges, system call filter, resource limits, no inherited files");
}

/* What a server gives up. */
static void check_server(struct report *r, const struct host *host)
{
    struct error e = {0};

    if (host->config.confine == CONFINE_OFF)
        tell(r, WARNING, "server", "confine is off: it has all rights of this user");
    else if (!renounce_can())
        tell(r, FINE, "server", "it has the rights of this user; what reads requests has none");
    else if (renounce_rehearse(&e) < 0)
        tell(r, WARNING, "server", "%s", e.text);
    else
        tell(r, FINE, "server", "namespaces of its own, fewer capabilities, a system call filter");
}

static void check_builder(struct report *r)
{
    const struct {
        const char *program, *package;
        bool needed;
    } tools[] = {{"mmdebstrap", "mmdebstrap", true},
                 {"mkfs.erofs", "erofs-utils", true},
                 {"newuidmap", "uidmap", geteuid() != 0}};
    bool complete = true;

    for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
        cleanup_free char *path = tools[i].needed ? child_find_program(tools[i].program) : NULL;
        if (!tools[i].needed || path)
            continue;
        complete = false;
        tell(r, WARNING, "image builder", "%s is missing; install the Debian package %s", tools[i].program,
             tools[i].package);
    }
    if (complete)
        tell(r, FINE, "image builder", "mmdebstrap and mkfs.erofs are there");
}

struct image_check {
    struct report *report;
    struct host *host;
    unsigned count;
    uint64_t size;
};

static void tell_replaced(const struct image_check *c, const struct image *i)
{
    struct error ignored = {0};
    struct language l;

    if (language_find(&l, c->host->config.data, i->name, &ignored) < 0)
        return;
    if (image_replaces(i, &l.recipe))
        tell(c->report, FINE, "images",
             "programs in %s run in the imported image %s, until: capsid rootfs rm %s", i->name,
             i->origin_of ? i->origin_of : i->uuid, i->name);
    language_done(&l);
}

static int check_image(const struct image *i, void *context)
{
    struct image_check *c = context;
    struct error e = {0};

    tell_replaced(c, i);
    c->count++;
    c->size += i->size;
    if (image_verify(i, &c->host->home, &e) < 0)
        tell(c->report, FAILURE, "images", "%s", e.text);
    return 0;
}

/* Those without a name of rootfs; what they stand on is looked at by itself. */
static int check_nameless(struct image_check *c, struct error *e)
{
    struct inventory all;

    if (inventory_read(&all, &c->host->home, e) < 0)
        return -1;
    for (size_t n = 0; n < all.count; n++) {
        const struct image_entry *entry = &all.entries[n];
        struct error why = {0};
        if (entry->names.size)
            continue;
        c->count++;
        c->size += image_own_bytes(&entry->image);
        if (image_verify_top(&entry->image, &c->host->home, &why) < 0)
            tell(c->report, FAILURE, "images", "%s", why.text);
    }
    inventory_done(&all);
    return 0;
}

static int count_snapshot(const struct snapshot *s, void *context)
{
    struct image_check *c = context;

    c->count++;
    c->size += s->allocated;
    return 0;
}

static void check_stores(struct report *r, struct host *host)
{
    struct image_check images = {.report = r, .host = host}, snapshots = {.report = r, .host = host};
    struct error e = {0};
    char size[24];

    if (image_each(&host->home, check_image, &images, &e) < 0 || check_nameless(&images, &e) < 0)
        tell(r, FAILURE, "images", "%s", e.text);
    tell(r, FINE, "images", "%u, %s", images.count, text_bytes(images.size, size));
    if (snapshot_each(host, count_snapshot, &snapshots, &e) < 0)
        tell(r, FAILURE, "snapshots", "%s", e.text);
    tell(r, FINE, "snapshots", "%u, %s", snapshots.count, text_bytes(snapshots.size, size));
}

static void check_catalog(struct report *r, struct host *host, bool repair)
{
    struct catalog_count c = {0};
    struct error e = {0};
    cleanup_free char *aside = NULL;
    char size[24], tags[40] = "", more[80] = "";

    int changed = catalog_compare(&host->home, repair, &c, &aside, &e);
    if (changed < 0) {
        tell(r, FAILURE, "records", "%s", e.text);
        return;
    }
    if (c.tags)
        snprintf(tags, sizeof(tags), ", tags: %llu", (unsigned long long)c.tags);
    if (c.nameless)
        snprintf(more, sizeof(more), "; %llu without a name, %s", (unsigned long long)c.nameless,
                 text_bytes(c.nameless_bytes, size));
    tell(r, changed && !repair ? WARNING : FINE, "records", "images: %llu, names: %llu%s%s%s%s%s",
         (unsigned long long)c.images, (unsigned long long)c.names, tags, more,
         changed ? repair ? "; written anew from what is there"
                          : "; they are not up to date, run: capsid doctor --repair"
                 : "",
         aside ? "; what was there before is " : "", aside ? aside : "");
}

/* above is the state directory, or what a server's front keeps. */
static void check_files(struct report *r, const char *above, bool repair)
{
    cleanup_free char *directory = text_format("%s/files", above), *aside = NULL;
    struct error e = {0};

    if (!file_exists(directory))
        return;
    if (files_examine(directory, repair, &aside, &e) < 0)
        tell(r, FAILURE, "records", "%s", e.text);
    else
        tell(r, FINE, "records", "%s%s%s", directory,
             aside ? ": they were damaged; uploads and directory states are forgotten, and what was there is "
                   : "",
             aside ? aside : "");
}

struct ledger_report {
    struct report *report;
    bool repair;
};

static void tell_ledger(void *context, enum ledger_state state, const char *path, const char *why)
{
    static const char *const words[] = {"", ": a server is using it", "", ": "};

    struct ledger_report *l = context;

    tell(l->report, state == LEDGER_DAMAGED ? FAILURE : FINE, "records", "%s%s%s",
         state == LEDGER_DAMAGED ? "" : path, words[state], why);
    if (state != LEDGER_IN_USE)
        check_files(l->report, path, l->repair);
}

static void check_disk(struct report *r, const struct host *host)
{
    struct statvfs v;
    char size[24];

    if (statvfs(host->home.path, &v) < 0) {
        tell(r, FAILURE, "disk", "%s: %s", host->home.path, strerror(errno));
        return;
    }
    uint64_t available = (uint64_t)v.f_bavail * v.f_frsize;
    tell(r, available < DISK_WANTED ? WARNING : FINE, "disk", "%s: %s free", host->home.path,
         text_bytes(available, size));
}

static void print_report(const struct report *r)
{
    size_t i;
    json_t *check;

    json_array_foreach(r->checks, i, check)
        cli_print("%-8s %-14s %s\n", json_string_value(json_object_get(check, "verdict")),
                  json_string_value(json_object_get(check, "check")),
                  json_string_value(json_object_get(check, "detail")));
}

struct doctor_options {
    bool repair;
};

static int run_verb_doctor(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    const struct doctor_options *o = values;
    struct report r = {.cli = cli};
    struct host host;
    int result = 0;

    if (argc > 0)
        return error_set(e, ERROR_USAGE, "unexpected argument \"%.64s\"", argv[0]);
    if (host_open(&host, &cli->config, e) < 0)
        return -1;
    r.checks = json_array();
    check_accelerator(&r, &host);
    for (const struct vm_driver *const *d = vm_drivers; *d; d++)
        check_vmm(&r, &host, *d);
    check_confinement(&r, &host);
    check_server(&r, &host);
    check_data(&r, &host);
    check_builder(&r);
    check_stores(&r, &host);
    check_catalog(&r, &host, o->repair);
    check_files(&r, host.home.path, o->repair);
    ledger_examine(host.home.path, o->repair, tell_ledger, &(struct ledger_report){&r, o->repair});
    check_disk(&r, &host);
    host_close(&host);
    if (cli->json)
        result = cli_print_json(json_pack("{s:b, s:O}", "usable", !r.failed, "checks", r.checks), e);
    else
        print_report(&r);
    json_decref(r.checks);
    return result < 0 ? -1 : r.failed;
}

static struct doctor_options doctor_options;

static const struct cli_option options[] = {
    {"repair", 0, NULL, "write records that are damaged, lost or not up to date anew, from what is there",
     CLI_SWITCH(struct doctor_options, repair)},
    {0}};

const struct cli_verb verb_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "say what works on this machine; exit status 0: programs can be run",
    .options = options,
    .run = run_verb_doctor,
    .values = &doctor_options,
};
