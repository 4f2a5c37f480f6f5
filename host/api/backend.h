/*
 * backend: all that the HTTP API asks of the rest of the program. Nothing else in api/ starts a VM or reads the
 * store.
 *
 * A struct backend belongs to the thread that opened it, which must live as long as what it starts does: a VMM dies
 * with the thread that forked it (PR_SET_PDEATHSIG, prctl(2)).
 */
#ifndef CAPSID_API_BACKEND_H
#define CAPSID_API_BACKEND_H

#include "api/body.h"
#include "core/run.h"

#include <jansson.h>

struct backend;

/* Copies what it needs of config. */
struct backend *backend_open(const struct config *config, struct error *e);
void backend_close(struct backend *b);

/*
 * Runs a program; cancel_fd as in struct cancel. ERROR_UNKNOWN_LANGUAGE and ERROR_USAGE are the client's fault.
 */
int backend_execute(struct backend *b, const struct run_request *request, int cancel_fd,
                    struct run_result *ret, struct error *e);

/*
 * A VM for a session: this is where they come from. Of the request only language, memory_mib, vcpus and disk_mib count.
 * The machine, and ret_target which it was made from, are the caller's to destroy, before the backend is closed; its
 * waiting interpreter was ended, and its program's directory is empty.
 */
int backend_session(struct backend *b, const struct run_request *request, int cancel_fd, struct machine *ret,
                    struct run_target *ret_target, struct error *e);

/* The settings that a run on such a machine goes by. */
const struct supervisor *backend_supervisor(const struct backend *b);

/* Fails with ERROR_UNKNOWN_LANGUAGE, without starting anything. */
int backend_check_language(struct backend *b, const char *language, struct error *e);

/* The answers of the lists: new references, NULL with an error. */
json_t *backend_languages(struct backend *b, struct error *e);
json_t *backend_language(struct backend *b, const char *name, struct error *e);
json_t *backend_images(struct backend *b, struct error *e);
json_t *backend_snapshots(struct backend *b, struct error *e);

/* Make one, and describe it. These take seconds to minutes. */
json_t *backend_create_image(struct backend *b, const struct body_create *what, int cancel_fd,
                             struct error *e);
json_t *backend_create_snapshot(struct backend *b, const struct body_create *what, int cancel_fd,
                                struct error *e);

#endif
