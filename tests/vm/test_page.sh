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

if [ ! -e "$SRC/host/cli/verb_api.c" ]; then
	echo "warning: there is no capsid api yet: the page was tested with its double only"
	finish
fi
need_snapshot
"$CAPSID" api --port 0 >"$TMPDIR/server" 2>"$TMPDIR/server.log" &
server=$!
for _ in $(seq 600); do
	url=$(sed -n 's|^listening on \(http://[^ ]*\)$|\1|p' "$TMPDIR/server")
	if [ -n "$url" ] || ! kill -0 $server 2>/dev/null; then
		break
	fi
	sleep 0.1
done
if [ -z "$url" ]; then
	fail "the server did not begin: $(cat "$TMPDIR/server.log")"
else
	page real "$url"
	if [ -n "${PLAYGROUND_PNG:-}" ]; then
		page screenshot "$url" "$PLAYGROUND_PNG"
	fi
fi
kill $server 2>/dev/null
wait $server
expect "the server's end" $? 0
expect_clean "afterwards"
[ "$failures" -eq 0 ] || cat "$TMPDIR/server.log"
finish
