#!/bin/bash
# timeout: 600
# What clients can make the HTTP API hold: memory, VMs and answers. api_bounds.py has the checks.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_jsonschema
need_snapshot python sh

api_checks "the bounds" api_bounds
