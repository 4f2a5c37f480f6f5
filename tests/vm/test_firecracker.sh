#!/bin/bash
# timeout: 600
# The Firecracker driver with real programs. tests/fake/firecracker, a strict double, stands in for Firecracker: it
# refuses what the real one refuses, and runs the guest in QEMU.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
if [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
	echo "SKIP: capsid wants /dev/kvm before it starts Firecracker"
	exit 77
fi
need_snapshot python sh
export CAPSID_VMM=firecracker CAPSID_ACCEL=kvm CAPSID_FIRECRACKER=$SRC/tests/fake/firecracker CAPSID_JAILER=none
export CAPSID_VMM_CALLS=lenient # the double is Python and QEMU
"$CAPSID" doctor >/dev/null 2>&1 # what is missing then is said once

# ---- programs, cold and from a snapshot --------------------------------------------------------------

capsid run --no-snapshot -l python -c 'import sys; print("cold", sys.argv[1:])' -- a b
expect "cold boot" "$status $(field stdout)$err" "0 cold ['a', 'b']"
expect_clean "cold boot"

capsid run -v -l python -c 'print("restored")'
expect "first run from a snapshot" "$status $(field stdout)" "0 restored"
expect "the interpreter was primed" "$(field primed)" "True"
expect_match "the driver" "$err" '*event=restored *driver=firecracker*'
capsid run -l python -c 'import sys; print(sys.stdin.read()); sys.exit(3)' <<<'words'
expect "input and exit status" "$status $(field exit_code) $(field stdout)" "3 3 words"

# Two at once from one snapshot: each has its own sockets, and its own random numbers.
program='import os, time; print(os.urandom(16).hex()); time.sleep(1)'
for i in 1 2; do
	"$CAPSID" run -l python -c "$program" </dev/null >"$TMPDIR/$i.json" 2>&1 &
	pids[i]=$!
done
for i in 1 2; do
	wait "${pids[$i]}" || fail "parallel restore $i: $(cat "$TMPDIR/$i.json")"
	cp "$TMPDIR/$i.json" "$TMPDIR/out"
	random[i]=$(field stdout)
done
expect "each got its random number" "${#random[1]} ${#random[2]}" "32 32"
[ "${random[1]}" != "${random[2]}" ] || fail "two restored VMs share their random numbers"
expect_clean "restored"

# A path that is far too long for a socket's address.
long=$TMPDIR/$(printf 'x%.0s' {1..120})
cp -a "$CAPSID_HOME" "$long"
capsid run --home "$long" -l python -c 'print("far")'
expect "a long path of the state directory" "$status $(field stdout)" "0 far"
rm -rf "$long"

# The state directory may move: a snapshot holds no path of it.
mv "$CAPSID_HOME" "$TMPDIR/elsewhere"
CAPSID_HOME=$TMPDIR/elsewhere
capsid run -l python -c 'print("moved")'
expect "a moved state directory" "$status $(field stdout) $(grep -c '^Making' "$TMPDIR/err")" "0 moved 0"

# ---- versions ----------------------------------------------------------------------------------------

# To capsid all of these are one binary, so the snapshot is made anew for each: their formats differ.
for version in 1.7.0 1.10.1 1.16.0; do
	export FAKE_FIRECRACKER_VERSION=$version
	rm -rf "$CAPSID_HOME"/snapshots/*
	# 1.7 and 1.10 know no vsock_override and refuse it, and the first connection after a restore breaks.
	for i in 1 2; do
		capsid run -l python -c 'print("hello")'
		expect "version $version, run $i" "$status $(field stdout)" "0 hello"
	done
done
export FAKE_FIRECRACKER_VERSION=1.7.0
rm -rf "$CAPSID_HOME"/snapshots/*
capsid snapshot create --lang python
FAKE_FIRECRACKER_FAULT=mute capsid run -l python -c 'print("hello")'
expect "the first connection after a restore is never answered" "$status $(field stdout)" "0 hello"
capsid doctor
expect_match "doctor tells of an old release" "$out" '*warning *firecracker *Firecracker v1.7.0*first connection*'
FAKE_FIRECRACKER_VERSION=1.17.0 capsid run -l python -c 'print("hello")'
expect_match "a snapshot of another release" "$status $err" '1 *bitcode error*'
FAKE_FIRECRACKER_VERSION=1.6.0 capsid run --no-snapshot -l python -c 'print("hello")'
expect_match "an old release" "$status $err" '1 *Firecracker 1.6.0 is too old; 1.7 or later is needed*'
unset FAKE_FIRECRACKER_VERSION
rm -rf "$CAPSID_HOME"/snapshots/*
capsid snapshot create --lang python
expect "a snapshot of the current release" "$status" 0

# ---- scratch disks -------------------------------------------------------------------------------------

# What is on the disk, whether an earlier run left something, and a write of more than there is.
# shellcheck disable=SC2016 # Python's
fill='import os
s = os.statvfs("/tmp")
print(s.f_blocks * s.f_frsize >> 20, os.path.exists("/tmp/big"))
try:
    with open("/tmp/big", "wb", buffering=0) as f:
        for n in range(80):
            f.write(b"x" * (1 << 20))
            os.fsync(f.fileno())
except OSError as e:
    print(e.strerror, os.stat("/tmp/big").st_size >> 20 > 40)
os.remove("/tmp/big")
with open("/tmp/big", "w") as f:
    f.write("left")
os.sync()
print("goes on")'

# full_disk WHAT ARGUMENT...: two runs; both find an empty disk, and none what the first one left.
full_disk() {
	local what=$1 round
	shift
	for round in first second; do
		capsid run -l python -c "$fill" --raw --disk 64 --timeout 120 "$@"
		expect_match "$what, $round: exit status and output" "$status $out" \
			"0 5[0-9] False?No space left on device True?goes on"
		expect_clean "$what, $round"
	done
}

# Two at once write the same file, past their caches, and read it again when both have written.
# shellcheck disable=SC2016
mine='import mmap, os, sys
def open_it():
    return os.open("/tmp/mine", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
b = mmap.mmap(-1, 1 << 20)
word = os.environ["WORD"].encode()
b[:] = word * (len(b) // len(word))
fd = open_it()
for n in range(8):
    os.write(fd, b)
os.fsync(fd)
print("written", flush=True)
sys.stdin.read()
os.lseek(fd, 0, os.SEEK_SET)
for n in range(8):
    b[:] = bytes(len(b))
    assert os.readv(fd, [b]) == len(b) and b[:] == word * (len(b) // len(word)), "not mine"
print("mine")'

# Owner, mode and inode of the scratch disks that the VMMs have open.
open_disks() {
	local pid fd
	for pid in $(recorded_children | cut -d ' ' -f 1); do
		for fd in "/proc/$pid/fd"/*; do
			case $(readlink "$fd") in
			*/disk\ \(deleted\)) stat -L -c '%u %a %h %i' "$fd" ;;
			esac
		done
	done | sort -u
}

