#!/bin/bash
# timeout: 600
# The HTTP API with many clients at a time on a small pool. API_LOAD_SECONDS=120 is the full run; see api_load.py.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
python3 -c 'import jsonschema' 2>/dev/null || {
	echo "SKIP: python3-jsonschema is not installed; 'make deps-check' installs it"
	exit 77
}
"$CAPSID" snapshot create --lang sh >/dev/null || fail "no snapshot of sh could be made"

python3 "$SRC/tests/vm/api_load.py" || fail "the load (above)"
expect_clean "after the servers"
[ "$failures" = 0 ] || tail -n 50 "$TMPDIR/api.log"
finish
