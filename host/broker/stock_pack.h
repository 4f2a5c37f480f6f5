/*
 * stock_pack: rows of stock_rows.h as one piece of bytes, as they go over the line: a head, the rows, and the texts of all of them,
 * each with its NUL. In a row that is packed a text is 1 + where it begins there, or 0 for none.
 */
#ifndef CAPSID_STOCK_PACK_H
#define CAPSID_STOCK_PACK_H

#include "base/error.h"
#include "base/text.h"
#include "broker/stock_rows.h"

#define STOCK_SIZE_MAX (64u << 20) /* bytes of all */

enum stock_kind { STOCK_LANGUAGE, STOCK_IMAGE, STOCK_RECORD, STOCK_SNAPSHOT, STOCK_KINDS_COUNT };

/* What is packed; {.kind = ...} is empty. */
struct stock_pack {
    enum stock_kind kind;
    size_t count;
    struct buffer rows, texts; /* owned */
};

/* Adds a row of that kind; nothing of it is kept. */
void stock_pack_add(struct stock_pack *p, const void *row);

/* A sealed memory file that holds all, the caller's; -1 with an error. */
int stock_pack_seal(const struct stock_pack *p, struct error *e);
void stock_pack_done(struct stock_pack *p);

/* What came; {0} is none. The texts of the rows live in it. */
struct stock {
    struct buffer data; /* owned */
    enum stock_kind kind;
    size_t count;
    char *rows;
};

/* Reads and checks it: -1 with an error where it is not what it should be. fd is borrowed. Then, and accepting {0}, stock_done(). */
int stock_unpack(struct stock *ret, int fd, struct error *e);
void stock_done(struct stock *s);

/* The row of that number, which is there. */
const void *stock_row(const struct stock *s, size_t number);

#endif