# two_disks WHAT: leaves the lines of open_disks in $disks.
two_disks() {
	local i
	pids=()
	for i in 1 2; do
		mkfifo "$TMPDIR/in$i"
		"$CAPSID" run -l python -c "$mine" --raw --disk 64 --timeout 120 --env "WORD=word$i..." \
			<"$TMPDIR/in$i" >"$TMPDIR/$i.out" 2>&1 &
		pids[i]=$!
	done
	exec 8>"$TMPDIR/in1" 9>"$TMPDIR/in2"
	for _ in $(seq 1200); do
		[ "$(cat "$TMPDIR/1.out" "$TMPDIR/2.out")" = $'written\nwritten' ] && break
		sleep 0.05
	done
	disks=$(open_disks)
	expect "$1: two disks" "$(wc -l <<<"$disks")" 2
	expect "$1: a running VM's disk has no name" "$(find "$CAPSID_HOME/run" -name 'disk*')" ""
	exec 8>&- 9>&-
	for i in 1 2; do
		wait "${pids[i]}"
		expect "$1: each VM reads what it wrote ($i)" "$? $(tr '\n' ' ' <"$TMPDIR/$i.out")" "0 written mine "
		rm "$TMPDIR/in$i"
	done
	expect_clean "$1"
}

full_disk "disk, cold" --no-snapshot
full_disk "disk, restored"
two_disks "disks"
capsid snapshot verify
expect "the snapshot's disk is what it was" "$status" 0

# ---- commands in images, and what they change ------------------------------------------------------------

