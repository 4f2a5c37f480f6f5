#!/bin/bash
# timeout: 300
# The other verbs: help, version, doctor, lists.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python

capsid --version
expect "version" "$out" "capsid $(sed -n 's/^VERSION := //p' "$SRC/Makefile")"
capsid --help
expect "help: status" "$status" 0
for verb in run host snapshot rootfs doctor api; do
	expect_match "help names $verb" "$out" "*  $verb *"
done
for verb in run host snapshot rootfs doctor api; do
	capsid $verb --help
	expect "$verb --help: status" "$status" 0
	expect_match "$verb --help: usage" "$out" "capsid $verb: *Usage: capsid $verb *--help*"
done

capsid doctor
expect "doctor: status" "$status" 0
for check in accelerator qemu kernel initd bare-root languages images snapshots disk; do
	expect_match "doctor tells of $check" "$out" "*$check *"
done
ignoring=$(env --ignore-signal=CHLD "$CAPSID" doctor)
expect "doctor, started with SIGCHLD ignored: status" "$?" 0
expect_match "doctor, started with SIGCHLD ignored" "$ignoring" "*ok *qemu *"
capsid doctor --json
expect "doctor --json" "$(field usable)" True
CAPSID_QEMU=/nowhere/qemu capsid doctor
expect "doctor without QEMU: status" "$status" 1
expect_match "doctor without QEMU: says so" "$out" "*fail*qemu*/nowhere/qemu*"
CAPSID_KERNEL=/nowhere/vmlinux capsid doctor
expect "doctor without kernel: status" "$status" 1

capsid snapshot list
expect_match "snapshot list" "$out" "KEY*LANGUAGE*python*256 MiB*yes*MB*"
capsid snapshot list --json
expect_match "snapshot list --json" "$(field snapshots)" "*'language': 'python'*"
capsid rootfs list
expect_match "rootfs list" "$out" "NAME*python*MB*"
capsid rootfs list --json
expect_match "rootfs list --json" "$(field images)" "*'name': 'python'*"
capsid snapshot create --lang py --mem 256 --vcpus 1
expect_match "snapshot create, by alias, is there already" "$out" "Snapshot * of python was there already"

# Output that is lost is an error, and said once.
for words in --help --version "run --help" languages "snapshot list" "snapshot verify" "snapshot gc --dry-run" "rootfs list" \
	"rootfs show python" "rootfs verify" doctor "rootfs list --json"; do
	# shellcheck disable=SC2086 # they are words
	"$CAPSID" $words >/dev/full 2>"$TMPDIR/err"
	expect "$words, nobody can hear it: status" $? 1
	expect "$words, nobody can hear it: what it says" "$(cat "$TMPDIR/err")" "Error: cannot write standard output: No space left on device"
done

# A state directory that is another's business stays untouched by help and version.
CAPSID_HOME=$TMPDIR/none capsid run --help
[ ! -e "$TMPDIR/none" ] || fail "help made a state directory"
finish
