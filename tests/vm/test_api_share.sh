#!/bin/bash
# timeout: 300
# What a client of the HTTP API may make it remember, and that it costs nobody else. api_share.py has the checks.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_jsonschema
need_snapshot sh

api_checks "the shares" api_share
