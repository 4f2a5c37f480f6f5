#!/bin/bash
# timeout: 300
# The two processes of a server, and what one has without the other. front.py has the checks.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_jsonschema
need_snapshot sh

api_checks "the two processes" front
