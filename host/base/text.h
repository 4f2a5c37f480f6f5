/* text: growing buffers, numbers, sizes and UTF-8. */
#ifndef CAPSID_TEXT_H
#define CAPSID_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that grow on the heap; {0} is empty. data has a NUL after size bytes once anything was added. */
struct buffer {
    char *data; /* owned */
    size_t size;
    size_t capacity;
};

void buffer_add(struct buffer *b, const void *data, size_t size);
/* Less than 2 GiB of text: more ends the program, as running out of memory does. */
void buffer_add_text(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_free(struct buffer *b);
#define cleanup_buffer __attribute__((cleanup(buffer_free)))

/* A formatted string on the heap; the caller frees it. Out of memory ends the program, here as everywhere on
 * the host: small allocations do not fail on Linux, and pretending otherwise would leave paths that nothing
 * tests. */
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *memory_allocate(size_t size); /* zeroed, never NULL */
char *text_copy(const char *s);     /* NULL gives NULL */

/* Parses the whole of s as a decimal number in [min, max]; false otherwise. */
bool text_to_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret);

/* Cuts spaces at both ends, in place; returns the new beginning. */
char *text_trim(char *s);

/* The last line of s without spaces at its ends, and made plain as below: a view into s, which is changed. */
char *text_last_line(char *s);

/* Length of the longest prefix of data that is valid UTF-8 (RFC 3629: no surrogates, no overlong forms). */
size_t text_utf8_prefix(const char *data, size_t size);

/*
 * Makes others' words fit for a line on a terminal or in a log, in place: white space becomes a space, and what is a
 * control character of either set (ECMA-48) or no UTF-8 becomes "?", a byte at a time. Returns s.
 */
char *text_make_plain(char *s);

/* The same for words of several lines: newlines stay. */
char *text_make_plain_lines(char *s);

/* Standard base64 with padding (RFC 4648 section 4); the caller frees it. */
char *text_base64(const void *data, size_t size);

/* The opposite: adds to *ret; false, and *ret is undefined, when s is not exactly what text_base64() makes. */
bool text_base64_decode(const char *s, size_t size, struct buffer *ret);

/* size as "12.3 MB" (powers of 1000) into out. */
const char *text_bytes(uint64_t size, char out[static 24]);

/* A name that is safe as a file name: letters, digits, and . _ + - after the first character, at most 64. */
bool text_is_name(const char *s);

/* The same of at most TEXT_LONG_NAME_MAX: a file's with a word before and after it. */
#define TEXT_LONG_NAME_MAX 200
bool text_is_long_name(const char *s);

/* A name of an environment variable: letters, digits and _, not a digit first, at most 128. */
bool text_is_variable(const char *s);

/* 2 * size lower case digits and a NUL. */
void text_hex(const void *data, size_t size, char *out);

/* Calls check with each word of a list with commas, NULL: an empty one; false when check says no, with the word in *ret_bad, which the
 * caller frees. */
bool text_each_word(const char *list, bool (*check)(const char *word), char **ret_bad);

#endif
