#include "cmdline.h"

#include "kmsg.h"
#include "text.h"

#include <errno.h>
#include <string.h>

#define VMADDR_CID_HOST 2 /* vsock(7) */

void cmdline_init(struct cmdline *ret)
{
    *ret = (struct cmdline){.hostname = "capsid", .vsock_peer = VMADDR_CID_HOST};
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
        if (c->layer_count == LAYERS_MAX)
            return -E2BIG;
        int r = copy_device(c->layers[c->layer_count], name);
        if (r < 0)
            return r;
        c->layer_count++;
    }
    return 0;
}

static int set_upper(struct cmdline *c, char *value)
{
    return copy_device(c->upper, value);
}

static int set_vsock_peer(struct cmdline *c, char *value)
{
    uint64_t v;

    if (!text_parse_u64(value, &v) || v > UINT32_MAX)
        return -EINVAL;
    c->vsock_peer = (uint32_t)v;
    return 0;
}

static const struct {
    const char *key;
    int (*set)(struct cmdline *c, char *value);
} keys[] = {
    {"initd.hostname=", set_hostname},
    {"initd.layers=", set_layers},
    {"initd.upper=", set_upper},
    {"initd.vsock_peer=", set_vsock_peer},
};

static void take_word(struct cmdline *c, char *word)
{
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (!text_starts(word, keys[i].key))
            continue;
        int r = keys[i].set(c, word + strlen(keys[i].key));
        if (r < 0)
            kmsg_log(KMSG_WARNING, "bad value on the kernel command line", keys[i].key, r);
        return;
    }
    if (text_starts(word, "initd."))
        kmsg_log(KMSG_WARNING, "unknown key on the kernel command line", word, 0);
}

void cmdline_parse(struct cmdline *c, char *text)
{
    char *rest = text;

    for (char *word = strsep(&rest, " \n"); word; word = strsep(&rest, " \n"))
        take_word(c, word);
}
