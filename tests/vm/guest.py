"""Real guests for the tests of initd: a complete client of proto/PROTOCOL.md, and QEMU with the recipe of the product.

    Connection  messages over a socket (wire.py); many streams at once, windows, and everything that a host can do wrong
    Job         one stream of an EXEC, ATTACH or FEED
    Guest       a virtual machine with initd in it
    run_scenarios(...)  what a test file ends with

Every byte that initd sends is checked while it comes in: offsets without a gap, nothing beyond a window, END where the
data ended, EXIT last.
"""

import collections
import ctypes
import errno
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

from wire import C, DEFAULTS, Link, Lost, Message, Refused, protocol

HERE = os.path.dirname(os.path.abspath(__file__))
SRC = os.environ.get("SRC") or os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("BUILD") or os.path.join(SRC, "build")
CAPSID = os.environ.get("CAPSID") or os.path.join(BUILD, "capsid")
HOME = os.path.join(BUILD, "test", "home")  # the shared one, whatever the test has for its own: its image is only read
KERNEL = os.environ.get("CAPSID_KERNEL") or os.path.join(BUILD, "share", "capsid", "vmlinux")

PATIENCE = 60  # seconds; a slow machine needs many, and a test that passes needs none of them


# ---- streams -------------------------------------------------------------------------------------

class Stream:
    """What a connection hands the messages of one stream to."""

    def __init__(self, connection, stream=None):
        self.connection = connection
        self.id = connection.new_stream() if stream is None else stream
        self.done = False
        self.error = None
        self.channels = {}
        connection.streams[self.id] = self

    def finish(self):
        self.done = True
        self.connection.streams.pop(self.id, None)

    def wait_done(self, patience=PATIENCE):
        self.connection.pump(lambda: self.done, patience, self)
        if self.error:
            raise Refused(self.error)


class Request(Stream):
    """One request, one answer."""

    def __init__(self, connection, kind, stream=None, **fields):
        super().__init__(connection, stream)
        self.answer = None
        connection.send(kind, self.id, **fields)

    def take(self, message):
        if message.kind == "ERROR":
            self.error = message
        self.answer = message
        self.finish()


class Channel:
    """A channel out of the guest, as far as it is checked the same everywhere."""

    def __init__(self, number, window, start=0, automatic=True):
        self.number, self.start, self.automatic, self.window = number, start, automatic, window
        self.data = bytearray()
        self.limit = start + window
        self.granted_at = start
        self.end = None

    @property
    def position(self):
        return self.start + len(self.data)

    def take(self, message):
        assert self.end is None, "DATA after END"
        assert message.offset == self.position, f"DATA at {message.offset} instead of {self.position}"
        assert len(message.data) > 0, "empty DATA"
        self.data += message.data
        assert self.position <= self.limit, f"DATA up to {self.position}, beyond the window's {self.limit}"

    def take_end(self, message):
        assert self.end is None, "END twice"
        assert message.offset == self.position, f"END at {message.offset} after {self.position} bytes"
        self.end = message.offset

    def grant(self, stream, window=None):
        """Takes what is there and asks for more."""
        window = self.window if window is None else window
        self.limit = max(self.limit, self.position + window)
        self.granted_at = self.position
        stream.connection.send("WINDOW", stream.id, channel=self.number, consumed=self.position, limit=self.limit)

    def grant_what_came(self, stream):
        if self.automatic and self.end is None and self.position > self.granted_at:
            self.grant(stream)


OPEN = object()  # standard input that a test feeds itself


