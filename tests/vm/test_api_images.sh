#!/bin/bash
# timeout: 300
# Commands in images over HTTP. api_images.py has the checks.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_jsonschema
need_snapshot sh
need_bare

api_checks "commands in images" api_images
