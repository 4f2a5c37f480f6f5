#include "vmm/driver.h"

#include <string.h>

const struct vm_driver *const vm_drivers[] = {&qemu_driver, &firecracker_driver, NULL};

const struct vm_driver *vm_driver_find(const char *name)
{
    for (const struct vm_driver *const *d = vm_drivers; *d; d++)
        if (strcmp((*d)->name, name) == 0)
            return *d;
    return NULL;
}
