/* assets: files that the Makefile puts into the program (API_ASSETS). */
#ifndef CAPSID_API_ASSETS_H
#define CAPSID_API_ASSETS_H

struct asset {
    const char *name; /* path below host/api/; NULL ends the table */
    const char *data, *end;
};

extern const struct asset api_assets[];

#endif
