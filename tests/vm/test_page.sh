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

need_snapshot python

# serve OPTIONS...: sets server and url.
serve() {
	: >"$TMPDIR/server"
	"$CAPSID" api --port 0 "$@" >"$TMPDIR/server" 2>"$TMPDIR/server.log" &
	server=$!
	for _ in $(seq 600); do
		url=$(sed -n 's|^listening on \(http://[^ ]*\)$|\1|p' "$TMPDIR/server")
		if [ -n "$url" ] || ! kill -0 $server 2>/dev/null; then
			break
		fi
		sleep 0.1
	done
	[ -n "$url" ] || fail "the server did not begin: $(cat "$TMPDIR/server.log")"
}

stop() {
	kill $server 2>/dev/null
	wait $server
	expect "the server's end" $? 0
	[ "$failures" -eq 0 ] || cat "$TMPDIR/server.log"
}

# Without a pool, so that every VM is one of a program.
serve --pool off
page real "$url"
for _ in $(seq 600); do
	[ -n "$(processes_of_home)" ] || break
	sleep 0.05
done
expect "no VM is left while the server runs on" "$(processes_of_home)" ""
[ -z "${PLAYGROUND_PNG:-}" ] || page screenshot "$url" "$PLAYGROUND_PNG"
stop

new=$("$CAPSID" api --new-token page)
sed -n 's/^line: *//p' <<<"$new" >"$TMPDIR/tokens"
chmod 600 "$TMPDIR/tokens"
serve --tokens "$TMPDIR/tokens"
PAGE_TOKEN=$(sed -n 's/^token: *//p' <<<"$new") page token "$url"
stop
expect_clean "afterwards"
finish
