/* Any payload for any message type: whatever decodes is encoded to the same bytes again. */
#include "golden/recode.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[FRAME_MAX];

    if (size < 2 || size - 2 > FRAME_PAYLOAD_MAX)
        return -1;
    uint16_t type = (uint16_t)(data[0] | data[1] << 8);
    const uint8_t *payload = data + 2;
    size_t length = size - 2;
    long got = recode(type, 0x01020304, payload, length, out, sizeof(out));

    if (got == RECODE_UNKNOWN) {
        if (msg_name(type))
            __builtin_trap();
        return -1;
    }
    if (got == RECODE_REJECTED)
        return 0;
    if (got != (long)(FRAME_HEADER_SIZE + length) || memcmp(out + FRAME_HEADER_SIZE, payload, length) != 0)
        __builtin_trap();
    return 0;
}
