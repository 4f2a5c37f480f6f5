#!/bin/bash
# timeout: 600
# What clients can make the HTTP API hold: memory, VMs and answers. api_bounds.py has the checks.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
python3 -c 'import jsonschema' 2>/dev/null || {
	echo "SKIP: python3-jsonschema is not installed; 'make deps-check' installs it"
	exit 77
}
need_snapshot
"$CAPSID" snapshot create --lang sh >/dev/null || fail "no snapshot of sh could be made"

python3 "$SRC/tests/vm/api_bounds.py" || fail "the bounds (above)"
expect_clean "after the servers"
[ "$failures" = 0 ] || tail -n 50 "$TMPDIR/api.log"
finish
