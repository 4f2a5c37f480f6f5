/* head: what a client of the proxy says before bytes go through: a request of HTTP, or the greeting of SOCKS. Pure. */
#ifndef RELAY_HEAD_H
#define RELAY_HEAD_H

#include "relay.h"

#define HEAD_MAX 15360 /* bytes; with what is added it is one DATA */
#define HEAD_REPLY_MAX 512

enum head_kind {
    HEAD_NONE,
    HEAD_TUNNEL,  /* HTTP's CONNECT */
    HEAD_FORWARD, /* a request with a whole URL: one, and then the connection ends */
    HEAD_SOCKS,   /* version 5 */
};

struct head {
    enum head_kind kind;
    bool greeted; /* of SOCKS: the method was chosen */
    char host[RELAY_HOST_MAX + 1];
    uint16_t port;
    size_t used;  /* bytes of the input that were the head */
    int64_t body; /* how many bytes of the client follow; -1: until its end */
};

enum head_verdict {
    HEAD_MORE,   /* more is needed */
    HEAD_ANSWER, /* send the reply, take what was used away, and come again */
    HEAD_TARGET, /* host and port are known */
    HEAD_BAD,    /* send the reply, and no more */
};

/* Looks at the first size bytes. ret_reply is for ANSWER and BAD: its size in *ret_size. *h was {0} at first. */
enum head_verdict head_look(struct head *h, const uint8_t *data, size_t size,
                            char ret_reply[static HEAD_REPLY_MAX], size_t *ret_size);

/* The request that a server gets in place of that of HEAD_FORWARD, in out of RELAY_DATA_MAX bytes; its size. */
size_t head_rewrite(const uint8_t *data, size_t used, uint8_t *out);

/* What the client is told when it has its connection, nothing: 0, and when it has none. */
size_t head_opened(const struct head *h, char ret[static HEAD_REPLY_MAX]);
size_t head_refused(const struct head *h, const uint8_t *text, size_t size, char ret[static HEAD_REPLY_MAX]);

#endif
