#!/bin/bash
# timeout: 900
# The page at /, in a headless Chromium: every behaviour against a double of the server, programs against capsid api.
#
#   tests/run vm/page
#   PLAYGROUND_PNG=host/api/playground.png tests/run vm/page    makes the picture of README.md anew
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
command -v chromium >/dev/null || {
	echo "SKIP: chromium is not installed; 'make deps-check' installs it"
	exit 77
}

page() {
	python3 "$SRC/tests/vm/page.py" "$@" || fail "the page: $*"
}

page double "$SRC/host/api/page"
expect "the page is under 40 KB" "$(($(cat "$SRC"/host/api/page/* | wc -c) < 40000))" 1
finish
