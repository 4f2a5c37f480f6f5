#include "config/config.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSTEM_FILE "/etc/capsid/capsid.conf"

static const struct {
    const char *key;
    uint64_t min, max;
} bounds[] = {
    {"timeout", 1, 86400},      {"max_output", 1, 1ull << 30},    {"boot_timeout", 1, 3600},
    {"pool_max", 0, 1000},      {"pool_memory", 0, 1u << 24},     {"api_patience", 1, 86400},
    {"files_max", 1, 1u << 30}, {"files_owner_max", 0, 1u << 30},
};

const char *config_accel_name(enum accel_choice accel)
{
    static const char *const names[] = {"auto", "kvm", "tcg"};
    return names[accel];
}

static int set_path(char **field, const char *key, const char *value, const char *source, struct error *e)
{
    (void)key, (void)source, (void)e;
    free(*field);
    *field = text_copy(value);
    return 0;
}

static int set_words(char **field, const char *key, const char *value, const char *source, struct error *e)
{
    if (strlen(value) > CONFIG_KERNEL_ARGS_MAX)
        return error_set(e, ERROR_USAGE, "%s: %s is %zu bytes long, but must be %d at most", source, key,
                         strlen(value), CONFIG_KERNEL_ARGS_MAX);
    return set_path(field, key, value, source, e);
}

static int set_accel(enum accel_choice *field, const char *key, const char *value, const char *source,
                     struct error *e)
{
    for (enum accel_choice a = ACCEL_AUTO; a <= ACCEL_TCG; a++) {
        if (strcmp(value, config_accel_name(a)) == 0) {
            *field = a;
            return 0;
        }
    }
    return error_set(e, ERROR_USAGE, "%s: %s is \"%s\", but must be auto, kvm or tcg", source, key, value);
}

static int set_vmm(char **field, const char *key, const char *value, const char *source, struct error *e)
{
    if (strcmp(value, "qemu") != 0 && strcmp(value, "firecracker") != 0)
        return error_set(e, ERROR_USAGE, "%s: %s is \"%s\", but must be qemu or firecracker", source, key,
                         value);
    return set_path(field, key, value, source, e);
}

static int set_confine(enum confine_choice *field, const char *key, const char *value, const char *source,
                       struct error *e)
{
    static const char *const names[] = {"auto", "strict", "off"};

    for (enum confine_choice c = CONFINE_AUTO; c <= CONFINE_OFF; c++) {
        if (strcmp(value, names[c]) == 0) {
            *field = c;
            return 0;
        }
    }
    return error_set(e, ERROR_USAGE, "%s: %s is \"%s\", but must be auto, strict or off", source, key, value);
}

static int set_calls(enum calls_choice *field, const char *key, const char *value, const char *source,
                     struct error *e)
{
    if (strcmp(value, "listed") != 0 && strcmp(value, "lenient") != 0)
        return error_set(e, ERROR_USAGE, "%s: %s is \"%s\", but must be listed or lenient", source, key,
                         value);
    *field = strcmp(value, "listed") == 0 ? CALLS_LISTED : CALLS_LENIENT;
    return 0;
}

static int set_flag(bool *field, const char *key, const char *value, const char *source, struct error *e)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        return error_set(e, ERROR_USAGE, "%s: %s is \"%s\", but must be yes or no", source, key, value);
    *field = strcmp(value, "yes") == 0;
    return 0;
}

static int set_u64(uint64_t *field, const char *key, const char *value, const char *source, struct error *e)
{
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        if (strcmp(bounds[i].key, key) != 0)
            continue;
        if (text_to_u64(value, bounds[i].min, bounds[i].max, field))
            return 0;
        return error_set(e, ERROR_USAGE, "%s: %s is \"%s\", but must be a whole number from %llu to %llu",
                         source, key, value, (unsigned long long)bounds[i].min,
                         (unsigned long long)bounds[i].max);
    }
    return error_set(e, ERROR_GENERAL, "setting %s has no bounds", key);
}

