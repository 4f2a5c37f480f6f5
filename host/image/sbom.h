/* sbom: the software bill of materials of an image, as SPDX 2.3 JSON. Private to image/. */
#ifndef CAPSID_SBOM_H
#define CAPSID_SBOM_H

#include "image/packages.h"

/*
 * The document for an image with that SHA-256, made from packages and from initd (its version, and the SHA-256 of its
 * file). Equal arguments give equal bytes. The caller frees it.
 */
char *sbom_make(const char *digest, const struct packages *packages, const char *initd_build,
                const char *initd_digest);

#endif
