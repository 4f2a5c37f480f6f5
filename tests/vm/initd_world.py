"""What programs find in a guest: addresses, open files, temporary files, room for names."""

import errno

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
ECHO = """
import socket
for family, protocol, address, request in ((socket.AF_INET, socket.IPPROTO_ICMP, "127.0.0.1", 8),
                                           (socket.AF_INET6, socket.IPPROTO_ICMPV6, "::1", 128)):
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as s:
        s.settimeout(60)
        s.connect((address, 0))
        s.send(bytes([request, 0, 0, 0, 0, 0, 0, 1]) + b"echo of " + address.encode())
        print(s.recv(100)[8:].decode())
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


@scenario
def everybody_may_ping(guest):
    """As icmp(7) has it, without a raw socket."""
    for who in ({}, USER):
        expect(python(guest, ECHO, **who), "echo of 127.0.0.1\necho of ::1\n")


@scenario(own=NETWORK)
def no_ipv6_on_a_network(guest):
    """With a network interface that has an IPv4 address, in a network that would give it an IPv6 one."""
    expect(python(guest, INTERFACE), "10.0.2.15\n")  # an IPv6 address of the link would be there at once
    expect(python(guest, ADDRESSES), ONLY_ONE)
    expect(python(guest, LOOPBACK, **USER), "hello ::1\nhello ::1\n")


# ---- open files ----------------------------------------------------------------------------------

FILES = """
import os, resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(60000)]
resource.setrlimit(resource.RLIMIT_NOFILE, (soft + 1, hard))
print(soft, hard, len(opened), max(opened) >= 60000)
"""


@scenario(own=dict(memory=256))
def sixty_thousand_open_files(guest):
    for who in (USER, {}):
        soft, hard, opened, highest = python(guest, FILES, **who).split()
        assert int(soft) >= 65536 and int(hard) > int(soft), (soft, hard)
        expect((opened, highest), ("60000", "True"))


# ---- temporary files -----------------------------------------------------------------------------

TEMPORARY = """
import errno, os, tempfile
for directory in "/tmp", "/dev/shm":
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_RDWR))
        print("anonymous", end=" ")
    except OSError as e:
        print(errno.errorcode[e.errno], end=" ")
    with tempfile.TemporaryFile(dir=directory) as f:
        f.write(b"kept")
        f.seek(0)
        print(f.read().decode(), end=" ")
with open("/tmp/here", "w") as f:
    f.write("moved")
os.rename("/tmp/here", os.environ["HOME"] + "/there")
os.link(os.environ["HOME"] + "/there", "/tmp/again")
print(open("/tmp/again").read())
"""


@scenario
def temporary_files(guest):
    """In /tmp the kernel decides whether O_TMPFILE is there (overlayfs from 6.10 on); programs do without. It is no filesystem of its own."""
    guest.c.write_file("/home/user/x", b"", flags=C.WRITE_PARENTS, uid=1000, gid=1000)
    out = python(guest, TEMPORARY, env=["PATH=/usr/bin:/bin", "HOME=/home/user"], **USER)
    assert out in ("ENOTSUP kept anonymous kept moved\n", "anonymous kept anonymous kept moved\n"), out
    for path in ("/tmp/again", "/home/user/there", "/home/user/x"):
        guest.c.request("REMOVE", path=path)


# ---- names ---------------------------------------------------------------------------------------

@scenario(own=dict(memory=128))
def as_many_names_as_pages(guest):
    """A tree of small files ends with the bytes: there are twice as many names as pages that it may fill."""
    before = guest.c.request("DISK", path="/")
    usage = guest.c.request("STATS")
    expect((before.total, before.free), (usage.disk_total, usage.disk_free))
    assert before.names >= 2 * (before.total // 4096), before
    assert 25000 < before.names_free <= before.names < 32768, before
    guest.c.shell("mkdir -m 777 /tmp/names")
    job = guest.run_hostile("fill-names", "/tmp/names", patience=120, **USER)
    assert job.out.startswith(b"errno 28\n"), job.out
    made = int(job.out.split()[-1])
    assert before.names_free - 50 < made <= before.names_free, (made, before)
    full = guest.c.request("DISK", path="/tmp")
    assert full.names == before.names and full.names_free < 50, full
    # There is memory for others all the same, and for what tidies up.
    other = guest.hostile("hog", 16, **USER).wait_output("holds 16\n")
    other.control("KILL")
    other.wait()
    guest.c.request("REMOVE", path="/tmp/names", flags=C.REMOVE_TREE, patience=120)
    after = guest.c.request("DISK", path="/")
    assert after.names_free > before.names_free - 50, (before, after)


@scenario
def room_of_other_filesystems(guest):
    total = guest.c.request("DISK", path="/dev/shm")
    assert 0 < total.free <= total.total < guest.c.request("STATS").memory_total // 4, total
    expect(guest.c.request("DISK", path="/proc").total, 0)
    expect(guest.c.refused("DISK", C.ERR_OS, path="/nowhere"), errno.ENOENT)
    guest.c.refused("DISK", C.ERR_INVALID, path="relative")


# ---- initd's own memory --------------------------------------------------------------------------

@scenario
def what_much_output_needed_is_given_back(guest):
    """The large ring, and the buffers of large frames."""
    before = guest.c.request("STATS").initd_rss
    for _ in range(2):
        expect(len(guest.run_hostile("pattern", 1, 5 << 20, **USER).out), 5 << 20)
        guest.c.write_file("/tmp/much", bytes(1 << 20))
        guest.c.request("REMOVE", path="/tmp/much")
    guest.forget_ended()
    guest.c.pump_for(0.5)  # CONN_IDLE_MS
    after = guest.c.request("STATS").initd_rss
    assert after <= before + (64 << 10), f"{before} bytes resident before, {after} after"


run_scenarios(memory=192)
