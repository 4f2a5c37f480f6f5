"""A guest that is told later what its root is made of, and what becomes of its changes. Each scenario has guests of its own."""

import errno
import os
import subprocess

from guest import BUILD, C, Lost, Refused, Writing, expect, find_image, run_scenarios, scenario

HERE = os.environ["TMPDIR"]
BARE = os.path.join(BUILD, "share", "capsid", "bare-root.erofs")
IMAGE = find_image("sh")  # vdb; vdc and so on follow
SETUP = C.ERR_SETUP


def own(*disks):
    return dict(image=BARE, drives=[IMAGE + ",readonly=on", *disks], append="initd.root=later", programs=(), memory=128)


def new_disk(name, mib, tree=None):
    path = os.path.join(HERE, name)
    with open(path, "wb") as disk:
        disk.truncate(mib << 20)
    subprocess.run(["mkfs.ext4", "-q", *(["-d", tree] if tree else []), path], check=True)
    return path


def root(guest, *layers, upper=""):
    guest.c.request("ROOT", layers=["erofs:vdb", *layers], upper=upper)


def changed(guest):
    return guest.c.request("CHANGES").changed


def only_shutdown_is_left(guest):
    for kind, fields in (("EXEC", dict(argv=["/bin/true"])), ("SEAL", dict(fold=0)), ("CHANGES", {}), ("QUIESCE", {}), ("STATS", {}),
                         ("WRITE_FILE", dict(path="/x")), ("REMOVE", dict(path="/etc"))):
        guest.c.refused(kind, C.ERR_STATE, **fields)
    guest.c.ping(3)
    guest.connect()
    guest.c.ping(3)
    guest.c.request("SHUTDOWN")
    expect(guest.wait_end(30), 0)


def ends(guest, step, why, **fields):
    """Half a root is none: the guest says what failed, and ends."""
    try:
        guest.c.request("ROOT", **fields)
        raise AssertionError(f"a root was made of {fields}")
    except Refused as e:
        expect((e.code, e.os_errno), (SETUP, why), step)
        assert step in str(e), e
    expect(guest.wait_end(10), 0)


FIRST, SECOND, THIRD, SMALL = (new_disk(name, mib) for name, mib in (("first", 64), ("second", 64), ("third", 64), ("small", 16)))
os.mkdir(os.path.join(HERE, "tree"))
os.symlink("/", os.path.join(HERE, "tree", "upper"))
ELSEWHERE = new_disk("elsewhere", 16, os.path.join(HERE, "tree"))
GARBAGE = os.path.join(HERE, "garbage")
with open(GARBAGE, "wb") as garbage:
    garbage.write(os.urandom(1 << 20))


@scenario(own=own(FIRST), healthy=False)
def from_nothing_to_a_layer(guest):
    for kind, fields in (("EXEC", dict(argv=["/bin/true"])), ("CHANGES", {}), ("SEAL", dict(fold=0)), ("STATS", {}),
                         ("WRITE_FILE", dict(path="/tmp/x")), ("MOUNT", dict(source="x", target="/x", fstype="tmpfs"))):
        guest.c.refused(kind, C.ERR_STATE, **fields)
    for layers in ([], ["vdb"], ["xfs:vdb"], ["erofs:"], ["erofs:../dev/vdb"], ["erofs:" + "n" * 32], ["erofs:vdb"] * 9):
        guest.c.refused("ROOT", C.ERR_INVALID, layers=layers, upper="vdc")
    for upper in ("/dev/vdc", "n" * 32):
        guest.c.refused("ROOT", C.ERR_INVALID, layers=["erofs:vdb"], upper=upper)
    guest.c.request("QUIESCE")
    guest.c.refused("ROOT", C.ERR_STATE, layers=["erofs:vdb"], upper="vdc")
    guest.connect()
    instance = os.urandom(16)
    guest.c.resume(instance=instance)
    root(guest, upper="vdc")
    guest.c.refused("ROOT", C.ERR_STATE, layers=["erofs:vdb"], upper="vdc")
    expect(guest.c.read_file("/etc/machine-id"), instance.hex().encode() + b"\n")
    expect(changed(guest), 0, "changed at first")
    guest.c.shell("ls -lR /etc /usr >/dev/null; mkdir /etc/x; rmdir /etc/x; chmod 700 /; chmod 755 /")
    expect(changed(guest), 0, "changed after a look")
    job = guest.c.shell("head -c 8000000 /dev/zero >/large; mkdir -p /tree/gone; touch /tree/gone/old; rm /etc/group; chmod 700 /; stat -c %a /")
    expect(job.out, b"700\n")
    expect(changed(guest), 1)
    guest.c.refused("SEAL", C.ERR_INVALID, fold=2)
    writing = Writing(guest.c, "/half", b"x", size=1000)
    guest.c.refused("SEAL", C.ERR_BUSY, fold=0)
    guest.c.shell("true")
    guest.connect()  # drops it
    assert writing
    guest.c.start(["/bin/sh", "-c", "while :; do date >>/tmp/log; done"], wall_ms=60000).wait_started()
    guest.c.request("SEAL", fold=0)
    only_shutdown_is_left(guest)


