/* moment: points in time as people and programs write them. */
#ifndef CAPSID_MOMENT_H
#define CAPSID_MOMENT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Seconds since 1970 of "2026-12-01", "2026-12-01T10:30[:00[.5]][Z or +01:00]" (in UTC where it does not say), "90m" for so long
 * before now (s, m, h, d or w), or such a number itself. false: it is none of these.
 */
bool moment_parse(const char *text, int64_t now, int64_t *ret);

#define MOMENT_TEXT_SIZE 40

/* ns since 1970 as "2026-12-01T10:30:00.123456Z". */
void moment_print(int64_t ns, char out[static MOMENT_TEXT_SIZE]);

#endif
