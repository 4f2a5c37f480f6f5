#!/bin/bash
# timeout: 300
# What the HTTP API remembers when its server is killed. api_restart.py has the checks.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_jsonschema
need_snapshot sh

api_checks "a restart" api_restart
