"""A guest for the benchmarks: QEMU with the recipe of host/vmm/qemu.c, and clients of its serial ports."""

import base64
import json
import os
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "vm"))
import wire  # noqa: E402
from wire import C  # noqa: E402

BUILD = os.environ.get("BUILD") or os.path.join(HERE, "..", "..", "build")
CAPSID = os.path.join(BUILD, "capsid")
GUEST_PROGRAMS = os.path.join(BUILD, "test", "guest")
HOME = os.environ.setdefault("CAPSID_HOME", os.path.abspath(os.path.join(BUILD, "test", "home")))

OUTPUT_WINDOW = 1 << 20
FILE_CHUNK = 60000

RAW_PORT = "bench.raw"
QGA_PORT = "org.qemu.guest_agent.0"
TIMEOUT = 120
COUNTING_CLOCK = "norandmaps no_timer_check tsc=reliable tsc_early_khz=1000000 noreplace-smp nolapic_timer"


class Initd(wire.Conversation):
    """initd, one request after the other."""

    def __init__(self, sock):
        super().__init__(sock)
        self.stream = 0
        self.job = 0  # the id of the last one started

    def begin(self, kind, **fields):
        """Sends a request on a new stream."""
        self.stream += 1
        self.send(kind, self.stream, **fields)

    def request(self, kind, answer, **fields):
        self.begin(kind, **fields)
        message = self.receive_one_of(answer)
        assert message.stream == self.stream, message
        return message

    def resume(self):
        done = self.request("RESUME", "RESUMED", entropy=os.urandom(64), wall_clock_ns=time.time_ns(),
                            instance=os.urandom(16), hostname="bench").done
        assert done == 31, f"RESUMED says {done}"

    def write_file(self, path, data, mode=0o100755):
        sent = limit = len(data[:FILE_CHUNK])
        self.begin("WRITE_FILE", path=path, mode=mode, flags=C.WRITE_PARENTS, size=len(data), data=data[:sent])
        while True:
            while sent < min(limit, len(data)):
                piece = data[sent:min(limit, sent + FILE_CHUNK)]
                self.send("DATA", self.stream, channel=0, offset=sent, data=piece)
                sent += len(piece)
            answer = self.receive_one_of("OK", "WINDOW")
            if answer.kind == "OK":
                return
            limit = answer.limit

    def grant(self, stream, channel, consumed, limit):
        self.send("WINDOW", stream, channel=channel, consumed=consumed, limit=limit)

    def read_file(self, path):
        """Takes a file's content; how many bytes."""
        self.begin("READ_FILE", path=path, window=OUTPUT_WINDOW)
        size, told = 0, 0
        while True:
            if size > told and not self.frames.ready():
                self.grant(self.stream, 1, size, size + OUTPUT_WINDOW)
                told = size
            message = self.receive_one_of("FILE_INFO", "DATA", "END")
            if message.kind == "DATA":
                size += len(message.data)
            elif message.kind == "END":
                return size

    def mount(self, source, target, kind, flags):
        self.request("MOUNT", "OK", source=source, target=target, fstype=kind, flags=flags)

    def resident(self):
        """initd's own, as it reports it."""
        return self.request("STATS", "USAGE").initd_rss

    def start(self, argv, window=OUTPUT_WINDOW):
        """Starts a job and waits until it runs; (stream, pid)."""
        started = self.request("EXEC", "STARTED", argv=argv, env=["PATH=/usr/local/bin:/usr/bin:/bin"], window=window)
        self.job = started.job
        return self.stream, started.pid

    def finish(self, stream):
        """Takes all output of a job up to its EXIT; the pieces of standard output."""
        pieces, errors, size, told = [], [], 0, 0
        while True:
            # One WINDOW for all that has come, as the host does.
            if size > told and not self.frames.ready():
                self.grant(stream, 1, size, size + OUTPUT_WINDOW)
                told = size
            message = self.receive_one_of("DATA", "END", "EXIT")
            if message.kind == "DATA" and message.channel == 1:
                pieces.append(message.data)
                size += len(message.data)
            elif message.kind == "DATA":
                errors.append(message.data)
            elif message.kind == "EXIT":
                assert (message.cause, message.status) == (C.CAUSE_EXITED, 0), f"{message}: {b''.join(errors)!r}"
                return pieces

    def run(self, argv):
        return b"".join(self.finish(self.start(argv)[0])).decode()

    def ports(self):
        """The device of each serial port, by the port's name."""
        lines = self.run(["/bin/sh", "-c", "cd /sys/class/virtio-ports && for p in *; do read n <$p/name; echo $n $p; done"])
        return {name: f"/dev/{port}" for name, port in (line.split() for line in lines.splitlines())}

    def release(self, job):
        self.request("RELEASE", "OK", job=job)

    def end_job(self, stream):
        """Kills a job and takes what it has put out."""
        self.send("KILL", stream)
        for channel in 1, 2:
            self.grant(stream, channel, 0, 1 << 40)
        while True:
            message = self.receive()
            if message.kind == "DATA":
                self.grant(stream, message.channel, message.offset + len(message.data), 1 << 40)
            if message.kind == "EXIT":
                return


