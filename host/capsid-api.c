/*
 * capsid-api: the program behind "capsid api". It is one of its own because the HTTP library brings a TLS library
 * and more, which every capsid run would load.
 */
#include "api/api.h"
#include "base/process.h"
#include "cli/cli.h"

#include <string.h>

int main(int argc, char **argv)
{
    process_begin();
    if (argc == 2 && strcmp(argv[1], FRONT_ARGUMENT) == 0)
        return front_main();
    return cli_run_verb(&verb_api, argc, argv);
}
