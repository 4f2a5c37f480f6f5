/* cleanup: variables that release what they own when they go out of scope. */
#ifndef CAPSID_CLEANUP_H
#define CAPSID_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_fd_(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void cleanup_free_(void *p)
{
    free(*(void **)p);
}

static inline void cleanup_file_(FILE **f)
{
    if (*f)
        fclose(*f);
}

static inline void cleanup_dir_(DIR **d)
{
    if (*d)
        closedir(*d);
}

#define cleanup_fd __attribute__((cleanup(cleanup_fd_)))
#define cleanup_free __attribute__((cleanup(cleanup_free_)))
#define cleanup_file __attribute__((cleanup(cleanup_file_)))
#define cleanup_dir __attribute__((cleanup(cleanup_dir_)))

/* Gives up ownership: returns the fd and leaves -1. */
static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

static inline void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

#endif
