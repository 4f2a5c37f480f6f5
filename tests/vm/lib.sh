# Shared by the tests of real guests; sourced.
#
# Each test has a state directory of its own, CAPSID_HOME, so that it may run beside others, damage things and look for what
# is left behind. Images, snapshots and downloads are made once, in the shared state directory $BUILD/test/home, which stays
# from one run of the tests to the next: need_snapshot and bare_home bring copies of them.
# shellcheck shell=bash
set -u

shared_home=$BUILD/test/home
export CAPSID_HOME=$TMPDIR/home
mkdir -p "$shared_home/cache/packages" "$CAPSID_HOME/cache" "$CAPSID_HOME/run"
# What this machine cannot confine, which accelerator it has and how fast its clock is are found out once; what it cannot
# confine is said once, and not in the middle of a test's output.
[ -e "$shared_home/cache/confinement" ] || CAPSID_HOME=$shared_home "$CAPSID" doctor >/dev/null 2>&1
for part in "$shared_home"/cache/*; do
	case ${part##*/} in
	packages | digest-*) ;;
	*) cp -a "$part" "$CAPSID_HOME/cache/" ;;
	esac
done
ln -s "$shared_home/cache/packages" "$CAPSID_HOME/cache/packages"
failures=0

fail() {
	printf 'FAILED: %s\n' "$*"
	failures=$((failures + 1))
}

# expect WHAT GOT WANTED
expect() {
	if [ "$2" = "$3" ]; then
		printf 'ok: %s\n' "$1"
	else
		fail "$1: got [$2], wanted [$3]"
	fi
}

# expect_match WHAT TEXT PATTERN (of the shell)
expect_match() {
	# shellcheck disable=SC2053
	if [[ $2 == $3 ]]; then
		printf 'ok: %s\n' "$1"
	else
		fail "$1: got [$2], wanted something like [$3]"
	fi
}

# Runs capsid; leaves $out, $err and $status.
# shellcheck disable=SC2034 # for the tests
capsid() {
	"$CAPSID" "$@" >"$TMPDIR/out" 2>"$TMPDIR/err"
	status=$?
	out=$(cat "$TMPDIR/out")
	err=$(cat "$TMPDIR/err")
}

# A field of the JSON object in $out, as Python prints it. Python is asked once for all fields of an object: to start it takes
# longer than much of what is tested.
field() {
	local fields=$TMPDIR/.fields
	if ! cmp -s "$TMPDIR/out" "$fields/out"; then
		rm -rf "$fields"
		mkdir "$fields"
		python3 -IS -c 'import json, sys
for name, value in json.load(open(sys.argv[1], encoding="utf-8")).items():
    print(value, end="", file=open(f"{sys.argv[2]}/is-{name}", "w", encoding="utf-8", errors="surrogateescape"))' "$TMPDIR/out" "$fields" || return 1
		cp "$TMPDIR/out" "$fields/out"
	fi
	cat "$fields/is-$1" 2>/dev/null || printf None
}

# The snapshot of the guest that any image starts from; after need_snapshot sh.
need_bare() {
	local key
	key=$(CAPSID_HOME=$shared_home "$CAPSID" run -q --image tag:lang/sh -- /bin/true >/dev/null &&
		CAPSID_HOME=$shared_home "$CAPSID" snapshot list --json | python3 -IS -c 'import json, sys
print(max((s["created"], s["key"]) for s in json.load(sys.stdin)["snapshots"] if s["language"] == "bare")[1])') || {
		fail "no snapshot of a bare guest could be made"
		finish
	}
	mkdir -p "$CAPSID_HOME/snapshots"
	cp -a --reflink=auto --sparse=always "$shared_home/snapshots/$key" "$CAPSID_HOME/snapshots/"
}

