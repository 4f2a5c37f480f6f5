/*
 * library: a shared library that is opened when it is first needed, because linked in it, and those behind it, would make every
 * start of capsid longer.
 */
#ifndef CAPSID_LIBRARY_H
#define CAPSID_LIBRARY_H

#include "base/error.h"

/* A function, and the pointer to it that is filled in; {0} ends a table of them. */
struct library_function {
    const char *name;
    void *pointer;
};

/* Opens it for good, and looks all up. The caller does that once. ERROR_GENERAL: it is missing, or has not all. */
int library_open(const char *file, const struct library_function *functions, struct error *e);

#endif
