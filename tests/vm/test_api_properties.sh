#!/bin/bash
# timeout: 900
# check-all: it looks for the rare thing with hundreds of made up requests; vm/api holds each answer against the description too
# The live server against its own description, with requests that schemathesis makes up: good ones, and ones that are
# bad in a single place. First as it is, where hardly any program runs, then narrowed to programs that do.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
EXAMPLES=40 # of each kind of request: a number and not a time, so that two runs make the same

# The tool, in a directory of its own.
tool=$BUILD/test/schemathesis requirements=$SRC/tests/schemathesis.txt
if ! cmp -s "$requirements" "$tool/requirements.txt"; then
	rm -rf "$tool"
	python3 -m venv "$tool" >"$TMPDIR/pip.log" 2>&1 || {
		echo "SKIP: python3 cannot make a virtual environment; 'make deps-check' installs python3-venv"
		exit 77
	}
	timeout 200 "$tool/bin/pip" install --require-hashes -r "$requirements" >"$TMPDIR/pip.log" 2>&1 || {
		tail -n 5 "$TMPDIR/pip.log"
		if grep -qi 'do not match the hashes' "$TMPDIR/pip.log"; then
			fail "schemathesis: other files than tests/schemathesis.txt names"
			finish
		fi
		echo "SKIP: pip cannot install schemathesis: no package index within reach, or none with wheels for this Python"
		exit 77
	}
	cp "$requirements" "$tool/requirements.txt"
fi

need_snapshot sh
# Languages are one to a few letters, and made up ones hit them; none but this one may be built and run.
data=$(realpath "$(dirname "$CAPSID")/share/capsid")
mkdir -p "$TMPDIR/data/languages"
for file in "$data"/*; do
	[ "${file##*/}" = languages ] || ln -s "$file" "$TMPDIR/data/"
done
cp "$data"/languages/sh.ini "$TMPDIR/data/languages/"

CAPSID_DATA=$TMPDIR/data "$CAPSID" api --port 0 --workers 2 --grace 1 --max-timeout 3 --max-memory 512 --max-vcpus 2 >"$TMPDIR/where" 2>"$TMPDIR/log" &
server=$!
trap 'kill $server 2>/dev/null; wait' EXIT
for _ in $(seq 600); do
	! grep -q '^ready$' "$TMPDIR/where" || break
	sleep 0.1
done
url=$(sed -n 's/^listening on //p' "$TMPDIR/where")

# check NAME DESCRIPTION OPTION...
check() {
	local name=$1 description=$2
	shift 2
	# DELETE of an operation cancels it, it is still there to be asked about.
	if (cd "$TMPDIR" && timeout 400 "$tool/bin/schemathesis" --config-file "$SRC/tests/schemathesis.toml" run "$description" --url "$url" --proxy "" --seed 1 --no-color \
		--max-examples "$EXAMPLES" --request-timeout 60 --exclude-checks "$unchecked" "$@") \
		>"$TMPDIR/report" 2>&1; then
		echo "ok: $name"
	else
		fail "$name"
		sed -n '/^=.*FAILURES/,$p; /^=.*ERRORS/,$p' "$TMPDIR/report" | cut -c 1-400 | head -n 200
		tail -n 20 "$TMPDIR/report"
	fi
	grep -A 2 'Test cases:' "$TMPDIR/report"
	grep -q ' generated' "$TMPDIR/report" || fail "$name: no requests were made"
}

# Not every request that the description allows can succeed: the language may be unknown. A second POST with the same
# Idempotency-Key tells again of the session that the first one made, which may be closed by now.
unchecked=use_after_free,positive_data_acceptance,ensure_resource_availability
check "all paths" "$url/api/v1/openapi.json"
"$tool/bin/python" -c 'import sys, urllib.request as r; sys.stdout.write(r.build_opener(r.ProxyHandler({})).open(sys.argv[1]).read().decode())' \
	"$url/api/v1/openapi.json" | python3 "$SRC/tests/vm/api_narrow.py" >"$TMPDIR/narrow.json"
unchecked=use_after_free
check "programs that run" "$TMPDIR/narrow.json" --phases coverage,fuzzing
runs=$(grep -c '^POST /api/v1/[a-z]* 200' "$TMPDIR/log")
[ "$runs" -gt 10 ] || fail "hardly any program ran: $runs"
expect "the server's own faults" "$(grep -E '^[A-Z]+ [^ ]+ 50[0-24-9]' "$TMPDIR/log")" ""
expect "control characters in the log" "$(LC_ALL=C grep -aP '[\x00-\x08\x0b-\x1f\x7f]' "$TMPDIR/log")" ""
kill $server
wait $server
expect "the server's end" $? 0
expect_clean "after the server"
finish
