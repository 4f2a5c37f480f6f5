#!/bin/bash
# timeout: 600
# Confinement: what a program in place of the VMM can do, as root and as an ordinary user; and what is left when the
# supervisor is killed.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
bare_home python
chmod 711 "${TMPDIR%/*}" "$TMPDIR" # for the ordinary user
rm -f "$CAPSID_HOME/cache/confinement" "$CAPSID_HOME/cache/packages"
user=65534
run_as() { # USER COMMAND...
	local id=$1
	shift
	if [ "$id" = 0 ]; then "$@"; else setpriv --reuid "$id" --regid "$id" --clear-groups env HOME=/nonexistent "$@"; fi
}
users=("$(id -u)")
[ "$(id -u)" != 0 ] || users=(0 "$user")
if [ "$(id -u)" = 0 ] && ! run_as "$user" test -x "$CAPSID"; then
	echo "warning: user $user cannot reach $CAPSID; as an ordinary user nothing is tested"
	users=(0)
fi
if [ "$(id -u)" != 0 ] && ! unshare --user true 2>/dev/null; then
	echo "SKIP: neither root nor user namespaces"
	exit 77
fi

name=capsid-test-$$
python3 -c 'import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind("\0" + sys.argv[1]); s.listen(); print("up", flush=True); time.sleep(600)' $name >"$TMPDIR/listener" &
listener=$!
until grep -q up "$TMPDIR/listener"; do sleep 0.05; done

