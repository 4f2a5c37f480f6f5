/* finish: what every image of capsid has beside the files of its layers. */
#ifndef CAPSID_OCI_FINISH_H
#define CAPSID_OCI_FINISH_H

#include "base/error.h"

/*
 * Puts initd at /sbin/initd, makes the mount points, the user runner, hosts, hostname, and an empty resolv.conf and
 * machine-id, as build-image does, and writes defaults (JSON) to /etc/capsid-image.json, so that images that differ
 * in their defaults only differ in their bytes. initd_fd is read from its beginning.
 */
int finish_tree(int root_fd, int initd_fd, const char *defaults, struct error *e);

#endif