# branches WHAT: of the bare snapshot, whose disks are placeholders; the files behind their names are others in each restore.
branches() {
	local first
	capsid run --image tag:lang/sh --keep --shell 'echo 1 >/first; rm /etc/group'
	expect "$1: kept" "$status $(field kept)" "0 kept"
	first=$(field result_image)
	capsid run --image "$first" --keep --no-snapshot --shell 'cat /first; echo 2 >/second; echo more >>/first'
	expect "$1: booted with the layer, and kept" "$status $(field stdout) $(field kept)" "0 1 kept"
	capsid run --image "$(field result_image)" --shell 'cat /first /second; ls /etc/group'
	expect "$1: two layers" "$status $(field stdout)" $'2 1\nmore\n2'
	capsid run --image "$first" --shell 'cat /first /second'
	expect "$1: the first is what it was" "$status $(field stdout)" "1 1"
	expect "$1: what was kept is nobody's to change" "$(find "$CAPSID_HOME/images" -name '*.ext4' ! \( -user "$(id -un)" -perm 444 -links 1 \))" ""
	expect_clean "$1"
}
branches "branches"

# ---- faults: an error that says what happened, in time, and nothing left -----------------------------

# fault FAULT PATTERN ARGUMENT...
fault() {
	local fault=$1 pattern=$2
	shift 2
	FAKE_FIRECRACKER_FAULT=$fault capsid "$@"
	expect_match "$fault, $1 $2" "$status $err" "1 *$pattern*"
	expect_clean "$fault"
}
run=(run -l python -c 'print(1)')
cold=(run --no-snapshot -l python -c 'print(1)')
snapshot=(snapshot create --force --lang python)
refused='Injected: this request is refused.'
fault exit 'its last words: *a fault was injected: this is the end' "${cold[@]}"
for path in /machine-config /boot-source /drives/root /vsock /actions; do
	fault "refuse=$path" "PUT $path: $refused" "${cold[@]}"
	fault "die=$path" "PUT $path: *ended before the answer" "${cold[@]}"
done
fault refuse=/snapshot/load "could not be restored: *PUT /snapshot/load: $refused" "${run[@]}"
fault die=/snapshot/load 'PUT /snapshot/load: *ended before the answer' "${run[@]}"
# Whether its process or its connection is seen to end first is the scheduler's choice; its last words tell either way.
fault after=/snapshot/load 'ended by a fault' "${run[@]}"
fault after=/actions 'ended by a fault' "${cold[@]}"
fault refuse=/vm "PATCH /vm: $refused" "${snapshot[@]}"
fault die=/snapshot/create 'PUT /snapshot/create: *ended before the answer' "${snapshot[@]}"
fault refuse=/snapshot/create "PUT /snapshot/create: $refused" "${snapshot[@]}"
for path in /drives/upper /actions; do
	fault "refuse=$path" "PUT $path: $refused" "${cold[@]}" --disk 64
done
fault die=/drives/upper "PUT /drives/upper: *ended before the answer" "${cold[@]}" --disk 64
fault refuse=/snapshot/load "PUT /snapshot/load: $refused" "${run[@]}" --disk 64
fault after=/snapshot/load 'ended by a fault' "${run[@]}" --disk 64
fault refuse=/snapshot/create "PUT /snapshot/create: $refused" "${snapshot[@]}" --disk 64
fault garbage=/version 'the answer is not JSON' "${cold[@]}"
fault flood=/version 'the answer is longer than' "${cold[@]}"
export CAPSID_BOOT_TIMEOUT=2
fault nosocket 'its API socket was not there in time' "${cold[@]}"
fault hang=/actions 'PUT /actions: no answer in time' "${cold[@]}"
fault hang=/snapshot/load 'PUT /snapshot/load: no answer in time' "${run[@]}"
fault deaf 'the guest took no connection in time' "${run[@]}"
fault full 'the guest does not listen on vsock port' "${run[@]}"
unset CAPSID_BOOT_TIMEOUT

# Interrupted while the API hangs.
FAKE_FIRECRACKER_FAULT=hang=/actions "$CAPSID" "${cold[@]}" >"$TMPDIR/out" 2>"$TMPDIR/err" &
pid=$!
for _ in $(seq 600); do
	compgen -G "$CAPSID_HOME/run/*/vm-*/vsock" >/dev/null && break
	sleep 0.05
done
kill -TERM "$pid"
wait "$pid"
expect_match "interrupted" "$(cat "$TMPDIR/err")" '*interrupted*'
expect_clean "interrupted"

