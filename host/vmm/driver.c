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

unsigned vm_layer_count(const struct vm_spec *spec)
{
    unsigned count = 0;

    while (spec->layers && spec->layers[count])
        count++;
    return count;
}

void vm_name_disks(const struct vm_spec *spec, bool disk, struct buffer *ret)
{
    unsigned layers = spec->bare ? 0 : vm_layer_count(spec);

    if (spec->bare)
        buffer_add_text(ret, " initd.root=later");
    else if (disk)
        buffer_add_text(ret, " initd.upper=vdb");
    for (unsigned i = 0; i < layers; i++)
        buffer_add_text(ret, "%svd%c", i ? "," : " initd.layers=", 'b' + (int)i + disk);
}
