/* Prints the tables of PROTOCOL.md, in Markdown, from messages.def. */
#include "messages.h"

#include <stdio.h>

static const char HOST[] = "host", GUEST[] = "guest", BOTH[] = "both";

#define V(NAME, number, doc) printf("| %s | %d | %s |\n", #NAME, number, doc);

#define HEAD_OF_MESSAGES "| number | message | sent by | meaning |\n|---|---|---|---|\n"

static void print_messages(void)
{
#define M(NAME, name, number, sender, doc) printf("| %d | %s | %s | %s |\n", number, #NAME, sender, doc);
    printf("\n## Messages\n\nA message that has no table below has no fields.\n\n" HEAD_OF_MESSAGES);
    PROTO_MESSAGES_OF_ALL(M)
    printf("\n## Messages of features\n\nOnly where HELLO and WELCOME have the feature's bit (FEATURE_... of "
           "the "
           "other values).\n\n" HEAD_OF_MESSAGES);
    PROTO_MESSAGES_OF_FEATURES(M)
#undef M
}

static void print_fields(void)
{
#define F(type, name, doc) +1
#define HEAD(NAME) "\n### " #NAME "\n\n| field | type | meaning |\n|---|---|---|\n"
#define M(NAME, name, number, sender, doc)                                                                   \
    if (0 PROTO_FIELDS_##name(F) > 0)                                                                        \
        fputs(HEAD(NAME), stdout);                                                                           \
    PROTO_FIELDS_##name(ROW)
#define ROW(type, name, doc) printf("| %s | %s | %s |\n", #name, #type, doc);
    PROTO_MESSAGES(M)
#undef M
#undef F
}

int main(void)
{
    print_messages();
    print_fields();
    printf("\n## Error codes\n\n| code | value | meaning |\n|---|---|---|\n");
    PROTO_ERRORS(V)
    printf("\n## End causes\n\n| cause | value | meaning |\n|---|---|---|\n");
    PROTO_CAUSES(V)
    printf("\n## Other values\n\n| name | value | used in |\n|---|---|---|\n");
    PROTO_FLAGS(V)
    printf("\n");
    return 0;
}
