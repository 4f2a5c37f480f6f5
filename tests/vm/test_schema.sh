#!/bin/bash
# timeout: 600
# host/service/schema.def is the only place where a field is written: in a copy of the tree in which three have other names there,
# the JSON of results and requests, the description of the API, the client, --help and the manual have them, too.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot sh
unset CAPSID_API CAPSID_API_TOKEN CAPSID_API_TOKEN_FILE http_proxy HTTP_PROXY

# What is compiled already is brought along, with its time.
tree=$TMPDIR/tree
mkdir -p "$tree/tests" "$tree/build"
cp -a "$SRC"/{Makefile,host,initd,proto} "$tree/"
cp -a "$SRC/tests/tests.mk" "$tree/tests/"
cp -a "$BUILD/share" "$tree/build/"
[ ! -d "$BUILD/obj" ] || cp -a "$BUILD/obj" "$tree/build/"
sed -i 's/"exit_code"/"ended_with"/; s/TEXT, "cwd"/TEXT, "started_in"/; s/"installed"/"is_there"/' "$tree/host/service/schema.def"
expect "the copy differs in" "$(diff -rq "$SRC/host" "$tree/host" | cut -d ' ' -f 4)" "$tree/host/service/schema.def"
make -s -C "$tree" build/capsid build/share/capsid/capsid-api man >"$TMPDIR/log" 2>&1 || {
	fail "the copy cannot be built: $(tail -n 5 "$TMPDIR/log")"
	finish
}
CAPSID=$tree/build/capsid


capsid run -l sh -c 'exit 3' </dev/null
expect "a run ends with its program's status" "$status" 3
expect "the result" "$(field ended_with) $(field exit_code)" "3 None"
capsid run --help
expect_match "the help has the result's field" "$out" $'*\n  ended_with *'
expect "the manual has it" "$(grep -cx '\.It Va ended_with' "$tree/build/man/man1/capsid-run.1")" 1
expect "the manual has the request's field" "$(grep -cx '\.It Va started_in' "$tree/build/man/man1/capsid-api.1")" 1
capsid languages sh --json
expect "a language" "$(field is_there) $(field installed)" "True None"
expect "the manual has not the old ones" "$(grep -c 'Va exit_code\|Va cwd' "$tree"/build/man/man1/capsid-{run,api}.1 | cut -d : -f 2 | paste -sd ' ')" "0 0"

"$CAPSID" api --port 0 --workers 1 --pool off --grace 1 >"$TMPDIR/api" 2>"$TMPDIR/api.log" &
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
for _ in $(seq 600); do
	! grep -q '^ready$' "$TMPDIR/api" || break
	sleep 0.1
done
url=$(sed -n 's/^listening on \(http:.*\)/\1/p' "$TMPDIR/api")

python3 -IS - "$url/api/v1" >"$TMPDIR/fields" <<'END'
import json, sys, urllib.request
schemas = json.load(urllib.request.urlopen(sys.argv[1] + "/openapi.json"))["components"]["schemas"]
for name, of in (("Result", "exit_code ended_with"), ("Compile", "exit_code ended_with"), ("RunRequest", "cwd started_in"),
                 ("Language", "installed is_there")):
    print(name, *[field for field in of.split() if field in schemas[name]["properties"]])
print(json.load(urllib.request.urlopen(sys.argv[1] + "/languages/sh")).get("is_there"))
END
expect "the description" "$(paste -sd ' ' "$TMPDIR/fields")" "Result ended_with Compile ended_with RunRequest started_in Language is_there True"

capsid run --api "$url" -l sh --cwd /etc -c 'pwd; exit 5' </dev/null
expect "the client ends with the status of there" "$status" 5
expect "its result" "$(field ended_with) $(field exit_code)" "5 None"
expect "what it asked for" "$(field stdout)" /etc
capsid run --api "$url" --raw -l sh -c 'exit 6' </dev/null
expect "a stream ends with it, too" "$status" 6

# Refused is what has the old name.
python3 -IS - "$url/api/v1/execute" <<'END' >"$TMPDIR/refused"
import json, sys, urllib.error, urllib.request
body = json.dumps({"language": "sh", "code": "", "cwd": "/"}).encode()
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"}))
except urllib.error.HTTPError as e:
    print(e.code, json.load(e)["message"])
END
expect "the old name" "$(cat "$TMPDIR/refused")" '400 unknown field "cwd"'
kill %1
wait %1

# ---- an option that schema.def alone makes ----------------------------------------------------------

CAPSID=$BUILD/capsid
capsid run -l sh --label job=7 --label 'text=a = b' -c 'true' </dev/null
expect "labels are told again" "$status $(field labels)" "0 {'job': '7', 'text': 'a = b'}"
capsid run -l sh -c 'true' </dev/null
expect "where there are none" "$(field labels)" None
capsid run -l sh --label 'a b=c' -c 'true' </dev/null
expect_match "a label's name" "$status $err" "1 Error: --label a b=c: must be NAME=VALUE*"
expect_clean "afterwards"
finish
