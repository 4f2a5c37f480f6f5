/* Prints the tables of PROTOCOL.md, in Markdown, from messages.def. */
#include "messages.h"

#include <stdio.h>

#define F(type, name, doc) printf("| | %s | %s | %s |\n", #name, #type, doc);
#define M(NAME, name, number, sender, doc)                                                                   \
    printf("| **%s** (%d) | | %s | %s |\n", #NAME, number, sender, doc);                                     \
    PROTO_FIELDS_##name(F)
#define V(NAME, number, doc) printf("| %s | %d | %s |\n", #NAME, number, doc);

static const char HOST[] = "host", GUEST[] = "guest", BOTH[] = "both";

int main(void)
{
    printf("\n## Messages\n\n| message or field | name | sent by, or type | meaning |\n|---|---|---|---|\n");
    PROTO_MESSAGES(M)
    printf("\n## Error codes\n\n| code | value | meaning |\n|---|---|---|\n");
    PROTO_ERRORS(V)
    printf("\n## End causes\n\n| cause | value | meaning |\n|---|---|---|\n");
    PROTO_CAUSES(V)
    printf("\n## Other values\n\n| name | value | used in |\n|---|---|---|\n");
    PROTO_FLAGS(V)
    printf("\n");
    return 0;
}
