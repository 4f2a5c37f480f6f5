#include "egress/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#define LABEL_MAX 63

/* ---- spellings ----------------------------------------------------------------------------------- */

bool address_parse(const char *text, struct address *ret)
{
    *ret = (struct address){.family = strchr(text, ':') ? AF_INET6 : AF_INET};
    return inet_pton(ret->family, text, ret->byte) == 1;
}

/* Letters, digits, - and _ between dots, and no label that is empty or too long. */
static bool is_name(const char *s)
{
    size_t label = 0;

    for (const char *c = s;; c++) {
        if (*c == '.' || *c == '\0') {
            if (label == 0 || label > LABEL_MAX || c[-1] == '-' || c[-(ptrdiff_t)label] == '-')
                return false;
            label = 0;
        } else if (isalnum((unsigned char)*c) || *c == '-' || *c == '_') {
            label++;
        } else {
            return false;
        }
        if (*c == '\0')
            return true;
    }
}

/* Libraries take a name for a number when its last label is one. */
static bool ends_in_number(const char *name)
{
    const char *label = strrchr(name, '.');

    label = label ? label + 1 : name;
    if (label[0] == '0' && label[1] == 'x')
        return label[2 + strspn(label + 2, "0123456789abcdef")] == '\0';
    return label[strspn(label, "0123456789")] == '\0';
}

static enum address_host read_numbers(const char *name, struct address *ret)
{
    struct in_addr in;

    if (!inet_aton(name, &in))
        return ADDRESS_MALFORMED;
    *ret = (struct address){.family = AF_INET};
    memcpy(ret->byte, &in, 4);
    return ADDRESS_LITERAL;
}

enum address_host address_read(const char *host, struct address *ret, char ret_name[static ADDRESS_NAME_MAX])
{
    size_t size = strlen(host);

    if (strchr(host, ':')) /* of IPv6, without its interface */
        return address_parse(host, ret) ? ADDRESS_LITERAL : ADDRESS_MALFORMED;
    if (size > 1 && host[size - 1] == '.')
        size--;
    if (size == 0 || size >= ADDRESS_NAME_MAX)
        return ADDRESS_MALFORMED;
    for (size_t i = 0; i < size; i++)
        ret_name[i] = (char)tolower((unsigned char)host[i]);
    ret_name[size] = '\0';
    if (!is_name(ret_name))
        return ADDRESS_MALFORMED;
    return ends_in_number(ret_name) ? read_numbers(ret_name, ret) : ADDRESS_NAME;
}

void address_print(const struct address *a, char ret[static ADDRESS_TEXT_MAX])
{
    inet_ntop(a->family, a->byte, ret, ADDRESS_TEXT_MAX);
}

bool address_is_in(const struct address *a, const struct address *net, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    if (a->family != net->family || memcmp(a->byte, net->byte, whole) != 0)
        return false;
    return rest == 0 || (a->byte[whole] ^ net->byte[whole]) >> (8 - rest) == 0;
}

/* ---- what is not the Internet -------------------------------------------------------------------- */

/* IANA's registries of special addresses, and where clouds tell a machine its secrets. The first that fits counts. */
static const struct special {
    const char *net;
    unsigned bits;
    const char *what;
} specials[] = {
    {"0.0.0.0", 8, "an address of this machine"},
    {"10.0.0.0", 8, "a private address"},
    {"100.64.0.0", 10, "an address of a provider's network"},
    {"127.0.0.0", 8, "a loopback address"},
    {"169.254.169.254", 32, "an address of cloud metadata"},
    {"168.63.129.16", 32, "an address of cloud metadata"},
    {"169.254.0.0", 16, "a link-local address"},
    {"172.16.0.0", 12, "a private address"},
    {"192.0.0.0", 24, "a reserved address"},
    {"192.0.2.0", 24, "an address of documentation"},
    {"192.88.99.0", 24, "an address of a 6to4 relay"},
    {"192.168.0.0", 16, "a private address"},
    {"198.18.0.0", 15, "an address of benchmarks"},
    {"198.51.100.0", 24, "an address of documentation"},
    {"203.0.113.0", 24, "an address of documentation"},
    {"224.0.0.0", 4, "a multicast address"},
    {"240.0.0.0", 4, "a reserved address"},
    {"::", 128, "an address of this machine"},
    {"::1", 128, "a loopback address"},
    {"::ffff:0:0", 96, "an IPv4 address within one of IPv6"},
    {"::", 96, "an IPv4 address within one of IPv6"},
    {"64:ff9b::", 96, "an IPv4 address behind NAT64"},
    {"64:ff9b:1::", 48, "an IPv4 address behind NAT64"},
    {"2001::", 32, "an IPv4 address behind Teredo"},
    {"2002::", 16, "an IPv4 address behind 6to4"},
    {"2001::", 23, "a reserved address"},
    {"2001:db8::", 32, "an address of documentation"},
    {"3fff::", 20, "an address of documentation"},
    {"fd00:ec2::254", 128, "an address of cloud metadata"},
    {"fc00::", 7, "a private address"},
    {"fe80::", 10, "a link-local address"},
    {"fec0::", 10, "a private address"},
    {"ff00::", 8, "a multicast address"},
};

const char *address_special(const struct address *a)
{
    struct address net;

    for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++)
        if (address_parse(specials[i].net, &net) && address_is_in(a, &net, specials[i].bits))
            return specials[i].what;
    if (a->family == AF_INET6 && (a->byte[0] & 0xe0) != 0x20) /* what is handed out begins with 001 */
        return "a reserved address";
    return NULL;
}

/* ---- sockets ------------------------------------------------------------------------------------- */

socklen_t address_socket(const struct address *a, uint16_t port, struct sockaddr_storage *ret)
{
    *ret = (struct sockaddr_storage){0};
    if (a->family == AF_INET) {
        struct sockaddr_in *in = (void *)ret;
        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        memcpy(&in->sin_addr, a->byte, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in = (void *)ret;
    *in = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
    memcpy(&in->sin6_addr, a->byte, 16);
    return sizeof(*in);
}

struct address address_of_socket(const struct sockaddr *s)
{
    struct address a = {.family = s->sa_family};

    if (s->sa_family == AF_INET)
        memcpy(a.byte, &((const struct sockaddr_in *)(const void *)s)->sin_addr, 4);
    else
        memcpy(a.byte, &((const struct sockaddr_in6 *)(const void *)s)->sin6_addr, 16);
    return a;
}
