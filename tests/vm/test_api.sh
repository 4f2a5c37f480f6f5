#!/bin/bash
# timeout: 600
# The HTTP API against real guests: every path, its limits and its end. api.py has the checks.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_jsonschema
need_snapshot python sh

api_checks "the API" api
