/*
 * fair: what one of several may have of something of which there is only so much: all but a quarter of what the others leave, and all
 * but one of a few. So there is always room for one more. Pure.
 */
#ifndef CAPSID_FAIR_H
#define CAPSID_FAIR_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Whether one that has mine, of max, of which all have used, may have more. shared: there may be others. The first that one has is
 * never refused for its size alone: it is what the bound of all is for.
 */
bool fair_allows(uint64_t more, uint64_t mine, uint64_t used, uint64_t max, bool shared);

#endif