class Job(Stream):
    def __init__(self, connection, kind="EXEC", stdin=None, automatic=True, stream=None, **fields):
        super().__init__(connection, stream)
        self.request = kind
        fields = {**DEFAULTS[kind], **fields}
        if stdin is not None:
            fields["flags"] |= C.JOB_STDIN
        window = fields.get("window", 0)
        self.channels = {1: Channel(1, window, fields.get("stdout_offset", 0), automatic),
                         2: Channel(2, window, fields.get("stderr_offset", 0), automatic)}
        self.job = fields.get("job")
        self.pid = None
        self.started = None
        self.exit = None
        self.to_send = bytearray() if stdin is OPEN else bytearray(stdin or b"")
        self.sends = stdin is not None and stdin is not OPEN
        self.input_offset = self.input_limit = 0
        self.input_ended = False
        self.controls = collections.deque()
        connection.send(kind, self.id, **fields)

    # what comes in

    def take(self, message):
        assert self.exit is None, f"{message} after EXIT"
        if message.kind in ("DATA", "END"):
            assert self.started or self.request == "FEED", f"{message} before STARTED"
            channel = self.channels[message.channel]
            (channel.take if message.kind == "DATA" else channel.take_end)(message)
        elif message.kind == "STARTED":
            assert not self.started, "STARTED twice"
            self.started, self.job, self.pid = message, message.job, message.pid
            self.input_offset, self.input_limit = message.stdin_offset, message.stdin_limit
            if self.request == "PRIME":
                self.finish()
        elif message.kind == "WINDOW":
            assert message.channel == 0, message
            assert message.limit >= self.input_limit, "a window that shrinks"
            self.input_limit = message.limit
        elif message.kind == "EXIT":
            self.take_exit(message)
        elif message.kind == "OK" or (message.kind == "ERROR" and self.controls and
                                      message.request == protocol.number[self.controls[0].kind]):
            self.controls.popleft().answer = message
        else:
            assert message.kind == "ERROR", message
            self.error = message
            self.finish()
        self.send_input()

    def take_exit(self, message):
        for number, size in ((1, message.stdout_size), (2, message.stderr_size)):
            assert self.channels[number].end == size, f"EXIT says {size}, END of {number} {self.channels[number].end}"
        self.exit = message
        self.finish()

    # what goes out

    def send_input(self):
        if not self.sends or self.done or not self.started:
            return
        while self.to_send and self.input_offset < self.input_limit:
            piece = bytes(self.to_send[:min(self.input_limit - self.input_offset, 60000)])
            del self.to_send[:len(piece)]
            self.connection.send("DATA", self.id, channel=0, offset=self.input_offset, data=piece)
            self.input_offset += len(piece)
        if not self.to_send and not self.input_ended:
            self.input_ended = True
            self.connection.send("END", self.id, channel=0, offset=self.input_offset)

    def type(self, data):
        """Input now, of a job whose stdin is OPEN."""
        self.connection.send("DATA", self.id, channel=0, offset=self.input_offset, data=data)
        self.input_offset += len(data)

    def end_input(self):
        self.connection.send("END", self.id, channel=0, offset=self.input_offset)

    def control(self, kind, patience=PATIENCE, **fields):
        pending = Message(kind, self.id, {})
        pending.answer = None
        self.controls.append(pending)
        self.connection.send(kind, self.id, **fields)
        self.connection.pump(lambda: pending.answer or self.done, patience, self)
        if pending.answer is None:
            raise AssertionError(f"no answer to {kind} before the job ended")
        if pending.answer.kind == "ERROR":
            raise Refused(pending.answer)

    # waiting

    def wait_started(self, patience=PATIENCE):
        self.connection.pump(lambda: self.started or self.done, patience, self)
        if self.error:
            raise Refused(self.error)
        return self

    def wait_output(self, text, patience=PATIENCE):
        text = text.encode() if isinstance(text, str) else text
        data, searched = self.channels[1].data, 0

        def found():
            nonlocal searched  # there may be much, and it comes in small pieces
            begin, searched = searched, max(len(data) - len(text) + 1, 0)
            return data.find(text, begin) >= 0

        self.connection.pump(lambda: found() or self.done, patience, self)
        if text not in data:
            raise AssertionError(f"the job ended without {text!r}: {self.out[-300:]!r} {self.err[-300:]!r} {self.exit}")
        return self

    def wait(self, patience=PATIENCE):
        self.wait_done(patience)
        return self.exit

    @property
    def out(self):
        return bytes(self.channels[1].data)

    @property
    def err(self):
        return bytes(self.channels[2].data)

    def __repr__(self):
        return (f"{self.request} on stream {self.id}, job {self.job}: {len(self.out)}+{len(self.err)} bytes, "
                f"input {self.input_offset}/{self.input_limit}, {self.exit or 'not ended'}")


class Reading(Stream):
    def __init__(self, connection, automatic=True, **fields):
        super().__init__(connection)
        fields = {**DEFAULTS["READ_FILE"], **fields}
        self.info = None
        self.channels = {1: Channel(1, fields["window"], 0, automatic)}
        connection.send("READ_FILE", self.id, **fields)

    def take(self, message):
        if message.kind == "FILE_INFO":
            assert self.info is None, "FILE_INFO twice"
            self.info = message
        elif message.kind == "DATA":
            assert self.info, "DATA before FILE_INFO"
            self.channels[1].take(message)
        elif message.kind == "END":
            self.channels[1].take_end(message)
            self.finish()
        else:
            assert message.kind == "ERROR", message
            self.error = message
            self.finish()


