/*
 * file: the host's reading and writing of files in the guest.
 *
 * Everything works on local filesystems and is done at once, except for content that does not fit in one
 * message: that is a transfer, which has a stream and a slot in a fixed table. Opening never waits for a
 * FIFO's or a device's other end.
 */
#ifndef INITD_FILE_H
#define INITD_FILE_H

#include "conn.h"
#include "fault.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

void file_init(void);

/* What is due after a message of a transfer into the guest. */
struct file_progress {
    uint16_t request;      /* that began it */
    bool done;             /* OK */
    bool window;           /* WINDOW, unless it is done: */
    uint64_t taken, limit; /* so many bytes are taken, and so many may be sent */
};

/* WRITE_FILE and UNPACK; what they do not bring themselves comes on the stream. */
struct fault file_write(const struct msg_write_file *m, struct conn *c, uint32_t stream,
                        struct file_progress *ret);
struct fault file_unpack(const struct msg_unpack *m, struct conn *c, uint32_t stream,
                         struct file_progress *ret);

/* READ_FILE: fills in what the file is; DATA and END follow by file_emit(). */
struct fault file_read(const struct msg_read_file *m, struct conn *c, uint32_t stream,
                       struct msg_file_info *ret);

/* STAT. ret->target is a view of static memory, valid until the next call. */
struct fault file_stat(const char *path, bool follow, struct msg_file_info *ret);

/* Fills in all but the target of a symlink. */
void file_fill_info(struct msg_file_info *ret, const struct stat *st);

/* Is the stream that of a transfer? */
bool file_has_stream(const struct conn *c, uint32_t stream);

/* Is any transfer into the guest under way? */
bool file_any_write(void);

/* DATA of either. */
struct fault file_take(const struct conn *c, uint32_t stream, const struct msg_data *m,
                       struct file_progress *ret);

/* END before its size was reached: the transfer is dropped. ERR_FLOW: it is a READ_FILE. */
struct fault file_take_end(const struct conn *c, uint32_t stream, uint16_t *ret_request);

/* WINDOW of a READ_FILE. 0 or PROTO_ERR_FLOW. */
int file_take_window(const struct conn *c, uint32_t stream, const struct msg_window *m);

/* Puts content into the connection's buffer. True when something was put. */
bool file_emit(struct conn *c);

/* All streams of c end; unfinished files are dropped. */
void file_drop_conn(const struct conn *c);

#endif
