#!/bin/bash
# timeout: 600
# Every mistake and every damage gives one clear line and a status, in time, and costs nothing.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python

# complain WHAT STATUS PATTERN ARGUMENTS...: one line on standard error like the pattern, nothing on standard output.
complain() {
	local what=$1 wanted=$2 pattern=$3
	shift 3
	capsid "$@" </dev/null
	expect "$what: status" "$status" "$wanted"
	expect_match "$what: message" "$err" "$pattern"
	expect "$what: no output" "$out" ""
	[ "$(wc -l <"$TMPDIR/err")" -le 2 ] || fail "$what: more than a line or two: $err"
}

complain "no verb" 1 "Error: no verb*"
complain "unknown verb" 1 "Error: unknown verb dance*" dance
complain "unknown option" 1 "Error: unknown option --fast*" run --fast
complain "no language" 1 "Error: --lang is required*" run -c 1
complain "no program" 1 "Error: give either --code or --file*" run -l python
complain "two programs" 1 "Error: give either --code or --file, not both*" run -l python -c 1 -f x
complain "unknown language" 127 $'Error: unknown language: klingon\nAvailable: *python*' run -l klingon -c 1
complain "missing file" 1 "Error: cannot open /nowhere/x.py: No such file*" run -l python -f /nowhere/x.py
complain "a directory of devices" 1 "Error: /dev/*" run -l python -f /dev
for bad in 0 -1 1.5 abc 99999999 ""; do
	complain "timeout \"$bad\"" 1 "Error: --timeout is \"$bad\", but must be*" run -l python -c 1 -t "$bad"
done
complain "memory" 1 "Error: --mem is \"1\"*" run -l python -c 1 --mem 1
complain "missing value" 1 "Error: --lang needs a value*" run --lang
complain "missing input" 1 "Error: cannot open /nowhere/in:*" run -l python -c 1 --stdin /nowhere/in
complain "no kernel" 1 "Error: *cannot read the guest kernel /nowhere/vmlinux*" host -l python -c 1 --kernel /nowhere/vmlinux
head -c 17000000 /dev/zero >"$TMPDIR/huge.py"
complain "program too large" 1 "Error: *huge.py is larger than the limit of*" run -l python -f "$TMPDIR/huge.py"
argument=$(head -c 120000 /dev/zero | tr '\0' a)
many=()
for _ in $(seq 15); do many+=("$argument"); done
soft=$(ulimit -Ss)
ulimit -Ss 32768 # a quarter of it is what Linux lets this shell give to capsid, see execve(2)
complain "more arguments than Linux takes" 1 "Error: the arguments and the environment have 2[0-9]* bytes *Linux takes at most*" \
	run -l python -c 1 -e "A=$argument" -e "B=$argument" -e "C=$argument" -- "${many[@]}"
ulimit -Ss "$soft"
CAPSID_ACCEL=warp complain "bad environment" 1 "Error: CAPSID_ACCEL: accel is \"warp\"*" run -l python -c 1
CAPSID_HOME=/proc/x complain "unusable state directory" 1 "Error: state directory /proc/x cannot be used*" run -l python -c 1
CAPSID_DATA=/nowhere complain "no data directory" 1 "Error: *CAPSID_DATA*" run -l python -c 1

# QEMU that is not there, does not start, or whose guest never answers.
CAPSID_QEMU=/nowhere/qemu complain "no QEMU" 1 "Error: *cannot run QEMU, /nowhere/qemu*" host -l python -c 1
printf '#!/bin/sh\necho "no such machine" >&2\nexit 1\n' >"$TMPDIR/broken-qemu"
printf '#!/bin/sh\nexec sleep 600\n' >"$TMPDIR/silent-qemu"
chmod +x "$TMPDIR"/*-qemu
export CAPSID_VMM_CALLS=lenient # for the shell
capsid doctor                   # what is not confined then is said once
CAPSID_QEMU=$TMPDIR/broken-qemu complain "QEMU fails" 1 "Error: *no such machine*" host -l python -c 1
start=$(date +%s)
CAPSID_BOOT_TIMEOUT=2 CAPSID_QEMU=$TMPDIR/silent-qemu complain "the guest never answers" 1 "Error: *did not answer in time*" host -l python -c 1
[ $(($(date +%s) - start)) -lt 10 ] || fail "the guest never answers: took too long"
CAPSID_KERNEL_ARGS=initd.layers=vdx complain "the guest cannot be set up" 1 "Error: the VM could not be booted: the guest could not be set up: layer vdx: No such file or directory*" host -l python -c 1
expect_clean "failed starts"

# Damaged files. Each is told, and told again, and repaired by what the message says.
flip() { # FILE OFFSET
	printf '\xa5' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
capsid snapshot create --lang python --json
key=$(field key)
snapshot=$CAPSID_HOME/snapshots/$key
for damage in "flip $snapshot/memory 5000000" "truncate -s 1000000 $snapshot/memory" "flip $snapshot/state 1000" \
	"truncate -s 0 $snapshot/state" "rm $snapshot/memory" "flip $snapshot/manifest.json 0" "truncate -s 0 $snapshot/manifest.json"; do
	cp -a --sparse=always "$snapshot" "$TMPDIR/kept"
	$damage
	complain "$damage" 1 "Error: *snapshot ${key:0:16} cannot be used*$snapshot/*" run -l python -c 'print(1)'
	rm -rf "$snapshot"
	mv "$TMPDIR/kept" "$snapshot"
done
capsid run -l python -c 'print("restored")' </dev/null
expect "the snapshot put back is good again" "$(field stdout)" restored

capsid rootfs list --json
image=$(python3 -c 'import json, sys; print(next(i["path"] for i in json.load(open(sys.argv[1]))["images"] if i["name"] == "python"))' "$TMPDIR/out")
cp -a "$image" "$TMPDIR/kept"
flip "$image" 200000
complain "damaged image" 1 "Error: image file $image is corrupt*capsid rootfs create*" run -l python -c 'print(1)'
rm "$image"
complain "missing image" 1 "Error: image file $image is missing*capsid rootfs create*" run -l python -c 'print(1)'
mv "$TMPDIR/kept" "$image"
capsid run -l python -c 'print("restored")' </dev/null
expect "the image put back is good again" "$(field stdout)" restored
capsid snapshot rm "${key:0:16}"
expect "snapshot rm" "$status" 0
[ ! -e "$snapshot" ] || fail "snapshot rm: it is still there"
complain "snapshot rm twice" 1 "Error: no snapshot has a key*" snapshot rm "${key:0:16}"

# A full disk.
if [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; then
	mkdir "$TMPDIR/small"
	# shellcheck disable=SC2016
	unshare --mount sh -c 'mount -t tmpfs -o size=60m,mode=755 none "$1" && mkdir "$1/images" && cp -a "$2" "$CAPSID_HOME/images/names" "$1/images/" &&
		CAPSID_HOME=$1 "$CAPSID" run -l python -c 1 </dev/null' - "$TMPDIR/small" "$image" >"$TMPDIR/out" 2>"$TMPDIR/err"
	expect "full disk: status" $? 1
	expect_match "full disk: message" "$(grep Error "$TMPDIR/err")" "Error: *not enough disk space in $TMPDIR/small*"
else
	printf 'left out: a full disk (needs root for a mount)\n'
fi
expect_clean "after all"
finish
