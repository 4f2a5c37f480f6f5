#!/bin/bash
# timeout: 400
# Scratch disks: --disk of a run, --size of an image. Each VM has its own, from a snapshot too, and leaves nothing.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot sh

# Writes more than the VM has memory (128 MiB), prints what is free before, what an earlier run left, and whether all was written.
# shellcheck disable=SC2016 # the guest's shell
fill='set -- $(stat -f -c "%b %S" /tmp)
[ -e /tmp/big ] && left=True || left=False
echo $(($1 * $2 >> 20)) $left
if said=$(dd if=/dev/zero of=/tmp/big bs=1M count=200 conv=fsync 2>&1); then
	echo True
else
	echo "$said" | grep -o -m 1 "No space left on device"
	echo False
fi'

for way in "" --no-snapshot; do
	name=${way:-restored}
	for round in first second; do
		# shellcheck disable=SC2086 # no word where there is no option
		capsid run -l sh -c "$fill" --raw --disk 1G --timeout 120 $way
		expect "$name, $round: exit status" "$status" 0
		expect_match "$name, $round: a disk of its own, larger than the memory" "$out" "100[0-9] False?True"
	done
done
capsid run -l sh -c "$fill" --raw --disk 64 --timeout 120
expect_match "a full disk is the program's error" "$out" "*No space left on device?False"
expect "the program goes on" "$status" 0
expect_clean "with disks"

capsid rootfs create --name sh --size 96M -q
expect "create --size: exit status" "$status" 0
capsid rootfs show sh --json
expect "show: disk" "$(field disk_mib)" 96
capsid run -l sh -c "$fill" --raw --timeout 120
expect_match "the image's disk is used" "$out" "[89][0-9] False?No space left on device?False"
capsid run -l sh -c "$fill" --raw --disk 1024 --timeout 120
expect_match "--disk wins" "$out" "100[0-9] False?True"
capsid rootfs create --name sh -q
capsid rootfs show sh
expect_match "a rebuilt image keeps it" "$out" "*Disk:      96 MiB*"

for bad in 0 15 1T 2000G -1 "" x 5MM; do
	capsid run -l sh -c "echo 1" --disk "$bad"
	expect "--disk '$bad': exit status" "$status" 1
	expect_match "--disk '$bad': message" "$err" "Error: *--disk*"
	expect "--disk '$bad': one line" "$(wc -l <"$TMPDIR/err")" 1
done

# Without mkfs.ext4 there is no disk, and a reason.
mkdir "$TMPDIR/bin"
ln -s "$(command -v qemu-system-x86_64)" "$TMPDIR/bin/"
PATH=$TMPDIR/bin "$CAPSID" run -l sh -c "echo 1" --disk 64 --no-snapshot >"$TMPDIR/out" 2>"$TMPDIR/err"
expect "no mkfs.ext4: exit status" $? 1
expect_match "no mkfs.ext4: message" "$(tail -n 1 "$TMPDIR/err")" "Error: *e2fsprogs*"
expect_clean "at the end"
finish
