#include "vmm/accel.h"

#include "base/child.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "vmm/kvm_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define PROBE_DEADLINE_MS 3000
#define PROBE_TRIES 3
#define LOCK_MS 10000
#define CACHE "accel"
#define CACHED_MAX 2048
#define CONFIRMED "a guest was ready" /* fourth line of the file */
#define EMULATED_NS 10000000          /* ten times what slow hardware takes, a tenth of what emulation does */
#define PARAVIRTUAL_RATIO 10          /* it is some thousand; a busy machine may lengthen either time */

struct probe_result {
    int error;       /* errno, or 0 */
    int64_t ns;      /* in kernel mode */
    int64_t user_ns; /* in user mode; 0: not asked, or it failed */
    char step[40];
};

/* It must not outlive this process when KVM hangs, nor hold what this process holds: its locks, its output. */
static void stand_alone(const int channel[2])
{
    close(channel[0]);
    child_die_with_parent(channel[1]);
    if (channel[1] > 0)
        close_range(0, (unsigned)channel[1] - 1, 0);
    close_range((unsigned)channel[1] + 1, ~0u, 0);
}

static void probe_child(const int channel[2])
{
    struct probe_result r = {0};
    const char *step = "";

    stand_alone(channel);
    if (kvm_probe_run(KVM_PROBE_KERNEL, &r.ns, &step) < 0)
        r.error = errno ? errno : EPROTO;
    else if (r.ns > EMULATED_NS && kvm_probe_run(KVM_PROBE_USER, &r.user_ns, &step) < 0)
        r.user_ns = 0;
    snprintf(r.step, sizeof(r.step), "%s", step);
    _exit(write(channel[1], &r, sizeof(r)) == (ssize_t)sizeof(r) ? 0 : 1);
}

