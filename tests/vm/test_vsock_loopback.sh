#!/bin/bash
# timeout: 300
# kernel: loopback
# initd's AF_VSOCK listener in a real guest, reached from inside it through the loopback transport of the test kernel. The peer
# then has CID 1, which initd takes only when the kernel command line says so.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
bare_home python
export CAPSID_KERNEL=$BUILD/test/vmlinux-loopback

# The client, below its own paths: wire.py reads proto/ from beside itself.
mkdir -p "$TMPDIR/program/tests/vm" "$TMPDIR/program/proto"
cp "$SRC/tests/vm/vsock_client.py" "$SRC/tests/vm/wire.py" "$TMPDIR/program/tests/vm"
cp "$SRC/proto/messages.def" "$SRC/proto/messages.h" "$TMPDIR/program/proto"
cat >"$TMPDIR/program/talk.py" <<'P'
import sys
sys.path.insert(0, sys.path[0] + "/tests/vm")
from vsock_client import connect_vsock

client = connect_vsock(1, 5000)
print("version", client.hello().version)
client.ping(42)
print("exec", client.execute(["/bin/sh", "-c", "echo over vsock; exit 7"]))
second = connect_vsock(1, 5000)
second.hello()
second.ping(1)
client.ping(2)
client.sock.sendall(b"\xff" * 64)
try:
    while True:
        client.receive()
except (EOFError, ConnectionError):
    print("garbage closes that connection")
second.ping(3)
print("the other goes on")
P
CAPSID_KERNEL_ARGS=initd.vsock_peer=1 capsid host -l python -f "$TMPDIR/program" --entry talk.py </dev/null
expect "stderr" "$(field stderr)" ""
expect "conversation" "$(field stdout)" "version 1
exec (b'over vsock\\n', 7)
garbage closes that connection
the other goes on"

cat >"$TMPDIR/program/try.py" <<'P'
import sys
sys.path.insert(0, sys.path[0] + "/tests/vm")
from vsock_client import connect_vsock

try:
    print("answered", connect_vsock(1, 5000).hello())
except (EOFError, OSError):
    print("refused")
P
capsid host -l python -f "$TMPDIR/program" --entry try.py </dev/null
expect "a job in the guest cannot talk to initd" "$(field stdout)" "refused"

export CAPSID_KERNEL=$BUILD/share/capsid/vmlinux
capsid host -l python -f "$TMPDIR/program" --entry try.py </dev/null
expect "the product kernel has no loopback at all" "$(field stdout)" "refused"
finish
