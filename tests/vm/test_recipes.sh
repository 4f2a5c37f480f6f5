#!/bin/bash
# timeout: 400
# Images with a recipe that is no language's: made when they are first wanted, by commands and by clients of a server; and those of
# languages, the same.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot sh
need_bare
own_data
mkdir "$TMPDIR/data/images"
recipe() { # NAME WORD
	printf '[image]\nsuite = bookworm\nmethod = extract\npackages = busybox-static\npost = %s && echo %s >/etc/word\n' \
		"/bin/busybox --install -s /usr/bin" "$2" >"$TMPDIR/data/images/$1.ini"
}
recipe tiny one
recipe small two
cp "$data/languages/python.ini" "$TMPDIR/data/languages/"
cat - "$TMPDIR/data/images/small.ini" >"$TMPDIR/data/languages/word.ini" <<'END'
[language]
name = word
aliases = w
extension = w
source = main.w
run = /bin/sh {source}
END
export CAPSID_DATA=$TMPDIR/data
in_image() { capsid run --image "$1" -- "${@:2}" </dev/null; }

in_image tag:tiny cat /etc/word
expect "built when it is first wanted" "$status $(field stdout)" "0 one"
expect_match "says so" "$err" "*Building the image tiny*"
in_image tag:tiny cat /etc/word
expect "once" "$(field stdout) $err" "one "
capsid images show tag:tiny --json
expect "its tag" "$(field tags)" "['tiny']"
uuid=$(field uuid)
capsid rootfs lock tiny --output "$TMPDIR/lock"
expect "its lock file" "$status $(grep -c '^deb busybox-static ' "$TMPDIR/lock")" "0 1"
recipe tiny three
in_image tag:tiny cat /etc/word
expect "a tag stays where it is" "$(field stdout)" "one"
capsid rootfs create --name tiny --lock "$TMPDIR/lock"
in_image tag:tiny cat /etc/word
expect "until it is made anew" "$(field stdout)" "three"
in_image "$uuid" cat /etc/word
expect "the old one is there by its UUID" "$(field stdout)" "one"
capsid rootfs create --name tiny --packages dash
expect_match "its name is taken" "$status $err" "1 Error: --name tiny has a recipe*"
in_image tag:other true
expect_match "what has no recipe is not there" "$status $err" "1 Error: no image has the tag other*"

"$CAPSID" api --port 0 --workers 1 --grace 1 >"$TMPDIR/api" 2>"$TMPDIR/api.log" &
server=$!
trap 'kill $server 2>/dev/null; wait $server' EXIT
for _ in $(seq 600); do
	url=$(sed -n 's|^listening on \(http://[^ ]*\)$|\1|p' "$TMPDIR/api")
	if [ -n "$url" ] || ! kill -0 $server 2>/dev/null; then
		break
	fi
	sleep 0.1
done
ask() { # IMAGE
	python3 -IS -c 'import sys, urllib.request, urllib.error
try:
    sys.stdout.write(urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/api/v1/execute", sys.argv[2].encode(),
                                                                   {"Content-Type": "application/json"})).read().decode())
except urllib.error.HTTPError as e:
    sys.stdout.write(e.read().decode())' "$url" "{\"image\": \"$1\", \"shell\": \"cat /etc/word\"}" >"$TMPDIR/out"
}
ask tag:small
expect "a server makes it for a client, too" "$(field stdout)" two
ask tag:other
expect_match "and says what is not there" "$(cat "$TMPDIR/out")" "*no image has the tag other*"
ask tag:lang/python+six
expect_match "nor does it make what it would not make for a program" "$(cat "$TMPDIR/out")" "*make_packages*"
kill $server
wait $server

in_image tag:lang/w cat /etc/word
expect "a language's image is built, too" "$status $(field stdout)" "0 two"
expect_clean "afterwards"
finish
