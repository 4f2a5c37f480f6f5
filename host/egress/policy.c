#include "egress/policy.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* ---- reading rules ------------------------------------------------------------------------------- */

static int bad_rule(const char *rule, const char *why, struct error *e)
{
    return error_set(e, ERROR_USAGE,
                     "%.100s: %s; a rule is HOST[:PORT], as in example.org, *.example.org:443, "
                     "192.0.2.0/24:80,8000-8099, [2001:db8::7]:443",
                     rule, why);
}

/* FIRST[-LAST] or *. */
static bool add_ports(struct policy_rule *r, char *word)
{
    char *last = strchr(word, '-');
    uint64_t from = 1, to = 65535;

    if (r->port_count == POLICY_PORTS_MAX)
        return false;
    if (last)
        *last++ = '\0';
    if (strcmp(word, "*") != 0 || last) {
        if (!text_to_u64(word, 1, 65535, &from) || !text_to_u64(last ? last : word, from, 65535, &to))
            return false;
    }
    r->ports[r->port_count].first = (uint16_t)from;
    r->ports[r->port_count++].last = (uint16_t)to;
    return true;
}

static bool read_ports(struct policy_rule *r, char *list)
{
    char *state = NULL, *word = list ? strtok_r(list, ",", &state) : NULL;
    char http[] = "80", https[] = "443";

    if (!list)
        return add_ports(r, http) && add_ports(r, https);
    if (!word)
        return false;
    for (; word; word = strtok_r(NULL, ",", &state))
        if (!add_ports(r, word))
            return false;
    return true;
}

/* Takes the ports off the end of text; NULL: none are named. */
static char *cut_ports(char *text)
{
    char *colon = strrchr(text, ':');

    if (text[0] == '[') {
        char *end = strchr(text, ']');
        colon = end ? strchr(end, ':') : NULL;
    } else if (colon && strchr(text, ':') != colon) {
        return NULL; /* of IPv6, without brackets */
    }
    if (!colon)
        return NULL;
    *colon = '\0';
    return colon + 1;
}

/* Brackets off, bits off. */
static bool read_net(struct policy_rule *r, char *text)
{
    char *slash = strchr(text, '/'), *bracket = strchr(text, ']');
    uint64_t bits;

    if (slash)
        *slash++ = '\0';
    if (text[0] == '[') {
        if (!bracket || bracket[1])
            return false;
        *bracket = '\0';
        text++;
    }
    if (!address_parse(text, &r->net))
        return false;
    unsigned all = r->net.family == AF_INET ? 32 : 128;
    if (slash && !text_to_u64(slash, 0, all, &bits))
        return false;
    r->bits = slash ? (unsigned)bits : all;
    return true;
}

static int read_rule(struct policy_rule *ret, const char *rule, struct error *e)
{
    char text[POLICY_RULE_SIZE], name[ADDRESS_NAME_MAX];
    struct address literal;

    *ret = (struct policy_rule){0};
    if (strlen(rule) >= sizeof(text))
        return bad_rule(rule, "it is too long", e);
    strcpy(text, rule);
    if (!read_ports(ret, cut_ports(text)))
        return bad_rule(rule, "its ports are no numbers from 1 to 65535", e);
    ret->any = strcmp(text, "*") == 0;
    if (ret->any)
        return 0;
    if (strchr(text, '/') || strchr(text, ':'))
        return read_net(ret, text) ? 0 : bad_rule(rule, "it is no address", e);
    ret->below = strncmp(text, "*.", 2) == 0;
    switch (address_read(text + (ret->below ? 2 : 0), &literal, name)) {
    case ADDRESS_NAME:
        strcpy(ret->name, name);
        return 0;
    case ADDRESS_LITERAL:
        return !ret->below && read_net(ret, text) ? 0 : bad_rule(rule, "an address has four numbers", e);
    case ADDRESS_MALFORMED:
        break;
    }
    return bad_rule(rule, "it is no name of a host", e);
}

int policy_add(struct policy *p, const char *rule, struct error *e)
{
    struct policy_rule r;

    if (read_rule(&r, rule, e) < 0)
        return -1;
    if (p->count == POLICY_RULES_MAX)
        return error_set(e, ERROR_USAGE, "more than %d rules of where to connect to", POLICY_RULES_MAX);
    struct policy_rule *longer = memory_allocate((p->count + 1) * sizeof(*longer));
    if (p->count)
        memcpy(longer, p->rules, p->count * sizeof(*longer));
    longer[p->count++] = r;
    free(p->rules);
    p->rules = longer;
    return 0;
}

void policy_copy(struct policy *ret, const struct policy *p)
{
    *ret = (struct policy){.count = p->count};
    if (p->count == 0)
        return;
    ret->rules = memory_allocate(p->count * sizeof(*p->rules));
    memcpy(ret->rules, p->rules, p->count * sizeof(*p->rules));
}

void policy_done(struct policy *p)
{
    free(p->rules);
    *p = (struct policy){0};
}

int policy_check_rule(const char *rule, struct error *e)
{
    struct policy_rule r;

    return read_rule(&r, rule, e);
}

/* ---- asking -------------------------------------------------------------------------------------- */

static bool has_port(const struct policy_rule *r, uint16_t port)
{
    for (unsigned i = 0; i < r->port_count; i++)
        if (port >= r->ports[i].first && port <= r->ports[i].last)
            return true;
    return false;
}

static bool is_below(const char *name, const char *parent)
{
    size_t size = strlen(name), suffix = strlen(parent);

    return size > suffix + 1 && name[size - suffix - 1] == '.' && strcmp(name + size - suffix, parent) == 0;
}

static bool has_name(const struct policy_rule *r, const char *name)
{
    if (r->any || r->net.family)
        return r->any;
    return r->below ? is_below(name, r->name) : strcmp(name, r->name) == 0;
}

bool policy_has_name(const struct policy *p, const char *name, uint16_t port)
{
    for (size_t i = 0; i < p->count; i++)
        if (has_name(&p->rules[i], name) && has_port(&p->rules[i], port))
            return true;
    return false;
}

bool policy_has_address(const struct policy *p, const struct address *a, uint16_t port, bool by_name,
                        bool own, const char **ret_special)
{
    const char *special = address_special(a);
    bool any = false;

    *ret_special = NULL;
    for (size_t i = 0; i < p->count; i++) {
        const struct policy_rule *r = &p->rules[i];
        if (!has_port(r, port))
            continue;
        if (r->net.family && address_is_in(a, &r->net, r->bits))
            return true;
        any = any || r->any;
    }
    if (!by_name && !any)
        return false;
    *ret_special = special ? special : own ? "an address of this machine" : NULL;
    return !*ret_special;
}
