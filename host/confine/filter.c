#include "confine/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __x86_64__
#include <asm/prctl.h>
#endif

#define NEW_NAMESPACES                                                                                       \
    (CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |               \
     CLONE_NEWCGROUP)
/* What the C libraries make threads with, and more. */
#define THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)
#define ALL 0xffffffffu
#define X32_BIT 0x40000000u /* of system call numbers (arch/x86/include/uapi/asm/unistd.h) */

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)

/* ---- what is allowed -------------------------------------------------------------------------------- */

struct condition {
    unsigned char argument;
    uint32_t mask, value; /* of its lower half, which is all that the kernel looks at of these arguments */
};

struct rule {
    unsigned short number, sets;
    unsigned short error; /* 0: it is allowed */
    unsigned short conditions;
    struct condition when[2];
};

static const struct rule rules[] = {
#define CALL(name, sets) {__NR_##name, sets, 0, 0, {{0, 0, 0}}},
#define REFUSE(name, sets, error) {__NR_##name, sets, error, 0, {{0, 0, 0}}},
#define WHEN(name, sets, argument, mask, value) {__NR_##name, sets, 0, 1, {{argument, mask, value}}},
#define BOTH(name, sets, a, a_mask, a_value, b, b_mask, b_value)                                             \
    {__NR_##name, sets, 0, 2, {{a, a_mask, a_value}, {b, b_mask, b_value}}},
#include "confine/calls.def"
#undef CALL
#undef REFUSE
#undef WHEN
#undef BOTH
};

static void add_filter(struct filter *f, struct sock_filter instruction)
{
    /* Too many: the kernel refuses a program that does not end with a return, and no VMM starts. */
    if (f->count < FILTER_CODE_MAX)
        f->code[f->count++] = instruction;
}

/* A condition that does not hold leaves the rule; then the number is loaded once more. */
static void add_conditions(struct filter *f, const struct rule *r)
{
    for (unsigned i = 0; i < r->conditions; i++) {
        const struct condition *c = &r->when[i];
        unsigned char left = (unsigned char)((r->conditions - i - 1) * 3 + 1);
        size_t half = offsetof(struct seccomp_data, args) + c->argument * sizeof(uint64_t);
        add_filter(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)half));
        add_filter(f, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, c->mask));
        add_filter(f, (struct sock_filter)EQUAL(c->value, 0, left));
    }
}

static void add_rule(struct filter *f, const struct rule *r)
{
    unsigned char size = (unsigned char)(r->conditions ? r->conditions * 3 + 2 : 1);

    add_filter(f, (struct sock_filter)EQUAL(r->number, 0, size));
    add_conditions(f, r);
    add_filter(f, (struct sock_filter)RETURN(r->error ? SECCOMP_RET_ERRNO | r->error : SECCOMP_RET_ALLOW));
    if (r->conditions)
        add_filter(f, (struct sock_filter)LOAD(nr));
}

void filter_list(struct filter *ret, unsigned sets, bool listens)
{
    const uint32_t violation = listens ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_KILL_PROCESS;
    const struct rule execute = {.number = __NR_execve};

    *ret = (struct filter){.listens = listens};
    add_filter(ret, (struct sock_filter)LOAD(arch));
    add_filter(ret, (struct sock_filter)EQUAL(FILTER_ARCHITECTURE, 1, 0));
    add_filter(ret, (struct sock_filter)RETURN(violation));
    add_filter(ret, (struct sock_filter)LOAD(nr));
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (rules[i].sets & sets)
            add_rule(ret, &rules[i]);
    if (!listens)
        add_rule(ret, &execute);
    add_filter(ret, (struct sock_filter)RETURN(violation));
}

/* ---- what is denied ---------------------------------------------------------------------------------- */

enum denied_whom { VMM = 1, SERVER = 2, BOTH = VMM | SERVER };

static const struct {
    unsigned short number, whom, error;
} denied[] = {
#define DENY(name, whom, error) {__NR_##name, whom, error},
#include "confine/denied.def"
#undef DENY
};

static void add_code(struct filter *f, const struct sock_filter *code, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add_filter(f, code[i]);
}

/* Behind it the number is loaded. */
static void add_denied(struct filter *f, enum denied_whom whom)
{
    static const struct sock_filter head[] = {
        LOAD(arch),
        EQUAL(FILTER_ARCHITECTURE, 1, 0),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, X32_BIT, 0, 1),
        RETURN(SECCOMP_RET_ERRNO | ENOSYS),
    };

    add_code(f, head, sizeof(head) / sizeof(head[0]));
    for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++) {
        if (!(denied[i].whom & whom))
            continue;
        add_filter(f, (struct sock_filter)EQUAL(denied[i].number, 0, 1));
        add_filter(f, (struct sock_filter)RETURN(SECCOMP_RET_ERRNO | denied[i].error));
    }
}

/* AF_VSOCK has no namespace, so of sockets only those of AF_UNIX can be made. */
void filter_lenient(struct filter *ret)
{
    static const struct sock_filter tail[] = {
        /* Its flags are in memory, where a filter cannot look; the C library then uses clone. */
        EQUAL(__NR_clone3, 0, 1),
        RETURN(SECCOMP_RET_ERRNO | ENOSYS),
        EQUAL(__NR_clone, 0, 4),
        LOAD(args[0]),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NEW_NAMESPACES, 0, 1),
        RETURN(SECCOMP_RET_ERRNO | EPERM),
        RETURN(SECCOMP_RET_ALLOW),
        EQUAL(__NR_socket, 0, 3),
        LOAD(args[0]),
        EQUAL(AF_UNIX, 1, 0),
        RETURN(SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        RETURN(SECCOMP_RET_ALLOW),
    };

    *ret = (struct filter){.count = 0};
    add_denied(ret, VMM);
    add_code(ret, tail, sizeof(tail) / sizeof(tail[0]));
}

void filter_server(struct filter *ret)
{
    *ret = (struct filter){.count = 0};
    add_denied(ret, SERVER);
    add_filter(ret, (struct sock_filter)RETURN(SECCOMP_RET_ALLOW));
}
