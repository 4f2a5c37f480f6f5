#!/bin/bash
# timeout: 400
# Several at once, on one state directory.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python

pids=()
for i in 1 2 3 4; do
	"$CAPSID" run -l python -c "import time; time.sleep(1); print($i * 111)" </dev/null >"$TMPDIR/$i.json" 2>&1 &
	pids+=($!)
done
for i in 1 2 3 4; do
	wait "${pids[$((i - 1))]}" || fail "run $i of 4 at once failed: $(cat "$TMPDIR/$i.json")"
	cp "$TMPDIR/$i.json" "$TMPDIR/out"
	expect "run $i of 4 at once" "$(field stdout)" "$((i * 111))"
done

# Two that both find no snapshot: one makes it, the other waits for it.
rm -rf "$CAPSID_HOME"/snapshots/*
for i in 1 2; do
	"$CAPSID" run -l python -c "print($i)" </dev/null >"$TMPDIR/$i.json" 2>"$TMPDIR/$i.err" &
	pids[i]=$!
done
for i in 1 2; do
	wait "${pids[$i]}" || fail "racing run $i failed: $(cat "$TMPDIR/$i.err")"
	cp "$TMPDIR/$i.json" "$TMPDIR/out"
	expect "racing run $i" "$(field stdout)" "$i"
done
expect "one snapshot" "$(find "$CAPSID_HOME/snapshots" -mindepth 1 -maxdepth 1 | wc -l)" 1
expect "made once" "$(cat "$TMPDIR"/[12].err | grep -c "^Making the snapshot")" 1
expect "waited for once" "$(cat "$TMPDIR"/[12].err | grep -c "^Waiting for another process")" 1
expect_clean "after all"
finish