class Agent:
    """The QEMU guest agent: JSON, one object a line."""

    def __init__(self, sock):
        self.sock = sock
        self.rest = b""

    def line(self):
        pieces = [self.rest]
        while b"\n" not in pieces[-1]:
            piece = self.sock.recv(1 << 18)
            if not piece:
                raise EOFError("the agent's port was closed")
            pieces.append(piece)
        line, _, self.rest = b"".join(pieces).partition(b"\n")
        return json.loads(line)

    def call(self, command, **arguments):
        self.sock.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        answer = self.line()
        if "return" not in answer:
            raise RuntimeError(f"{command} was answered by {answer}")
        return answer["return"]

    def run(self, path, arguments=(), pause=0.0):
        """Starts a program with its output captured and asks until it has ended; (output, how often was asked)."""
        pid = self.call("guest-exec", path=path, arg=list(arguments), **{"capture-output": True})["pid"]
        asked = 0
        while True:
            if pause:
                time.sleep(pause)
            status = self.call("guest-exec-status", pid=pid)
            asked += 1
            if status["exited"]:
                if status["exitcode"] != 0:
                    raise RuntimeError(f"{path} ended with {status}")
                return base64.b64decode(status.get("out-data", "")), asked

    def read_file(self, path, chunk):
        handle = self.call("guest-file-open", path=path, mode="r")
        size = 0
        while True:
            piece = self.call("guest-file-read", handle=handle, count=chunk)
            size += len(base64.b64decode(piece["buf-b64"]))
            if piece["eof"]:
                self.call("guest-file-close", handle=handle)
                return size


def image_path():
    done = subprocess.run([CAPSID, "rootfs", "list", "--json"], stdout=subprocess.PIPE, check=True, timeout=60)
    for image in json.loads(done.stdout)["images"]:
        if image["name"] == "python":
            return image["path"]
    raise SystemExit("Error: there is no image of the language python")


def clock_arguments():
    """What capsid tells an emulated guest about the clock, and about addresses; see host/vmm/qemu.c."""
    with open(os.path.join(HOME, "cache", "tsc"), encoding="ascii") as f:
        khz = f.read().split()[1]
    return f"norandmaps no_timer_check tsc=reliable tsc_early_khz={khz} noreplace-smp nolapic_timer"


class Machine:
    """One virtual machine with three ports: initd's, a raw one and the guest agent's."""

    def __init__(self, kernel, image, disk=None, cpu="max", memory=256, counting=False):
        """counting: the guest's clock counts its instructions, one in a nanosecond, so that nothing depends on this machine."""
        pairs = [socket.socketpair() for _ in range(3)]
        arguments = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-machine", "microvm,acpi=off,rtc=on,pit=on,pic=on,isa-serial=on,memory-backend=ram",
            "-accel", "tcg", "-cpu", cpu, "-smp", "1", "-m", f"{memory}M",
            "-object", f"memory-backend-ram,id=ram,size={memory}M", "-global", "virtio-mmio.force-legacy=false",
            "-kernel", kernel, "-append",
            "root=/dev/vda rootfstype=erofs ro init=/sbin/initd console=ttyS0 quiet loglevel=1 panic=-1 reboot=t "
            + (COUNTING_CLOCK if counting else clock_arguments()),
            "-drive", f"id=root,file={image},if=none,format=raw,readonly=on", "-device", "virtio-blk-device,drive=root",
            "-serial", "null", "-device", f"virtio-serial-device,max_ports={1 + len(pairs)}"]
        for i, ((_, theirs), name) in enumerate(zip(pairs, (C.SERIAL_NAME, RAW_PORT, QGA_PORT))):
            arguments += ["-chardev", f"socket,id=c{i},fd={theirs.fileno()}",
                          "-device", f"virtserialport,chardev=c{i},nr={i + 1},name={name}"]
        if counting:
            arguments += ["-icount", "shift=0,sleep=off"]
        if disk:
            arguments += ["-drive", f"id=disk,file={disk},if=none,format=raw,readonly=on",
                          "-device", "virtio-blk-device,drive=disk"]
        self.began = time.monotonic()
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, pass_fds=[t.fileno() for _, t in pairs])
        for ours, theirs in pairs:
            theirs.close()
            ours.settimeout(TIMEOUT)
        self.initd = Initd(pairs[0][0])
        self.raw = pairs[1][0]
        self.agent = Agent(pairs[2][0])
        self.sockets = [ours for ours, _ in pairs]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for s in self.sockets:
            s.close()
