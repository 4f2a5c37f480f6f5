#!/bin/bash
# timeout: 900
# kill -9 of the supervisor, and of a VMM that uses KVM, in each phase of a VM's life: nothing is left.
# shellcheck disable=SC1091,SC2154,SC2317 # lib.sh sets out, err, status, failures and kvm; conditions are evaluated
. "$SRC/tests/vm/lib.sh"
need_kvm

said() { grep -q "$1" "$TMPDIR/out" "$TMPDIR/err"; }
ended() { ! kill -0 "$run" 2>/dev/null; }
# The state of a guest is being written, or what comes after that is under way.
saving() { [ -n "$(find "$CAPSID_HOME"/run/*/snapshot-*/state -size +0 2>/dev/null)" ]; }
alive() { # PID START-TIME lines: those that still run
	local pid start
	while read -r pid start; do
		[ "$(cut -d ' ' -f 22 "/proc/$pid/stat" 2>/dev/null)" != "$start" ] || printf '%s ' "$pid"
	done
}

# strike WHAT CONDITION COMMAND...: once with each victim, as soon as the condition holds.
strike() {
	local what=$1 condition=$2 victim vmms left
	shift 2
	for victim in supervisor VMM; do
		: >"$TMPDIR/out"
		: >"$TMPDIR/err"
		"$CAPSID" "$@" </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
		run=$!
		until eval "$condition" || ended; do
			sleep 0.02
		done
		vmms=$(recorded_children 2>/dev/null)
		if ended; then
			fail "$what: it has ended: $(tail -n 1 "$TMPDIR/err")"
		elif [ $victim = supervisor ]; then
			kill -KILL $run
		else
			# shellcheck disable=SC2046 # numbers
			kill -KILL $(cut -d ' ' -f 1 <<<"$vmms")
		fi
		{ wait $run; } 2>/dev/null # or bash speaks of the signal
		status=$?
		for _ in $(seq 200); do
			left=$(alive <<<"$vmms")
			[ -n "$left" ] || break
			sleep 0.05
		done
		expect "$what, $victim killed: VMMs alive" "$left" ""
		if [ $victim = supervisor ]; then
			expect "$what, supervisor killed: status" "$status" 137
			capsid doctor # the next one removes what is left
		else
			expect_match "$what, VMM killed: one line" "$status $(grep -v '^time=' "$TMPDIR/err")" "1 *Error: *the @(VMM|guest|VM)*"
		fi
		expect_clean "$what, $victim killed"
	done
}

strike "a guest boots" "said event=booted" run -q -v --no-snapshot -l python -c 'print(1)'
strike "an interpreter is primed" "said event=ready" snapshot create -q -v --lang python
strike "a snapshot is written" saving snapshot create -q -v --lang python
expect "no snapshot was made" "$(ls "$CAPSID_HOME/snapshots")" ""
need_snapshot python
strike "a guest is restored" "said event=restored" run -q -v -l python -c 'print(1)'
strike "a program runs" "said up" run -q -v --raw -l python -c 'import time; print("up", flush=True); time.sleep(600)'
finish
