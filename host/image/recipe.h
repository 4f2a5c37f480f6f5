/*
 * recipe: what an image is made from, as the section [image] of a definition says (rootfs/README.md), or somebody who asks for an
 * image by itself. The program knows no image by itself, and a recipe no language.
 */
#ifndef CAPSID_IMAGE_RECIPE_H
#define CAPSID_IMAGE_RECIPE_H

#include "base/error.h"

#include <stdbool.h>

struct recipe {
    char
        *suite; /* owned by who has the recipe, as all strings here; NULL, as method and packages, with oci */
    char *extra; /* further suites, or NULL */
    char *method;
    char *packages;
    char *npm; /* comma separated NAME@VERSION, or NULL */
    char *pip; /* comma separated NAME==VERSION, or NAME alone: the newest; or NULL */
    char *post;
    char *drop;
    char *oci; /* reference of a container image that is imported, or NULL */
};

/* NAME or NAME==VERSION, of a Python package. */
bool recipe_is_pip_package(const char *s);

/* The place of a key's value; NULL: there is no such key. */
char **recipe_field(struct recipe *r, const char *key);

/* Whether it is one that can be made; where is for messages. An empty value is as good as none, and dropped. */
int recipe_check(struct recipe *r, const char *where, struct error *e);

/* The recipe of an image that is no language's, DATA/images/NAME.ini. ERROR_NOT_FOUND: there is none. */
int recipe_find(struct recipe *ret, const char *data, const char *name, struct error *e);

void recipe_done(struct recipe *r);

#endif
