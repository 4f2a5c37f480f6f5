#!/bin/bash
# timeout: 900
# Sessions of the HTTP API against real guests. sessions.py has the checks.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_jsonschema
need_snapshot python

api_checks "sessions" sessions
