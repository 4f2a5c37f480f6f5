#!/bin/bash
# timeout: 3000
# Many branches, and a server that is killed while they are made. branches_many.py has the checks.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_jsonschema
need_snapshot sh
need_bare

api_checks "many branches" branches_many
