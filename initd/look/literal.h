/* literal: what any line holds that an extended regular expression matches. */
#ifndef LOOK_LITERAL_H
#define LOOK_LITERAL_H

#include <stddef.h>

#define LITERAL_MAX 256

/* The longest such text that is easy to see; its size, 0: there may be none. It is never one that a match can do without. */
size_t literal_of(const char *pattern, char ret[static LITERAL_MAX]);

#endif
