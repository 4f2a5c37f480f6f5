#!/bin/bash
# timeout: 300
# initd's AF_VSOCK listener in a real guest, reached from inside it through the loopback transport of the test kernel. The peer
# then has CID 1, which initd takes only when the kernel command line says so.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
export CAPSID_KERNEL=$BUILD/test/vmlinux-loopback

{
	cat "$SRC/tests/vm/vsock_client.py"
	cat <<'P'
client = connect_vsock(1, 5000)
print("hello", client.hello())
print("ping", client.ping(42))
print("exec", client.execute(["/bin/sh", "-c", "echo over vsock; exit 7"]))
second = connect_vsock(1, 5000)
print("second", second.hello(), second.ping(1), client.ping(2))
client.sock.sendall(b"\xff" * 64)
try:
    while True:
        client.receive()
except (EOFError, ConnectionError):
    print("garbage closes that connection")
print("the other goes on", second.ping(3))
P
} >"$TMPDIR/program.py"
CAPSID_KERNEL_ARGS=initd.vsock_peer=1 capsid host -l python -f "$TMPDIR/program.py" </dev/null
expect "stderr" "$(field stderr)" ""
expect "conversation" "$(field stdout)" "hello True
ping True
exec (b'over vsock\\n', 7)
second True True True
garbage closes that connection
the other goes on True"

{
	cat "$SRC/tests/vm/vsock_client.py"
	cat <<'P'
try:
    client = connect_vsock(1, 5000)
    print("answered", client.hello())
except (EOFError, OSError) as e:
    print("refused")
P
} >"$TMPDIR/program.py"
capsid host -l python -f "$TMPDIR/program.py" </dev/null
expect "a job in the guest cannot talk to initd" "$(field stdout)" "refused"

export CAPSID_KERNEL=$BUILD/share/capsid/vmlinux
capsid host -l python -f "$TMPDIR/program.py" </dev/null
expect "the product kernel has no loopback at all" "$(field stdout)" "refused"
finish
