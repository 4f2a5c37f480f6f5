#!/usr/bin/python3
"""Makes an OCI layout of images as others build them: foreign_images.py DIRECTORY MUSL-PROGRAM

Tags: prefix, Python of this machine below /usr/local, as official images have it, in Debian's layout; redhat, the same in
/usr/libexec with its libraries in /usr/lib64, where nothing is called as in Debian; musl, a program linked with musl, as Alpine has.
"""
import os, re, subprocess, sys, tarfile

from oci_layout import Layer, Layout

directory, musl_program = sys.argv[1:3]
python = os.path.realpath(sys.executable)
version = "python%d.%d" % sys.version_info[:2]


def libraries(program):
    """The program's libraries and its loader: lines of "NAME => PATH (0x...)", and one of a path alone."""
    lines = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", lines)


def merged(links):
    layer = Layer()
    for name in ("usr", "usr/bin", "usr/lib", "usr/lib64", "etc", "tmp", "var", "var/lib"):
        layer.directory(name)
    for name in links:
        layer.add(name, type=tarfile.SYMTYPE, link="usr/" + name)
    return layer


def add_python(layer, program, library, prefix):
    """What an interpreter reads before its program; the rest is inside it."""
    with open(python, "rb") as f:
        layer.add(program, f.read(), mode=0o755)
    for path in libraries(python):
        name = "lib64/" + os.path.basename(path) if path.startswith("/lib64/") else library + "/" + os.path.basename(path)
        layer.tree(os.path.realpath(path), "usr/" + name)
    for name in ("lib-dynload", ""):
        layer.directory(f"{prefix}/lib/{version}/{name}".rstrip("/"))
    for name in ("os.py", "encodings"):
        layer.tree(f"{os.path.dirname(os.__file__)}/{name}", f"{prefix}/lib/{version}/{name}")


def prefix_layer():
    layer = merged(("bin", "lib", "lib64"))
    for name in ("usr/local", "usr/local/bin", "usr/local/lib", "usr/lib/x86_64-linux-gnu"):
        layer.directory(name)
    add_python(layer, "usr/local/bin/" + version, "lib/x86_64-linux-gnu", "usr/local")
    layer.add("usr/local/bin/python3", type=tarfile.SYMTYPE, link=version)
    return layer.finish()


def redhat_layer():
    layer = merged(("bin", "lib", "lib64"))
    for name in ("usr/libexec", "var/lib/rpm", "opt", "opt/app-root", "opt/app-root/bin"):
        layer.directory(name)
    layer.add("etc/os-release", b"ID=rhel\n")
    layer.add("var/lib/rpm/rpmdb.sqlite", b"")
    add_python(layer, "usr/libexec/platform-python", "lib64", "usr")
    layer.add("opt/app-root/bin/python3", type=tarfile.SYMTYPE, link="/usr/libexec/platform-python")
    return layer.finish()


def musl_layer():
    layer = Layer()
    for name in ("bin", "lib", "etc", "usr", "usr/bin"):
        layer.directory(name)
    with open(musl_program, "rb") as f:
        layer.add("usr/bin/lua", f.read(), mode=0o755)
    layer.add("usr/bin/sh", type=tarfile.LNKTYPE, link="usr/bin/lua")
    layer.tree("/usr/lib/x86_64-linux-musl/libc.so", "lib/ld-musl-x86_64.so.1")
    layer.add("etc/alpine-release", b"3.19.1\n")
    return layer.finish()


layout = Layout(directory)
layout.add("prefix", [prefix_layer()], {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "PYTHON_VERSION=3.12"], "Cmd": ["python3"]})
layout.add("redhat", [redhat_layer()], {"Env": ["PATH=/opt/app-root/bin:/usr/bin", "LD_LIBRARY_PATH=/usr/lib64"], "User": "1001"})
layout.add("musl", [musl_layer()], {"Env": ["PATH=/usr/bin"]})
layout.finish()
