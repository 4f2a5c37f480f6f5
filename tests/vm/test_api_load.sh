#!/bin/bash
# timeout: 600
# The HTTP API with many clients at a time on a small pool. The long form takes longer, and API_LOAD_SECONDS=120 is
# the full run; see api_load.py.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_jsonschema
need_snapshot sh

api_checks "the load" api_load
