#!/usr/bin/python3
"""Makes the OCI image layout of the tests: oci_image.py DIRECTORY BUSYBOX [hostile-...]

Three layers: busybox and files; whiteouts, an opaque directory, hard links, owners and a setuid file; a script.
With a further word the last layer is hostile in that way.
"""
import sys, tarfile

from oci_layout import Layer, Layout

directory, busybox = sys.argv[1:3]
kind = sys.argv[3] if len(sys.argv) > 3 else ""


def base():
    l = Layer()
    for d in ("bin", "etc", "usr", "usr/sbin", "gone", "opaque", "opaque/deep"):
        l.directory(d)
    l.add("sbin", type=tarfile.SYMTYPE, link="usr/sbin")
    with open(busybox, "rb") as f:
        l.add("bin/busybox", f.read(), mode=0o755, xattr=("user.note", "dropped"))
    for name in ("sh", "cat", "ls", "stat", "id", "env", "find", "sort", "test"):
        l.add("bin/" + name, type=tarfile.LNKTYPE, link="bin/busybox")
    l.add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    l.add("gone/file", b"x")
    l.add("single", b"x")
    l.add("opaque/old", b"x")
    l.add("opaque/deep/old", b"x")
    l.add("etc/release", b"one\n")
    for d in ("var", "var/lib", "var/lib/dpkg", "var/lib/dpkg/status.d", "lib", "lib/apk", "lib/apk/db"):
        l.directory(d)
    l.add("var/lib/dpkg/status", b"""Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: two
 lines: Version: 9

Package: gone
Status: deinstall ok config-files
Version: 1

Package: bad name\x1b[2J
Status: install ok installed
Version: 1
""")
    l.add("var/lib/dpkg/status.d/tzdata", b"Package: tzdata\nVersion: 2025b-0+deb12u1\n")
    l.add("lib/apk/db/installed", b"C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\n\nP:zlib\nV:1.3.1-r2\n\n")
    return l


def changes():
    l = Layer()
    l.add(".wh.gone")
    l.add(".wh.single")
    l.directory("opaque")
    l.add("opaque/new", b"new\n")
    l.add("opaque/.wh..wh..opq")
    l.add("etc/release", b"two\n")
    l.directory("srv")
    l.add("srv/owned", b"mine\n", mode=0o640, owner=(1234, 4321))
    l.add("srv/linked", type=tarfile.LNKTYPE, link="srv/owned")
    l.add("srv/setuid", b"", mode=0o4755, owner=(7, 7))
    l.directory("srv/sticky", mode=0o1777)
    l.add("srv/" + "long" * 50, b"long\n")
    return l


def last():
    l = Layer()
    l.add("usr/sbin/greet", b"#!/bin/sh\necho greetings\n", mode=0o755)
    if kind == "hostile-traversal":
        l.add("../../etc/evil", b"x")
    elif kind == "hostile-symlink":
        l.add("door", type=tarfile.SYMTYPE, link="/etc")
        l.add("door/evil", b"x")
    elif kind == "hostile-device":
        l.add("dev/sda", type=tarfile.BLKTYPE)
    elif kind == "hostile-bomb":
        l.add("zeros", b"\0" * (96 << 20))
    return l


layout = Layout(directory)
compressed = layout.add("latest", [base().finish(), changes().finish(), last().finish()], {
    "Env": ["PATH=/usr/sbin:/bin", "GREETING=hello from the image", "LANG=POSIX", "HOME=/nowhere"],
    "WorkingDir": "/srv", "User": "1234:4321", "Entrypoint": ["/bin/sh"], "Cmd": ["-c", "greet"],
}, "arm64" if kind == "hostile-architecture" else "amd64")
if kind == "hostile-digest":
    with open(layout.path(compressed[1]), "r+b") as f:
        f.seek(40)
        f.write(b"\xff\xff")
layout.finish()
