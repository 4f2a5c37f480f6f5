#!/usr/bin/env python3
"""A stand-in of Debian's archive on loopback, signed with a key of its own; it answers as the archive and as a proxy to it.

    debian_archive.py DIRECTORY

DIRECTORY gets key.gpg (the key), requests (one URL a line) and the archive: linux-source-6.1 1.0 and 1.1 in bookworm,
linux-source-6.12 in trixie; the source in each is a file with its version. Prints the port and serves until its standard input ends.
"""

import email.utils
import hashlib
import http.server
import os
import subprocess
import sys
import threading

ROOT = os.path.abspath(sys.argv[1])
PACKAGES = {"bookworm": [("linux-source-6.1", "1.0"), ("linux-source-6.1", "1.1")], "trixie": [("linux-source-6.12", "2.0")]}
GPG = ["gpg", "--homedir", os.path.join(ROOT, "gpg"), "--batch", "--quiet", "--no-tty"]


def write(path, data):
    path = os.path.join(ROOT, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
    return path


def make_package(name, version):
    """The record of a package for the index."""
    tree = os.path.join(ROOT, "tree", f"{name}_{version}")
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: none\n"
    write(os.path.join(tree, "DEBIAN/control"), control.encode())
    write(os.path.join(tree, f"usr/src/{name}.tar.xz"), version.encode())
    pool = f"pool/{name}_{version}_all.deb"
    path = write(os.path.join("www/debian", pool), b"")
    subprocess.run(["dpkg-deb", "-Znone", "--build", tree, path], check=True, stdout=subprocess.DEVNULL)
    with open(path, "rb") as f:
        data = f.read()
    return f"{control}Filename: {pool}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"


def make_suite(archive, suite, packages):
    index = "".join(make_package(*p) for p in packages).encode()
    write(f"www/{archive}/dists/{suite}/main/binary-amd64/Packages", index)
    release = write(f"www/{archive}/dists/{suite}/Release",
                    (f"Suite: {suite}\nCodename: {suite}\nDate: {email.utils.formatdate(usegmt=True)}\nArchitectures: all amd64\n"
                     f"Components: main\nSHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} main/binary-amd64/Packages\n").encode())
    subprocess.run([*GPG, "--clearsign", "--output", os.path.join(os.path.dirname(release), "InRelease"), release], check=True)
    os.unlink(release)


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        with open(os.path.join(ROOT, "requests"), "a", encoding="ascii") as f:
            f.write(self.path + "\n")
        if self.path.startswith("http://"):
            self.path = "/" + self.path.split("/", 3)[3]
        super().do_GET()

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass


os.makedirs(os.path.join(ROOT, "gpg"), mode=0o700)
subprocess.run([*GPG, "--passphrase", "", "--quick-generate-key", "archive", "ed25519", "sign"], check=True)
subprocess.run([*GPG, "--output", os.path.join(ROOT, "key.gpg"), "--export"], check=True)
for release, packages in PACKAGES.items():
    make_suite("debian", release, packages)
    make_suite("debian", release + "-updates", [])
    make_suite("debian-security", release + "-security", [])
subprocess.run(["gpgconf", "--homedir", os.path.join(ROOT, "gpg"), "--kill", "all"], check=True)
open(os.path.join(ROOT, "requests"), "w", encoding="ascii").close()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Handler(*a, directory=os.path.join(ROOT, "www")))
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
