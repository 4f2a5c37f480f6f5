/* options: what a broker is opened with, beside the settings. */
#ifndef CAPSID_BROKER_OPTIONS_H
#define CAPSID_BROKER_OPTIONS_H

#include "base/shape.h"
#include "core/admission.h"

#include <stdbool.h>

struct broker_options {
    struct admission_bounds bounds; /* memory and disk 0: seven eighths of what there is when it opens */
    bool shared;                    /* there may be several owners */
    struct vm_shape shape_max;      /* that requests may ask for; theirs to check */
    const char *net_policy;         /* file with what programs may reach (broker/reach.h); NULL: nothing */
    int cancel_fd;                  /* as in struct cancel: ends what takes long while it opens */
};

#endif
