/* questions: what look can be asked. Each ends the program with its answer. */
#ifndef LOOK_QUESTIONS_H
#define LOOK_QUESTIONS_H

#include <stdint.h>

/* What path is, and, of a directory, the entries that come after that name in the order of their bytes, at most limit. */
_Noreturn void look_list(const char *path, uint64_t limit, const char *after);

/* What path is, which is a regular file, and its bytes from offset on. */
_Noreturn void look_read(const char *path, uint64_t offset, uint64_t length);

/* What path is, and of a directory all that is below it; behind each regular file its bytes. */
_Noreturn void look_walk(const char *path);

struct look_search {
    const char *path;
    const char *pattern; /* an extended regular expression, of a line */
    const char *glob;    /* of the names of files, or with a slash of their paths; "": all */
    int64_t ms;          /* that it may take */
    uint64_t per_file, total;
    uint64_t flags;
};

/* The lines that match. */
_Noreturn void look_grep(const struct look_search *s);

#endif
