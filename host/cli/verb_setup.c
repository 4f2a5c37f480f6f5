/* capsid setup: prepares a machine, and undoes that. */
#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "setup/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Below: ids of people and services; above: what the kernel has. */
#define VM_UID_MIN 1000
#define VM_UID_MAX 4294967293u

struct options {
    struct setup_options setup;
    bool remove, skip_docker;
};

static int set_range(void *target, const char *name, const char *value, struct error *e)
{
    struct setup_options *o = target;
    cleanup_free char *copy = text_copy(value);
    char *dash = strchr(copy, '-');

    if (dash) {
        *dash = '\0';
        if (text_to_u64(copy, VM_UID_MIN, VM_UID_MAX, &o->first) &&
            text_to_u64(dash + 1, o->first, VM_UID_MAX, &o->last))
            return 0;
    }
    return error_set(e, ERROR_USAGE, "--%s is \"%.64s\", but must be FIRST-LAST, from %d to %u", name, value,
                     VM_UID_MIN, VM_UID_MAX);
}

static int set_kvm(void *target, const char *name, const char *value, struct error *e)
{
    static const char *const names[] = {"none", "group", "udev"};
    enum setup_kvm *kvm = target;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(value, names[i]) == 0) {
            *kvm = (enum setup_kvm)i;
            return 0;
        }
    }
    return error_set(e, ERROR_USAGE, "--%s is \"%.64s\", but must be group, udev or none", name, value);
}

static int set_sha256(void *target, const char *name, const char *value, struct error *e)
{
    const char **sha256 = target;

    if (!digest_is_hex(value))
        return error_set(e, ERROR_USAGE, "--%s must be 64 lower-case hexadecimal digits", name);
    *sha256 = value;
    return 0;
}

static const struct cli_option setup_options[] = {
    {"dry-run", 'n', NULL, "say what is done and what is to do, and change nothing",
     CLI_SWITCH(struct options, setup.dry_run)},
    {"remove", 0, NULL, "undo what setup made, and only that", CLI_SWITCH(struct options, remove)},
    {"kvm", 0, "WHICH", "group, udev or none: how the user capsid gets at /dev/kvm (none)",
     CLI_CALL(struct options, setup.kvm, set_kvm)},
    {"vm-uids", 0, "FIRST-LAST", "user and group ids for VMs (65536 that are free)",
     CLI_CALL(struct options, setup, set_range)},
    {"kernel", 0, "FILE|URL", "install this guest kernel",
     CLI_TEXT(struct options, setup.sources[SETUP_KERNEL].from)},
    {"kernel-sha256", 0, "HEX", "required with it",
     CLI_CALL(struct options, setup.sources[SETUP_KERNEL].sha256, set_sha256)},
    {"firecracker", 0, "FILE|URL", "install this Firecracker, a program or a release's .tgz",
     CLI_TEXT(struct options, setup.sources[SETUP_FIRECRACKER].from)},
    {"firecracker-sha256", 0, "HEX", "required with it; of the .tgz where it is one",
     CLI_CALL(struct options, setup.sources[SETUP_FIRECRACKER].sha256, set_sha256)},
    {"jailer", 0, "FILE|URL", "install this jailer",
     CLI_TEXT(struct options, setup.sources[SETUP_JAILER].from)},
    {"jailer-sha256", 0, "HEX", "required with it",
     CLI_CALL(struct options, setup.sources[SETUP_JAILER].sha256, set_sha256)},
    {"skip-docker", 0, NULL, "accepted, as older documents have it: Docker is never needed",
     CLI_SWITCH(struct options, skip_docker)},
    {"root", 0, "DIR", "set up the system in that directory, not the running one",
     CLI_TEXT(struct options, setup.root)},
    {0},
};

static const char details[] = "Needs root, but for --dry-run. Run twice it does nothing the second time; "
                              "killed in the middle, the next run\n"
                              "goes on. What setup makes it writes down in setup.json in the state "
                              "directory, for --remove. Images and\n"
                              "snapshots, and whatever was there before, --remove leaves alone.\n";

static int check_setup(const struct setup_options *o, struct error *e)
{
    for (int i = 0; i < SETUP_SOURCES; i++) {
        const struct setup_source *source = &o->sources[i];
        const char *name = setup_source_name(i);
        if (source->from && !source->sha256)
            return error_set(e, ERROR_USAGE, "--%s needs --%s-sha256, what its publisher says it is", name,
                             name);
        if (source->sha256 && !source->from)
            return error_set(e, ERROR_USAGE, "--%s-sha256 needs --%s", name, name);
    }
    if (o->root[0] && o->root[0] != '/')
        return error_set(e, ERROR_USAGE, "--root must be an absolute path");
    return 0;
}

static int run_verb_setup(struct cli *cli, void *values, int argc, char **argv, struct error *e)
{
    struct options *o = values;
    struct cancel cancel = cli->call.cancel;
    cleanup_free char *fetch = text_format("%s/fetch", cli->config.data);

    if (argc > 0)
        return error_set(e, ERROR_USAGE, "unexpected argument \"%.64s\"; see: capsid setup --help", argv[0]);
    if (check_setup(&o->setup, e) < 0)
        return -1;
    if (o->skip_docker)
        log_progress("Docker is not needed: skopeo pulls container images, and capsid unpacks them");
    o->setup.home = cli->config.home;
    o->setup.fetch = fetch;
    o->setup.told = cli->json ? json_array() : NULL;
    int result = o->remove ? setup_remove(&o->setup, &cancel, e) : setup_install(&o->setup, &cancel, e);
    if (o->setup.told && result == 0)
        result = cli_print_json(json_pack("{s:o}", "steps", o->setup.told), e);
    else
        json_decref(o->setup.told);
    return result == 0 && fflush(stdout) != 0 ? error_errno(e, "cannot write standard output") : result;
}

static struct options values = {.setup = {.root = ""}};

const struct cli_verb verb_setup = {
    .name = "setup",
    .arguments = "",
    .summary = "prepare this machine for capsid, or undo that",
    .details = details,
    .options = setup_options,
    .run = run_verb_setup,
    .values = &values,
};
