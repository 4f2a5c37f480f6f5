#!/bin/bash
# timeout: 600
# The cage of a VMM that uses KVM: all that it sees and holds beside what every VMM does is /dev/kvm, as root and as an
# ordinary user who may open it.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status, failures and kvm
. "$SRC/tests/vm/lib.sh"
need_kvm sh
need_kvm_snapshot

# Sets run, and vmm to the VMM's process, whose program waits.
begin_run() { # WHAT COMMAND...
	local what=$1
	shift
	: >"$TMPDIR/up" # of the run before
	"$@" run -v -l sh --raw -c 'echo up; sleep 600' </dev/null >"$TMPDIR/up" 2>"$TMPDIR/err" &
	run=$!
	until grep -q up "$TMPDIR/up" || ! kill -0 "$run" 2>/dev/null; do
		sleep 0.05
	done
	vmm=$(sed -n 's/.* event=ready .* pid=\([0-9]*\) .*/\1/p' "$TMPDIR/err" | tail -n 1) # not the one that a snapshot was made of
	[ -n "$vmm" ] || fail "$what: no VM: $(tail -n 1 "$TMPDIR/err")"
}
end_run() {
	kill -TERM "$run"
	wait "$run"
}
has() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$vmm/status"; }
opened() { # what it has open, without numbers
	local fd
	for fd in "/proc/$vmm/fd"/*; do
		readlink "$fd"
	done | sed 's/[0-9]\+//g' | sort -u
}

# check_cage WHAT UID COMMAND...: as that user, with emulation and with KVM.
check_cage() {
	local what=$1 id=$2 emulated
	shift 2
	begin_run "$what, emulated" env -u CAPSID_KERNEL CAPSID_ACCEL=tcg "$@"
	emulated=$(ls -A "/proc/$vmm/root/dev")
	expect "$what, emulated: nothing of KVM" "$(opened | grep -c kvm)" 0
	end_run
	begin_run "$what" "$@"
	expect "$what: devices" "$(ls -A "/proc/$vmm/root/dev")" "$(printf '%s\nkvm\n' "$emulated" | LC_ALL=C sort)"
	expect "$what: what it holds of KVM" "$(opened | grep kvm | tr '\n' ' ')" "/dev/kvm anon_inode:kvm-vcpu: anon_inode:kvm-vm "
	expect_match "$what: user" "$(has Uid)" "$id	*"
	expect "$what: capabilities, new privileges, filter" "$(has CapEff) $(has CapBnd) $(has NoNewPrivs) $(has Seccomp)" "0000000000000000 0000000000000000 1 2"
	for name in mnt pid net ipc uts; do
		[ "$(readlink "/proc/$vmm/ns/$name")" != "$(readlink "/proc/self/ns/$name")" ] || fail "$what: the host's $name namespace"
	done
	[ "$id" != "2000*" ] || expect "$what: its own node is its user's alone" "$(stat -c '%u %a' "/proc/$vmm/root/dev/kvm")" "$(has Uid | cut -f 1) 600"
	end_run
	expect_clean "$what"
}

if [ "$(id -u)" != 0 ]; then
	check_cage "an ordinary user" "$(id -u)" "$CAPSID"
	finish
fi
check_cage root "2000*" "$CAPSID"

# What a VMM that was taken over can do with it.
cp "$BUILD/test/tools/hijacked_vmm" "$TMPDIR/vmm"
printf '\n#targets of the test\nread %s\nwrite /dev/kvm\n' "$CAPSID_HOME/images/names" >>"$TMPDIR/vmm"
# The walls behind the list of system calls, which ends this program at once.
CAPSID_VMM_CALLS=lenient CAPSID_QEMU=$TMPDIR/vmm capsid run --no-snapshot -l sh -c 'echo 1' </dev/null
said=$(grep -o 'hijacked, uid .*' "$TMPDIR/err" | tail -n 1 | sed 's/["\\)].*//')
expect "a stand-in: got away with" "${said#*got away with: }" "/kvm"

# An ordinary user, whose /dev/kvm is another node of the same device.
user=65534
chmod 711 "${TMPDIR%/*}" "$TMPDIR"
as_user() { setpriv --reuid $user --regid $user --clear-groups "$@"; }
if ! unshare --mount true 2>/dev/null || ! as_user unshare --user true 2>/dev/null || ! as_user test -x "$CAPSID"; then
	echo "warning: as an ordinary user nothing is tested"
	finish
fi
chown -R $user:$user "$CAPSID_HOME"
mkdir "$TMPDIR/dev"
cat >"$TMPDIR/as-user" <<END
#!/bin/sh
set -e
mount -t tmpfs -o mode=755 capsid-test "$TMPDIR/dev"
mknod -m 600 "$TMPDIR/dev/kvm" c 10 232
chown $user:$user "$TMPDIR/dev/kvm"
mount --bind "$TMPDIR/dev/kvm" /dev/kvm
exec setpriv --reuid $user --regid $user --clear-groups env HOME=/nonexistent "$CAPSID" "\$@"
END
chmod 755 "$TMPDIR/as-user"
check_cage "an ordinary user" $user unshare --mount "$TMPDIR/as-user"
finish
