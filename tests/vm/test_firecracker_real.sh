#!/bin/bash
# timeout: 3000
# alone: a guest of a paravirtual KVM takes a whole processor
# The whole life of VMs with a real Firecracker, without its jailer and, as root, with it. CAPSID_FIRECRACKER names it, and
# CAPSID_JAILER its jailer, or there is one beside it. The other tests have doubles (tests/fake/README.md).
#
# Where KVM emulates the kernel, to boot and be saved takes a guest a minute of processor time. So three do: without the jailer
# one that has no disk, with it one that has a disk, and one that is killed; all else is restored. To start a program takes it ten
# seconds: so the guests do what sh does itself.
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
need_kvm sh
[ -n "$jailer" ] || jailer=${real%/*}/jailer
export CAPSID_VMM=firecracker CAPSID_FIRECRACKER=$real CAPSID_JAILER=none
"$real" --version | head -n 1

# phase WHAT: says how long it took.
phase() {
	echo "$1: $((SECONDS - since)) s"
	since=$SECONDS
}
since=$SECONDS

# ---- is the double like it? -----------------------------------------------------------------------

if [ -x "$jailer" ]; then
	python3 "$SRC/tests/fake/test_strict.py" "$real" "$jailer" >"$TMPDIR/strict" 2>&1 </dev/null ||
		fail "the double is like it: $(grep -A 3 -e ^FAILED -e ^Traceback "$TMPDIR/strict")"
	phase "strictness"
	echo "as strict as the double: $(grep -c '^ok' "$TMPDIR/strict") rules"
fi

# ---- the life of VMs --------------------------------------------------------------------------------

run() { capsid run -v -l sh "$@" </dev/null; }
ready_ms() { sed -n 's/.* event=ready .* total_ms=\([0-9.]*\).*/\1/p' "$TMPDIR/err"; }

boots() { # WHAT
	capsid snapshot create -v --lang sh
	expect "$1: cold boot, and a snapshot" "$status $(tail -n 1 <<<"$err")" "0 $(tail -n 1 <<<"$err")"
	echo "$1: cold boot to ready: $(ready_ms) ms"
	capsid snapshot verify
	expect "$1: the snapshot is whole" "$status" 0
	expect_clean "$1: boots"
}

restores() { # WHAT
	local before=
	for _ in 1 2 3; do
		# shellcheck disable=SC2016 # the guest's shell
		run -c 'read -r id </proc/sys/kernel/random/uuid; echo "$id"; echo err >&2; exit 3'
		expect "$1: restore: streams, status and a waiting interpreter" \
			"$status $(field exit_code) $(field stderr) $(field primed)" "3 3 err True"
		[ "$(field stdout)" != "$before" ] || fail "$1: two clones share their random numbers"
		before=$(field stdout)
		echo "$1: restore to ready: $(ready_ms) ms"
	done
	# shellcheck disable=SC2016 # the guest's shell
	run --no-prime -c 'echo "new $1"' -- a
	expect "$1: restore, a new interpreter" "$status $(field stdout) $(field primed)" "0 new a False"
	run -t 10 -c 'echo before; sleep 600'
	expect "$1: a timeout" "$status $(field end) $(field stdout)" "124 timed_out before"
	expect_clean "$1: restores"
}

two_at_once() { # WHAT
	local i pids=()
	for i in 1 2; do
		# shellcheck disable=SC2016 # the guest's shell
		"$CAPSID" run --raw -l sh -c 'read -r line; echo "$N $line"' --env "N=$i" <<<"input $i" >"$TMPDIR/$i.out" 2>&1 &
		pids[i]=$!
	done
	for i in 1 2; do
		wait "${pids[i]}"
		expect "$1: two at once, $i" "$? $(head -n 1 "$TMPDIR/$i.out")" "0 $i input $i"
	done
}

# test_disk.sh fills one.
# shellcheck disable=SC2016 # the guest's shell
write='while read -r device directory type more; do [ "$type" != ext4 ] || echo "$device $type"; done </proc/mounts
while read -r major minor blocks name; do [ "$name" != vdb ] || echo "$blocks"; done </proc/partitions
[ ! -e /tmp/left ] || echo of another
echo words >/tmp/left; read -r words </tmp/left; echo "$words"'

disks() { # WHAT
	local round
	for round in first second; do
		capsid run --raw -l sh --disk 16 -c "$write" </dev/null
		expect "$1: a scratch disk, $round" "$status $(tr '\n' ' ' <<<"$out")" "0 /dev/vdb ext4 16384 words "
	done
	expect_clean "$1: scratch disks"
}

last() { tail -n 1 "$TMPDIR/lines" | python3 -c 'import json, sys; print(json.loads(sys.stdin.readline() or "{}").get(sys.argv[1]), end="")' "$1"; }

pool() { # WHAT
	local pool pid dirty unique
	"$CAPSID" pool -l sh --size 2 --json </dev/null >"$TMPDIR/lines" 2>"$TMPDIR/pool.err" &
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
	python3 "$SRC/tests/vm/kvm_server.py" || fail "$1: a server and a session (above)"
	expect_clean "$1: a server"
}

# ---- kills at each phase ------------------------------------------------------------------------------

said() { grep -q "$1" "$TMPDIR/out" "$TMPDIR/err"; }
saving() { [ -n "$(find "$CAPSID_HOME/run" -name memory -size +0 2>/dev/null)" ]; }

# start COMMAND...: sets run. What the one before said is gone already, when it is asked what this one has said.
start() {
	: >"$TMPDIR/out"
	: >"$TMPDIR/err"
	"$CAPSID" "$@" </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
	run=$!
}

# strike VICTIM WHAT CONDITION COMMAND...: kills the supervisor or the VMM as soon as the condition holds.
strike() {
	local victim=$1 what="$2, $1 killed" condition=$3 run vmm left
	shift 3
	start "$@"
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
	expect "$what: the VMM has ended" "$vmm $left" "$vmm "
	[ "$victim" = supervisor ] || expect_match "$what" "$status $(grep -v '^time=' "$TMPDIR/err")" "1 *Error: *"
	capsid doctor # which removes what a supervisor left
	expect_clean "$what"
}

kills() { # WHAT
	local victim run
	for victim in supervisor VMM; do
		strike "$victim" "$1: a guest boots" "said event=booted" run -q -v --no-snapshot -l sh -c 'echo 1'
		strike "$victim" "$1: a guest is restored" "said event=restored" run -q -v -l sh -c 'echo 1'
		strike "$victim" "$1: a program runs" "said ^up" run -q -v --raw -l sh -c 'echo up; sleep 600'
	done
	start run --raw -l sh -c 'echo up; sleep 600'
	until said ^up || ! kill -0 "$run" 2>/dev/null; do
		sleep 0.02
	done
	kill -SEGV "$(recorded_children | head -n 1 | cut -d ' ' -f 1)"
	wait "$run"
	expect_match "$1: a VMM that breaks: its log is shown" "$? $(cat "$TMPDIR/err")" "1 *last words: Shutting down VM after intercepting signal 11*"
}

kill_while_saving() { # WHAT
	strike supervisor "$1: a snapshot is written" saving snapshot create --force -q -v -l sh
}

life() { # WHAT PART...
	local what=$1 part
	shift
	for part in "$@"; do
		$part "$what"
		phase "$what: $part"
	done
}

rest=(restores two_at_once pool server kills)
life "plain" boots "${rest[@]}"
if [ "$(id -u)" -ne 0 ] || [ ! -x "$jailer" ]; then
	echo "not tried with a jailer: that needs root, and $jailer"
	finish
fi
export CAPSID_JAILER=$jailer
capsid doctor
expect_match "doctor" "$out" '*ok *jailer *'
# A snapshot is one with a jailer and without, so none is made but of the VM with a disk.
life "jailed" "${rest[@]}" disks kill_while_saving
finish
