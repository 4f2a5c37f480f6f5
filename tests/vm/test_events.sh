#!/bin/bash
# timeout: 300
# The life of a VM in lines that can be parsed: --verbose.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python

events() { "$SRC/tests/vm/events.py" "$TMPDIR/err" 2>&1; }

capsid run -v -l python --no-snapshot -c 'print(1)' </dev/null
expect "cold run" "$(events)" "created
booted spawn_ms
ready connect_ms hello_ms resume_ms total_ms
job exited no exec_ms job_ms
destroyed run ended cpu_ms destroy_ms life_ms
run exited build_ms exec_ms load_ms"
expect_match "the trace id is the result's" "$err" "*event=created vm=* trace_id=$(field trace_id) *"

capsid run -v -l python -c 'print(1)' </dev/null
expect "restored run" "$(events)" "created
restored load_ms spawn_ms
ready connect_ms hello_ms resume_ms total_ms
job exited yes exec_ms job_ms
destroyed run ended cpu_ms destroy_ms life_ms
run exited build_ms exec_ms load_ms"
expect_match "the snapshot is named" "$err" "*event=ready vm=* snapshot=????????????????\ pid=*"
expect_match "what the VM cost" "$err" "*event=destroyed *cpu_ms=[1-9]*peak_bytes=[1-9]*"

capsid run -v -l python -t 1 -c 'while True: pass' </dev/null
expect "timeout" "$(events | sed -n '4,5p')" "job timed_out yes exec_ms job_ms
destroyed timeout cpu_ms destroy_ms life_ms"

"$CAPSID" run -v -l python --raw -c 'import time; print("here", flush=True); time.sleep(100)' </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
pid=$!
for _ in $(seq 600); do
	vmm=$(sed -n 's/.* event=ready .* pid=\([0-9]*\) .*/\1/p' "$TMPDIR/err")
	[ -n "$vmm" ] && grep -q here "$TMPDIR/out" && break
	sleep 0.05
done
kill -KILL "$vmm"
wait "$pid"
expect "killed VMM" "$(events | sed -n '4,5p')" "job vm_lost yes exec_ms job_ms
destroyed lost cpu_ms destroy_ms life_ms"

CAPSID_QEMU=/bin/false CAPSID_CONFINE=off capsid run -v -l python --no-snapshot -c 'print(1)' </dev/null
expect_match "a VMM that ends at once" "$(grep event=destroyed "$TMPDIR/err")" '*event=destroyed *why=lost detail="*'

capsid run -l python -c 'print(1)' </dev/null
expect "without --verbose" "$(grep -c event= "$TMPDIR/err")" 0

# A pool: VMs that nobody used, and one that is killed.
"$CAPSID" pool -v -l python --size 2 --json >"$TMPDIR/lines" 2>"$TMPDIR/err" </dev/null &
pool=$!
# Until the pool has so many that are ready, of so many that there were.
ready() {
	for _ in $(seq 600); do
		[ "$(grep -c ' event=ready ' "$TMPDIR/err")" -ge "$2" ] && tail -n 1 "$TMPDIR/lines" | grep -q "\"ready\":$1[,}]" && break
		sleep 0.1
	done
}
ready 2 2
kill -KILL "$(sed -n 's/.* event=ready .* pid=\([0-9]*\) .*/\1/p' "$TMPDIR/err" | head -n 1)"
ready 2 3
kill -TERM "$pool"
wait "$pool"
expect "pool: one was lost" "$(grep -c 'event=destroyed .* why=lost ' "$TMPDIR/err")" 1
expect "pool: the others ended with it" "$(grep -c 'event=destroyed .* why="pool closed" ' "$TMPDIR/err")" 2
expect "pool: every VM that was created is destroyed" \
	"$(grep -o 'event=created vm=[0-9-]*' "$TMPDIR/err" | cut -d = -f 3 | sort)" \
	"$(grep -o 'event=destroyed vm=[0-9-]*' "$TMPDIR/err" | cut -d = -f 3 | sort)"
expect_clean "events"
finish