/* In a process of its own: a KVM that hangs must not hang us. */
static void run_probe(struct probe_result *ret)
{
    int channel[2];
    struct error ignored = {0};

    if (pipe2(channel, O_CLOEXEC) < 0) {
        *ret = (struct probe_result){.error = errno, .step = "pipe for the probe"};
        return;
    }
    pid_t pid = fork();
    if (pid == 0)
        probe_child(channel);
    *ret = pid < 0 ? (struct probe_result){.error = errno, .step = "process for the probe"}
                   : (struct probe_result){.error = ETIMEDOUT, .step = "KVM_RUN"};
    close(channel[1]);
    if (pid > 0) {
        if (deadline_wait_fd(channel[0], POLLIN, deadline_in_ms(PROBE_DEADLINE_MS), NULL, &ignored) > 0 &&
            read(channel[0], ret, sizeof(*ret)) != (ssize_t)sizeof(*ret))
            *ret = (struct probe_result){.error = EPROTO, .step = "end of the probe"};
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    close(channel[0]);
}

/* Whether this is how the machine is, rather than how busy it was in that moment. */
static bool is_definite(const struct probe_result *p)
{
    static const int definite[] = {0, ENOENT, EACCES, EPERM, ENODEV, ENXIO, ENOTTY, ENOSYS};

    for (size_t i = 0; i < sizeof(definite) / sizeof(definite[0]); i++)
        if (p->error == definite[i])
            return true;
    return false;
}

static void judge_accel(struct accel_verdict *ret, const struct probe_result *p)
{
    if (p->error) {
        ret->accel = ACCEL_TCG;
        snprintf(ret->reason, sizeof(ret->reason), "no usable KVM (%s of /dev/kvm: %s)%s", p->step,
                 strerror(p->error), p->error == EACCES ? "; add the user to the group kvm" : "");
    } else if (p->user_ns > 0 && p->user_ns < p->ns / PARAVIRTUAL_RATIO) {
        ret->accel = ACCEL_TCG;
        snprintf(ret->reason, sizeof(ret->reason),
                 "/dev/kvm is paravirtual: it carries out user code but emulates kernel code (%d rounds took "
                 "%.1f ms and "
                 "%.1f ms), so no ordinary guest boots with it; faster is only a host with hardware "
                 "virtualisation",
                 KVM_PROBE_ROUNDS, (double)p->user_ns / 1e6, (double)p->ns / 1e6);
    } else if (p->ns > EMULATED_NS) {
        ret->accel = ACCEL_TCG;
        snprintf(ret->reason, sizeof(ret->reason),
                 "/dev/kvm emulates guest instructions (%d rounds took %.1f ms; hardware takes under 1 ms)",
                 KVM_PROBE_ROUNDS, (double)p->ns / 1e6);
    } else {
        ret->accel = ACCEL_KVM;
        snprintf(ret->reason, sizeof(ret->reason), "hardware virtualisation works (%d rounds took %.3f ms)",
                 KVM_PROBE_ROUNDS, (double)p->ns / 1e6);
    }
}

/* Who asks matters: another user may not open /dev/kvm. */
static char *situation(void)
{
    struct buffer boot = {0};
    struct error ignored = {0};
    struct utsname u = {0};

    uname(&u);
    if (file_read("/proc/sys/kernel/random/boot_id", 64, &boot, &ignored) < 0)
        buffer_add_text(&boot, "unknown");
    char *s = text_format("%s %s %u %d", text_trim(boot.data), u.release, (unsigned)geteuid(),
                          access("/dev/kvm", R_OK | W_OK));
    buffer_free(&boot);
    return s;
}

/* The next line of a text that is cut up, "" at its end. */
static const char *next_line(char **rest)
{
    char *line = strsep(rest, "\n");

    return line ? line : "";
}

static bool remembered(const struct home *h, const char *now, struct accel_verdict *ret)
{
    cleanup_buffer struct buffer text = {0};

    if (!home_cache_read(h, CACHE, CACHED_MAX, &text))
        return false;
    char *rest = text.data;
    if (strcmp(next_line(&rest), now) != 0)
        return false;
    ret->accel = strcmp(next_line(&rest), "kvm") == 0 ? ACCEL_KVM : ACCEL_TCG;
    if (!rest)
        return false;
    snprintf(ret->reason, sizeof(ret->reason), "%s", next_line(&rest));
    /* The probe's few instructions do not prove that a whole guest runs; emulation needs no proof. */
    ret->open = ret->accel == ACCEL_KVM && strcmp(next_line(&rest), CONFIRMED) != 0;
    return true;
}

/* That a guest was ready with KVM, as another process may have seen meanwhile, is not replaced by less. */
static void remember(const struct accel_verdict *v, const struct home *h, const char *now)
{
    struct error why = {0};
    cleanup_fd int lock = home_lock(h, "accel", "the choice of the accelerator is written",
                                    deadline_in_ms(LOCK_MS), NULL, &why);
    struct accel_verdict known;

    if (lock < 0) {
        log_warning("the choice of the accelerator is not remembered: %s", why.text);
        return;
    }
    if ((v->open || v->accel != ACCEL_KVM) && remembered(h, now, &known) && known.accel == ACCEL_KVM &&
        !known.open)
        return;
    cleanup_free char *text = text_format("%s\n%s\n%s\n%s\n", now, config_accel_name(v->accel), v->reason,
                                          v->open ? "" : CONFIRMED);
    home_cache_write(h, CACHE, text);
}

static void probe(struct accel_verdict *ret, const struct home *h)
{
    cleanup_free char *now = situation();
    struct probe_result p;

    if (remembered(h, now, ret))
        return;
    /* What interrupts a fast one makes it slow, so a slow one has to be so each time. */
    for (int i = 0; i < PROBE_TRIES; i++) {
        run_probe(&p);
        if (p.error == ETIMEDOUT || (is_definite(&p) && (p.error || p.ns <= EMULATED_NS)))
            break;
    }
    judge_accel(ret, &p);
    ret->open = ret->accel == ACCEL_KVM;
    if (is_definite(&p))
        remember(ret, h, now);
}

void accel_confirm(struct accel_verdict *v, const struct home *h)
{
    cleanup_free char *now = situation();

    v->open = false;
    remember(v, h, now);
}

int accel_decide(struct accel_verdict *ret, const struct home *h, enum accel_choice choice, struct error *e)
{
    if (choice == ACCEL_AUTO) {
        probe(ret, h);
        return 0;
    }
    ret->accel = choice;
    snprintf(ret->reason, sizeof(ret->reason), "as configured");
    if (choice == ACCEL_KVM && access("/dev/kvm", R_OK | W_OK) < 0)
        return error_errno(e, "accel is kvm, but /dev/kvm cannot be used");
    return 0;
}