@scenario(own=own(FIRST + ",readonly=on", SECOND), healthy=False)
def a_layer_taken_into_another(guest):
    root(guest, "ext4:vdc", upper="vdd")
    expect(changed(guest), 0)
    guest.c.refused("STAT", C.ERR_OS, path="/etc/group")
    expect(guest.c.shell("stat -c %a /; rm -r /tree/gone; mkdir /tree/gone; touch /tree/gone/new; wc -c </large").out, b"700\n8000000\n")
    guest.c.request("SEAL", fold=2, patience=120)
    only_shutdown_is_left(guest)


@scenario(own=dict(own(SECOND), append="initd.root=later"), healthy=False)
def what_stands_for_all(guest):
    """The image itself is in it as well."""
    guest.c.request("ROOT", layers=["ext4:vdc"], upper="")
    job = guest.c.shell("ls /tree/gone; wc -c </large; ls /bin/sh")
    expect((job.out, job.err), (b"new\n8000000\n/bin/sh\n", b""))
    expect(changed(guest), 0)
    guest.c.refused("SEAL", C.ERR_INVALID, fold=0)  # memory is no layer
    expect(guest.c.shell("echo still").out, b"still\n")


@scenario(own=own(FIRST + ",readonly=on", THIRD), healthy=False)
def a_disk_that_its_root_froze(guest):
    root(guest, "ext4:vdc", upper="vdd")
    with open(os.path.join(BUILD, "test", "guest", "hostile"), "rb") as hostile:
        guest.c.write_file("/dev/hostile", hostile.read(), mode=0o100755)
    expect(guest.c.shell("echo x >/changed; /dev/hostile freeze /run/initd-upper; echo $?; (echo x >/late) >/dev/null 2>&1 &").out, b"0\n")
    expect(changed(guest), 1)
    guest.c.request("SEAL", fold=1)
    only_shutdown_is_left(guest)


@scenario(own=own(FIRST + ",readonly=on", SMALL), healthy=False)
def a_layer_that_does_not_fit(guest):
    root(guest, "ext4:vdc", upper="vdd")
    guest.c.shell("head -c 8000000 /dev/urandom >/other")
    expect(guest.c.refused("SEAL", C.ERR_OS, fold=1), errno.ENOSPC)
    only_shutdown_is_left(guest)


@scenario(own=own(FIRST + ",readonly=on", GARBAGE), healthy=False)
def disks_that_are_none(guest):
    ends(guest, "layer vdz", errno.ENOENT, layers=["erofs:vdb", "erofs:vdz"], upper="")


@scenario(own=own(GARBAGE), healthy=False)
def a_layer_of_garbage(guest):
    ends(guest, "layer vdc", errno.EINVAL, layers=["erofs:vdb", "erofs:vdc"], upper="")


@scenario(own=own(ELSEWHERE), healthy=False)
def a_layer_that_leads_elsewhere(guest):
    ends(guest, "layer vdc", errno.ENOTDIR, layers=["erofs:vdb", "ext4:vdc"], upper="")


@scenario(own=own(GARBAGE), healthy=False)
def an_upper_disk_of_garbage(guest):
    ends(guest, "upper disk", errno.EINVAL, layers=["erofs:vdb"], upper="vdc")


@scenario(own=dict(own(), append="initd.root=later initd.upper=vdb"), healthy=False)
def no_two_roots(guest):
    """What would be made at the boot cannot be told later."""
    try:
        guest.c.request("STATS")
        raise AssertionError("the guest was set up")
    except Refused as e:
        expect(e.code, SETUP)
    except Lost:
        pass
    expect(guest.wait_end(10), 0)


run_scenarios()
