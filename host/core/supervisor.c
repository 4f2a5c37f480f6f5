#include "core/supervisor.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "vmm/tsc.h"

#include <stdlib.h>
#include <string.h>

int supervisor_open(struct supervisor *s, struct config *config, int cancel_fd, struct error *e)
{
    *s = (struct supervisor){.config = *config, .cancel = {.fd = cancel_fd}, .driver = &qemu_driver};
    *config = (struct config){0};
    if (home_open(&s->home, s->config.home, e) < 0) {
        config_done(&s->config);
        return -1;
    }
    return 0;
}

void supervisor_close(struct supervisor *s)
{
    confine_done(&s->confinement);
    home_close(&s->home);
    config_done(&s->config);
}

int supervisor_decide_accel(struct supervisor *s, struct error *e)
{
    if (s->accel_decided)
        return 0;
    if (accel_decide(&s->accel, &s->home, s->config.accel, e) < 0)
        return -1;
    if (s->accel.accel == ACCEL_TCG && tsc_khz(&s->tsc_khz, &s->home, e) < 0)
        return -1;
    s->accel_decided = true;
    return 0;
}

/* Says what is missing once for each boot of the machine and whenever it changes; capsid doctor always does. */
static void tell_missing(const struct supervisor *s, const char *missing)
{
    cleanup_free char *path = home_path(&s->home, "cache/confinement");
    cleanup_buffer struct buffer boot = {0};
    cleanup_buffer struct buffer told = {0};
    struct error ignored = {0};

    if (file_read("/proc/sys/kernel/random/boot_id", 64, &boot, &ignored) < 0)
        buffer_add_text(&boot, "unknown");
    cleanup_free char *now = text_format("%s %s\n", text_trim(boot.data), missing);
    if (file_exists(path) && file_read(path, 1024, &told, &ignored) == 0 && strcmp(told.data, now) == 0)
        return;
    log_progress("The VMM is confined only in part; missing: %s; capsid doctor says why", missing);
    file_replace(path, s->home.scratch, now, strlen(now), 0600, &ignored);
}

int supervisor_decide_confinement(struct supervisor *s, struct error *e)
{
    if (s->confinement_decided)
        return 0;
    if (confine_decide(&s->confinement, &s->config, &s->home, e) < 0)
        return -1;
    cleanup_free char *missing = confine_missing(&s->confinement);
    if (missing && !s->confinement.off)
        tell_missing(s, missing);
    s->confinement_decided = true;
    return 0;
}

char *supervisor_find_vmm(const struct supervisor *s, struct error *e)
{
    const char *name = s->config.qemu, *path = getenv("PATH");
    cleanup_free char *copy = text_copy(path ? path : "/usr/local/bin:/usr/bin:/bin");
    char *state = NULL;

    if (strchr(name, '/')) {
        if (access(name, X_OK) == 0)
            return text_copy(name);
        error_errno(e, "cannot run QEMU, %s", name);
        return NULL;
    }
    for (char *directory = strtok_r(copy, ":", &state); directory; directory = strtok_r(NULL, ":", &state)) {
        char *candidate = text_format("%s/%s", directory, name);
        if (access(candidate, X_OK) == 0)
            return candidate;
        free(candidate);
    }
    error_set(e, ERROR_GENERAL,
              "%s is not installed; install the Debian package qemu-system-x86, or run: make deps", name);
    return NULL;
}
