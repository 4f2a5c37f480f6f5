/*
 * text: bounded strings and numbers, in place of stdio.
 *
 * A builder writes into a buffer of the caller's, which always holds a NUL-terminated string. What does not
 * fit is cut off and remembered in `truncated`.
 */
#ifndef INITD_TEXT_H
#define INITD_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *buffer; /* borrowed */
    size_t size;
    size_t length;
    bool truncated;
};

/* size must be at least 1. */
struct text text_of(char *buffer, size_t size);
void text_add(struct text *t, const char *s);
void text_add_u64(struct text *t, uint64_t v);
/* Two lower-case digits a byte. */
void text_add_hex(struct text *t, const void *data, size_t size);

/* Joins the strings up to a NULL in buffer. Returns 0, or -ENAMETOOLONG when they do not fit. */
int text_join(char *buffer, size_t size, ...) __attribute__((sentinel));

bool text_starts(const char *s, const char *prefix);

/* A decimal number that takes all of s (a newline at its end is fine). */
bool text_parse_u64(const char *s, uint64_t *ret);

/* The number after `key` and white space or a colon, at the beginning of a line of text: "oom_kill 3",
 * "MemTotal:  7 kB". */
bool text_find_u64(const char *text, const char *key, uint64_t *ret);

/* The n-th field of s, counted from 0, separated by single spaces; a view that is not NUL-terminated, or
 * NULL. */
const char *text_field(const char *s, unsigned n);

/* Digits at the beginning of s. */
uint64_t text_leading_u64(const char *s);

#endif
