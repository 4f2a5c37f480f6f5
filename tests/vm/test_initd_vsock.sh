#!/bin/bash
# timeout: 400
# initd in a real guest: several connections at once, over AF_VSOCK. The other side of QEMU's device is vhost-device-vsock.
# shellcheck disable=SC1091,SC2154 # lib.sh sets vhost_device
. "$SRC/tests/vm/lib.sh"
need_vhost_device

"$vhost_device" --guest-cid 3 --socket "$TMPDIR/vhost" --uds-path "$TMPDIR/vsock" >"$TMPDIR/device.log" 2>&1 &
child=$!
trap 'kill -KILL "$child" 2>/dev/null; wait "$child" 2>/dev/null' EXIT
for _ in $(seq 600); do
	[ -S "$TMPDIR/vhost" ] && break
	sleep 0.05
done
python3 "$SRC/tests/vm/initd_vsock.py" "$TMPDIR/vhost" "$TMPDIR/vsock" "$@"
status=$?
[ "$status" -eq 0 ] || tail -n 20 "$TMPDIR/device.log"
exit "$status"
