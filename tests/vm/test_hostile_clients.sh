#!/bin/bash
# timeout: 900
# One client attacks with the limits that a server has by default, while another one's programs run. The long form runs 200
# for each attack; hostile_clients.py has the attacks.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_jsonschema
need_snapshot sh

api_checks "hostile clients" hostile_clients
