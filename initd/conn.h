/*
 * conn: connections from the host: the virtio-serial port and the sockets, with what was received and not yet
 * handled, and what was answered and not yet sent.
 *
 * The module knows bytes and frames. What a frame means, and who has streams on a connection, is for others;
 * they look at `dead` and call conn_close().
 */
#ifndef INITD_CONN_H
#define INITD_CONN_H

#include "frame.h"
#include "limits.h"
#include "messages.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conn_kind { CONN_FREE, CONN_SERIAL, CONN_SOCKET };

struct conn {
    enum conn_kind kind;
    int fd; /* owned */
    uint32_t generation;
    bool greeted;        /* HELLO was taken */
    bool broken;         /* it is not read any more: what is in tx goes out, then it is closed */
    bool shut;           /* broken, tx is out, and the host was told so; waiting for its end to close */
    bool dead;           /* to be closed by whoever knows its streams */
    bool hung;           /* serial: the host's end is closed */
    bool waiting;        /* requests wait: for a helper that works for it, or the guest's set-up */
    bool again;          /* there is work that no event will announce */
    uint32_t events;     /* what epoll watches for */
    uint64_t deadline;   /* sys_now() time: HELLO, or the end of closing, must have come; 0: none */
    bool large;          /* more than the first page of rx or tx was touched */
    uint64_t trim_at;    /* when to give such memory back; 0: there is none */
    uint64_t half_since; /* since when an unfinished frame waits; 0: none does */
    struct frame_reader rx;
    uint8_t *tx; /* borrowed; CONN_TX_SIZE bytes */
    size_t tx_start, tx_end;
    unsigned turn;                /* the job that is served next */
    uint32_t gone[CONN_GONE_MAX]; /* streams that must be told ERR_GONE */
    unsigned gone_count;
};

/* For tests: other waits, in ms. 0: that of limits.h. */
void conn_set_deadlines(uint32_t hello_ms, uint32_t frame_ms);

/* Opens the serial port whose name is PROTO_SERIAL_NAME; -ENODEV when there is none, -ENOENT when there is no /sys to find it
 * with. */
int conn_open_serial(void);

/* Listens on AF_VSOCK. It takes connections from the host only; for tests from CID peer instead. */
int conn_listen_vsock(void);
void conn_allow_peer(uint32_t peer);

/* Listens on a Unix socket, for tests. */
int conn_listen_unix(const char *path);

/* The listening socket has something. */
void conn_accept(uint64_t now);

/* The index-th connection, index < CONNS_MAX, also when it is free. */
struct conn *conn_at(unsigned index);

/* Handles an event: reads, and learns of hang-ups. Writing is conn_flush()'s. */
void conn_on_event(struct conn *c, uint32_t events);

/* How many bytes of frames fit; and how many of them streams may take, which leaves room for answers. */
size_t conn_room(const struct conn *c);
size_t conn_stream_room(const struct conn *c);

/* True when a request may be handled: its answer is sure to fit. */
bool conn_can_answer(const struct conn *c);

/* Where the next frame is to be built; *ret_room bytes. Then conn_built() with its size, 0: nothing was
 * built. */
uint8_t *conn_build(struct conn *c, size_t *ret_room);
void conn_built(struct conn *c, size_t size);

/* Sends a message: CONN_SEND(c, pong, stream, &(struct msg_pong){...}). Evaluates to false when it does not
 * fit. */
#define CONN_SEND(c, name, stream, message)                                                                  \
    ({                                                                                                       \
        size_t send_room;                                                                                    \
        uint8_t *send_at = conn_build(c, &send_room);                                                        \
        size_t send_size = msg_##name##_frame(message, stream, send_at, send_room);                          \
        conn_built(c, send_size);                                                                            \
        send_size > 0;                                                                                       \
    })

void conn_send_error(struct conn *c, uint32_t stream, uint16_t request, uint16_t code, int os_errno,
                     const char *text);

/* Bytes of a DATA frame before its data. */
#define CONN_DATA_HEAD (FRAME_HEADER_SIZE + 13)

/* Room for the data of a DATA frame: at most *ret_room bytes, which conn_send_data() then sends from there. Only when
 * conn_stream_room() is more than CONN_DATA_HEAD. */
uint8_t *conn_data_space(struct conn *c, size_t *ret_room);
void conn_send_data(struct conn *c, uint32_t stream, const struct msg_data *m);

/* True when conn_send_in_place() may be called: nothing else waits to be sent. */
bool conn_idle(const struct conn *c);

/* Sends DATA at once from where its data is, at most JOB_DATA_CHUNK bytes, with CONN_DATA_HEAD writable bytes before it,
 * which are as before on return. What the host does not take now is kept: it is as good as sent. */
void conn_send_in_place(struct conn *c, uint32_t stream, const struct msg_data *m);

/* Answers ERROR and takes nothing more from this connection. */
void conn_break(struct conn *c, uint32_t stream, uint16_t request, uint16_t code, const char *text);

/* ERROR: the stream has lost its job. conn_note_gone(): as soon as there is room. */
void conn_send_gone(struct conn *c, uint32_t stream);
void conn_note_gone(struct conn *c, uint32_t stream);

/* Writes what is in tx. True when all of it went out. */
bool conn_flush(struct conn *c);

/* Tells epoll what the connection waits for now. */
void conn_update_events(struct conn *c, uint64_t now);

/* When time runs out for this connection; 0: never. */
uint64_t conn_next_deadline(const struct conn *c);
void conn_check_deadline(struct conn *c, uint64_t now);

/* HELLO came: the connection starts anew. */
void conn_greet(struct conn *c);

/* Ends the connection. The serial port stays open for the next one. */
void conn_close(struct conn *c);

#endif