# The stranger: another VM's files, those of the state directory, and this test's.
echo secret >"$TMPDIR/other"
chmod 666 "$TMPDIR/other"
for id in "${users[@]}"; do
	[ "$id" = "$(id -u)" ] || chown -R "$id:$id" "$CAPSID_HOME"
	run_as "$id" env "CAPSID_HOME=$CAPSID_HOME" "$CAPSID" snapshot create --lang python >"$TMPDIR/out" 2>&1 ||
		fail "user $id: no snapshot can be made: $(tail -n 1 "$TMPDIR/out")"
	memory=$(ls "$CAPSID_HOME"/snapshots/*/memory)
	before=$(sha256sum "$CAPSID_HOME"/snapshots/*/* "$CAPSID_HOME"/images/*.erofs)
	mkdir -p "$CAPSID_HOME/run/another"
	echo secret >"$CAPSID_HOME/run/another/secret"
	touch "$CAPSID_HOME/run/another/owner"
	chmod -R a+rwX "$CAPSID_HOME/run/another"
	exec 9<"$CAPSID_HOME/run/another/owner"
	flock 9 # its owner lives
	cp "$BUILD/test/tools/hijacked_vmm" "$TMPDIR/vmm-$id"
	printf '\n#targets of the test\nread %s\nread %s\nread %s\nread %s\nwrite %s\nwrite %s\nabstract %s\nread /proc/self/mountinfo\nread /proc/1/mountinfo\nread /proc/thread-self/mounts\n' \
		"$TMPDIR/other" "$CAPSID_HOME/run/another/secret" "$CAPSID_HOME/images/names" "$memory" "$memory" "$TMPDIR/other" $name >>"$TMPDIR/vmm-$id"
	chmod 755 "$TMPDIR/vmm-$id"
	# The walls behind the list of system calls, which ends this program at once.
	for way in "" --no-snapshot; do
		# shellcheck disable=SC2086 # no word or one
		CAPSID_TEST_SECRET=x run_as "$id" env "CAPSID_HOME=$CAPSID_HOME" CAPSID_VMM_CALLS=lenient CAPSID_QEMU="$TMPDIR/vmm-$id" "$CAPSID" run $way \
			-l python -c 'print(1)' </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err"
		said=$(grep -ho 'hijacked, uid .*' "$TMPDIR/err" "$TMPDIR/out" | tail -n 1 | sed 's/["\\)].*//')
		printf '%s\n' "$said"
		expect "user $id, run $way: got away with" "${said#*got away with: }" nothing
	done
	[ "$id" != 0 ] || expect_match "root: a user id of its own" "$said" "hijacked, uid 20000*"
	run_as "$id" env "CAPSID_HOME=$CAPSID_HOME" CAPSID_QEMU="$TMPDIR/vmm-$id" "$CAPSID" run -v --no-snapshot \
		-l python -c 'print(1)' </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err"
	violation='system call 41 (socket)'
	expect_match "user $id: the list: warning" "$(cat "$TMPDIR/err")" "*Warning: a VMM (process *) was ended for $violation, which is not on its list*"
	expect_match "user $id: the list: error" "$(tail -n 1 "$TMPDIR/err")" "Error: *the VMM was ended by its system call filter: $violation; *vmm_calls = lenient*"
	expect_match "user $id: the list: event" "$(grep event=destroyed "$TMPDIR/err")" "*violation=\"$violation\"*"
	# The same program without confinement gets away with most of it: so it tries what it says.
	run_as "$id" env "CAPSID_HOME=$CAPSID_HOME" CAPSID_CONFINE=off CAPSID_QEMU="$TMPDIR/vmm-$id" "$CAPSID" run --no-snapshot \
		-l python -c 'print(1)' </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err"
	expect_match "user $id: without confinement" "$(cat "$TMPDIR/err" "$TMPDIR/out")" "*got away with: /other, /secret, /names, /memory, /memory, /other, abstract *, /etc/passwd*"
	expect "user $id: snapshots and images are as before" "$(sha256sum "$CAPSID_HOME"/snapshots/*/* "$CAPSID_HOME"/images/*.erofs)" "$before"
	exec 9<&-
	# Its owner is gone; what others may write into would be left alone.
	[ "$(id -u)" != 0 ] || chown -R "$id:$id" "$CAPSID_HOME/run/another"
	chmod -R go-w "$CAPSID_HOME/run/another"
	run_as "$id" env "CAPSID_HOME=$CAPSID_HOME" "$CAPSID" run -l python -c 'print("fine")' </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err"
	expect "user $id: a real VM runs" "$(field stdout)" "fine"
	expect "user $id: no scratch is left" "$(ls -A "$CAPSID_HOME/run")" ""
done
kill $listener
wait $listener 2>/dev/null

# doctor says what is missing; strict refuses to do without it.
[ "$(id -u)" = "${users[-1]}" ] || chown -R 0:0 "$CAPSID_HOME"
[ "$(id -u)" != 0 ] || {
	expect "doctor: the ids of VMs are nobody's" "$(CAPSID_VM_UIDS=2000000000-2000065535 "$CAPSID" doctor | grep 'ids of VMs')" "ok       ids of VMs     2000000000-2000065535"
	expect_match "doctor: ids that somebody has" "$(CAPSID_VM_UIDS=65530-65540 "$CAPSID" doctor | grep 'ids of VMs')" \
		"warning  ids of VMs     65530-65540: 1 of them belong to others (nobody in /etc/passwd) and are not used; see vm_uids"
}
capsid doctor
for part in "own user id" "own files" "own processes" "no network" "listed system calls" "violations by name" "own cgroup" "memory limit" "io weight"; do
	expect_match "doctor: $part" "$out" "*confinement *$part*"
done
complete=$(grep -c '^warning *confinement' "$TMPDIR/out")
CAPSID_CONFINE=strict capsid run -l python -c 'print(1)' </dev/null
if [ "$complete" = 0 ]; then
	expect "strict: status" "$status" 0
else
	expect_match "strict: message" "$err" "*confine is strict, but this is missing: *"
fi
CAPSID_VMM_CALLS=lenient capsid doctor
expect_match "doctor: the lenient filter" "$out" "*warning *confinement *listed system calls: missing, vmm_calls is lenient*"
CAPSID_CONFINE=strict CAPSID_VMM_CALLS=lenient capsid run -l python -c 'print(1)' </dev/null
expect_match "strict and lenient: message" "$err" "*confine is strict, but this is missing: *listed system calls*"
CAPSID_VMM_CALLS=all capsid run -l python -c 'print(1)' </dev/null
expect_match "vmm_calls: message" "$err" "*vmm_calls is \"all\", but must be listed or lenient*"
CAPSID_VM_UIDS=5 capsid run -l python -c 'print(1)' </dev/null
expect_match "vm_uids: message" "$err" "*vm_uids is \"5\", but must be two user ids*"

# kill -9 of supervisors with running VMs: the VMMs go at once, and the next capsid removes what is left.
mount=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
pids=()
for _ in 1 2 3 4 5; do
	"$CAPSID" run -l python -t 300 -c 'import time; print("up", flush=True); time.sleep(300)' </dev/null >/dev/null 2>&1 &
	pids+=($!)
done
vmms() { recorded_children | cut -d ' ' -f 1; }
for _ in $(seq 600); do
	[ "$(vmms | wc -l)" -ge 5 ] && break
	sleep 0.1
done
mapfile -t running < <(vmms)
expect "VMMs run" "${#running[@]}" 5
cgroups=$(for record in "$CAPSID_HOME"/run/*/records/cgroup-*; do readlink "$record"; done)
[ "$(id -u)" != 0 ] || [ -z "$mount" ] || expect "each has a cgroup" "$(wc -w <<<"$cgroups")" 5
kill -KILL "${pids[@]}"
wait "${pids[@]}" 2>/dev/null
for _ in $(seq 600); do
	alive=
	for pid in "${running[@]}"; do
		[ ! -d "/proc/$pid" ] || alive="$alive $pid"
	done
	[ -n "$alive" ] || break
	sleep 0.05
done
expect "supervisors killed: VMMs alive" "$alive" ""
capsid doctor
expect_clean "supervisors killed"
for path in $cgroups; do
	[ ! -d "$path" ] || fail "cgroup $path is left"
done
finish