int config_set(struct config *c, const char *key, const char *value, const char *source, struct error *e)
{
#define S(name, kind, fallback, help)                                                                        \
    if (strcmp(key, #name) == 0)                                                                             \
        return set_##kind(&c->name, key, value, source, e);
    CONFIG_SETTINGS(S)
#undef S
    return error_set(e, ERROR_USAGE, "%s: unknown setting \"%s\"", source, key);
}

struct file_context {
    struct config *config;
    const char *path;
    struct error *error;
    bool failed;
};

static int on_entry(void *user, const char *section, const char *name, const char *value)
{
    struct file_context *ctx = user;

    if (ctx->failed)
        return 1;
    if (strcmp(section, "capsid") != 0)
        ctx->failed = error_set(ctx->error, ERROR_USAGE, "%s: unknown section [%s]", ctx->path, section) < 0;
    else
        ctx->failed = config_set(ctx->config, name, value, ctx->path, ctx->error) < 0;
    return 1;
}

static int load_file(struct config *c, const char *path, struct error *e)
{
    struct file_context ctx = {.config = c, .path = path, .error = e};
    struct error why = {0};
    cleanup_fd int fd = file_open(path, O_RDONLY, &why);

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0) {
        *e = why;
        return -1;
    }
    cleanup_file FILE *f = fdopen(take_fd(&fd), "re");
    int line = ini_parse_file(f, on_entry, &ctx);
    if (ctx.failed)
        return -1;
    if (line > 0)
        return error_set(e, ERROR_USAGE, "%s: line %d is not INI", path, line);
    return line < 0 ? error_set(e, ERROR_GENERAL, "cannot read %s", path) : 0;
}

static int load_user_file(struct config *c, struct error *e)
{
    const char *base = getenv("XDG_CONFIG_HOME"), *user = getenv("HOME");
    cleanup_free char *path = NULL;

    if (base && base[0] == '/')
        path = text_format("%s/capsid/capsid.conf", base);
    else if (user && user[0] == '/')
        path = text_format("%s/.config/capsid/capsid.conf", user);
    return path ? load_file(c, path, e) : 0;
}

static int load_environment(struct config *c, struct error *e)
{
    static const char *const keys[] = {
#define S(name, kind, fallback, help) #name,
        CONFIG_SETTINGS(S)
#undef S
    };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        cleanup_free char *variable = text_format("CAPSID_%s", keys[i]);
        for (char *p = variable; *p; p++)
            *p = (char)toupper((unsigned char)*p);
        const char *value = getenv(variable);
        if (value && value[0] && config_set(c, keys[i], value, variable, e) < 0)
            return -1;
    }
    return 0;
}

static char *default_home(void)
{
    const char *data = getenv("XDG_DATA_HOME"), *user = getenv("HOME");

    if (geteuid() == 0)
        return text_copy("/var/lib/capsid");
    if (data && data[0] == '/')
        return text_format("%s/capsid", data);
    return user && user[0] == '/' ? text_format("%s/.local/share/capsid", user) : NULL;
}

/* Beside the program: share/capsid in a build tree, ../lib/capsid when installed, because it has programs. */
static char *default_data(void)
{
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

    if (n <= 0)
        return NULL;
    exe[n] = '\0';
    *strrchr(exe, '/') = '\0';
    char *beside = text_format("%s/share/capsid", exe);
    if (access(beside, F_OK) == 0)
        return beside;
    free(beside);
    return text_format("%s/../lib/capsid", exe);
}

static int complete_config(struct config *c, struct error *e)
{
    if (!c->home)
        c->home = default_home();
    if (!c->data)
        c->data = default_data();
    if (!c->home || c->home[0] != '/')
        return error_set(e, ERROR_USAGE, "the state directory must be an absolute path; set CAPSID_HOME");
    if (!c->data)
        return error_set(e, ERROR_USAGE, "cannot find the data directory; set CAPSID_DATA");
    if (!c->kernel)
        c->kernel = text_format("%s/vmlinux", c->data);
    return 0;
}

int config_load(struct config *c, struct error *e)
{
    *c = (struct config){0};
#define S(name, kind, fallback, help)                                                                        \
    if (fallback && set_##kind(&c->name, #name, fallback, "default", e) < 0)                                 \
        goto failed;
    CONFIG_SETTINGS(S)
#undef S
    if (load_file(c, SYSTEM_FILE, e) == 0 && load_user_file(c, e) == 0 && load_environment(c, e) == 0 &&
        complete_config(c, e) == 0)
        return 0;
failed:
    config_done(c);
    return -1;
}

/* What belongs to a value of each kind. */
static void copy_path(char **field)
{
    *field = text_copy(*field);
}

static void done_path(char **field)
{
    free(*field);
}

static void keep_number(const void *field)
{
    (void)field;
}

#define copy_vmm copy_path
#define copy_words copy_path
#define done_vmm done_path
#define done_words done_path
#define copy_accel keep_number
#define done_accel keep_number
#define copy_confine keep_number
#define copy_calls keep_number
#define copy_flag keep_number
#define done_confine keep_number
#define done_calls keep_number
#define done_flag keep_number
#define copy_u64 keep_number
#define done_u64 keep_number

void config_copy(struct config *ret, const struct config *c)
{
    *ret = *c;
#define S(name, kind, fallback, help) copy_##kind(&ret->name);
    CONFIG_SETTINGS(S)
#undef S
}

void config_done(struct config *c)
{
#define S(name, kind, fallback, help) done_##kind(&c->name);
    CONFIG_SETTINGS(S)
#undef S
    *c = (struct config){0};
}

static bool equal_path(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool equal_u64(uint64_t a, uint64_t b)
{
    return a == b;
}

void config_compare(const struct config *a, const struct config *b,
                    void (*visit)(const char *key, void *context), void *context)
{
#define equal_accel equal_u64
#define equal_confine equal_u64
#define equal_calls equal_u64
#define equal_flag equal_u64
#define equal_vmm equal_path
#define equal_words equal_path
#define S(name, kind, fallback, help)                                                                        \
    if (!equal_##kind(a->name, b->name))                                                                     \
        visit(#name, context);
    CONFIG_SETTINGS(S);
#undef S
}

int64_t config_patience_ms(const struct config *c, int64_t least_ms)
{
    int64_t boot_ms = (int64_t)c->boot_timeout * 1000;

    return boot_ms > least_ms ? boot_ms : least_ms;
}
