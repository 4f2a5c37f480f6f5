"""A guest for the benchmarks: QEMU with the recipe of host/vmm/qemu.c, and clients of its serial ports."""

import base64
import json
import os
import socket
import struct
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("BUILD") or os.path.join(HERE, "..", "..", "build")
CAPSID = os.path.join(BUILD, "capsid")
GUEST_PROGRAMS = os.path.join(BUILD, "test", "guest")
HOME = os.environ.setdefault("CAPSID_HOME", os.path.abspath(os.path.join(BUILD, "test", "home")))

MAGIC = 0x44535043
HELLO, WELCOME, PING, PONG, OK, ERROR, DATA, END, WINDOW = 1, 2, 3, 4, 5, 6, 8, 9, 10
EXEC, STARTED, EXIT, SIGNAL, KILL, RELEASE = 16, 17, 18, 20, 21, 23
WRITE_FILE, READ_FILE, FILE_INFO, MOUNT, RESUME, RESUMED, STATS, USAGE = 32, 33, 35, 40, 51, 52, 53, 54
OUTPUT_WINDOW = 1 << 20
FILE_CHUNK = 60000

RAW_PORT = "bench.raw"
QGA_PORT = "org.qemu.guest_agent.0"
TIMEOUT = 120
COUNTING_CLOCK = "no_timer_check tsc=reliable tsc_early_khz=1000000 noreplace-smp nolapic_timer"


def text(s):
    data = s.encode() + b"\0"
    return struct.pack("<I", len(data)) + data


def texts(strings):
    data = b"".join(s.encode() + b"\0" for s in strings)
    return struct.pack("<I", len(data)) + data


class Refused(Exception):
    pass


