/*
 * template: a snapshot in memory, for many VMs. Memory and device state are in sealed memory files (memfd_create(2),
 * F_SEAL_WRITE): every VM of the snapshot maps the same pages privately, and not even a VMM that was taken over can
 * change them. The snapshot's files are not needed any more once it is loaded.
 */
#ifndef CAPSID_TEMPLATE_H
#define CAPSID_TEMPLATE_H

#include "base/deadline.h"
#include "base/error.h"
#include "core/snapshot.h"
#include "vmm/driver.h"

#include <stdint.h>

struct template;

/*
 * Loads a snapshot, whose lock is held meanwhile. The digests of its manifest are compared with exactly the bytes that are put
 * into the template (ERROR_CORRUPT), whatever happens to the files meanwhile. Holes and pages of zeros take no memory.
 */
int template_load(struct template **ret, const struct snapshot *snapshot, const struct cancel *cancel,
                  struct error *e);

/* One more owner; from any thread. */
struct template *template_ref(struct template *t);

/* One owner less; the last one frees it. VMs that were restored from it keep what they have mapped. Accepts NULL. */
void template_unref(struct template *t);

/* For struct vm_spec; lives as long as the template. */
const struct vm_template *template_files(const struct template *t);

/* Bytes of memory that it takes. */
uint64_t template_size(const struct template *t);

#endif