# need_snapshot LANGUAGE...: its image and its snapshot.
need_snapshot() {
	local language key
	[ $# -gt 0 ] || set -- python
	for language in "$@"; do
		key=$(CAPSID_HOME=$shared_home "$CAPSID" snapshot create --lang "$language" --json |
			python3 -IS -c 'import json, sys; print(json.load(sys.stdin)["key"])') || {
			fail "no snapshot of $language could be made"
			finish
		}
		bring_image "$language"
		mkdir -p "$CAPSID_HOME/snapshots"
		cp -a --reflink=auto --sparse=always "$shared_home/snapshots/$key" "$CAPSID_HOME/snapshots/"
	done
}

# bare_home LANGUAGE...: its image, and no snapshot.
bare_home() {
	local language
	[ $# -gt 0 ] || set -- python
	for language in "$@"; do
		CAPSID_HOME=$shared_home "$CAPSID" snapshot create --lang "$language" >/dev/null || {
			fail "no image of $language could be made"
			finish
		}
		bring_image "$language"
	done
}

new_home() {
	need_snapshot python
}

bring_image() {
	local names=images/names/$1.json digest
	digest=$(python3 -IS -c 'import json, sys; print(json.load(open(sys.argv[1]))["digest"])' "$shared_home/$names")
	mkdir -p "$CAPSID_HOME/images/names"
	cp -a "$shared_home/$names" "$CAPSID_HOME/images/names/"
	cp -a --reflink=auto --sparse=always "$shared_home/images/$digest".* "$CAPSID_HOME/images/"
}

# A data directory of this test's own, $TMPDIR/data, with the programs of the real one, $data, and no language.
own_data() {
	data=$BUILD/share/capsid
	mkdir -p "$TMPDIR/data/languages"
	find "$data" -maxdepth 1 -type f -exec ln -s -t "$TMPDIR/data" {} +
}

# The VMMs and other children that supervisors of this state directory have on record: lines of "PID START-TIME".
recorded_children() {
	local record
	for record in "$CAPSID_HOME"/run/*/records/child-*; do
		readlink "$record"
	done
}

# The processes that use this state directory, by the paths in their command lines.
processes_of_home() {
	# shellcheck disable=SC2062 # these are the files
	grep -lsF --file=- /proc/[0-9]*/cmdline <<<"$CAPSID_HOME/" | tr -dc '0-9\n'
}

# After a run: no process, no mount and no scratch directory is left.
expect_clean() {
	local left=
	for _ in $(seq 600); do
		left=$(processes_of_home)
		[ -z "$left" ] && break
		sleep 0.05
	done
	expect "$1: no process is left" "$left" ""
	expect "$1: no scratch is left" "$(ls -A "$CAPSID_HOME/run")" ""
	expect "$1: no mount is left" "$(grep -F "$CAPSID_HOME" /proc/mounts)" ""
}

# Sets vhost_device to the program vhost-device-vsock, or skips the test. It is in Debian's unstable suite only, and is
# fetched once; nothing of that suite is installed on the machine.
need_vhost_device() {
	vhost_device=$BUILD/test/tools/usr/bin/vhost-device-vsock
	if [ ! -x "$vhost_device" ] && ! fetch_vhost_device; then
		echo "SKIP: vhost-device-vsock could not be fetched from Debian's unstable suite"
		exit 77
	fi
}

fetch_vhost_device() {
	local tools=$BUILD/test/tools
	"$SRC/rootfs/debian-apt" --dir "$tools/apt" --suite sid &&
		(cd "$tools/apt" && export APT_CONFIG=$PWD/apt.conf && timeout 120 apt-get -q update &&
			timeout 120 apt-get -q download vhost-device-vsock && dpkg-deb -x vhost-device-vsock_*.deb "$tools")
}

# need_kvm [LANGUAGE]: brings the image of a language, python where none is named, and has capsid run all guests with KVM, or
# skips the test. On hardware that is with the product's kernel. A paravirtual KVM needs the test kernel
# (kernel-config/README.md); there a guest boots in 12 s on a quiet machine. Sets kvm to the kind.
need_kvm() {
	local verdict
	verdict=$("$CAPSID" doctor --accel auto --json | python3 -c 'import json, sys
print(next(c["detail"] for c in json.load(sys.stdin)["checks"] if c["check"] == "accelerator"))')
	case $verdict in
	kvm:*) kvm=hardware ;;
	*"/dev/kvm is paravirtual: "*)
		kvm=paravirtual
		if [ ! -e "$BUILD/test/vmlinux-kvm" ]; then
			echo "SKIP: $BUILD/test/vmlinux-kvm is not built; 'make kvm-kernel' does that"
			exit 77
		fi
		;;
	*)
		echo "SKIP: ${verdict#*: }"
		exit 77
		;;
	esac
	printf 'KVM: %s\n' "$kvm"
	bare_home "${1:-python}"
	export CAPSID_ACCEL=kvm
	[ "$kvm" = hardware ] || export CAPSID_KERNEL=$BUILD/test/vmlinux-kvm CAPSID_BOOT_TIMEOUT=300 CAPSID_TIMEOUT=200
}

# need_kvm_snapshot, after need_kvm: brings the snapshot of sh that this build makes with KVM, and sets key. A guest may boot for a
# minute: so the first test that needs it makes it for all.
# shellcheck disable=SC2034 # for the tests
need_kvm_snapshot() {
	{
		flock 9
		need_snapshot sh
		key=$(ls "$CAPSID_HOME/snapshots")
		if [ "$CAPSID" -nt "$shared_home/snapshots/$key/manifest.json" ]; then # an earlier build's
			CAPSID_HOME=$shared_home "$CAPSID" snapshot create --force --lang sh || fail "the snapshot could not be made anew"
			rm -r "$CAPSID_HOME/snapshots"
			need_snapshot sh
		fi
	} 9>"$shared_home/locks/of-tests-kvm"
}

# need_jsonschema: of those whose checks are a Python program that compares answers with the API's description.
need_jsonschema() {
	python3 -c 'import jsonschema' 2>/dev/null || {
		echo "SKIP: python3-jsonschema is not installed; 'make deps-check' installs it"
		exit 77
	}
}

# api_checks WHAT NAME: the checks of tests/vm/NAME.py, and the end of the test.
api_checks() {
	python3 "$SRC/tests/vm/$2.py" || fail "$1 (above)"
	expect_clean "after the servers"
	[ "$failures" = 0 ] || tail -n 50 "$TMPDIR/api.log"
	finish
}

finish() {
	[ "$failures" -eq 0 ] || printf '%s failures\n' "$failures"
	exit $((failures > 0))
}
