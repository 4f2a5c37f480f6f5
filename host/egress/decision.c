#include "egress/decision.h"

const char *egress_decision_name(enum egress_decision d)
{
    static const char *const names[EGRESS_DECISIONS_COUNT] = {
#define D(name, text) [EGRESS_##name] = text,
        EGRESS_DECISIONS(D)
#undef D
    };

    return names[d];
}
