/*
 * records: what is many, changes often and must be whole whatever happens meanwhile, in a database file (SQLite) of the room
 * that it belongs to.
 *
 * Each room has a schema: the file's name, a number that says whose it is, and numbered migrations. What is on disk is taken
 * for what it is only when it says so: the right number, a version that is known, and exactly the tables that the migrations
 * make. A file of a newer version, or of anything else, is refused before anything in it is changed.
 *
 * A change is made in a transaction, which is there as a whole or not at all: several processes and a kill -9 at any moment do
 * no harm. A power cut may take the last transactions, never a part of one.
 *
 * Threads: any, one at a time between records_begin() and records_end(); the lock is a leaf.
 */
#ifndef CAPSID_STORE_RECORDS_H
#define CAPSID_STORE_RECORDS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct records;

struct records_schema {
    const char *file;
    int32_t application_id; /* PRAGMA application_id (sqlite.org/fileformat2.html) */
    /* Statements of SQL; number N, from 1, leads from version N - 1 to N. One that was released never changes. NULL ends. */
    const char *const *migrations;
};

/*
 * Opens the file in that directory, makes it when it is missing, and brings it to the newest version. The directory must be
 * one that nobody else may change (store/trust.h); the file is made for this user alone. ERROR_CORRUPT: it is damaged, or
 * no such file; the message has the remedy. ERROR_BUSY: another process keeps it locked.
 */
int records_open(struct records **ret, const char *directory, const struct records_schema *schema,
                 struct error *e);
void records_close(struct records *r); /* accepts NULL */

/*
 * Moves what was written to the log of the last transactions into the file itself, when it has become much. That takes as long
 * as the disk does, and nobody waits for it but the caller: so it is called by a thread that has nobody waiting.
 */
void records_tidy(struct records *r);

/* Reads all of it, and says what is wrong: ERROR_CORRUPT. In a transaction of its own. */
int records_check(struct records *r, struct error *e);

/* Gives a file that cannot be used, if there is one, another name, for people to look at; *ret_path (the caller frees it) is
 * that, NULL: there was none. No process may have it open. */
int records_put_aside(const char *directory, const struct records_schema *schema, char **ret_path,
                      struct error *e);

/*
 * All that follows is called between these two. records_end() keeps what was done when result is 0, and takes it back
 * otherwise; it returns result, or -1 with an error when it could not be kept. After a failed records_begin() it must not be
 * called.
 */
int records_begin(struct records *r, struct error *e);
int records_end(struct records *r, int result, struct error *e);

/* What stands for the question marks of a statement, in their order. */
struct records_value {
    enum { RECORDS_END, RECORDS_NULL, RECORDS_NUMBER, RECORDS_TEXT } kind;
    int64_t number;
    const char *text; /* borrowed */
    size_t size;
};

#define RECORDS_VALUES(...) ((const struct records_value[]){__VA_ARGS__, {.kind = RECORDS_END}})

static inline struct records_value records_number(int64_t number)
{
    return (struct records_value){.kind = RECORDS_NUMBER, .number = number};
}

static inline struct records_value records_text_of(const char *text, size_t size)
{
    return (struct records_value){.kind = text ? RECORDS_TEXT : RECORDS_NULL, .text = text, .size = size};
}

/* NULL is no value. */
struct records_value records_text(const char *text);

/* The number of the row that the last INSERT made. */
int64_t records_last_number(const struct records *r);

/* Does what the statement says; values may be NULL. The number of rows that it changed, -1 with an error. */
int records_do(struct records *r, const char *statement, const struct records_value *values, struct error *e);

/* The rows of an answer, one after another. */
struct records_rows {
    struct records *records;
    void *statement; /* owned; NULL: it failed, or is done */
};

int records_ask(struct records_rows *ret, struct records *r, const char *statement,
                const struct records_value *values, struct error *e);
int records_next(struct records_rows *rows, struct error *e);            /* 1: there is one; 0: no more; -1 */
int64_t records_get_number(const struct records_rows *rows, int column); /* 0 for none */
/* Borrowed until the next row, with a NUL behind it; NULL for none. */
const char *records_get_text(const struct records_rows *rows, int column, size_t *ret_size);
void records_done(struct records_rows *rows);
#define cleanup_rows __attribute__((cleanup(records_done)))

/* The one number that a question has for an answer; when there is no row, 0. */
int records_ask_number(struct records *r, const char *statement, const struct records_value *values,
                       int64_t *ret, struct error *e);

#endif