class Initd:
    """proto/PROTOCOL.md over a socket."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""
        self.at = 0
        self.stream = 0
        self.job = 0  # the id of the last one started

    def send(self, kind, stream, payload=b""):
        self.sock.sendall(struct.pack("<IHHI", len(payload), kind, 0, stream) + payload)

    def fill(self):
        piece = self.sock.recv(1 << 18)
        if not piece:
            raise EOFError("the guest's port was closed")
        self.buffer = self.buffer[self.at:] + piece
        self.at = 0

    def whole_frame_is_here(self):
        held = len(self.buffer) - self.at
        return held >= 12 and held >= 12 + struct.unpack_from("<I", self.buffer, self.at)[0]

    def receive(self):
        while not self.whole_frame_is_here():
            self.fill()
        length, kind, _, stream = struct.unpack_from("<IHHI", self.buffer, self.at)
        start = self.at + 12
        self.at = start + length
        return kind, stream, self.buffer[start:self.at]

    def request(self, kind, payload, answer):
        self.stream += 1
        self.send(kind, self.stream, payload)
        got, stream, data = self.receive()
        if got != answer or stream != self.stream:
            raise Refused(f"message {kind} was answered by {got}: {data!r}")
        return data

    def hello(self):
        """(init_ns, ready_ns)"""
        self.send_hello()
        return self.take_welcome()

    def send_hello(self):
        self.send(HELLO, 0, struct.pack("<IHHQ", MAGIC, 1, 1, 0))

    def take_welcome(self):
        kind, _, data = self.receive()
        if kind != WELCOME:
            raise Refused(f"HELLO was answered by {kind}")
        return struct.unpack_from("<QQ", data, 19)

    def ping(self):
        self.send(PING, 0, b"12345678")
        if self.receive() != (PONG, 0, b"12345678"):
            raise Refused("PING was not answered by its PONG")

    def resume(self):
        payload = struct.pack("<I", 64) + os.urandom(64) + struct.pack("<Q", time.time_ns()) + os.urandom(16) + text("bench")
        done = struct.unpack_from("<H", self.request(RESUME, payload, RESUMED))[0]
        if done != 31:
            raise Refused(f"RESUMED says {done}")

    def write_file(self, path, data, mode=0o100755):
        self.stream += 1
        first = data[:FILE_CHUNK]
        head = text(path) + struct.pack("<IIIQHQQ", mode, 0, 0, 0, 1, 0, len(data)) + struct.pack("<I", len(first))
        self.send(WRITE_FILE, self.stream, head + first)
        sent = limit = len(first)
        while True:
            while sent < min(limit, len(data)):
                piece = data[sent:min(limit, sent + FILE_CHUNK)]
                self.send(DATA, self.stream, struct.pack("<BQI", 0, sent, len(piece)) + piece)
                sent += len(piece)
            kind, _, answer = self.receive()
            if kind == OK:
                return
            if kind != WINDOW:
                raise Refused(f"WRITE_FILE {path} was answered by {kind}: {answer!r}")
            limit = struct.unpack_from("<Q", answer, 9)[0]

    def read_file(self, path):
        """Takes a file's content; how many bytes."""
        self.stream += 1
        self.send(READ_FILE, self.stream, text(path) + struct.pack("<QQQ", 0, 1 << 62, OUTPUT_WINDOW))
        size, told = 0, 0
        while True:
            if size > told and not self.whole_frame_is_here():
                self.send(WINDOW, self.stream, struct.pack("<BQQ", 1, size, size + OUTPUT_WINDOW))
                told = size
            kind, _, data = self.receive()
            if kind == DATA:
                size += len(data) - 13
            elif kind == END:
                return size
            elif kind != FILE_INFO:
                raise Refused(f"READ_FILE {path} was answered by {kind}: {data!r}")

    def mount(self, source, target, kind, flags):
        self.request(MOUNT, text(source) + text(target) + text(kind) + struct.pack("<I", flags) + text(""), OK)

    def send_stats(self):
        self.stream += 1
        self.send(STATS, self.stream)
        return self.stream

    def take_uptime(self, stats):
        """When initd took the request, by the clock of init_ns."""
        kind, stream, data = self.receive()
        if (kind, stream) != (USAGE, stats):
            raise Refused(f"STATS was answered by {kind}: {data!r}")
        return struct.unpack_from("<Q", data)[0]

    def resident(self):
        """initd's own, as it reports it."""
        return struct.unpack_from("<Q", self.request(STATS, b"", USAGE), 48)[0]

    def start(self, argv, window=OUTPUT_WINDOW):
        """Starts a job and waits until it runs; (stream, pid)."""
        self.stream += 1
        limits = struct.pack("<HHHIIQIIQQ", 0, 0, 0, 0, 0, 0, 0, 0, 0, window)
        environment = ["PATH=/usr/local/bin:/usr/bin:/bin"]
        head = texts(argv) + texts(environment) + text("/")
        self.send(EXEC, self.stream, head + struct.pack("<III", 0, 0, 0) + limits)
        kind, _, data = self.receive()
        if kind != STARTED:
            raise Refused(f"EXEC {argv} was answered by {kind}: {data!r}")
        self.job = struct.unpack_from("<I", data)[0]
        return self.stream, struct.unpack_from("<I", data, 4)[0]

    def finish(self, stream):
        """Takes all output of a job up to its EXIT; the pieces of standard output."""
        pieces, errors, size, told = [], [], 0, 0
        while True:
            # One WINDOW for all that has come, as the host does.
            if size > told and not self.whole_frame_is_here():
                self.send(WINDOW, stream, struct.pack("<BQQ", 1, size, size + OUTPUT_WINDOW))
                told = size
            kind, _, data = self.receive()
            if kind == DATA and data[0] == 1:
                pieces.append(data[13:])
                size += len(data) - 13
            elif kind == DATA:
                errors.append(data[13:])
            elif kind == EXIT:
                cause, _, status = data[:3]
                if cause != 1 or status != 0:
                    raise Refused(f"a job ended with cause {cause}, status {status}: {b''.join(errors)!r}")
                return pieces
            elif kind != END:
                raise Refused(f"a job's stream brought {kind}: {data!r}")

    def run(self, argv):
        return b"".join(self.finish(self.start(argv)[0])).decode()

    def ports(self):
        """The device of each serial port, by the port's name."""
        lines = self.run(["/bin/sh", "-c", "cd /sys/class/virtio-ports && for p in *; do read n <$p/name; echo $n $p; done"])
        return {name: f"/dev/{port}" for name, port in (line.split() for line in lines.splitlines())}

    def release(self, job):
        self.request(RELEASE, struct.pack("<I", job), OK)

    def end_job(self, stream):
        """Kills a job and takes what it has put out."""
        self.send(KILL, stream)
        for channel in 1, 2:
            self.send(WINDOW, stream, struct.pack("<BQQ", channel, 0, 1 << 40))
        while True:
            kind, _, data = self.receive()
            if kind == DATA:
                size = struct.unpack_from("<Q", data, 1)[0] + len(data) - 13
                self.send(WINDOW, stream, struct.pack("<BQQ", data[0], size, 1 << 40))
            if kind == EXIT:
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
            raise Refused(f"{command} was answered by {answer}")
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
                    raise Refused(f"{path} ended with {status}")
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
    """What capsid tells an emulated guest about the clock; see host/vmm/qemu.c."""
    with open(os.path.join(HOME, "cache", "tsc"), encoding="ascii") as f:
        khz = f.read().split()[1]
    return f"no_timer_check tsc=reliable tsc_early_khz={khz} noreplace-smp nolapic_timer"


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
            "-serial", "null", "-device", "virtio-serial-device"]
        for i, ((_, theirs), name) in enumerate(zip(pairs, ("capsid.initd", RAW_PORT, QGA_PORT))):
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
