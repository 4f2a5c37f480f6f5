#include "core/host.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "vmm/tsc.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int host_open(struct host *host, struct config *config, struct error *e)
{
    *host = (struct host){.config = *config};
    *config = (struct config){0};
    host->driver = vm_driver_find(host->config.vmm);
    pthread_mutex_init(&host->lock, NULL);
    if (home_open(&host->home, host->config.home, e) < 0) {
        config_done(&host->config);
        return -1;
    }
    return 0;
}

void host_close(struct host *host)
{
    confine_done(&host->confinement);
    home_close(&host->home);
    config_done(&host->config);
    pthread_mutex_destroy(&host->lock);
}

/* ---- the accelerator ----------------------------------------------------------------------------- */

/* With the lock held. */
static int decide(struct host *host, struct error *e)
{
    struct accel_verdict *v = &host->verdict;

    if (host->accel_decided)
        return 0;
    if (accel_decide(v, &host->home, host->config.accel, e) < 0)
        return -1;
    if (host->driver->needs_kvm && v->accel != ACCEL_KVM)
        return error_set(e, ERROR_GENERAL, "%s needs KVM: %s; use --vmm qemu, or --accel kvm to insist",
                         host->driver->title, v->reason);
    host->accel_decided = true;
    return 0;
}

int host_accelerator(struct host *host, struct accelerator *ret, struct error *e)
{
    *ret = (struct accelerator){0};
    pthread_mutex_lock(&host->lock);
    int result = decide(host, e);
    bool emulated = host->verdict.accel == ACCEL_TCG;
    if (result == 0 && emulated && !host->tsc_known) {
        result = tsc_khz(&host->tsc_khz, &host->home, e);
        host->tsc_known = result == 0;
    }
    ret->tsc_khz = emulated ? host->tsc_khz : 0;
    ret->choice = host->verdict.accel;
    ret->on_trial = host->verdict.open && host->verdict.accel == ACCEL_KVM;
    ret->given_up = host->kvm_given_up;
    pthread_mutex_unlock(&host->lock);
    return result;
}

void host_accelerator_reason(struct host *host, char *ret, size_t size)
{
    pthread_mutex_lock(&host->lock);
    snprintf(ret, size, "%s", host->verdict.reason);
    pthread_mutex_unlock(&host->lock);
}

void host_accelerator_works(struct host *host, const struct accelerator *with)
{
    pthread_mutex_lock(&host->lock);
    if (host->verdict.open && with->given_up == host->kvm_given_up)
        accel_confirm(&host->verdict, &host->home);
    pthread_mutex_unlock(&host->lock);
}

void host_accelerator_failed(struct host *host, const struct accelerator *with, const struct error *why)
{
    if (!with->on_trial || host->driver->needs_kvm ||
        (why->kind != ERROR_TIMEOUT && why->kind != ERROR_VM_LOST))
        return;
    pthread_mutex_lock(&host->lock);
    if (host->verdict.open && host->verdict.accel == ACCEL_KVM) {
        log_warning("no guest becomes ready with KVM, trying without: %s", why->text);
        host->verdict.accel = ACCEL_TCG;
        snprintf(host->verdict.reason, sizeof(host->verdict.reason),
                 "a guest did not become ready with KVM, and did without");
        host->kvm_given_up++;
    }
    pthread_mutex_unlock(&host->lock);
}

bool host_accelerator_changed(struct host *host, const struct accelerator *since)
{
    pthread_mutex_lock(&host->lock);
    bool changed = host->kvm_given_up != since->given_up;
    pthread_mutex_unlock(&host->lock);
    return changed;
}

/* ---- the confinement ----------------------------------------------------------------------------- */

/* Says what is missing once for each boot of the machine and whenever it changes; capsid doctor always does. */
static void tell_missing(const struct host *host, const char *missing)
{
    cleanup_buffer struct buffer boot = {0};
    cleanup_buffer struct buffer told = {0};
    struct error ignored = {0};

    if (file_read("/proc/sys/kernel/random/boot_id", 64, &boot, &ignored) < 0)
        buffer_add_text(&boot, "unknown");
    cleanup_free char *now = text_format("%s %s\n", text_trim(boot.data), missing);
    if (home_cache_read(&host->home, "confinement", 1024, &told) && strcmp(told.data, now) == 0)
        return;
    log_progress("The VMM is confined only in part; missing: %s; capsid doctor says why", missing);
    home_cache_write(&host->home, "confinement", now);
}

/* With the lock held. */
static int decide_confinement(struct host *host, struct error *e)
{
    if (host->confinement_decided)
        return 0;
    if (confine_decide(&host->confinement, &host->config, &host->home, e) < 0)
        return -1;
    cleanup_free char *missing = confine_missing(&host->confinement);
    if (missing && !host->confinement.off)
        tell_missing(host, missing);
    host->confinement_decided = true;
    return 0;
}

const struct confinement *host_confinement(struct host *host, struct error *e)
{
    pthread_mutex_lock(&host->lock);
    int result = decide_confinement(host, e);
    pthread_mutex_unlock(&host->lock);
    return result == 0 ? &host->confinement : NULL;
}

/* ---- programs of others -------------------------------------------------------------------------- */

char *host_find_vmm_of(const struct host *host, const struct vm_driver *driver, struct error *e)
{
    const char *name = driver->program(&host->config);

    if (strchr(name, '/')) {
        if (access(name, X_OK) == 0)
            return text_copy(name);
        error_errno(e, "cannot run %s, %s", driver->title, name);
        return NULL;
    }
    char *found = child_find_program(name);
    if (!found)
        error_set(e, ERROR_GENERAL, "%s is not installed; %s", name, driver->install);
    return found;
}

char *host_find_vmm(const struct host *host, struct error *e)
{
    return host_find_vmm_of(host, host->driver, e);
}

int host_find_jailer(const struct host *host, const char *vmm, char **ret, struct error *e)
{
    const char *wanted = host->config.jailer;

    *ret = NULL;
    if (!host->driver->has_jailer || strcmp(wanted, "none") == 0)
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
