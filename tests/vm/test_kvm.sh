#!/bin/bash
# timeout: 900
# Guests that KVM runs: which accelerator is chosen, cold boot, snapshot, restore, what RESUME gives each clone, clocks, a
# waiting interpreter, a pool. The programs are those of sh: Python costs a minute where KVM emulates the kernel.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status, failures and kvm
. "$SRC/tests/vm/lib.sh"
need_kvm sh
need_kvm_snapshot # key

run() { capsid run -v -l sh "$@" </dev/null; }
accelerators() { grep -o ' accel=[a-z]*' "$TMPDIR/${1:-err}" | sort -u | tr -d '\n'; }

# ---- which accelerator ------------------------------------------------------------------------------

auto() { CAPSID_ACCEL=auto CAPSID_KERNEL=$(dirname "$CAPSID")/share/capsid/vmlinux "$@"; }
auto capsid doctor
if [ "$kvm" = hardware ]; then
	expect_match "auto: doctor" "$out" "ok *accelerator *kvm: hardware virtualisation works (*"
	auto run --no-snapshot -c 'echo 1'
	expect "auto: a guest" "$(field stdout)$(accelerators)" "1 accel=kvm"
else
	expect_match "auto: doctor says what a paravirtual KVM means" "$out" "warning *accelerator *tcg, guests are emulated: /dev/kvm is paravirtual: it carries out user code but emulates kernel code (* ms and * ms), so no ordinary guest boots with it; *"
	auto run --no-snapshot -c 'echo 1'
	expect "auto: a guest is emulated all the same" "$(field stdout)$(accelerators)" "1 accel=tcg"
	capsid doctor
	expect_match "kvm: doctor warns of it" "$out" "warning *accelerator *kvm, as configured, but /dev/kvm is paravirtual: *"
	CAPSID_KERNEL=$BUILD/share/capsid/vmlinux run --no-snapshot -c 'echo 1'
	expect_match "a kernel with instructions that KVM lacks: QEMU's words, long before the time is up" "$status $err" \
		"1 *the VMM cannot run the guest any further (its last words: KVM internal error*"
fi
expect_clean "accelerators"

# ---- snapshot ---------------------------------------------------------------------------------------

model() { sed -n 's/^model name[[:space:]]*: //p' "$1" | head -n 1; }
expect "snapshot: of KVM, and of this processor" "$(python3 -c 'import json, sys
i = json.load(open(sys.argv[1]))["inputs"]
print(i["accelerator"], i["cpu_model"])' "$CAPSID_HOME/snapshots/$key/manifest.json")" "kvm $(model /proc/cpuinfo)"
capsid snapshot verify "$key"
expect "snapshot: verify" "$status" 0

# ---- restore, priming -------------------------------------------------------------------------------

# Nothing is made anew, because it is the snapshot that was brought.
run -c 'echo out; echo err >&2; exit 3'
expect "restore: streams and status" "$status $(field stdout) $(field stderr)" "3 out err"
expect "restore: a waiting interpreter took it" "$(field primed)$(accelerators)" "True accel=kvm"
expect_match "restore: from that snapshot" "$err" "*event=ready *snapshot=${key:0:16} *"
grep -o 'event=ready .*' "$TMPDIR/err" | grep -o 'total_ms=.*'
run --no-prime -c 'echo Hello'
expect "restore, unprimed" "$(field stdout) $(field primed)" "Hello False"
run -t 10 -c 'echo before; sleep 600'
expect "restore: timeout" "$status $(field end) $(field stdout)" "124 timed_out before"
# shellcheck disable=SC2016 # the guest's shell
run -c 'echo x; kill -SEGV $$'
expect "restore: signal" "$status $(field end) $(field signal) $(field stdout)" "139 signalled SIGSEGV x"
expect_clean "restore"

# ---- cold boot, RESUME, clocks ----------------------------------------------------------------------

"$SRC/tests/vm/kvm.py" || fail "clones and clocks (above)"
expect "cold boot" "$(accelerators cold)" " accel=kvm"
expect "the guest sees the host's processor" "$(model "$TMPDIR/cold")" "$(model /proc/cpuinfo)"
grep -o 'event=ready .*' "$TMPDIR/cold" | grep -o 'total_ms=.*'
expect_clean "cold boot, clones and clocks"

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
"$CAPSID" pool -v -l sh --size 2 --json >"$TMPDIR/lines" 2>"$TMPDIR/pool.err" </dev/null &
pool=$!
reach ready 2
expect "pool: VMs of KVM" "$(grep -o ' event=ready .* accel=kvm ' "$TMPDIR/pool.err" | wc -l)" 2
victim=$(sed -n 's/.* event=ready .* pid=\([0-9]*\) .*/\1/p' "$TMPDIR/pool.err" | head -n 1)
expect "pool: their memory is a template that is sealed" "$(grep -c 'memfd:capsid-template' "/proc/$victim/maps")" 1
unique=$(last unique_bytes)
expect "pool: an idle VM has memory for itself, at most 25 MiB ($unique bytes)" $((unique > 0 && unique <= 25 * 1024 * 1024)) 1
kill -KILL "$victim"
reach lost 1
reach ready 2
kill -TERM "$pool"
wait "$pool"
expect "pool: the signal is the exit status" $? 143
expect_clean "pool"
python3 "$SRC/tests/vm/kvm_server.py" || fail "a server and a session (above)"
expect_clean "a server"
finish
