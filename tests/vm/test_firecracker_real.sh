#!/bin/bash
# timeout: 2400
# alone: a guest of a paravirtual KVM takes a whole processor
# The whole life of VMs with a real Firecracker, without its jailer and, as root, with it. CAPSID_FIRECRACKER names it, and
# CAPSID_JAILER its jailer, or there is one beside it. The other tests have doubles (tests/fake/README.md).
# shellcheck disable=SC1091,SC2154,SC2317 # lib.sh sets out, err, status, failures and kvm; parts are called by their names
real=${CAPSID_FIRECRACKER:-} jailer=${CAPSID_JAILER:-}
unset CAPSID_FIRECRACKER CAPSID_JAILER
. "$SRC/tests/vm/lib.sh"
if [ -z "$real" ]; then
	echo "SKIP: CAPSID_FIRECRACKER names no Firecracker"
	exit 77
fi
if [[ $(head -c 4 "$real" 2>/dev/null) != $'\x7fELF' || ! -x $real ]]; then
	echo "SKIP: $real, which CAPSID_FIRECRACKER names, is no Firecracker but a script, or cannot be run"
	exit 77
fi
need_kvm
[ -n "$jailer" ] || jailer=${real%/*}/jailer
export CAPSID_VMM=firecracker CAPSID_FIRECRACKER=$real CAPSID_JAILER=none
"$real" --version | head -n 1

# ---- is the double like it? -----------------------------------------------------------------------

if [ -x "$jailer" ]; then
	python3 "$SRC/tests/fake/test_strict.py" "$real" "$jailer" >"$TMPDIR/strict" 2>&1 </dev/null ||
		fail "the double is like it: $(grep -A 3 -e ^FAILED -e ^Traceback "$TMPDIR/strict")"
	echo "as strict as the double: $(grep -c '^ok' "$TMPDIR/strict") rules"
fi

# ---- the life of VMs --------------------------------------------------------------------------------

run() { capsid run -v -l python "$@" </dev/null; }
ready_ms() { sed -n 's/.* event=ready .* total_ms=\([0-9.]*\).*/\1/p' "$TMPDIR/err"; }

boots_and_restores() { # WHAT
	run --no-snapshot -c 'import sys; print("cold", sys.argv[1:])' -- a b
	expect "$1: cold boot" "$status $(field stdout)" "0 cold ['a', 'b']"
	echo "$1: cold boot to ready: $(ready_ms) ms"
	capsid snapshot create --force --lang python
	expect "$1: snapshot" "$status $err" "0 $err"
	capsid snapshot verify
	expect "$1: the snapshot is whole" "$status" 0
	for _ in 1 2 3; do
		run -c 'import os, sys; print(os.urandom(16).hex()); print("err", file=sys.stderr); sys.exit(3)'
		expect "$1: restore: streams, status and a waiting interpreter" \
			"$status $(field exit_code) $(field stderr) $(field primed)" "3 3 err True"
		[ "$(field stdout)" != "${before:-}" ] || fail "$1: two clones share their random numbers"
		before=$(field stdout)
		echo "$1: restore to ready: $(ready_ms) ms"
	done
	run -t 5 -c 'import time; print("before", flush=True); time.sleep(600)'
	expect "$1: a timeout" "$status $(field end) $(field stdout)" "124 timed_out before"
	expect_clean "$1: boots and restores"
}

two_at_once() { # WHAT
	local i pids=()
	for i in 1 2; do
		"$CAPSID" run --raw -l python -c 'import os, sys; print(os.environ["N"], sys.stdin.read())' --env "N=$i" \
			<<<"input $i" >"$TMPDIR/$i.out" 2>&1 &
		pids[i]=$!
	done
	for i in 1 2; do
		wait "${pids[i]}"
		expect "$1: two at once, $i" "$? $(head -n 1 "$TMPDIR/$i.out")" "0 $i input $i"
	done
}

# shellcheck disable=SC2016 # Python's
fill='import os
s = os.statvfs("/tmp")
print(s.f_blocks * s.f_frsize >> 20, os.path.exists("/tmp/left"))
try:
    with open("/tmp/big", "wb", buffering=0) as f:
        for n in range(80):
            f.write(b"x" * (1 << 20))
except OSError as e:
    print(e.strerror)
os.remove("/tmp/big")
open("/tmp/left", "w").close()'

disks() { # WHAT
	local round cold=(--no-snapshot)
	for round in cold first second; do
		capsid run --raw -l python --disk 64 -c "$fill" "${cold[@]}" </dev/null
		cold=()
		expect_match "$1: a scratch disk, $round" "$status $out" "0 5[0-9] False?No space left on device"
	done
	expect_clean "$1: scratch disks"
}

last() { tail -n 1 "$TMPDIR/lines" | python3 -c 'import json, sys; print(json.loads(sys.stdin.readline() or "{}").get(sys.argv[1]), end="")' "$1"; }

pool() { # WHAT
	local pool pid dirty unique
	"$CAPSID" pool -l python --size 2 --json </dev/null >"$TMPDIR/lines" 2>"$TMPDIR/pool.err" &
	pool=$!
	for _ in $(seq 1200); do
		[ "$(last ready)" = 2 ] && [ "$(last unique_bytes)" != 0 ] && break
		sleep 0.1
	done
	unique=$(last unique_bytes)
	expect "$1: a pool fills" "$(last ready)" 2
	# What an idle VM has for itself is what the pool says, give or take a MiB.
	for pid in $(recorded_children | cut -d ' ' -f 1); do
		dirty=$(awk '/^Private_Dirty/ { print $2 * 1024 }' "/proc/$pid/smaps_rollup")
		expect "$1: its UNIQUE, $unique, is Private_Dirty, $dirty" $((unique > dirty - 1048576 && unique < dirty + 1048576)) 1
	done
	kill -KILL "$(recorded_children | head -n 1 | cut -d ' ' -f 1)"
	for _ in $(seq 1200); do
		[ "$(last lost)" = 1 ] && [ "$(last ready)" = 2 ] && break
		sleep 0.1
	done
	expect "$1: a VM that is lost is replaced" "$(last lost) $(last ready)" "1 2"
	kill -TERM "$pool"
	wait "$pool"
	expect_clean "$1: a pool"
}

server() { # WHAT
	python3 "$SRC/tests/vm/firecracker_real.py" || fail "$1: a server and a session (above)"
	expect_clean "$1: a server"
}

# ---- kills at each phase ------------------------------------------------------------------------------

said() { grep -q "$1" "$TMPDIR/out" "$TMPDIR/err"; }
saving() { [ -n "$(find "$CAPSID_HOME/run" -name memory -size +0 2>/dev/null)" ]; }

# strike WHAT CONDITION COMMAND...: kills the supervisor, then in another run the VMM, as soon as the condition holds.
strike() {
	local what=$1 condition=$2 victim run vmm left
	shift 2
	for victim in supervisor VMM; do
		: >"$TMPDIR/out"
		"$CAPSID" "$@" </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
		run=$!
		until $condition || ! kill -0 "$run" 2>/dev/null; do
			sleep 0.02
		done
		vmm=$(recorded_children | head -n 1 | cut -d ' ' -f 1)
		kill -KILL "$([ "$victim" = VMM ] && echo "$vmm" || echo "$run")"
		{ wait "$run"; } 2>/dev/null
		status=$?
		for _ in $(seq 200); do
			left=$(ls -d "/proc/$vmm" 2>/dev/null)
			[ -n "$left" ] || break
			sleep 0.05
		done
		expect "$what, $victim killed: the VMM has ended" "$vmm $left" "$vmm "
		[ "$victim" = supervisor ] || expect_match "$what, VMM killed" "$status $(grep -v '^time=' "$TMPDIR/err")" "1 *Error: *"
		capsid doctor # which removes what a supervisor left
		expect_clean "$what, $victim killed"
	done
}

kills() { # WHAT
	strike "$1: a guest boots" "said event=booted" run -q -v --no-snapshot -l python -c 'print(1)'
	strike "$1: a snapshot is written" saving snapshot create --force -q -v -l python
	run -c 'print(1)' # makes the snapshot anew when it is gone
	strike "$1: a guest is restored" "said event=restored" run -q -v -l python -c 'print(1)'
	strike "$1: a program runs" "said up" run -q -v --raw -l python -c 'import time; print("up", flush=True); time.sleep(600)'
	"$CAPSID" run --raw -l python -c 'import time; print("up", flush=True); time.sleep(600)' </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
	local run=$!
	until said up || ! kill -0 "$run" 2>/dev/null; do
		sleep 0.02
	done
	kill -SEGV "$(recorded_children | head -n 1 | cut -d ' ' -f 1)"
	wait "$run"
	expect_match "$1: a VMM that breaks: its log is shown" "$? $(cat "$TMPDIR/err")" "1 *last words: Shutting down VM after intercepting signal 11*"
}

life() { # WHAT
	for part in boots_and_restores two_at_once disks pool server kills; do
		$part "$1"
	done
}

life "plain"
if [ "$(id -u)" -ne 0 ] || [ ! -x "$jailer" ]; then
	echo "not tried with a jailer: that needs root, and $jailer"
	finish
fi
export CAPSID_JAILER=$jailer
capsid doctor
expect_match "doctor" "$out" '*ok *jailer *'
life "jailed"
finish
