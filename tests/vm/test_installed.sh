#!/bin/bash
# Where Capsid is installed its kernel is below /usr, which a confined VMM sees as it is.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
if [ -z "${INSTALLED_NAMESPACE:-}" ]; then
	if [ "$(id -u)" != 0 ] || ! unshare --mount true 2>/dev/null; then
		echo "SKIP: only root can have a view of /usr of its own"
		exit 77
	fi
	INSTALLED_NAMESPACE=1 exec unshare --mount --propagation private "$0"
fi
. "$SRC/tests/vm/lib.sh"
need_snapshot
mount --bind "$BUILD/share/capsid" /usr/src || {
	fail "no view of /usr of its own"
	finish
}
export CAPSID_DATA=/usr/src
capsid run -l python --no-snapshot --no-prime -c 'print(6 * 7)' </dev/null
expect "a kernel below /usr: status" "$status" 0
expect "a kernel below /usr: output" "$(field stdout)" 42
[ "$status" = 0 ] || printf '%s\n' "$err"
finish
