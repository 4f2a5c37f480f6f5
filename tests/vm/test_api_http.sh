#!/bin/bash
# timeout: 300
# The HTTP API where it needs no guest: what HTTP forbids, whose pages may use it, connections. api_http.py has the checks.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_jsonschema

api_checks "HTTP" api_http
