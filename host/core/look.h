/*
 * look: what files an image has, and what is in them. A guest tells, whose root is the image: the host never parses a filesystem that a
 * guest wrote, and nothing of the image is executed. Any number of questions go to one guest.
 *
 * Paths are those of the image, "/" in front or not; symbolic links in them are followed, inside of the image. What a guest has mounted
 * (/proc, /dev, ...) does not show.
 */
#ifndef CAPSID_LOOK_H
#define CAPSID_LOOK_H

#include "core/look_stream.h"
#include "core/target.h"

#define LOOK_PROGRAM "look"   /* in the data directory: what is brought into the guest */
#define LOOK_PATTERN_MAX 4096 /* bytes; of globs, too */

struct look {
    struct guest *guest;      /* that is asked; borrowed */
    int64_t deadline;         /* of all questions together; may be changed in between */
    struct run_target target; /* of one's own VM */
    struct machine machine;
};

/* In a VM of its own, which is restored with the image (image_resolve()). *host and *call outlive it; ret stays where it is. ms: for all
 * that is asked, from when the VM is ready. */
int look_open(struct look *ret, struct host *host, const struct call *call, const char *image, uint64_t ms,
              struct error *e);

/* In a guest that somebody has, whose root is the image, and in which nothing runs that is not trusted to see it. data: the directory
 * with the program. *g outlives it. */
int look_begin(struct look *ret, struct guest *g, const char *data, uint64_t ms, struct error *e);

/* Accepts one that could not be opened. */
void look_close(struct look *l);

/*
 * Questions. Where the answer is that there is none (look_stream_end()), others may follow; after any other error the look can only be
 * closed. visitor as in look_stream.h.
 */

/* path itself, and, of a directory, at most limit entries (up to LOOK_PAGE_MAX, 0: none) in the order of their names' bytes, from the one
 * behind that name on (NULL: the first). Where ret says that it is truncated, the last name is what to go on after. */
int look_list(struct look *l, const char *path, const char *after, uint64_t limit,
              const struct look_visitor *visitor, struct look_end *ret, struct error *e);

/* path itself, which must be a regular file, and at most length bytes from offset on. */
int look_read(struct look *l, const char *path, uint64_t offset, uint64_t length,
              const struct look_visitor *visitor, struct error *e);

/* path itself, all that is below it, and the content of each regular file, bytes (look_bounds) in all. */
int look_walk(struct look *l, const char *path, uint64_t bytes, const struct look_visitor *visitor,
              struct look_end *ret, struct error *e);

struct look_search {
    const char *pattern; /* POSIX extended, of a line; what is not UTF-8 in a line matches a dot */
    const char *path;    /* of a file, or of a directory with all below it */
    const char *glob;    /* only files with such names, or with a slash, paths below; NULL: all */
    uint64_t max_count;  /* lines of one file; 0: as many as in all */
    uint64_t max_total;  /* 1 to LOOK_MATCHES_MAX */
    bool ignore_case;
};

/* Lines that match, in text files. Truncated when there are more, or the time is over. */
int look_grep(struct look *l, const struct look_search *search, const struct look_visitor *visitor,
              struct look_end *ret, struct error *e);

/* "file", "directory", "symlink", "fifo", "socket", "character_device", "block_device" */
const char *look_type_name(uint32_t mode);

#endif
