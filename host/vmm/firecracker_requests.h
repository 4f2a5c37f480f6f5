/*
 * firecracker_requests: what one Firecracker process is asked to do, in the names of its jail (firecracker_jail.h).
 * All of them fail with the API's own words, as firecracker_api_call().
 */
#ifndef CAPSID_FIRECRACKER_REQUESTS_H
#define CAPSID_FIRECRACKER_REQUESTS_H

#include "vmm/driver.h"
#include "vmm/firecracker_api.h"

/* The requests that make the machine, in their order: objects with path and body, for PUT. The caller owns it. Of the
 * spec: as firecracker_boot(). */
json_t *firecracker_machine(const struct vm_spec *spec);

/* Boots a guest, with a second disk when the spec names one. Of the spec: shape, kernel_args, disk. */
int firecracker_boot(struct firecracker_api *a, const struct vm_spec *spec, struct error *e);

/* Loads a snapshot and lets it run. Firecracker opens image and disk by the names that it was made with: the same. */
int firecracker_load(struct firecracker_api *a, const struct firecracker_version *version, struct error *e);

/* Stops the guest and writes a snapshot of it. */
int firecracker_save(struct firecracker_api *a, struct error *e);

#endif
