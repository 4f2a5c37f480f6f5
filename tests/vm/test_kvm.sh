#!/bin/bash
# timeout: 900
# Guests that KVM runs: which accelerator is chosen, cold boot, snapshot, restore, what RESUME gives each clone, clocks, a
# waiting interpreter, a pool.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status, failures and kvm
. "$SRC/tests/vm/lib.sh"
need_kvm

run() { capsid run -v -l python "$@" </dev/null; }
accelerators() { grep -o ' accel=[a-z]*' "$TMPDIR/err" | sort -u | tr -d '\n'; }

# ---- which accelerator ------------------------------------------------------------------------------

auto() { CAPSID_ACCEL=auto CAPSID_KERNEL=$(dirname "$CAPSID")/share/capsid/vmlinux "$@"; }
auto capsid doctor
if [ "$kvm" = hardware ]; then
	expect_match "auto: doctor" "$out" "ok *accelerator *kvm: hardware virtualisation works (*"
	auto run --no-snapshot -c 'print(1)'
	expect "auto: a guest" "$(field stdout)$(accelerators)" "1 accel=kvm"
else
	expect_match "auto: doctor says what a paravirtual KVM means" "$out" "warning *accelerator *tcg, guests are emulated: /dev/kvm is paravirtual: it carries out user code but emulates kernel code (* ms and * ms), so no ordinary guest boots with it; *"
	auto run --no-snapshot -c 'print(1)'
	expect "auto: a guest is emulated all the same" "$(field stdout)$(accelerators)" "1 accel=tcg"
	capsid doctor
	expect_match "kvm: doctor warns of it" "$out" "warning *accelerator *kvm, as configured, but /dev/kvm is paravirtual: *"
fi

# ---- cold boot --------------------------------------------------------------------------------------

run --no-snapshot -c 'print(open("/proc/cpuinfo").read())'
expect "cold boot" "$status$(accelerators)" "0 accel=kvm"
model() { sed -n 's/^model name[[:space:]]*: //p' | head -n 1; }
expect "the guest sees the host's processor" "$(field stdout | model)" "$(model </proc/cpuinfo)"
grep -o 'event=ready .*' "$TMPDIR/err" | grep -o 'total_ms=.*'
expect_clean "cold boot"
if [ "$kvm" = paravirtual ]; then
	CAPSID_KERNEL=$BUILD/share/capsid/vmlinux run --no-snapshot -c 'print(1)'
	expect_match "a kernel with instructions that KVM lacks: QEMU's words, long before the time is up" "$status $err" \
		"1 *the VMM cannot run the guest any further (its last words: KVM internal error*"
	expect_clean "what KVM cannot run"
fi

# ---- snapshot ---------------------------------------------------------------------------------------

capsid snapshot create -l python --json
key=$(field key)
expect "snapshot: status" "$status" 0
expect "snapshot: of KVM, and of this processor" "$(python3 -c 'import json, sys
i = json.load(open(sys.argv[1]))["inputs"]
print(i["accelerator"], i["cpu_model"])' "$CAPSID_HOME/snapshots/$key/manifest.json")" "kvm $(model </proc/cpuinfo)"
capsid snapshot verify "$key"
expect "snapshot: verify" "$status" 0
expect_clean "snapshot"

# ---- restore, priming -------------------------------------------------------------------------------

# Nothing is made anew, because it is the snapshot that was just made.
run -c 'import sys; print("out"); print("err", file=sys.stderr); sys.exit(3)'
expect "restore: streams and status" "$status $(field stdout)$(field stderr)" "3 outerr"
expect "restore: a waiting interpreter took it" "$(field primed)$(accelerators)" "True accel=kvm"
expect_match "restore: from that snapshot" "$err" "*event=ready *snapshot=${key:0:16} *"
grep -o 'event=ready .*' "$TMPDIR/err" | grep -o 'total_ms=.*'
run --no-prime -c 'print("Hello")'
expect "restore, unprimed" "$(field stdout) $(field primed)" "Hello False"
run -t 3 -c 'import time; print("before", flush=True); time.sleep(600)'
expect "restore: timeout" "$status $(field end) $(field stdout)" "124 timed_out before"
run -c 'import os, signal; print("x", flush=True); os.kill(os.getpid(), signal.SIGSEGV)'
expect "restore: signal" "$status $(field end) $(field signal) $(field stdout)" "139 signalled SIGSEGV x"
numbers='print(sum(i * i for i in range(1000000)), 2.0 ** 0.5 + 0.1)'
run -c "$numbers"
expect "restore: whole and floating numbers are those of this machine" "$(field stdout)" "$(python3 -c "$numbers")"
expect_clean "restore"

# ---- RESUME, clocks ---------------------------------------------------------------------------------

"$SRC/tests/vm/kvm.py" || fail "clones and clocks (above)"
expect_clean "clones and clocks"

# ---- pool -------------------------------------------------------------------------------------------

last() { tail -n 1 "$TMPDIR/lines" | python3 -c 'import json, sys; print(json.loads(sys.stdin.readline() or "{}").get(sys.argv[1]), end="")' "$1"; }
reach() { # FIELD VALUE: waits until it has at least that
	local value
	for _ in $(seq 1200); do
		value=$(last "$1" 2>/dev/null)
		[[ $value =~ ^[0-9]+$ ]] && [ "$value" -ge "$2" ] && return 0
		sleep 0.1
	done
	fail "the pool's $1 did not reach $2: $(tail -n 1 "$TMPDIR/lines") $(tail -n 1 "$TMPDIR/pool.err")"
}
"$CAPSID" pool -v -l python --size 3 --json >"$TMPDIR/lines" 2>"$TMPDIR/pool.err" </dev/null &
pool=$!
reach ready 3
expect "pool: VMs of KVM" "$(grep -o ' event=ready .* accel=kvm ' "$TMPDIR/pool.err" | wc -l)" 3
victim=$(sed -n 's/.* event=ready .* pid=\([0-9]*\) .*/\1/p' "$TMPDIR/pool.err" | head -n 1)
expect "pool: their memory is a template that is sealed" "$(grep -c 'memfd:capsid-template' "/proc/$victim/maps")" 1
unique=$(last unique_bytes)
expect "pool: an idle VM has memory for itself, at most 25 MiB ($unique bytes)" $((unique > 0 && unique <= 25 * 1024 * 1024)) 1
kill -KILL "$victim"
reach lost 1
reach ready 3
kill -TERM "$pool"
wait "$pool"
expect "pool: the signal is the exit status" $? 143
expect_clean "pool"
if [ -x "$BUILD/test/bench/pool" ]; then
	CAPSID_DATA=$BUILD/share/capsid "$BUILD/test/bench/pool" --tokens --runs 6 --clients 2 >"$TMPDIR/out" 2>&1 || fail "runs from a pool: $(cat "$TMPDIR/out")"
	expect_match "pool: each run got its own output" "$(cat "$TMPDIR/out")" "*6 runs, 0 failed*"
	expect_clean "runs from a pool"
fi
finish
