/* inputs: everything that a snapshot depends on, as it is now. */
#ifndef CAPSID_INPUTS_H
#define CAPSID_INPUTS_H

#include "core/machine.h"
#include "image/image.h"
#include "language/language.h"

#include <jansson.h>

/*
 * The inputs of the snapshot of that machine and language, as core/manifest.h wants them; the caller owns the
 * reference. NULL with an error. Cheap: digests are remembered, and the VMM is asked for its version once for each
 * binary.
 */
json_t *inputs_collect(const struct host *host, const struct language *l, const struct image *image,
                       const struct machine_spec *spec, struct error *e);

#endif
