/* status: what the front knows of itself, as JSON for people who may see all of it (capsid status). */
#ifndef CAPSID_API_STATUS_H
#define CAPSID_API_STATUS_H

struct api_server;

/* A file in memory, the caller's; -1: there is no room for one. */
int status_open(struct api_server *s);

#endif
