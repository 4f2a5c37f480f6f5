/* address: IP addresses as programs write them, and which of them nobody means when they say "the Internet". Pure. */
#ifndef CAPSID_EGRESS_ADDRESS_H
#define CAPSID_EGRESS_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDRESS_TEXT_MAX 46 /* INET6_ADDRSTRLEN */
#define ADDRESS_NAME_MAX 254

struct address {
    int family;       /* AF_INET or AF_INET6 */
    uint8_t byte[16]; /* 4 of them, or all */
};

/* What a host is that a program names. */
enum address_host { ADDRESS_MALFORMED, ADDRESS_NAME, ADDRESS_LITERAL };

/* A literal in any spelling that some library takes for one (127.1, 0x7f000001, 2130706433, 017700000001), or a name: lower case,
 * without the dot at its end, in ret_name. */
enum address_host address_read(const char *host, struct address *ret, char ret_name[static ADDRESS_NAME_MAX]);

/* One as inet_pton(3) takes it. */
bool address_parse(const char *text, struct address *ret);

void address_print(const struct address *a, char ret[static ADDRESS_TEXT_MAX]);

/* The first bits are equal. */
bool address_is_in(const struct address *a, const struct address *net, unsigned bits);

/* What it is, if not an address of the Internet: "a loopback address"; NULL: it is one. */
const char *address_special(const struct address *a);

/* For connect(2). */
socklen_t address_socket(const struct address *a, uint16_t port, struct sockaddr_storage *ret);
struct address address_of_socket(const struct sockaddr *s);

#endif
