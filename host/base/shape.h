/* shape: how large a VM is. Plain data that definitions of languages, requests, snapshots and VMMs share. */
#ifndef CAPSID_SHAPE_H
#define CAPSID_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

/* In a wish 0 is "as usual"; in a VM's shape a disk of 0 is none: changes go to the guest's memory. */
struct vm_shape {
    uint64_t memory_mib;
    uint64_t vcpus;
    uint64_t disk_mib; /* of the scratch disk that takes all that is written */
};

/* What is wished for, and where nothing is, what is usual. */
static inline struct vm_shape shape_or(struct vm_shape wish, struct vm_shape usual)
{
    return (struct vm_shape){
        .memory_mib = wish.memory_mib ? wish.memory_mib : usual.memory_mib,
        .vcpus = wish.vcpus ? wish.vcpus : usual.vcpus,
        .disk_mib = wish.disk_mib ? wish.disk_mib : usual.disk_mib,
    };
}

static inline bool shape_equal(struct vm_shape a, struct vm_shape b)
{
    return a.memory_mib == b.memory_mib && a.vcpus == b.vcpus && a.disk_mib == b.disk_mib;
}

#endif
