#!/bin/bash
# timeout: 400
# Several processes want one snapshot: one makes it, the others wait; when it dies half-way, another makes it.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
bare_home python

pids=()
start() { # NUMBER
	"$CAPSID" run -l python -c "print($1 * 11)" </dev/null >"$TMPDIR/$1.json" 2>"$TMPDIR/$1.err" &
	pids[$1]=$!
}
finished() { # WHAT NUMBER
	wait "${pids[$2]}" || fail "$1: process $2 failed: $(cat "$TMPDIR/$2.err")"
	cp "$TMPDIR/$2.json" "$TMPDIR/out"
	expect "$1: process $2" "$(field stdout)" "$(($2 * 11))"
}
messages() { # PATTERN NUMBER...: how many of these processes said it
	local pattern=$1
	shift
	(cd "$TMPDIR" && cat "${@/%/.err}") | grep -c "$pattern"
}
# What a test waits for must come, however slow the machine is.
until_true() { # WHAT COMMAND...
	local what=$1
	shift
	for _ in $(seq 1200); do
		"$@" && return
		sleep 0.05
	done
	fail "$what did not come"
}

for i in 1 2 3 4; do start $i; done
for i in 1 2 3 4; do finished "four at once" $i; done
expect "four at once: one snapshot" "$(find "$CAPSID_HOME/snapshots" -mindepth 1 -maxdepth 1 | wc -l)" 1
expect "four at once: made once" "$(messages "^Making the snapshot" 1 2 3 4)" 1
expect_clean "four at once"

# kill -9 of the maker while its guest boots. The lock passes on.
capsid snapshot list --json
key=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["snapshots"][0]["key"])' "$TMPDIR/out")
capsid snapshot rm "$key"
making() {
	compgen -G "$CAPSID_HOME/run/*/snapshot-*/memory" >/dev/null
}
start 5
until_true "the maker's memory file" making
kill -STOP "${pids[5]}" # so that it does not finish first, on whatever machine
maker=$(readlink -f "$CAPSID_HOME"/run/*/snapshot-*)
for i in 6 7 8; do start $i; done
waiting() {
	[ "$(messages "^Waiting for another process: making the snapshot" 6 7 8)" = 3 ]
}
until_true "three that wait" waiting
kill -KILL "${pids[5]}"
wait "${pids[5]}" 2>/dev/null
for i in 6 7 8; do finished "the maker was killed" $i; done
expect "the maker was killed: made once by the others" "$(messages "^Making the snapshot" 6 7 8)" 1
expect "the maker was killed: the snapshots" "$(ls -A "$CAPSID_HOME/snapshots")" "$key"
capsid snapshot verify
expect "the maker was killed: the snapshot is whole" "$status $out" "0 ok       ${key:0:16}  python"
[ ! -e "$maker" ] || fail "what the maker left is still there after the next start: $maker"
expect_clean "the maker was killed"
finish
