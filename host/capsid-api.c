/*
 * capsid-api: the program behind "capsid api". It is one of its own because the HTTP library brings a TLS library
 * and more, which every capsid run would load.
 */
#include "base/process.h"
#include "cli/cli.h"

int main(int argc, char **argv)
{
    process_begin();
    return cli_run_verb(&verb_api, argc, argv);
}
