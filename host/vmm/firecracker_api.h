/*
 * firecracker_api: requests to one Firecracker process over its API socket (HTTP with JSON bodies; Firecracker
 * documentation, "api_requests").
 *
 * libcurl does the HTTP; see base/curl.h.
 */
#ifndef CAPSID_FIRECRACKER_API_H
#define CAPSID_FIRECRACKER_API_H

#include "base/deadline.h"
#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

#define FIRECRACKER_REPLY_MAX 65536

struct firecracker_api {
    const char *socket;          /* borrowed, as all here; at most 107 bytes (sun_path, unix(7)) */
    int vmm_pidfd;               /* readable when the VMM has ended; -1: unknown */
    int64_t deadline;            /* for all requests together */
    const struct cancel *cancel; /* NULL: nobody can cancel */
    const struct curl_functions *lib;
    void *curl, *multi; /* owned; made by the first request */
};

/* Ends the connection. Accepts one that was never made. */
void firecracker_api_close(struct firecracker_api *a);

/*
 * One request. body (taken over, NULL: none) is sent as JSON; the JSON of the answer goes to *ret (the caller's
 * reference; NULL when it has no body) unless ret is NULL. As long as nobody listens on the socket, tries again
 * until the deadline: the VMM may only just have been started.
 *
 * Fails with the API's own words when it refuses, ERROR_TIMEOUT at the deadline, ERROR_VM_LOST when the VMM ends
 * or breaks off, ERROR_CANCELLED.
 */
int firecracker_api_call(struct firecracker_api *a, const char *method, const char *path, json_t *body,
                         json_t **ret, struct error *e);

struct firecracker_version {
    unsigned major, minor, patch;
};

/* Reads "1.16.1", also with "Firecracker v" before and anything that is no digit behind. -1: it is none. */
int firecracker_version_parse(const char *text, struct firecracker_version *ret);

/* Whether v is major.minor or later. */
int firecracker_version_at_least(const struct firecracker_version *v, unsigned major, unsigned minor);

/* What an answer with an error status says, for people: its fault_message, else all of it, in one line with nothing in
 * it that a terminal would act on. The caller frees it. */
char *firecracker_fault(const char *body, size_t size);

#endif