# The VMM is killed while a program runs; then the supervisor is.
start_endless() { # ARGUMENT...
	: >"$TMPDIR/out"
	"$CAPSID" run -l python -t 300 -c 'import time; print("here", flush=True); time.sleep(300)' --raw "$@" </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
	pid=$!
	for _ in $(seq 600); do
		grep -q here "$TMPDIR/out" && break
		sleep 0.05
	done
	expect "a program runs" "$(cat "$TMPDIR/out")" "here"
}
start_endless --no-snapshot
read -r vmm _ < <(recorded_children)
expect_match "its log" "$(readlink "/proc/$vmm/fd/1")" "/memfd:vmm-log*"
expect "what each boot warns of is not in it" "$(grep -c bus_error "/proc/$vmm/fd/1")" 0
kill -TERM "$pid"
wait "$pid"
start_endless --disk 64
read -r vmm _ < <(recorded_children)
kill -9 "$vmm"
wait "$pid"
expect "the VMM was killed" "$?" 1
expect "the VMM was killed: it said nothing" "$(grep -c 'last words' "$TMPDIR/err")" 0
expect_clean "the VMM was killed"
start_endless --disk 64
read -r vmm _ < <(recorded_children)
kill -SEGV "$vmm"
wait "$pid"
expect "the VMM broke" "$?" 1
expect_match "the VMM broke: its log tells why" "$(cat "$TMPDIR/err")" \
	'*(its last words: Shutting down VM after intercepting signal 11, code *)*'
expect_clean "the VMM broke"
start_endless --disk 64
kill -9 "$pid"
wait "$pid" 2>/dev/null
capsid doctor
expect_clean "the supervisor was killed"

# ---- choice ------------------------------------------------------------------------------------------

CAPSID_ACCEL=tcg capsid "${run[@]}"
expect_match "no emulation" "$status $err" '1 *Firecracker needs KVM: as configured; use --vmm qemu*'
capsid run --vmm xen -l python -c 1
expect_match "an unknown VMM" "$err" '*vmm is "xen", but must be qemu or firecracker*'
CAPSID_FIRECRACKER=no-such-program capsid "${run[@]}"
expect_match "no Firecracker" "$status $err" '1 *no-such-program is not installed*CAPSID_FIRECRACKER*'
capsid run --vmm qemu --accel tcg --no-snapshot -l python -c 'print("qemu")'
expect "the flag beats the environment" "$status $(field stdout)" "0 qemu"
capsid doctor
expect_match "doctor" "$out" '*firecracker *Firecracker v1.16.1*'

# ---- system calls --------------------------------------------------------------------------------------

# not_listed WHAT: the double calls what Firecracker does not, as a Firecracker would that was taken over.
not_listed() {
	CAPSID_VMM_CALLS=listed capsid "${run[@]}"
	expect_match "$1: a call that is on no list is named" "$status $err" \
		'1 *the VMM was ended by its system call filter: system call [0-9]* ([a-z]*); *vmm_calls = lenient*'
	expect_clean "$1: a call that is on no list"
}
not_listed "not jailed"
CAPSID_CONFINE=off CAPSID_VMM_CALLS=listed capsid "${run[@]}"
expect "confine is off: no filter" "$status" 0

# ---- jailer ------------------------------------------------------------------------------------------

if [ "$(id -u)" -ne 0 ]; then
	CAPSID_JAILER=$SRC/tests/fake/jailer capsid "${run[@]}"
	expect_match "a jailer without root" "$status $err" '* the jailer needs root*'
	finish
fi
unset CAPSID_JAILER # it is found beside Firecracker
capsid run --no-snapshot -l python -c 'print("jailed")'
expect "jailed, cold" "$status $(field stdout)" "0 jailed"
not_listed "jailed"
CAPSID_CONFINE=off CAPSID_VMM_CALLS=listed capsid "${run[@]}"
expect "jailed, confine is off: no filter" "$status" 0
capsid run -l python -c 'print("jailed")'
expect "jailed, from a snapshot made without a jailer" "$status $(field stdout)" "0 jailed"
capsid snapshot create --force --lang python
expect "jailed snapshot" "$status" 0
capsid run -l python -c 'print("jailed")'
expect "jailed, from that snapshot" "$status $(field stdout)" "0 jailed"
full_disk "jailed disk, from a snapshot made without a jailer"
capsid snapshot create --force --lang python --disk 64
expect "jailed snapshot with a disk" "$status" 0
full_disk "jailed disk"
full_disk "jailed disk, cold" --no-snapshot
two_disks "jailed disks"
expect_match "each belongs to the user of its VM, and to nobody else" "$(cut -d ' ' -f 1-3 <<<"$disks")" "2000?????? 600 0?2000?????? 600 0"
branches "jailed branches"
expect "these are two users" "$(cut -d ' ' -f 1 <<<"$disks" | sort -u | wc -l)" 2
expect "the snapshot's files are out of the jailed user's hands" \
	"$(find "$CAPSID_HOME/snapshots" "$CAPSID_HOME/images" ! -uid 0 -o -type f -perm /022)" ""

