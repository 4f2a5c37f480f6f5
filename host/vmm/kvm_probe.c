/* The KVM API is described in the kernel's Documentation/virt/kvm/api.rst. */
#include "vmm/kvm_probe.h"

#include "base/cleanup.h"
#include "base/deadline.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#if defined(__x86_64__)

/* Guest memory: one 2 MiB page, mapped to itself. */
#define MEMORY_SIZE 0x200000u
#define PML4 0x1000u
#define PDPT 0x2000u
#define PD 0x3000u
#define CODE 0x4000u
#define REPORT_PORT 0x10

/* Page table, flag and control register bits: Intel SDM volume 3, chapters 2.3, 2.5 and 4.5. */
#define PAGE_PRESENT_WRITE_USER 0x7u
#define PAGE_LARGE 0x80u
#define CR0_PE_PG 0x80000001u
#define CR4_PAE 0x20u
#define EFER_LME_LMA 0x500u
#define RFLAGS_ALWAYS 0x2u
#define RFLAGS_IOPL_3 0x3000u /* a program may write to ports, so that both modes end in the same way */

static void fill_memory(uint8_t *memory)
{
    const uint32_t rounds = KVM_PROBE_ROUNDS;
    uint8_t code[] = {
        0xb9, 0,           0, 0, 0, /* mov ecx, rounds */
        0xff, 0xc9,                 /* dec ecx */
        0x75, 0xfc,                 /* jnz -4 */
        0xe6, REPORT_PORT,          /* out REPORT_PORT, al */
        0xf4,                       /* hlt */
    };
    const uint64_t to_pdpt = PDPT | PAGE_PRESENT_WRITE_USER, to_pd = PD | PAGE_PRESENT_WRITE_USER,
                   page = PAGE_LARGE | PAGE_PRESENT_WRITE_USER;

    memcpy(code + 1, &rounds, sizeof(rounds));
    memcpy(memory + PML4, &to_pdpt, 8);
    memcpy(memory + PDPT, &to_pd, 8);
    memcpy(memory + PD, &page, 8);
    memcpy(memory + CODE, code, sizeof(code));
}

static int enter_long_mode(int vcpu, enum kvm_probe_mode mode)
{
    const uint8_t ring = mode == KVM_PROBE_USER ? 3 : 0;
    struct kvm_sregs s;
    struct kvm_regs r = {.rip = CODE, .rflags = RFLAGS_ALWAYS | (ring ? RFLAGS_IOPL_3 : 0)};
    struct kvm_segment code = {.limit = 0xffffffff,
                               .selector = 8 | ring,
                               .dpl = ring,
                               .type = 11,
                               .present = 1,
                               .s = 1,
                               .l = 1,
                               .g = 1};
    struct kvm_segment data = {.limit = 0xffffffff,
                               .selector = 16 | ring,
                               .dpl = ring,
                               .type = 3,
                               .present = 1,
                               .s = 1,
                               .db = 1,
                               .g = 1};

    if (ioctl(vcpu, KVM_GET_SREGS, &s) < 0)
        return -1;
    s.cs = code;
    s.ds = s.es = s.fs = s.gs = s.ss = data;
    s.cr0 = CR0_PE_PG;
    s.cr3 = PML4;
    s.cr4 = CR4_PAE;
    s.efer = EFER_LME_LMA;
    return ioctl(vcpu, KVM_SET_SREGS, &s) < 0 || ioctl(vcpu, KVM_SET_REGS, &r) < 0 ? -1 : 0;
}

static int time_guest(int vcpu, const struct kvm_run *run, int64_t *ret_ns)
{
    int64_t start = clock_monotonic_ns();

    while (ioctl(vcpu, KVM_RUN, 0) < 0)
        if (errno != EINTR)
            return -1;
    *ret_ns = clock_monotonic_ns() - start;
    if (run->exit_reason != KVM_EXIT_IO || run->io.port != REPORT_PORT) {
        errno = EPROTO;
        return -1;
    }
    return 0;
}

/* Each step that fails leaves its name in *ret_step. */
static int run_guest(int kvm, uint8_t *memory, enum kvm_probe_mode mode, int64_t *ret_ns,
                     const char **ret_step)
{
    *ret_step = "KVM_CREATE_VM";
    cleanup_fd int machine = ioctl(kvm, KVM_CREATE_VM, 0);
    if (machine < 0)
        return -1;

    struct kvm_userspace_memory_region region = {.memory_size = MEMORY_SIZE,
                                                 .userspace_addr = (uintptr_t)memory};
    *ret_step = "KVM_SET_USER_MEMORY_REGION";
    if (ioctl(machine, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return -1;

    *ret_step = "KVM_CREATE_VCPU";
    cleanup_fd int vcpu = ioctl(machine, KVM_CREATE_VCPU, 0);
    int run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (vcpu < 0 || run_size <= 0)
        return -1;
    struct kvm_run *run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED)
        return -1;

    *ret_step = "KVM_SET_SREGS";
    int result = enter_long_mode(vcpu, mode);
    if (result == 0) {
        *ret_step = "KVM_RUN";
        result = time_guest(vcpu, run, ret_ns);
    }
    munmap(run, (size_t)run_size);
    return result;
}

int kvm_probe_run(enum kvm_probe_mode mode, int64_t *ret_ns, const char **ret_step)
{
    *ret_step = "open";
    cleanup_fd int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        return -1;
    *ret_step = "KVM_GET_API_VERSION";
    if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        return -1;

    *ret_step = "mmap";
    uint8_t *memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -1;
    fill_memory(memory);
    int result = run_guest(kvm, memory, mode, ret_ns, ret_step);
    munmap(memory, MEMORY_SIZE);
    return result;
}

#else

int kvm_probe_run(enum kvm_probe_mode mode, int64_t *ret_ns, const char **ret_step)
{
    (void)mode, (void)ret_ns;
    *ret_step = "probe (written for x86-64 only)";
    errno = ENOSYS;
    return -1;
}

#endif
