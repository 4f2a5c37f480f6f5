"""What programs find in a guest: addresses."""

from guest import C, expect, run_scenarios, scenario

USER = dict(uid=1000, gid=1000)
NETWORK = dict(append="ipv6.disable_ipv6=1", extra=["-netdev", "user,id=n", "-device", "virtio-net-device,netdev=n"])


def python(guest, script, **fields):
    job = guest.c.run(["python3", "-c", script], **fields)
    expect((job.exit.cause, job.exit.status, job.err), (C.CAUSE_EXITED, 0, b""))
    return job.out.decode()


# ---- addresses -----------------------------------------------------------------------------------

LOOPBACK = """
import socket
server = socket.create_server(("::1", 0), family=socket.AF_INET6)
port = server.getsockname()[1]
for name in "::1", "localhost":
    found = socket.getaddrinfo(name, port, socket.AF_INET6, socket.SOCK_STREAM)
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as s:
        s.connect(found[0][4])
        s.sendall(b"hello")
        print(server.accept()[0].recv(5).decode(), found[0][4][0])
both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
socket.create_connection(("127.0.0.1", both.getsockname()[1])).close()
"""
ADDRESSES = "for line in open('/proc/net/if_inet6'): print(line.split()[0], line.split()[-1])"
INTERFACE = """
import fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for request, address in (0x8916, "10.0.2.15"), (0x891c, "255.255.255.0"):  # netdevice(7): SIOCSIFADDR, SIOCSIFNETMASK
    fcntl.ioctl(s, request, struct.pack("16sHH4s8x", b"eth0", socket.AF_INET, 0, socket.inet_aton(address)))
fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"eth0", 1))  # SIOCSIFFLAGS, IFF_UP
s.connect(("10.0.2.2", 9))
print(s.getsockname()[0])
"""
ONLY_ONE = "0" * 31 + "1 lo\n"


@scenario
def ipv6_on_loopback(guest):
    for who in ({}, USER):
        expect(python(guest, LOOPBACK, **who), "hello ::1\nhello ::1\n")
    expect(python(guest, ADDRESSES), ONLY_ONE)


@scenario(own=NETWORK)
def no_ipv6_on_a_network(guest):
    """With a network interface that has an IPv4 address, in a network that would give it an IPv6 one."""
    expect(python(guest, INTERFACE), "10.0.2.15\n")  # an IPv6 address of the link would be there at once
    expect(python(guest, ADDRESSES), ONLY_ONE)
    expect(python(guest, LOOPBACK, **USER), "hello ::1\nhello ::1\n")


run_scenarios(memory=192)
