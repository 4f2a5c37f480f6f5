"""Images that hold initd and little else, as the maker of an appliance builds them, and guests that boot them.

Nothing of capsid is used: neither its images nor its command line. The steps are those of initd/README.md.
"""

import os
import shutil
import subprocess
import tempfile
import time

from guest import BUILD, C, KERNEL, PATIENCE, Guest, clock_arguments, die_with_parent, expect

os.environ["PATH"] += ":/usr/sbin:/sbin"  # where mkfs.ext4 is, which not everybody has in the path
DIRECTORIES = ("proc", "sys", "dev", "run", "tmp", "mnt")
NEWER = os.path.join(BUILD, "test", "vmlinux-newer")
INITD = os.environ.get("INITD") or os.path.join(BUILD, "initd")


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)


def erofs(image, tree):
    run("mkfs.erofs", "-T0", "--all-root", image, tree)
    return image


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


class Appliance(Guest):
    """A workshop: boot() starts a guest, and ends the one before. It does not wait for anything."""

    def __init__(self, programs=("appliance",), without=()):
        self.directory = tempfile.mkdtemp(prefix="a", dir=os.environ.get("TMPDIR"))
        self.console = self.path_of("console")
        self.path = self.path_of("s")
        self.process = self.log = self.c = None
        self.programs, self.baseline = (), None
        tree = self.path_of("tree")
        for name in DIRECTORIES:
            if name not in without:
                os.makedirs(os.path.join(tree, name))
        os.makedirs(os.path.join(tree, "sbin"))
        shutil.copy(INITD, os.path.join(tree, "sbin", "initd"))
        for name in programs:
            shutil.copy(os.path.join(BUILD, "test", "guest", name), os.path.join(tree, name))
        write(os.path.join(tree, "file"), "root")
        write(os.path.join(tree, "of-root"), "root")
        self.image = erofs(self.path_of("root.erofs"), tree)

    def path_of(self, name):
        return os.path.join(self.directory, name)

    def layer(self, name, **files):
        for file, text in files.items():
            write(os.path.join(self.path_of(name), file.replace("_", "-")), text)
        return erofs(self.path_of(f"{name}.erofs"), self.path_of(name))

    def disk(self, megabytes=32):
        path = self.path_of("disk")
        with open(path, "wb") as f:
            f.truncate(megabytes << 20)
        run("mkfs.ext4", "-q", "-F", path)
        return path

    def boot(self, words="", drives=(), kernel=None, devices=(), terminal=False):
        self.end()
        command_line = ("root=/dev/vda rootfstype=erofs ro init=/sbin/initd console=ttyS0 loglevel=5 panic=-1 reboot=t "
                        f"{clock_arguments(1)} {words}")
        serial = f"socket,path={self.path_of('tty')},server=on,wait=off,logfile=" if terminal else "file,path="
        arguments = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-accel", "tcg", "-cpu", "max",
            "-machine", "microvm,acpi=off,rtc=on,pit=on,pic=on,isa-serial=on", "-m", "128M",
            "-global", "virtio-mmio.force-legacy=false", "-kernel", kernel or KERNEL, "-append", command_line,
            "-chardev", f"{serial}{self.console},id=console", "-serial", "chardev:console",
            "-device", "virtio-serial-device", "-chardev", f"socket,id=g,path={self.path},server=on,wait=off",
            "-device", f"virtserialport,chardev=g,name={C.SERIAL_NAME}"]
        for i, (drive, access) in enumerate([(self.image, "on"), *drives]):
            arguments += ["-drive", f"id=d{i},file={drive},if=none,format=raw,readonly={access}",
                          "-device", f"virtio-blk-device,drive=d{i}"]
        for device in devices:
            arguments += ["-device", device]
        self.log = open(self.path_of("log"), "wb")
        self.baseline = None
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        preexec_fn=die_with_parent)
        return self

    def text(self):
        try:
            with open(self.console, "rb") as f:
                return f.read().decode(errors="replace").replace("\r", "")
        except FileNotFoundError:
            return ""

    def lines(self, part):
        return [line for line in self.text().splitlines() if part in line]

    def wait_text(self, part, times=1):
        deadline = time.monotonic() + PATIENCE
        while len(self.lines(part)) < times:
            assert time.monotonic() < deadline, f"the console has not {times} times {part!r}"
            assert self.alive() or len(self.lines(part)) >= times, f"the guest ended without {times} times {part!r}"
            time.sleep(0.02)

    def shut_down(self, exit_status=0, **fields):
        """SHUTDOWN; returns QEMU's exit status."""
        if self.c is None:
            self.connect()
        self.c.request("SHUTDOWN", **fields)
        expect(self.wait_end(), exit_status, "QEMU's exit status")

    def end(self):
        self.disconnect()
        if self.process:
            if self.alive():
                self.process.kill()
            self.process.wait()
            self.log.close()
        self.process = None
        for path in (self.console, self.path):
            if os.path.exists(path):
                os.unlink(path)

    def show(self):
        if os.path.exists(self.console) and self.log:
            super().show()

    def close(self):
        self.end()
