#include "base/library.h"

#include <dlfcn.h>
#include <string.h>

int library_open(const char *file, const struct library_function *functions, struct error *e)
{
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);

    if (!handle)
        return error_set(e, ERROR_GENERAL, "%s", dlerror());
    for (const struct library_function *f = functions; f->name; f++) {
        void *found = dlsym(handle, f->name);
        if (!found)
            return error_set(e, ERROR_GENERAL, "it has no %s", f->name);
        memcpy(f->pointer, &found, sizeof(found));
    }
    return 0;
}
