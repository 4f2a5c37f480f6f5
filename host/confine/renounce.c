#include "confine/renounce.h"

#include "base/child.h"
#include "confine/seal.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(capability) (1ull << (capability))
#define USELESS                                                                                              \
    (BIT(CAP_SYS_MODULE) | BIT(CAP_SYS_BOOT) | BIT(CAP_SYS_TIME) | BIT(CAP_SYS_RAWIO) | BIT(CAP_SYS_PACCT) | \
     BIT(CAP_SYS_TTY_CONFIG) | BIT(CAP_SYSLOG) | BIT(CAP_WAKE_ALARM) | BIT(CAP_BLOCK_SUSPEND) |              \
     BIT(CAP_AUDIT_CONTROL) | BIT(CAP_AUDIT_READ) | BIT(CAP_MAC_ADMIN) | BIT(CAP_MAC_OVERRIDE) |             \
     BIT(CAP_NET_ADMIN) | BIT(CAP_NET_RAW) | BIT(CAP_NET_BROADCAST) | BIT(CAP_LINUX_IMMUTABLE) |             \
     BIT(CAP_LEASE) | BIT(CAP_IPC_OWNER) | BIT(CAP_BPF) | BIT(CAP_PERFMON) | BIT(CAP_CHECKPOINT_RESTORE))

bool renounce_can(void)
{
    return geteuid() == 0;
}

static int own_namespaces(void)
{
    return unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0
               ? -1
               : mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
}

/* From the bounding set first: what root executes would have them back. */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct has[_LINUX_CAPABILITY_U32S_3];

    for (int i = 0; i < 64; i++) {
        /* EINVAL: this kernel has none with that number. */
        if (USELESS & BIT(i) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0 && errno != EINVAL)
            return -1;
    }
    if (syscall(SYS_capget, &header, has) < 0)
        return -1;
    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        uint32_t keep = (uint32_t) ~(USELESS >> 32 * i);
        has[i].permitted &= keep;
        has[i].effective &= keep;
        has[i].inheritable &= keep;
    }
    return (int)syscall(SYS_capset, &header, has);
}

/* With the first step that failed, and its errno. */
static int renounce_all(const void *filter, const char **ret_step)
{
    int cause = 0;

    if (own_namespaces() < 0) {
        cause = errno;
        *ret_step = "namespaces of its own";
    }
    if (drop_capabilities() < 0 && !cause) {
        cause = errno;
        *ret_step = "fewer capabilities";
    }
    if (seal_install(filter) < 0 && !cause) {
        cause = errno;
        *ret_step = "a system call filter";
    }
    errno = cause;
    return cause ? -1 : 0;
}

int renounce(struct error *e)
{
    const char *step = NULL;
    struct filter f;

    filter_server(&f);
    return renounce_all(&f, &step) < 0 ? error_errno(e, "the server cannot have %s", step) : 0;
}

int renounce_rehearse(struct error *e)
{
    const char *const argv[] = {"the server", NULL}, *const nothing[] = {NULL};
    struct filter f;
    const struct child_isolation isolation = {
        .cgroup_fd = -1, .envp = nothing, .enter = renounce_all, .context = &f, .rehearsal = true};
    const struct child_spec spec = {
        .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .isolation = &isolation};
    struct child child = CHILD_NONE;

    filter_server(&f);
    int result = child_spawn(&child, &spec, e);
    child_kill(&child);
    return result;
}
