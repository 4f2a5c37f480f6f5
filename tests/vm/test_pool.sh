#!/bin/bash
# timeout: 300
# A pool of real VMs: it fills, replaces what dies or stops answering, and leaves nothing behind.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python

# The VMMs that use this state directory.
vmms() {
	local pid
	for pid in $(processes_of_home); do
		[[ $(readlink "/proc/$pid/exe") != *qemu-system* ]] || printf '%s\n' "$pid"
	done
}

# The field of the last line that the pool has printed.
last() {
	tail -n 1 "$TMPDIR/lines" | python3 -c 'import json, sys; print(json.loads(sys.stdin.readline() or "{}").get(sys.argv[1]), end="")' "$1"
}

# Waits until a field has at least that value.
reach() {
	local value
	for _ in $(seq 600); do
		value=$(last "$1" 2>/dev/null)
		[[ $value =~ ^[0-9]+$ ]] && [ "$value" -ge "$2" ] && return 0
		sleep 0.1
	done
	fail "$1 did not reach $2: $(tail -n 1 "$TMPDIR/lines")"
}

start_pool() { # SIZE
	"$CAPSID" pool -l python --size "$1" --json >"$TMPDIR/lines" 2>"$TMPDIR/pool.err" </dev/null &
	pool=$!
	reach ready "$1"
}

start_pool 4
expect "four VMs are there" "$(vmms | wc -l)" 4
expect "their memory is a template that is sealed" \
	"$(grep -l 'memfd:capsid-template' /proc/"$(vmms | head -n 1)"/maps | wc -l)" 1
unique=$(last unique_bytes)
expect "an idle VM has memory for itself, at most 25 MiB ($unique bytes)" $((unique > 0 && unique <= 25 * 1024 * 1024)) 1

kill -KILL "$(vmms | head -n 1)"
reach lost 1
reach ready 4
expect "a VM that was killed is replaced" "$(vmms | wc -l)" 4

kill -STOP "$(vmms | head -n 1)"
reach unanswered 1
reach ready 4
expect "a VM that was stopped is replaced" "$(vmms | wc -l)" 4

kill -TERM "$pool"
wait "$pool"
expect "the signal is the exit status" $? 143
expect_clean "after the signal"

start_pool 20
expect "twenty VMs are there" "$(vmms | wc -l)" 20
kill -KILL "$pool"
{ wait "$pool"; } 2>/dev/null # or bash speaks of the signal
for _ in $(seq 600); do
	[ -n "$(vmms)" ] || break
	sleep 0.05
done
expect "no VM outlives the pool's process" "$(vmms)" ""
capsid run -l python -c 'print("still works")'
expect "a run after that" "$(field stdout)" "still works"
expect_clean "after a killed pool"

# A snapshot that is damaged is not used.
capsid pool -l python --size 2 --for 1 --json
key=$(printf '%s\n' "$out" | head -n 1 | python3 -c 'import json, sys; print(json.loads(sys.stdin.readline())["snapshot"])')
memory=$CAPSID_HOME/snapshots/$key/memory
printf 'x' | dd of="$memory" bs=1 seek=4096 conv=notrunc status=none
capsid pool -l python --size 2 --for 1
expect "exit status with a damaged snapshot" "$status" 1
expect_match "the error names it" "$err" "*corrupt*"

capsid pool
expect "exit status without a language" "$status" 1
capsid pool -l nonsense
expect "exit status for an unknown language" "$status" 127
capsid pool -l python --size 0
expect_match "a size of nothing is refused" "$err" "*--size*1 to*"

# 20 runs side by side, each of which gets the output of its own program.
if [ -x "$BUILD/test/bench/pool" ]; then
	rm -rf "${memory%/*}"
	CAPSID_DATA=$BUILD/share/capsid "$BUILD/test/bench/pool" --tokens --runs 40 --clients 4 >"$TMPDIR/out" 2>&1 || fail "runs from a pool: $(cat "$TMPDIR/out")"
	expect_match "runs from a pool got their own output" "$(cat "$TMPDIR/out")" "*40 runs, 0 failed*"
	expect_clean "after runs from a pool"
fi
finish