# Two at once have user ids of their own; and when their supervisors are killed, they end by themselves.
jailed_uids() {
	local pid
	recorded_children | while read -r pid _; do
		stat -c %u "/proc/$pid" 2>/dev/null
	done | awk '$1 >= 2000000000 && $1 <= 2000065535' | sort -u
}
pids=()
for i in 1 2; do
	"$CAPSID" run -l python -t 300 -c 'import time; time.sleep(300)' </dev/null >"$TMPDIR/$i.json" 2>&1 &
	pids+=($!)
done
for _ in $(seq 600); do
	[ "$(jailed_uids | wc -l)" = 2 ] && break
	sleep 0.05
done
expect "two jailed VMs have user ids of their own, from vm_uids" "$(jailed_uids | wc -l)" 2
mapfile -t jailed < <(recorded_children | cut -d ' ' -f 1)
# Of the host a jailed process has Firecracker's program, which is no copy, and files of bounded size.
for pid in "${jailed[@]}"; do
	for ns in pid net ipc uts; do
		[ "$(readlink "/proc/$pid/ns/$ns")" != "$(readlink "/proc/self/ns/$ns")" ] || fail "a jailed VMM has the host's $ns"
	done
	expect_match "a jailed VMM's files" "$(awk '/^Max file size/ { print $4 }' "/proc/$pid/limits")" '[1-9]*[0-9]'
	expect "a jailed VMM has a filter, and no new privileges" \
		"$(sed -n 's/^\(NoNewPrivs\|Seccomp\):[[:space:]]*//p' "/proc/$pid/status" | tr '\n' ' ')" "1 2 "
	expect "a jailed VMM's program" "$(stat -c '%d %i' "/proc/$pid/root/vmm")" "$(stat -c '%d %i' "$CAPSID_FIRECRACKER")"
done
kill -9 "${pids[@]}"
wait "${pids[@]}" 2>/dev/null
for _ in $(seq 600); do
	left=
	for pid in "${jailed[@]}"; do
		[ ! -d "/proc/$pid" ] || left="$left $pid"
	done
	[ -z "$left" ] && break
	sleep 0.05
done
expect "no jailed process is left" "$left" ""
capsid doctor
expect_clean "jailed"

# A pool restores from the snapshot's files all the time: they are not to be had meanwhile.
capsid snapshot create --lang python
"$CAPSID" pool -l python --size 2 --json </dev/null >"$TMPDIR/lines" 2>"$TMPDIR/pool.err" &
pool=$!
for _ in $(seq 600); do
	! tail -n 1 "$TMPDIR/lines" | grep -q '"ready":2' || break
	sleep 0.1
done
expect_match "a pool fills" "$(tail -n 1 "$TMPDIR/lines")" '*"ready":2*'
key=$(sed -n '1s/.*"snapshot":"\([0-9a-f]*\)".*/\1/p' "$TMPDIR/lines")
capsid snapshot rm "$key"
expect_match "its snapshot is not removed" "$status $err" "1 *is used by another process*"
kill -TERM $pool
wait $pool
capsid snapshot rm "$key"
expect "when it has ended, it is" "$status" 0
expect_clean "a pool"

printf '#!/bin/sh\necho "There is no room"\necho "Error: NoRoom(3)"\nexit 1\n' >"$TMPDIR/full-jailer"
chmod +x "$TMPDIR/full-jailer"
CAPSID_JAILER=$TMPDIR/full-jailer capsid "${run[@]}"
expect_match "a jailer that says why it fails" "$status $err" '1 *it ended (its last words: There is no room)*'
FAKE_FIRECRACKER_FAULT=x CAPSID_JAILER=/bin/false capsid "${run[@]}"
expect_match "a jailer that fails" "$status $err" '1 *Firecracker, GET /version: it ended*'
expect_clean "a jailer that fails"

# The last, because it is the image that has the disk from now on.
capsid rootfs create --name sh --size 96M -q
# shellcheck disable=SC2016 # the guest's shell
room='set -- $(stat -f -c "%b %S" /tmp); echo $(($1 * $2 >> 20))'
capsid run -l sh -c "$room" --raw --timeout 120
expect_match "the image's disk" "$status $out" "0 [89][0-9]"
capsid run -l sh -c "$room" --raw --disk 64 --timeout 120
expect_match "--disk wins" "$status $out" "0 5[0-9]"
expect_clean "the image's disk"
finish
