#!/bin/bash
# timeout: 400
# A wrong choice of the accelerator never hangs. The cache is made to say KVM where the probe says no; on a host whose
# KVM works, that is what it says anyway, and only the parts about the verdict are tested.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python
cache=$CAPSID_HOME/cache/accel
export CAPSID_CONFINE=off # the double needs Python, its sources and its environment

verdict() {
	sed -n 2p "$cache"
}

# What the probe said of this host, and that it is asked once only.
rm -f "$cache"
capsid run -l python -c 'print(1)' </dev/null
expect "auto: output" "$(field stdout)" 1
probed=$(verdict)
expect_match "auto: a verdict is remembered" "$probed" "@(kvm|tcg)"
situation=$(head -n 1 "$cache")
expect_match "auto: for this boot" "$situation" "$(cat /proc/sys/kernel/random/boot_id) *"
sed -i '3s/.*/a reason of this test/' "$cache"
capsid doctor
expect_match "the remembered verdict is used" "$out" "*a reason of this test*"
sed -i '1s/^[^ ]*/00000000-0000-0000-0000-000000000000/' "$cache"
capsid doctor
expect "another boot: the probe is asked again" "$(grep -c 'a reason of this test' <<<"$out")" 0
expect "another boot: the verdict" "$(verdict)" "$probed"
printf '%s\n' "$situation" >"$cache"
capsid doctor
expect "a cache cut short: the verdict" "$(verdict)" "$probed"

capsid run --accel warp -l python -c 1
expect "no such accelerator" "$status $err" "1 Error: command line: accel is \"warp\", but must be auto, kvm or tcg"
capsid run --accel tcg -l python -c 'print(2)' </dev/null
expect "--accel tcg" "$(field stdout)" 2
expect "an explicit choice is not remembered" "$(verdict)" "$probed"

# poison: the cache says that KVM is fine.
poison() {
	printf '%s\nkvm\n%s\n%s\n' "$situation" "a lie of this test" "${1:-}" >"$cache"
}
# A snapshot made with KVM, whose restored guests do not become ready: everything begins anew, from the key. The VMM is a
# double, so this runs everywhere.
count=$(find "$CAPSID_HOME/snapshots" -mindepth 1 -maxdepth 1 | wc -l)
for how in silent-hello die-in-load; do
	poison
	CAPSID_QEMU=$SRC/tests/vm/hostile_vmm.py capsid snapshot create --quiet -l python --force
	expect "$how: a guest was ready with KVM" "$status $(verdict) $(sed -n 4p "$cache")" "0 kvm a guest was ready"
	poison
	HOSTILE=$how HOSTILE_ACCEL=kvm CAPSID_BOOT_TIMEOUT=5 CAPSID_QEMU=$SRC/tests/vm/hostile_vmm.py capsid run --quiet -l python -c 1 </dev/null
	expect "$how: output" "$status $(field stdout)" "0 so far"
	expect_match "$how: one warning" "$err" "Warning: no guest becomes ready with KVM, trying without: *"
	expect "$how: one line" "$(wc -l <"$TMPDIR/err")" 1
	expect "$how: remembered" "$(verdict)" tcg
	expect_clean "$how"
done
expect "one key with KVM, and one without" "$(find "$CAPSID_HOME/snapshots" -mindepth 1 -maxdepth 1 | wc -l)" $((count + 2))
rm -f "$cache"
capsid doctor

if [ ! -e /dev/kvm ]; then
	capsid run --accel kvm -l python -c 'print(3)' </dev/null
	expect_match "--accel kvm without KVM" "$status $err" "1 Error: *dev/kvm cannot be used: No such file*"
	finish
fi
if [ "$probed" = kvm ]; then
	expect "a guest was ready: KVM is trusted" "$(sed -n 4p "$cache")" "a guest was ready"
	finish
fi

# A KVM that runs no guest shows it in one of two ways: the guest does not become ready, or QEMU gives up by itself, and
# what it said is told.
expect_unready() {
	expect_match "$1" "$status $err" "1 $2@(the guest did not answer in time*|@(the connection to the guest was lost|the VMM ended)*last words: ?*)"
}

seconds_since() {
	echo $((($(date +%s%N) - $1) / 1000000000))
}

# A cold boot: ten seconds of KVM, then emulation; warned of once, remembered, and never again.
poison
begin=$(date +%s%N)
capsid run --no-snapshot -l python -c 'print(4)' </dev/null
expect "boot: output" "$status $(field stdout)" "0 4"
expect "boot: one warning" "$(grep -c '^Warning: no guest becomes ready with KVM, trying without:' "$TMPDIR/err")" 1
expect "boot: nothing else is said" "$(wc -l <"$TMPDIR/err")" 1
[ "$(seconds_since "$begin")" -lt 55 ] || fail "boot: took as long as boot_timeout"
expect_match "boot: remembered with the reason" "$(tail -n +2 "$cache" | tr '\n' ' ')" "tcg a guest did not become ready with KVM, and did without *"
expect_clean boot
capsid run --no-snapshot -l python -c 'print(5)' </dev/null
expect "afterwards: no warning, the output" "$status $err $(field stdout)" "0  5"

# Making a snapshot: it is made, or found, for emulation, and under the key of emulation.
poison
before=$(ls "$CAPSID_HOME/snapshots")
CAPSID_BOOT_TIMEOUT=8 capsid run -l python -c 'print(6)' </dev/null
expect "snapshot: output" "$status $(field stdout) $(field primed)" "0 6 True"
expect "snapshot: one warning" "$(grep -c '^Warning: ' "$TMPDIR/err")" 1
expect "snapshot: none under a key of KVM" "$(ls "$CAPSID_HOME/snapshots")" "$before"
expect "snapshot: remembered" "$(verdict)" tcg
expect_clean snapshot

# KVM that a guest once ran with since the host booted is not doubted: a guest that fails is an error like any other.
poison "a guest was ready"
CAPSID_BOOT_TIMEOUT=2 capsid run --no-snapshot -l python -c 'print(7)' </dev/null
expect_unready "trusted: error" "Error: the VM could not be booted: "
expect "trusted: the verdict stays" "$(verdict)" kvm
expect_clean trusted

# An explicit choice is obeyed, up to the deadline.
rm -f "$cache"
CAPSID_BOOT_TIMEOUT=2 capsid run --accel kvm --no-snapshot -l python -c 'print(8)' </dev/null
expect_unready "--accel kvm: error" "Error: the VM could not be booted: "
expect "--accel kvm: one line" "$(wc -l <"$TMPDIR/err")" 1
expect_clean "--accel kvm"
CAPSID_BOOT_TIMEOUT=2 capsid snapshot create --accel kvm -l python
expect_unready "snapshot create --accel kvm: error" "*Error: the snapshot of python could not be made: the VM could not be booted: "
expect "snapshot create --accel kvm: no snapshot" "$(ls "$CAPSID_HOME/snapshots")" "$before"
expect_clean "snapshot create --accel kvm"

# It cannot be emulated away that not even emulation works: one error, and nothing is remembered.
poison
CAPSID_BOOT_TIMEOUT=2 CAPSID_KERNEL_ARGS=init=/nowhere capsid run --no-snapshot -l python -c 'print(9)' </dev/null
expect_match "neither works: error" "$status $(tail -n 1 "$TMPDIR/err")" "1 Error: the VM could not be booted: *"
expect "neither works: the verdict stays" "$(verdict)" kvm
expect_clean "neither works"
finish