class Writing(Stream):
    def __init__(self, connection, path, data, first=60000, hold=False, **fields):
        super().__init__(connection)
        data = data.encode() if isinstance(data, str) else data
        fields = {**DEFAULTS["WRITE_FILE"], **fields}
        fields.setdefault("size", len(data))
        self.rest = memoryview(data)[first:]
        self.offset = self.limit = min(first, len(data))
        self.hold = hold
        connection.send("WRITE_FILE", self.id, path=path, data=data[:first], **fields)

    def take(self, message):
        if message.kind == "WINDOW":
            assert message.channel == 0 and message.limit >= self.limit, message
            self.limit = message.limit
            if not self.hold:
                self.send_more()
        elif message.kind == "OK":
            assert not self.rest, "OK before all of the content was sent"
            self.finish()
        else:
            assert message.kind == "ERROR", message
            self.error = message
            self.finish()

    def send_more(self):
        while self.rest and self.offset < self.limit:
            piece = bytes(self.rest[:min(60000, self.limit - self.offset)])
            self.connection.send("DATA", self.id, channel=0, offset=self.offset, data=piece)
            self.offset += len(piece)
            self.rest = self.rest[len(piece):]


# ---- a connection --------------------------------------------------------------------------------

class Connection(Link):
    def __init__(self, sock):
        super().__init__(sock)
        sock.setblocking(False)
        self.outgoing = bytearray()
        self.streams = {}
        self.strays = []  # messages of streams that nobody waits for
        self.paused = False
        self.lost = False
        self.welcome = None
        self.last_stream = 0

    def new_stream(self):
        self.last_stream += 1
        return self.last_stream

    def close(self):
        self.sock.close()
        self.lost = True

    # sending

    def send_raw(self, data):
        self.outgoing += data
        self.write()

    def write(self):
        try:
            while self.outgoing:
                n = self.sock.send(self.outgoing[:1 << 17])
                del self.outgoing[:n]
        except BlockingIOError:
            pass
        except OSError as e:
            self.lost = True
            raise Lost(str(e)) from e

    # receiving

    def read(self):
        try:
            piece = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError as e:
            piece = b""
            self.reason = e
        if not piece:
            self.lost = True
            raise Lost("initd's end is closed")
        self.frames.add(piece)
        while self.frames.ready():
            self.dispatch(self.frames.next())
        # At once: initd keeps what was not said to be consumed, and it keeps less than a window.
        for stream in list(self.streams.values()):
            for channel in stream.channels.values():
                channel.grant_what_came(stream)

    def dispatch(self, message):
        if protocol.sender[message.kind] == "HOST":
            raise AssertionError(f"initd sent {message}")
        if message.kind == "WELCOME":
            self.welcome = message
        elif message.stream in self.streams:
            self.streams[message.stream].take(message)
        else:
            self.strays.append(message)

    def pump(self, until, patience=PATIENCE, what=None):
        """Sends and receives until until() is true."""
        deadline = time.monotonic() + patience
        while not until():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"nothing within {patience} s: {what!r}")
            readable, writable, _ = select.select([] if self.paused else [self.sock],
                                                  [self.sock] if self.outgoing else [], [], min(left, 1))
            if writable:
                self.write()
            if readable:
                self.read()
        return True

    def pump_for(self, seconds):
        try:
            self.pump(lambda: False, seconds)
        except TimeoutError:
            pass

    # requests

    def hello(self, patience=PATIENCE):
        self.welcome = None
        self.send("HELLO")
        self.pump(lambda: self.welcome, patience, "HELLO")
        return self.welcome

    def ping(self, token=1, patience=PATIENCE):
        request = Request(self, "PING", token=token)
        request.wait_done(patience)
        assert request.answer.kind == "PONG" and request.answer.token == token, request.answer

    def request(self, kind, patience=PATIENCE, **fields):
        request = Request(self, kind, **fields)
        request.wait_done(patience)
        return request.answer

    def refused(self, kind, code, **fields):
        """The request is answered by this ERROR; returns its errno."""
        try:
            if kind in ("EXEC", "ATTACH", "FEED", "PRIME"):
                Job(self, kind, **fields).wait()
            elif kind == "READ_FILE":
                Reading(self, **fields).wait_done()
            elif kind == "WRITE_FILE":
                Writing(self, fields.pop("path"), fields.pop("data", b""), **fields).wait_done()
            else:
                self.request(kind, **fields)
        except Refused as e:
            assert e.code == code, f"{e} instead of {protocol.error_name(code)}"
            return e.os_errno
        raise AssertionError(f"{kind} {fields} was not refused")

    def start(self, argv, **fields):
        return Job(self, argv=argv, **fields)

    def run(self, argv, patience=PATIENCE, **fields):
        """A job from its start to its end."""
        job = Job(self, argv=argv, **fields)
        job.wait(patience)
        return job

    def shell(self, script, **fields):
        return self.run(["/bin/sh", "-c", script], **fields)

    def prime(self, argv, script, patience=PATIENCE, **fields):
        job = Job(self, "PRIME", argv=argv, script=script, **fields)
        job.wait_done(patience)
        return job.job

    def feed(self, job, source, **fields):
        return Job(self, "FEED", job=job, source=source, **fields)

    def read_file(self, path, **fields):
        reading = Reading(self, path=path, **fields)
        reading.wait_done()
        return bytes(reading.channels[1].data)

    def write_file(self, path, data, **fields):
        Writing(self, path, data, **fields).wait_done()

    def list_pages(self, path):
        """The pages of a directory, each a list of (name, mode, size, mtime_ns)."""
        pages, cursor = [], 0
        while True:
            page = self.request("LIST", path=path, cursor=cursor)
            at, entries = 0, []
            while at < len(page.entries):
                mode, size, mtime = struct.unpack_from("<IQQ", page.entries, at)
                name, at = protocol.decode_field("str", page.entries, at + 20)
                entries.append((name, mode, size, mtime))
            pages.append(entries)
            cursor = page.cursor
            if not cursor:
                return pages

    def resume(self, wall_clock_ns=None, **fields):
        fields = {"entropy": os.urandom(64), "instance": os.urandom(16), "hostname": "", **fields}
        return self.request("RESUME", wall_clock_ns=time.time_ns() if wall_clock_ns is None else wall_clock_ns, **fields)

    def jobs(self):
        answer = self.request("JOBS")
        assert len(answer.ids) == len(answer.states), answer
        assert answer.ids == sorted(answer.ids), f"not the oldest first: {answer.ids}"
        return dict(zip(answer.ids, answer.states))


