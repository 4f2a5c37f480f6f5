#include "cmdline.h"

#include "kmsg.h"
#include "text.h"

#include <errno.h>
#include <string.h>

#define VMADDR_CID_HOST 2 /* vsock(7) */

void cmdline_init(struct cmdline *ret)
{
    *ret =
        (struct cmdline){.hostname = "capsid", .vsock_peer = VMADDR_CID_HOST, .main_stop_s = SERVICE_STOP_S};
}

static int copy(char *to, size_t size, const char *from)
{
    return *from ? text_join(to, size, from, NULL) : -EINVAL;
}

/* A device is a name in /dev, so it has no slash. */
static int copy_device(char *to, const char *from)
{
    return strchr(from, '/') ? -EINVAL : copy(to, DEVICE_NAME_MAX, from);
}

static int set_hostname(struct cmdline *c, char *value)
{
    return copy(c->hostname, sizeof(c->hostname), value);
}

static int set_layers(struct cmdline *c, char *value)
{
    char *rest = value;

    for (char *name = strsep(&rest, ","); name; name = strsep(&rest, ",")) {
        if (c->root.layer_count == LAYERS_MAX)
            return -E2BIG;
        int r = copy_device(c->root.layers[c->root.layer_count].device, name);
        if (r < 0)
            return r;
        c->root.layer_count++;
    }
    return 0;
}

static int set_upper(struct cmdline *c, char *value)
{
    return copy_device(c->root.upper, value);
}

static int set_root(struct cmdline *c, char *value)
{
    c->root.bare = strcmp(value, "later") == 0;
    return c->root.bare ? 0 : -EINVAL;
}

static int set_vsock_peer(struct cmdline *c, char *value)
{
    uint64_t v;

    if (!text_parse_u64(value, &v) || v > UINT32_MAX)
        return -EINVAL;
    c->vsock_peer = (uint32_t)v;
    return 0;
}

/* 0x and up to 4 hexadecimal digits, as in the documents of VMMs. */
static int set_exit_port(struct cmdline *c, char *value)
{
    static const char digits[] = "0123456789abcdef";
    unsigned v = 0;

    if (!text_starts(value, "0x"))
        return -EINVAL;
    for (const char *p = value + 2; *p; p++) {
        const char *digit = strchr(digits, *p | 0x20); /* lower case */
        v = v << 4 | (unsigned)(digit ? digit - digits : 0);
        if (!digit || v > UINT16_MAX)
            return -EINVAL;
    }
    c->exit_port = (uint16_t)v;
    return v ? 0 : -EINVAL;
}

static int set_main(struct cmdline *c, char *value)
{
    return *value == '/' ? copy(c->main, sizeof(c->main), value) : -EINVAL;
}

static int set_main_user(struct cmdline *c, char *value)
{
    char *gid = value, *uid = strsep(&gid, ":");
    uint64_t u, g;

    if (!gid || !text_parse_u64(uid, &u) || !text_parse_u64(gid, &g) || u >= UINT32_MAX || g >= UINT32_MAX)
        return -EINVAL;
    c->main_uid = (uint32_t)u;
    c->main_gid = (uint32_t)g;
    return 0;
}

/* The index of value in names, which ends with NULL. */
static int choose(const char *const names[], const char *value)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], value) == 0)
            return i;
    return -EINVAL;
}

static int set_main_restart(struct cmdline *c, char *value)
{
    static const char *const names[] = {"never", "on-failure", "always", NULL};
    int r = choose(names, value);

    if (r >= 0)
        c->main_restart = (enum service_restart)r;
    return r < 0 ? r : 0;
}

static int set_main_end(struct cmdline *c, char *value)
{
    static const char *const names[] = {"stay", "poweroff", "reboot", NULL};
    int r = choose(names, value);

    if (r >= 0)
        c->main_end = (enum service_end)r;
    return r < 0 ? r : 0;
}

static int set_main_stop(struct cmdline *c, char *value)
{
    uint64_t v;

    if (!text_parse_u64(value, &v) || v > SERVICE_STOP_MAX_S)
        return -EINVAL;
    c->main_stop_s = (uint32_t)v;
    return 0;
}

static int set_main_tty(struct cmdline *c, char *value)
{
    static const char *const names[] = {"0", "1", NULL};
    int r = choose(names, value);

    if (r >= 0)
        c->main_tty = r;
    return r < 0 ? r : 0;
}

static const struct {
    const char *key;
    int (*set)(struct cmdline *c, char *value);
    bool must; /* a bad value ends the boot */
} keys[] = {
    {"initd.hostname=", set_hostname, false},
    {"initd.layers=", set_layers, true},
    {"initd.upper=", set_upper, true},
    {"initd.root=", set_root, true},
    {"initd.exit_port=", set_exit_port, false},
    {"initd.vsock_peer=", set_vsock_peer, false},
    {"initd.main=", set_main, true},
    {"initd.main_user=", set_main_user, true},
    {"initd.main_restart=", set_main_restart, false},
    {"initd.main_end=", set_main_end, false},
    {"initd.main_stop=", set_main_stop, false},
    {"initd.main_tty=", set_main_tty, false},
};

static void take_word(struct cmdline *c, char *word)
{
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (!text_starts(word, keys[i].key))
            continue;
        int r = keys[i].set(c, word + strlen(keys[i].key));
        if (r < 0)
            kmsg_log(KMSG_WARNING, "bad value on the kernel command line", keys[i].key, r);
        if (r < 0 && keys[i].must)
            c->refused = keys[i].key;
        return;
    }
    if (text_starts(word, "initd."))
        kmsg_log(KMSG_WARNING, "unknown key on the kernel command line", word, 0);
    if (text_starts(word, "initd.main")) /* it may have been to restrict the program */
        c->refused = "initd.main...: unknown key";
}

void cmdline_parse(struct cmdline *c, char *text)
{
    char *rest = text;

    for (char *word = strsep(&rest, " \n"); word; word = strsep(&rest, " \n"))
        take_word(c, word);
    if (c->root.bare && (c->root.layer_count || c->root.upper[0] || c->main[0])) /* they would have no root */
        c->refused = "initd.root=later: with layers, upper or main";
}
