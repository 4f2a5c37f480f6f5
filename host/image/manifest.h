/*
 * manifest: what is written down of an image, as text; and which image it is. Pure. Private to image/.
 */
#ifndef CAPSID_IMAGE_MANIFEST_H
#define CAPSID_IMAGE_MANIFEST_H

#include "image/image.h"

#define IMAGE_MANIFEST_MAX (1 << 20) /* bytes */

/* Everything but name and paths. ERROR_CORRUPT: it is no manifest. */
int image_parse_manifest(struct image *ret, const char *text, struct error *e);

/* With a name where the image has one; the caller frees it. */
char *image_format_manifest(const struct image *i);

/* What an image that was made now takes from the configuration of an OCI image, and which image it is; NULL: it was built. */
void image_set_oci(struct image *i, const json_t *oci);

/* Sets uuid, by everything else: of a file alone that of its bytes; with layers or defaults that of these, too. */
void image_identify(struct image *i);

/* Whether it is a UUID, in lower case. */
bool image_is_uuid(const char *s);

#endif