# ---- a guest -------------------------------------------------------------------------------------

def in_full():
    """Whether this is the long form of a test, see tests/run."""
    return bool(os.environ.get("CHECK_ALL"))


def find_image(language="python"):
    if os.environ.get("GUEST_IMAGE"):
        return os.environ["GUEST_IMAGE"]
    environment = {**os.environ, "CAPSID_HOME": HOME}
    subprocess.run([CAPSID, "snapshot", "create", "--lang", language], env=environment, stdout=subprocess.DEVNULL, check=True,
                   timeout=240)
    listing = subprocess.run([CAPSID, "rootfs", "list", "--json"], env=environment, stdout=subprocess.PIPE, check=True, timeout=60)
    return next(i["path"] for i in json.loads(listing.stdout)["images"] if i["name"] == language)


def clock_arguments(vcpus):
    """What host/vmm/qemu.c tells an emulated guest about its clock, and about addresses."""
    words = "norandmaps no_timer_check"
    try:
        with open(os.path.join(HOME, "cache", "tsc"), encoding="ascii") as f:
            words += f" tsc=reliable tsc_early_khz={f.read().split()[1]}"
    except (OSError, IndexError):
        pass
    return words + (" noreplace-smp nolapic_timer" if vcpus == 1 else " rcupdate.rcu_expedited=1")


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def scheduling(path):
    """Seconds on a processor, and seconds of waiting for one: the kernel's sched-stats.rst."""
    with open(f"{path}/schedstat", encoding="ascii") as f:
        return tuple(int(word) / 1e9 for word in f.read().split()[:2])


def processor_time(guest):
    """Seconds that QEMU was on a processor: the time of an emulated guest on a machine that does nothing else."""
    tasks = f"/proc/{guest.process.pid}/task"
    return sum(scheduling(f"{tasks}/{thread}")[0] for thread in os.listdir(tasks))


