#include "base/fair.h"

static uint64_t fair_share(uint64_t left)
{
    return left < 2 ? left : left - (left < 4 ? 1 : left / 4);
}

bool fair_allows(uint64_t more, uint64_t mine, uint64_t used, uint64_t max, bool shared)
{
    if (more == 0)
        return true;
    if (used + more > max)
        return false;
    return !shared || mine == 0 || mine + more <= fair_share(max - (used - mine));
}
