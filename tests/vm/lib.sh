# Shared by the tests of real guests; sourced.
#
# All of them use one state directory, $BUILD/test/home, which keeps the image and the snapshot from one run of the
# tests to the next. A test that damages things works in a copy: new_home.
# shellcheck shell=bash
set -u

export CAPSID_HOME=$BUILD/test/home
mkdir -p "$CAPSID_HOME"
# What this machine cannot confine is said once; not in the middle of a test's output.
[ -e "$CAPSID_HOME/cache/confinement" ] || "$CAPSID" doctor >/dev/null 2>&1
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

# A field of the JSON object in $out, as Python prints it.
field() {
	python3 -c 'import json, sys; v = json.load(open(sys.argv[1])).get(sys.argv[2]); print(v, end="")' "$TMPDIR/out" "$1"
}

# The image and the snapshot that most tests need.
need_snapshot() {
	"$CAPSID" snapshot create --lang python >/dev/null || {
		fail "no snapshot could be made"
		finish
	}
}

# A state directory of this test's own, with the shared image and snapshots in it. Downloaded packages are not copied.
new_home() {
	local part
	need_snapshot
	mkdir -p "$TMPDIR/home/cache"
	for part in "$CAPSID_HOME"/* "$CAPSID_HOME"/cache/*; do
		case ${part#"$CAPSID_HOME"/} in
		cache | cache/packages) ;;
		cache/*) cp -a "$part" "$TMPDIR/home/cache/" ;;
		*) cp -a --reflink=auto --sparse=always "$part" "$TMPDIR/home/" ;;
		esac
	done
	[ ! -d "$CAPSID_HOME/cache/packages" ] || ln -s "$CAPSID_HOME/cache/packages" "$TMPDIR/home/cache/packages"
	export CAPSID_HOME=$TMPDIR/home
}

# A state directory of this test's own, with the shared images and no snapshot.
bare_home() {
	need_snapshot
	mkdir -p "$TMPDIR/home/images"
	ln -s "$CAPSID_HOME"/images/*.* "$TMPDIR/home/images/"
	cp -a "$CAPSID_HOME/images/names" "$TMPDIR/home/images/"
	export CAPSID_HOME=$TMPDIR/home
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
	local d
	for d in /proc/[0-9]*; do
		if { tr "\\0" " " <"$d/cmdline"; } 2>/dev/null | grep -qF "$CAPSID_HOME/"; then
			printf '%s\n' "${d#/proc/}"
		fi
	done
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