class Guest:
    image = None
    HOSTILE = "/hostile"
    RSS_MAX = 1 << 20

    def __init__(self, memory=192, vcpus=1, kernel=None, append="", drives=(), programs=("hostile",), vsock=None, loglevel=1,
                 extra=(), image=None):
        """image: the root; without, python's."""
        image = image or self.default_image()
        self.directory = tempfile.mkdtemp(prefix="g", dir=os.environ.get("TMPDIR"))
        self.path = os.path.join(self.directory, "s")
        self.console = os.path.join(self.directory, "console")
        command_line = ("root=/dev/vda rootfstype=erofs ro init=/sbin/initd console=ttyS0 quiet "
                        f"loglevel={loglevel} panic=-1 reboot=t {clock_arguments(vcpus)} {append}")
        arguments = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-machine", "microvm,acpi=off,rtc=on,pit=on,pic=on,isa-serial=on,memory-backend=ram",
            "-accel", "tcg", "-cpu", "max,erms=off,fsrm=off", "-smp", str(vcpus), "-m", f"{memory}M",
            "-object", f"memory-backend-memfd,id=ram,size={memory}M,share={'on' if vsock else 'off'}",
            "-global", "virtio-mmio.force-legacy=false", "-kernel", kernel or KERNEL, "-append", command_line,
            "-drive", f"id=root,file={image},if=none,format=raw,readonly=on", "-device", "virtio-blk-device,drive=root",
            "-serial", f"file:{self.console}"]
        for i, drive in enumerate(drives):
            arguments += ["-drive", f"id=d{i},file={drive},if=none,format=raw", "-device", f"virtio-blk-device,drive=d{i}"]
        if vsock:
            arguments += ["-chardev", f"socket,id=vhost,path={vsock}", "-device", "vhost-user-vsock-device,chardev=vhost"]
        else:
            arguments += ["-device", "virtio-serial-device", "-chardev", f"socket,id=g,path={self.path},server=on,wait=off",
                          "-device", f"virtserialport,chardev=g,name={C.SERIAL_NAME}"]
        arguments += extra
        self.log = open(os.path.join(self.directory, "log"), "wb")
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        preexec_fn=die_with_parent)
        self.c = None
        self.baseline = None
        self.programs = programs
        self.connect()
        self.install()

    @staticmethod
    def default_image():
        Guest.image = Guest.image or find_image()
        return Guest.image

    def install(self):
        for name in self.programs:
            with open(os.path.join(BUILD, "test", "guest", name), "rb") as f:
                self.c.write_file(f"/{name}", f.read(), mode=0o100755)

    # connections

    def alive(self):
        return self.process.poll() is None

    def open_socket(self, patience=PATIENCE):
        deadline = time.monotonic() + patience
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(self.path)
                return sock
            except OSError:
                sock.close()
                if time.monotonic() > deadline or not self.alive():
                    raise
                time.sleep(0.02)

    def connect(self, patience=PATIENCE, answer_within=5, pause=0.1):
        """A new connection, with HELLO said. What still comes for the old one is not looked at. initd learns of the end
        of the old one only when the port stays closed for a moment; without, the HELLO may be taken for the rest of what
        was cut. So a host closes and tries again when it gets no answer."""
        deadline = time.monotonic() + patience
        if self.c:
            self.disconnect()
            time.sleep(pause)
        self.attempts = 0
        while True:
            self.attempts += 1
            self.c = Connection(self.open_socket(max(deadline - time.monotonic(), 1)))
            try:
                if self.attempts == 1 and self.baseline is None:
                    answer_within, normal = PATIENCE, answer_within  # it boots
                    self.c.hello(answer_within)
                    answer_within = normal
                else:
                    self.c.hello(answer_within)
                self.c.strays.clear()
                return self.c
            except (TimeoutError, Lost):
                if time.monotonic() > deadline or not self.alive():
                    raise
                self.disconnect()
                time.sleep(0.2)

    def disconnect(self):
        if self.c:
            self.c.close()
            self.c = None

    # is it well?

    def hostile(self, *words, **fields):
        return self.c.start([self.HOSTILE, *map(str, words)], **fields)

    def run_hostile(self, *words, **fields):
        patience = fields.pop("patience", PATIENCE)
        job = self.hostile(*words, **fields)
        job.wait(patience)
        return job

    def after_a_kill(self):
        """After a job of root has killed every process: also the one that waits to become a job. It may die of it only after
        it was told what to become; then PROTOCOL.md says to try again."""
        try:
            self.run_hostile("true")
        except Refused as e:
            expect((e.code, e.os_errno), (C.ERR_EXEC, errno.EAGAIN))

    def forget_ended(self):
        """RELEASE of every job that is in the table; they all must have ended."""
        for job, state in self.c.jobs().items():
            assert state == C.JOB_ENDED, f"job {job} is in state {state}"
            self.c.request("RELEASE", job=job)
        assert self.c.jobs() == {}, "the job table is not empty"

    def census(self, *limits):
        job = self.run_hostile("census", *(limits or (0, 0, 0)))
        assert job.exit.status == 0 and not job.err, job
        return tuple(map(int, job.out.split()))

    def set_baseline(self):
        """With the groups that initd keeps for later jobs (CGROUPS_WAITING_MAX, each with its files) all there: what runs at
        once leaves as many."""
        for job in [self.hostile("sleep", 300) for _ in range(3)]:
            job.wait()
        self.forget_ended()
        self.baseline = self.census()

    def assert_healthy(self):
        """initd answers, runs programs, and holds nothing that it did not hold before."""
        assert self.alive(), "QEMU has ended"
        if self.c is None or self.c.lost:
            self.connect()
        self.c.ping(0x1234567890abcdef)
        job = self.run_hostile("true")
        assert (job.exit.cause, job.exit.status, job.exit.flags, job.out, job.err) == (C.CAUSE_EXITED, 0, 0, b"", b""), job
        self.forget_ended()
        if self.baseline is None:
            self.set_baseline()
        got = self.census(*self.baseline)
        assert all(a <= b for a, b in zip(got, self.baseline)), \
            f"open files of PID 1, processes, cgroups: {got} after {self.baseline}"
        usage = self.c.request("STATS")
        assert 0 < usage.initd_rss <= self.RSS_MAX, f"initd has {usage.initd_rss} bytes resident"
        self.forget_ended()
        assert not self.c.strays, f"messages that nobody asked for: {self.c.strays}"
        return usage

    def port(self):
        """The path of the serial port in the guest."""
        job = self.c.shell("cd /sys/class/virtio-ports; for p in *; do read -r name <$p/name; "
                           f"[ \"$name\" != {C.SERIAL_NAME} ] || echo /dev/$p; done")
        assert job.out.startswith(b"/dev/vport"), job
        return job.out.decode().strip()

    # the end

    def wait_end(self, patience=PATIENCE):
        """QEMU's exit status."""
        return self.process.wait(patience)

    def show(self):
        for path in (self.console, os.path.join(self.directory, "log")):
            with open(path, "rb") as f:
                text = f.read()[-3000:].decode(errors="replace").replace("\r", "")
            if text.strip():
                print(f"--- {os.path.basename(path)}\n{text}\n---")

    def close(self):
        self.disconnect()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.show()
        self.close()


