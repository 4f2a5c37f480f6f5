#include "core/supervisor.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "vmm/tsc.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int supervisor_open(struct supervisor *s, struct config *config, int cancel_fd, struct error *e)
{
    *s = (struct supervisor){.config = *config, .cancel = {.fd = cancel_fd}, .driver = &qemu_driver};
    *config = (struct config){0};
    if (strcmp(s->config.vmm, firecracker_driver.name) == 0)
        s->driver = &firecracker_driver;
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
    if (s->driver == &firecracker_driver && s->accel.accel != ACCEL_KVM)
        return error_set(e, ERROR_GENERAL,
                         "Firecracker needs KVM: %s; use --vmm qemu, or --accel kvm to insist",
                         s->accel.reason);
    if (s->accel.accel == ACCEL_TCG && tsc_khz(&s->tsc_khz, &s->home, e) < 0)
        return -1;
    s->accel_decided = true;
    return 0;
}

/* Says what is missing once for each boot of the machine and whenever it changes; capsid doctor always does. */
static void tell_missing(const struct supervisor *s, const char *missing)
{
    cleanup_buffer struct buffer boot = {0};
    cleanup_buffer struct buffer told = {0};
    struct error ignored = {0};

    if (file_read("/proc/sys/kernel/random/boot_id", 64, &boot, &ignored) < 0)
        buffer_add_text(&boot, "unknown");
    cleanup_free char *now = text_format("%s %s\n", text_trim(boot.data), missing);
    if (home_cache_read(&s->home, "confinement", 1024, &told) && strcmp(told.data, now) == 0)
        return;
    log_progress("The VMM is confined only in part; missing: %s; capsid doctor says why", missing);
    home_cache_write(&s->home, "confinement", now);
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

/* A pool's threads share the supervisor; the first of them to learn something about KVM writes it down. */
static pthread_mutex_t accel_mutex = PTHREAD_MUTEX_INITIALIZER;

void supervisor_accel_works(struct supervisor *s)
{
    pthread_mutex_lock(&accel_mutex);
    if (s->accel.open)
        accel_confirm(&s->accel, &s->home);
    pthread_mutex_unlock(&accel_mutex);
}

void supervisor_accel_failed(struct supervisor *s, const struct error *why)
{
    struct error e = {0};

    if (why->kind != ERROR_TIMEOUT && why->kind != ERROR_VM_LOST)
        return;
    pthread_mutex_lock(&accel_mutex);
    if (s->accel.open && s->accel.accel == ACCEL_KVM && s->driver == &qemu_driver &&
        tsc_khz(&s->tsc_khz, &s->home, &e) == 0) {
        log_warning("no guest becomes ready with KVM, trying without: %s", why->text);
        s->accel.accel = ACCEL_TCG;
        snprintf(s->accel.reason, sizeof(s->accel.reason),
                 "a guest did not become ready with KVM, and did without");
        s->kvm_given_up++;
    }
    pthread_mutex_unlock(&accel_mutex);
}

char *supervisor_find_vmm_of(const struct supervisor *s, const struct vm_driver *driver, struct error *e)
{
    bool qemu = driver == &qemu_driver;
    const char *name = qemu ? s->config.qemu : s->config.firecracker;

    if (strchr(name, '/')) {
        if (access(name, X_OK) == 0)
            return text_copy(name);
        error_errno(e, "cannot run %s, %s", qemu ? "QEMU" : "Firecracker", name);
        return NULL;
    }
    char *found = child_find_program(name);
    if (found)
        return found;
    if (qemu)
        error_set(e, ERROR_GENERAL,
                  "%s is not installed; install the Debian package qemu-system-x86, or run: make deps", name);
    else
        error_set(e, ERROR_GENERAL,
                  "%s is not installed; put a release of Firecracker in PATH, or set CAPSID_FIRECRACKER",
                  name);
    return NULL;
}

char *supervisor_find_vmm(const struct supervisor *s, struct error *e)
{
    return supervisor_find_vmm_of(s, s->driver, e);
}

int supervisor_find_jailer(const struct supervisor *s, const char *vmm, char **ret, struct error *e)
{
    const char *wanted = s->config.jailer;

    *ret = NULL;
    if (s->driver != &firecracker_driver || strcmp(wanted, "none") == 0)
        return 0;
    if (wanted[0]) {
        if (geteuid() != 0)
            return error_set(e, ERROR_USAGE, "the jailer needs root; run as root, or set jailer = none");
        *ret = strchr(wanted, '/') ? text_copy(wanted) : child_find_program(wanted);
        if (!*ret || access(*ret, X_OK) < 0)
            return error_errno(e, "cannot run the jailer, %s", wanted);
        return 0;
    }
    const char *name = strrchr(vmm, '/');
    char *beside = text_format("%.*s/jailer", name ? (int)(name - vmm) : 1, name ? vmm : ".");
    if (geteuid() == 0 && access(beside, X_OK) == 0)
        *ret = beside;
    else
        free(beside);
    return 0;
}
