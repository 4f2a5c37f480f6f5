#!/bin/bash
# timeout: 300
# From the host over AF_VSOCK into a real guest, without KVM and without /dev/vhost-vsock: vhost-device-vsock is the other
# side of QEMU's vhost-user-vsock device. It speaks the same CONNECT handshake on a Unix socket as Firecracker.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status, failures and vhost_device
. "$SRC/tests/vm/lib.sh"
need_vhost_device
need_snapshot python
capsid rootfs list --json
image=$(python3 -c 'import json, sys; print(next(i["path"] for i in json.load(open(sys.argv[1]))["images"] if i["name"] == "python"))' "$TMPDIR/out")
children=()
# shellcheck disable=SC2317
end_children() {
	for child in "${children[@]}"; do
		kill -KILL "$child" 2>/dev/null
		wait "$child" 2>/dev/null
	done
}
trap end_children EXIT

"$vhost_device" --guest-cid 3 --socket "$TMPDIR/vhost.sock" --uds-path "$TMPDIR/vsock.sock" >"$TMPDIR/device.log" 2>&1 &
children+=($!)
for _ in $(seq 600); do
	[ -S "$TMPDIR/vhost.sock" ] && break
	sleep 0.05
done
qemu-system-x86_64 -M microvm,acpi=off,rtc=on,pit=on,pic=on,isa-serial=on,memory-backend=ram -accel tcg -cpu max -m 128M -nodefaults \
	-no-user-config -no-reboot -display none -object memory-backend-memfd,id=ram,size=128M,share=on \
	-global virtio-mmio.force-legacy=false -kernel "$BUILD/share/capsid/vmlinux" \
	-append "root=/dev/vda rootfstype=erofs ro init=/sbin/initd console=ttyS0 loglevel=7 panic=-1 reboot=t random.trust_cpu=1" \
	-drive "id=root,file=$image,if=none,format=raw,readonly=on" -device virtio-blk-device,drive=root \
	-chardev "socket,id=vhost,path=$TMPDIR/vhost.sock" -device vhost-user-vsock-device,chardev=vhost \
	-serial "file:$TMPDIR/console.log" >"$TMPDIR/qemu.log" 2>&1 &
children+=($!)
# The device stops to work for good when a CONNECT comes at the moment in which the guest's driver starts.
for _ in $(seq 1200); do
	grep -qs "Run /sbin/initd" "$TMPDIR/console.log" && break
	sleep 0.05
done

cat >"$TMPDIR/client.py" <<'P'
import sys, time
sys.path.insert(0, sys.argv[1])
import vsock_client

deadline = time.monotonic() + 60
while True:
    try:
        client = vsock_client.connect_unix(sys.argv[2], 5000)
        client.hello()
        break
    except (OSError, EOFError, RuntimeError):
        if time.monotonic() > deadline:
            raise
    time.sleep(0.1)
client.ping(7)
print("exec", client.execute(["/bin/sh", "-c", "echo from the host; exit 9"]))
second = vsock_client.connect_unix(sys.argv[2], 5000)
second.hello()
second.ping(1)
client.ping(2)
print("both answer")
P
got=$(python3 "$TMPDIR/client.py" "$SRC/tests/vm" "$TMPDIR/vsock.sock" 2>&1)
expect "conversation" "$got" "exec (b'from the host\\n', 9)
both answer"

# The example client, which links proto/ alone.
got=$(timeout 60 "$BUILD/test/tools/example_client" "connect:$TMPDIR/vsock.sock" /bin/sh -c 'echo out; echo err >&2; exit 6' 2>&1)
expect "example client: status" $? 6
expect "example client: output" "$got" "out
err"
[ "$failures" -eq 0 ] || cat "$TMPDIR/console.log" "$TMPDIR/qemu.log" "$TMPDIR/device.log"
finish
