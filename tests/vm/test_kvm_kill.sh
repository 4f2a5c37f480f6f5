#!/bin/bash
# timeout: 900
# kill -9 of the supervisor, and of a VMM that uses KVM, in each phase of a VM's life: nothing is left.
# shellcheck disable=SC1091,SC2154,SC2317 # lib.sh sets out, err, status, failures and kvm; conditions are evaluated
. "$SRC/tests/vm/lib.sh"
need_kvm sh
need_kvm_snapshot

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

# strike VICTIM WHAT CONDITION COMMAND...: kills the supervisor or the VMM as soon as the condition holds.
strike() {
	local victim=$1 what=$2 condition=$3 vmms left
	shift 3
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
	elif [ "$victim" = supervisor ]; then
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
	if [ "$victim" = supervisor ]; then
		expect "$what, supervisor killed: status" "$status" 137
		capsid doctor # the next one removes what is left
	else
		expect_match "$what, VMM killed: one line" "$status $(grep -v '^time=' "$TMPDIR/err")" "1 *Error: *the @(VMM|guest|VM)*"
	fi
	expect_clean "$what, $victim killed"
}

for victim in supervisor VMM; do
	strike $victim "a guest boots" "said event=booted" run -q -v --no-snapshot -l sh -c 'echo 1'
	strike $victim "a guest is restored" "said event=restored" run -q -v -l sh -c 'echo 1'
	strike $victim "a program runs" "said up" run -q -v --raw -l sh -c 'echo up; sleep 600'
done
# For these a guest boots, which takes long where KVM emulates the kernel: so each has one victim.
rm -r "$CAPSID_HOME/snapshots"
strike VMM "an interpreter is primed" "said event=ready" snapshot create -q -v --lang sh
strike supervisor "a snapshot is written" saving snapshot create -q -v --lang sh
expect "no snapshot was made" "$(ls "$CAPSID_HOME/snapshots")" ""
finish
