#!/bin/bash
# timeout: 400
# kernel: newer
# initd under a newer kernel than the product's, with the same configuration (and /dev/port, for test_appliance.sh): what a run
# promises, cgroups, snapshots.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
kernel=$BUILD/test/vmlinux-newer

if [ ! -e "$kernel" ]; then
	echo "SKIP: $kernel is not there; its source could not be fetched from Debian's backports suite"
	exit 77
fi
need_snapshot python
capsid run -l python -c 'import os; print(os.uname().release)' </dev/null
product=$(field stdout)
export CAPSID_KERNEL=$kernel

run() { capsid run -l python "$@" </dev/null; }

# Without a snapshot first: WELCOME of a cold boot, EXEC.
run --no-snapshot -c 'import os; print(os.uname().release); print(open("/proc/self/cgroup").read(), end="")'
mapfile -t line < <(field stdout)
expect "cold boot: status" "$status" 0
expect_match "it is another kernel" "${line[0]:-}" "[1-9]*.*"
[ "${line[0]:-}" != "$product" ] || fail "the newer kernel is the product's, $product"
printf 'kernel: %s\n' "${line[0]:-}"
expect_match "a job has a cgroup of its own" "${line[1]:-}" "0::/jobs/[0-9]*"

# QUIESCE, PRIME, then RESUME and FEED in each run.
capsid snapshot create --lang python
expect "snapshot: status" "$status" 0
run -c 'print("Hello")'
expect "restored: stdout" "$(field stdout)" Hello
expect "restored: a waiting interpreter took it" "$(field primed)" True
run --no-prime -c 'print("Hello")'
expect "restored, unprimed: stdout" "$(field stdout) $(field primed)" "Hello False"

run -c 'import sys; print("out"); print("err", file=sys.stderr); sys.exit(3)'
expect "exit status" "$status $(field stdout)$(field stderr)" "3 outerr"
run -c 'import os, signal; print("x", flush=True); os.kill(os.getpid(), signal.SIGSEGV)'
expect "signal" "$status $(field end) $(field signal) $(field stdout)" "139 signalled SIGSEGV x"
run -t 5 -c 'import time; print("before", flush=True); time.sleep(60)'
expect "timeout" "$status $(field end) $(field stdout)" "124 timed_out before"
run --max-output 4 -c 'print("123456789")'
expect "output limit" "$(field stdout) $(field truncated)" "1234 True"
run -c 'import subprocess; subprocess.Popen(["/bin/sh", "-c", "sleep 60"]); print("left a child")'
expect "a child left behind" "$(field stdout) $(field output_held)" "left a child True"
seq 100000 >"$TMPDIR/input"
run --stdin "$TMPDIR/input" -c 'import sys; print(sum(map(int, sys.stdin)))'
expect "standard input" "$(field stdout)" 5000050000

# memory.max, memory.oom.group and memory.events; then memory.peak, which tells of the whole job.
run -c $'kept = []\nprint("begin", flush=True)\nwhile True:\n    kept.append(b"x" * (1 << 20))'
expect "out of memory: end" "$(field end)" out_of_memory
expect "out of memory: output so far" "$(field stdout)" begin
run -c 'x = b"x" * (64 << 20)'
peak=$(field memory_peak)
[ "$peak" -gt $((64 << 20)) ] || fail "memory_peak is $peak after 64 MiB were used"
run -c 'import os, time
for i in range(20):
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
print("children")'
expect "a group of processes ends with its job" "$(field stdout) $(field end)" "children exited"

program='import os, time, uuid
print(os.urandom(16).hex())
print(uuid.uuid4())
print(open("/etc/machine-id").read().strip())
print(time.time())'
first=()
for i in 1 2; do
	before=$(date +%s.%N)
	run -c "$program"
	after=$(date +%s.%N)
	mapfile -t line < <(field stdout)
	expect "unique, run $i: all lines" "${#line[@]}" 4
	for what in 0 1 2; do
		[ "${line[$what]:-}" != "${first[$what]:-}" ] || fail "unique, run $i: value $what is that of the first run: ${line[$what]:-}"
	done
	first=("${line[@]}")
	right=$(python3 -c 'import sys; t, b, a = map(float, sys.argv[1:]); print(b - 1 <= t <= a + 1)' "${line[3]:-0}" "$before" "$after")
	expect "unique, run $i: wall clock" "$right" True
done
expect_clean "after all runs"
finish
