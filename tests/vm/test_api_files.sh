#!/bin/bash
# timeout: 300
# Files and directory states over HTTP, in runs and sessions, and capsid sync to a server. api_files.py has the checks.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_jsonschema
need_snapshot python

api_checks "files and states" api_files