def pattern(seed, size, start=0):
    """What `hostile pattern` writes, from an offset on."""
    block = bytes((seed + start + i) % 251 for i in range(251))
    return (block * (size // 251 + 1))[:size]


def expect(got, wanted, what="value"):
    assert got == wanted, f"{what}: got {got!r}, wanted {wanted!r}"


# ---- scenarios -----------------------------------------------------------------------------------

SCENARIOS = []


def scenario(function=None, *, own=None, healthy=True):
    """own: a guest of its own, with these options. healthy: assert_healthy() afterwards."""
    def add(f):
        SCENARIOS.append((f, own, healthy))
        return f
    return add(function) if function else add


def run_one(function, guest, healthy):
    function(guest)
    if healthy:
        guest.assert_healthy()


def run_scenarios(kind=Guest, **options):
    """All scenarios of the file, or those named on the command line; the exit status says whether they went well."""
    wanted = sys.argv[1:]
    failures, shared = 0, None
    sys.stdout.reconfigure(line_buffering=True)
    for function, own, healthy in SCENARIOS:
        name = function.__name__.replace("_", " ")
        if wanted and function.__name__ not in wanted:
            continue
        began, guest = time.monotonic(), None
        try:
            if own is None and shared is None:
                guest = kind(**options)
                guest.set_baseline()
                shared = guest
                print(f"guest: initd {shared.c.welcome.build}, {time.monotonic() - began:.1f} s")
                began = time.monotonic()
            guest = shared if own is None else kind(**{**options, **own})
            if own is not None and healthy:
                guest.set_baseline()
            run_one(function, guest, healthy)
            print(f"ok: {name} ({time.monotonic() - began:.1f} s)")
        except Exception:  # pylint: disable=broad-except
            failures += 1
            print(f"FAILED: {name} ({time.monotonic() - began:.1f} s)")
            traceback.print_exc(file=sys.stdout)
            if guest:
                guest.show()
                guest.close()
            shared = None if guest is shared else shared
        finally:
            if own is not None and guest:
                guest.close()
    if shared:
        shared.close()
    if failures:
        print(f"{failures} failures")
    sys.exit(failures > 0)
