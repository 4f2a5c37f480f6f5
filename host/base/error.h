/*
 * error: what went wrong, in words for the user and a kind for the program.
 *
 * The caller owns a struct error, initialised with {0}. A function that fails returns -1 and fills it; a
 * function that succeeds leaves it alone. Callers add context on the way up with error_wrap(). Only the top
 * layer prints.
 */
#ifndef CAPSID_ERROR_H
#define CAPSID_ERROR_H

enum error_kind {
    ERROR_NONE,
    ERROR_GENERAL,
    ERROR_USAGE,            /* the request makes no sense */
    ERROR_UNKNOWN_LANGUAGE, /* no such language definition */
    ERROR_NOT_FOUND,        /* a named thing does not exist */
    ERROR_REFUSED,          /* the guest said no to what it was asked, with its reason */
    ERROR_CORRUPT,          /* a stored file is not what was stored */
    ERROR_TIMEOUT,          /* a deadline passed */
    ERROR_CANCELLED,        /* the user interrupted */
    ERROR_VM_LOST,          /* the VMM or the guest went away, or broke the protocol */
    ERROR_BUSY,             /* a bound is reached; later it may work */
    ERROR_NOT_MADE,         /* it would have to be made, which was not wanted */
    ERROR_EXHAUSTED,        /* no file may be opened any more; later one may */
    ERROR_NEEDED,           /* something else stands on it */
    ERROR_KIND_LAST = ERROR_NEEDED,
};

struct error {
    enum error_kind kind;
    char text[1024];
};

/* Sets kind and text; always returns -1. */
int error_set(struct error *e, enum error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set(ERROR_GENERAL), or ERROR_EXHAUSTED where errno says so, with ": " and the text of errno appended. */
int error_errno(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the text and keeps the kind; always returns -1. */
int error_wrap(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
