#!/bin/bash
# timeout: 900
# Sessions of the HTTP API against real guests. sessions.py has the checks.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
python3 -c 'import jsonschema' 2>/dev/null || {
	echo "SKIP: python3-jsonschema is not installed; 'make deps-check' installs it"
	exit 77
}
need_snapshot

python3 "$SRC/tests/vm/sessions.py" || fail "sessions (above)"
expect_clean "after the servers"
[ "$failures" = 0 ] || tail -n 50 "$TMPDIR/api.log"
finish
