"""A client that knows of the protocol what proto/PROTOCOL.md says, and nothing else: numbers, fields and values are read
from the tables of the document. It talks to a real guest about everything that a host can send.

Where the document leaves something out, this file cannot be written; so it is also an example of a client.

    python3 stranger_client.py        boots a guest (tests/vm/guest.py) and runs all of it
    python3 stranger_client.py PATH   talks to the initd behind the Unix socket PATH
"""

import os
import re
import socket
import struct
import sys
import time

DOCUMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto", "PROTOCOL.md")
PATIENCE = 60
INTEGERS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q"}


class Document:
    """The tables at its end."""

    def __init__(self, path=DOCUMENT):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        self.prose, text = text.split("<!-- tables:")
        self.number, self.sender, self.fields, self.value = {}, {}, {}, {}
        section = ""
        for line in text.splitlines():
            if line.startswith("#"):
                section = line.strip("# ")
            cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
            if len(cells) < 3 or cells[0].startswith("-"):
                continue
            if section == "Messages" and cells[0].isdigit():
                self.number[cells[1]], self.sender[cells[1]] = int(cells[0]), cells[2]
                self.fields[cells[1]] = []
            elif section in self.number and cells[0] != "field":
                self.fields[section].append((cells[0], cells[1]))
            elif cells[1].isdigit():
                self.value[cells[0]] = int(cells[1])
        self.name = {number: name for name, number in self.number.items()}

    def examples(self):
        """The worked examples: the message's name, and the bytes of its frame."""
        for name, block in re.findall(r"^\*\*(\w+)\*\* from .*?\n```\n(.*?)```$", self.prose, re.S | re.M):
            yield name, bytes.fromhex(re.sub(r"#.*", "", block))

    def __getattr__(self, name):
        return self.value[name]


D = Document()


# ---- section 2: frames and fields ----------------------------------------------------------------

def encode_field(kind, value):
    if kind in INTEGERS:
        return struct.pack(INTEGERS[kind], value)
    if kind == "uuid":
        assert len(value) == 16
        return value
    if kind == "u32s":
        return struct.pack("<I", len(value)) + b"".join(struct.pack("<I", v) for v in value)
    if kind == "str":
        value = value.encode() + b"\0"
    elif kind == "strs":
        value = b"".join(s.encode() + b"\0" for s in value)
    return struct.pack("<I", len(value)) + value


def decode_field(kind, data, at):
    """The value, and where the next one begins."""
    if kind in INTEGERS:
        size = struct.calcsize(INTEGERS[kind])
        return struct.unpack(INTEGERS[kind], data[at:at + size])[0], at + size
    if kind == "uuid":
        return data[at:at + 16], at + 16
    size = struct.unpack("<I", data[at:at + 4])[0]
    at += 4
    if kind == "u32s":
        return [struct.unpack_from("<I", data, at + 4 * i)[0] for i in range(size)], at + 4 * size
    piece = data[at:at + size]
    assert len(piece) == size
    if kind == "str":
        assert size >= 1 and piece.index(b"\0") == size - 1
        piece = piece[:-1].decode()
    elif kind == "strs":
        piece = [s.decode() for s in piece.split(b"\0")[:-1]]
    return piece, at + size


def frame(kind, stream, fields):
    wanted = D.fields[kind]
    assert {name for name, _ in wanted} == set(fields), (kind, fields)
    payload = b"".join(encode_field(t, fields[name]) for name, t in wanted)
    assert len(payload) <= 65524
    return struct.pack("<IHHI", len(payload), D.number[kind], 0, stream) + payload


def decode(data):
    """The fields of a whole frame."""
    length, number, flags, stream = struct.unpack("<IHHI", data[:12])
    assert flags == 0 and length == len(data) - 12
    kind, payload, at, fields = D.name[number], data[12:], 0, {}
    for name, t in D.fields[kind]:
        fields[name], at = decode_field(t, payload, at)
    assert at == length, f"{kind} has {length - at} bytes too many"
    return Answer(kind, stream, fields)


class Answer(dict):
    """A message; its fields are attributes."""

    def __init__(self, kind, stream, fields):
        super().__init__(fields)
        self.kind, self.stream = kind, stream

    def __getattr__(self, name):
        return self[name]


class Error(Exception):
    def __init__(self, message):
        super().__init__(f"{message.text}: {dict(message)}")
        self.code, self.os_errno, self.request = message.code, message.os_errno, message.request


# ---- sections 3 and 4: a connection, its streams -------------------------------------------------

class Client:
    sent, received = set(), set()

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(path)
        self.data = b""
        self.last = 0

    def close(self):
        self.sock.close()

    def send(self, kind, stream, **fields):
        Client.sent.add(kind)
        self.sock.sendall(frame(kind, stream, fields))

    def read(self, size):
        while len(self.data) < size:
            piece = self.sock.recv(65536)
            if not piece:
                raise EOFError
            self.data += piece
        head, self.data = self.data[:size], self.data[size:]
        return head

    def receive(self):
        header = self.read(12)
        length = struct.unpack("<I", header[:4])[0]
        assert length <= 65524
        answer = decode(header + self.read(length))
        assert D.sender[answer.kind] in ("guest", "both"), answer.kind
        Client.received.add(answer.kind)
        return answer

    def hello(self):
        """What comes before WELCOME was meant for an earlier connection of the serial port."""
        self.send("HELLO", 0, magic=struct.unpack("<I", b"CPSD")[0], version_min=1, version_max=1, features=0)
        while True:
            answer = self.receive()
            if answer.kind == "WELCOME":
                assert answer.version == 1 and answer.magic == struct.unpack("<I", b"CPSD")[0]
                return answer

    def hangs_up(self, code, os_errno=0):
        """ERROR, and nothing more is taken: the end of the connection, or silence on the serial port."""
        while True:
            answer = self.receive()
            if answer.kind == "ERROR":
                assert (answer.code, answer.os_errno) == (code, os_errno), answer
                break
        self.sock.settimeout(0.3)
        try:
            self.send("PING", 0, token=1)
            assert not self.sock.recv(1), "the connection goes on"
        except OSError:
            pass
        self.close()

    def stream(self):
        self.last += 1
        return self.last

    def next_of(self, stream):
        """The next message of a stream; there is only one at a time here."""
        answer = self.receive()
        assert answer.stream == stream, (answer.kind, answer)
        if answer.kind == "ERROR":
            raise Error(answer)
        return answer

    def ask(self, kind, wanted="OK", **fields):
        stream = self.stream()
        self.send(kind, stream, **fields)
        answer = self.next_of(stream)
        assert answer.kind == wanted, (answer.kind, answer)
        return answer

    # jobs

    def begin(self, kind, window=65536, **fields):
        """EXEC, ATTACH and FEED, up to STARTED."""
        job = Job(self, window, fields.get("stdout_offset", 0), fields.get("stderr_offset", 0))
        self.send(kind, job.stream, window=window, **fields)
        job.started = self.next_of(job.stream)
        assert job.started.kind == "STARTED"
        return job

    def execute(self, argv, **changes):
        fields = dict(argv=argv, env=["PATH=/usr/local/bin:/usr/bin:/bin"], cwd="/", uid=0, gid=0, groups=[], flags=0, rows=0, cols=0,
                      wall_ms=0, cpu_ms=0, memory=0, pids=0, files=0, output=0)
        return self.begin("EXEC", **{**fields, **changes})

    # files

    def write(self, path, content, first=1000, **changes):
        """The first bytes in the request, the others as DATA once a WINDOW allows them."""
        fields = dict(mode=0o100644, uid=0, gid=0, mtime_ns=0, flags=0, offset=0)
        stream = self.stream()
        data = content[:first]
        self.send("WRITE_FILE", stream, path=path, size=len(content), data=data, **{**fields, **changes})
        at = limit = len(data)
        while True:
            while at < min(limit, len(content)):
                piece = content[at:min(limit, at + 60000)]
                self.send("DATA", stream, channel=0, offset=at, data=piece)
                at += len(piece)
            answer = self.next_of(stream)
            if answer.kind == "OK":
                return
            assert answer.kind == "WINDOW" and answer.channel == 0
            limit = answer.limit

    def read_file(self, path, offset=0, length=2 ** 63):
        stream = self.stream()
        self.send("READ_FILE", stream, path=path, offset=offset, length=length, window=1000)
        info = self.next_of(stream)
        assert info.kind == "FILE_INFO"
        content = b""
        while True:
            answer = self.next_of(stream)
            assert answer.channel == 1 and answer.offset == len(content)
            if answer.kind == "END":
                return info, content
            content += answer.data
            self.send("WINDOW", stream, channel=1, consumed=len(content), limit=len(content) + 100000)

    def list(self, path):
        names, cursor = {}, 0
        while True:
            page = self.ask("LIST", "LISTING", path=path, cursor=cursor)
            at = 0
            while at < len(page.entries):
                mode, at = decode_field("u32", page.entries, at)
                size, at = decode_field("u64", page.entries, at)
                _, at = decode_field("u64", page.entries, at)
                name, at = decode_field("str", page.entries, at)
                names[name] = (mode, size)
            cursor = page.cursor
            if cursor == 0:
                return names


class Job:
    def __init__(self, client, window, *offsets):
        self.client, self.stream, self.window = client, client.stream(), window
        self.started = self.exit = None
        self.at = {1: offsets[0], 2: offsets[1]}
        self.data = {1: b"", 2: b""}
        self.ended = {}
        self.input_at = 0

    def type(self, data):
        self.client.send("DATA", self.stream, channel=0, offset=self.input_at, data=data)
        self.input_at += len(data)

    def end_input(self):
        self.client.send("END", self.stream, channel=0, offset=self.input_at)

    def step(self, take=True):
        answer = self.client.next_of(self.stream)
        if answer.kind == "DATA":
            assert answer.offset == self.at[answer.channel] and answer.data
            self.at[answer.channel] += len(answer.data)
            self.data[answer.channel] += answer.data
            if take:
                at = self.at[answer.channel]
                self.client.send("WINDOW", self.stream, channel=answer.channel, consumed=at, limit=at + self.window)
        elif answer.kind == "END":
            assert answer.offset == self.at[answer.channel]
            self.ended[answer.channel] = True
        elif answer.kind == "EXIT":
            assert self.ended == {1: True, 2: True}
            assert (answer.stdout_size, answer.stderr_size) == (self.at[1], self.at[2])
            self.exit = answer
        return answer

    def until(self, text):
        while text not in self.data[1]:
            self.step()

    def control(self, kind, **fields):
        """RESIZE, SIGNAL or KILL; output may come before the answer."""
        self.client.send(kind, self.stream, **fields)
        while self.step().kind != "OK":
            pass

    def wait(self):
        while self.exit is None:
            self.step()
        return self.exit


def connect(path):
    """An end that was too short to be seen may cost the first HELLO of the serial port: so once more."""
    time.sleep(0.2)
    for left in (2, 1, 0):
        c = Client(path)
        c.sock.settimeout(PATIENCE if left == 0 else 10)
        try:
            c.hello()
            c.sock.settimeout(PATIENCE)
            return c
        except TimeoutError:
            c.close()
            time.sleep(1)
    raise AssertionError("no WELCOME")


def refused(code, os_errno, function, *arguments, **fields):
    try:
        function(*arguments, **fields)
    except Error as e:
        assert (e.code, e.os_errno) == (code, os_errno), e
        return
    raise AssertionError("not refused")


# ---- what a host does ----------------------------------------------------------------------------

def worked_examples():
    """What is decoded from their bytes is encoded to the same bytes."""
    kinds = set()
    for kind, data in D.examples():
        message = decode(data)
        assert message.kind == kind and frame(kind, message.stream, dict(message)) == data, kind
        kinds.add(kind)
    assert kinds >= {"HELLO", "WELCOME", "EXEC", "STARTED", "DATA", "WINDOW", "EXIT", "ERROR", "WRITE_FILE", "ATTACH", "RESUME"}, kinds


def first_words(c):
    c.send("PING", 0, token=1)
    assert c.receive().code == D.ERR_STATE, "before HELLO"
    welcome = c.hello()
    assert welcome.state == D.STATE_READY and welcome.jobs_max > 0 and 0 < welcome.init_ns <= welcome.ready_ns and welcome.build
    assert c.ask("PING", "PONG", token=2 ** 64 - 1).token == 2 ** 64 - 1
    c.sock.sendall(struct.pack("<IHHI", 3, 999, 0, 77) + b"abc")
    unknown = c.receive()
    assert (unknown.kind, unknown.stream, unknown.code, unknown.request) == ("ERROR", 77, D.ERR_UNSUPPORTED, 999), unknown
    assert set(c.ask("STATS", "USAGE")) == {name for name, _ in D.fields["USAGE"]}


def jobs(c):
    job = c.execute(["sh", "-c", "echo out; echo err >&2; exit 7"])
    e = job.wait()
    assert (e.cause, e.status, e.signal, e.flags, job.data) == (D.CAUSE_EXITED, 7, 0, 0, {1: b"out\n", 2: b"err\n"}), (e, job.data)
    refused(D.ERR_EXEC, 2, c.execute, ["/nothing"])
    refused(D.ERR_EXEC, 2, c.execute, ["true"], cwd="/nothing")
    refused(D.ERR_INVALID, 0, c.execute, [])
    refused(D.ERR_INVALID, 0, c.execute, ["true"], cwd="tmp")
    refused(D.ERR_UNSUPPORTED, 0, c.execute, ["true"], flags=1 << 15)
    for limits, script, cause in ((dict(wall_ms=500), "sleep 60", D.CAUSE_TIMEOUT), (dict(cpu_ms=300), "while :; do :; done", D.CAUSE_CPU),
                                  (dict(output=3), "echo 0123456", D.CAUSE_OUTPUT), ({}, "kill -9 $$", D.CAUSE_SIGNALLED),
                                  (dict(memory=8 << 20), "x=0123456789; while :; do x=$x$x; done", D.CAUSE_OOM)):
        e = c.execute(["sh", "-c", script], **limits).wait()
        assert e.cause == cause, (script, e)
    job = c.execute(["cat"], flags=D.JOB_STDIN)
    assert job.started.stdin_offset == 0 and job.started.stdin_limit > 0
    job.type(b"typed")
    job.until(b"typed")
    job.end_input()
    assert job.wait().status == 0
    e = c.execute(["sh", "-c", "sleep 60 & echo x"]).wait()
    assert e.flags == D.EXIT_OUTPUT_HELD, e


def controls(c):
    job = c.execute(["sh", "-c", "trap 'stty size' WINCH; trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.1; done"],
                    flags=D.JOB_STDIN | D.JOB_TTY, rows=10, cols=20, env=["PATH=/usr/bin:/bin", "TERM=dumb"])
    job.until(b"up")
    job.control("RESIZE", rows=30, cols=40)
    job.until(b"30 40")
    job.control("SIGNAL", signal=15, scope=D.SCOPE_JOB)
    assert job.wait().status == 3 and job.data[2] == b""
    job = c.execute(["sleep", "60"])
    refused(D.ERR_INVALID, 0, job.control, "SIGNAL", signal=0, scope=D.SCOPE_PROCESS)
    refused(D.ERR_INVALID, 0, job.control, "RESIZE", rows=1, cols=1)
    job.control("KILL")
    assert job.wait().cause == D.CAUSE_CANCELLED
    # The stream has ended with EXIT: about it there is nothing to say any more, and its id is free.
    refused(D.ERR_NOT_FOUND, 0, job.control, "KILL")


def attached(path):
    """A job outlives its connection. Closes the one; gives back another."""
    c = connect(path)
    job = c.execute(["sh", "-c", "echo one; echo two; sleep 0.5; echo three"])
    number = job.started.job
    while b"two" not in job.data[1]:
        job.step(take=False)  # nothing is said to be consumed
    c.close()
    c = connect(path)
    listed = c.ask("JOBS", "JOB_LIST")
    assert dict(zip(listed.ids, listed.states))[number] in (D.JOB_RUNNING, D.JOB_ENDED)
    job = c.begin("ATTACH", job=number, stdout_offset=4, stderr_offset=0)
    assert job.started.job == number
    assert job.wait().status == 0 and job.data[1] == b"two\nthree\n", job.data
    refused(D.ERR_GONE, 0, c.begin, "ATTACH", job=number, stdout_offset=0, stderr_offset=0)
    refused(D.ERR_INVALID, 0, c.begin, "ATTACH", job=number, stdout_offset=1000, stderr_offset=0)
    c.ask("RELEASE", job=number)
    refused(D.ERR_NOT_FOUND, 0, c.ask, "RELEASE", job=number)
    running = c.execute(["sleep", "60"])
    refused(D.ERR_BUSY, 0, c.ask, "RELEASE", job=running.started.job)
    running.control("KILL")
    running.wait()
    return c


def files(c):
    content = bytes(range(256)) * 2000
    c.write("/tmp/a/b/file", content, flags=D.WRITE_PARENTS, mtime_ns=10 ** 18, uid=5, gid=6)
    info, read = c.read_file("/tmp/a/b/file")
    assert read == content and (info.mode, info.uid, info.gid, info.size, info.mtime_ns) == (0o100644, 5, 6, len(content), 10 ** 18), info
    assert c.read_file("/tmp/a/b/file", 255, 3)[1] == b"\xff\x00\x01"
    c.write("/tmp/a/b/file", b"XY", flags=D.WRITE_KEEP, offset=1)
    assert c.read_file("/tmp/a/b/file", 0, 4)[1] == b"\x00XY\x03"
    c.write("/tmp/a/b/file", b"new", flags=D.WRITE_ATOMIC)
    assert c.read_file("/tmp/a/b/file")[1] == b"new"
    c.write("/tmp/a/directory", b"", mode=0o040700)
    c.write("/tmp/a/link", b"b/file", mode=0o120777)
    assert c.ask("STAT", "FILE_INFO", path="/tmp/a/link", flags=0).size == 3
    assert c.ask("STAT", "FILE_INFO", path="/tmp/a/link", flags=D.PATH_NOFOLLOW).target == "b/file"
    listed = c.list("/tmp/a")
    assert set(listed) == {"b", "directory", "link"} and listed["link"][0] & 0o170000 == 0o120000, listed
    refused(D.ERR_OS, 39, c.ask, "REMOVE", path="/tmp/a", flags=0)
    c.ask("REMOVE", path="/tmp/a", flags=D.REMOVE_TREE)
    refused(D.ERR_OS, 2, c.ask, "STAT", "FILE_INFO", path="/tmp/a", flags=0)
    refused(D.ERR_INVALID, 0, c.ask, "STAT", "FILE_INFO", path="relative", flags=0)
    c.ask("MOUNT", source="tmpfs", target="/tmp/disk", fstype="tmpfs", flags=0, options="size=64k")
    c.write("/tmp/disk/x", b"x")
    c.ask("UNMOUNT", target="/tmp/disk", flags=0)
    assert c.list("/tmp/disk") == {}


def what_is_refused(c):
    """The table of section 8, and limits of section 11."""
    file = dict(mode=0o100644, uid=0, gid=0, mtime_ns=0, flags=0, offset=0)
    program = dict(env=[], cwd="/", uid=0, gid=0, groups=[])
    refused(D.ERR_LIMIT, 0, c.execute, ["x"] * 2000, env=["A=B"] * 2095)
    refused(D.ERR_LIMIT, 0, c.execute, ["true"], groups=[5] * 65)
    refused(D.ERR_LIMIT, 0, c.ask, "PRIME", argv=["sh"], script="/" + "x" * 255, settle_ms=1, **program)
    refused(D.ERR_INVALID, 0, c.ask, "PRIME", argv=["sh"], script="x", settle_ms=1, **program)
    refused(D.ERR_TIMEOUT, 0, c.ask, "PRIME", argv=["/bin/sleep", "60"], script="/tmp/never", settle_ms=200, **program)
    refused(D.ERR_EXEC, 0, c.ask, "PRIME", argv=["/bin/true"], script="/tmp/never", settle_ms=20000, **program)
    feed = dict(source="/tmp/s", flags=0, rows=0, cols=0, wall_ms=0, cpu_ms=0, memory=0, pids=0, files=0, output=0)
    refused(D.ERR_NOT_FOUND, 0, c.begin, "FEED", job=10 ** 6, **feed)
    job = c.execute(["cat"], flags=D.JOB_STDIN)
    refused(D.ERR_STATE, 0, c.begin, "FEED", job=job.started.job, **feed)
    for kind, fields in (("PING", dict(token=1)), ("STATS", {})):
        c.send(kind, job.stream, **fields)
        answer = c.receive()
        assert (answer.stream, answer.code) == (job.stream, D.ERR_BUSY), answer
    c.send("STATS", 0)
    assert c.receive().code == D.ERR_INVALID
    job.end_input()
    job.wait()
    refused(D.ERR_NOT_FOUND, 0, c.begin, "ATTACH", job=10 ** 6, stdout_offset=0, stderr_offset=0)
    refused(D.ERR_INVALID, 0, c.write, "relative", b"")
    refused(D.ERR_INVALID, 0, c.write, "/tmp/fifo", b"", mode=0o010644)
    refused(D.ERR_OS, 2, c.write, "/tmp/no/parent", b"")
    refused(D.ERR_INVALID, 0, c.ask, "WRITE_FILE", path="/tmp/x", size=1, data=b"22", **file)
    refused(D.ERR_INVALID, 0, c.read_file, "/tmp")
    refused(D.ERR_OS, 20, c.ask, "LIST", "LISTING", path="/etc/passwd", cursor=0)
    refused(D.ERR_UNSUPPORTED, 0, c.ask, "REMOVE", path="/tmp/x", flags=1 << 9)
    refused(D.ERR_INVALID, 0, c.ask, "RESUME", "RESUMED", entropy=bytes(31), wall_clock_ns=0, instance=bytes(16), hostname="")
    writing = []
    for _ in range(8):
        writing.append(c.stream())
        c.send("WRITE_FILE", writing[-1], path=f"/tmp/w{writing[-1]}", size=10, data=b"", **file)
        assert c.next_of(writing[-1]).kind == "WINDOW"
    refused(D.ERR_LIMIT, 0, c.write, "/tmp/ninth", b"x")
    refused(D.ERR_BUSY, 0, c.ask, "QUIESCE")
    for stream in writing:
        c.send("END", stream, channel=0, offset=0)
        assert c.receive().code == D.ERR_INVALID, "END before all of it"
        c.send("END", stream, channel=0, offset=0)  # of a stream that is no more: ignored
    tty = c.execute(["cat"], flags=D.JOB_STDIN | D.JOB_TTY, rows=1, cols=80)
    tty.type(b"typed\n")
    tty.until(b"typed\r\ntyped\r\n")
    tty.end_input()
    assert tty.wait().status == 0, "Ctrl-D"
    cut = c.execute(["sh", "-c", "printf 1234567; printf 890 >&2; sleep 60"], output=8)
    assert cut.wait().cause == D.CAUSE_OUTPUT and len(cut.data[1] + cut.data[2]) == 8, cut.data


def what_cannot_be_meant(path):
    """After each of these the connection is over; the next one is well."""
    def header(length, number, flags, stream=9):
        return struct.pack("<IHHI", length, number, flags, stream)

    ping = D.number["PING"]
    for bad in (header(65525, ping, 0), header(8, ping, 1) + bytes(8), header(7, ping, 0) + bytes(7), header(9, ping, 0) + bytes(9),
                frame("STAT", 9, dict(path="/", flags=0)).replace(b"/\0", b"/x")):
        c = connect(path)
        c.sock.sendall(bad)
        c.hangs_up(D.ERR_MALFORMED)
    for offset, size in ((1, 1), (0, 65000)):
        c = connect(path)
        job = c.execute(["sleep", "60"], flags=D.JOB_STDIN)
        c.send("DATA", job.stream, channel=0, offset=offset, data=b"x" * size)
        c.hangs_up(D.ERR_FLOW)
        c = connect(path)
        again = c.begin("ATTACH", job=job.started.job, stdout_offset=0, stderr_offset=0)
        again.control("KILL")
        again.wait()
        c.close()


def primed_and_restored(c):
    program = dict(env=["PATH=/usr/bin:/bin"], cwd="/", uid=0, gid=0, groups=[])
    started = c.ask("PRIME", "STARTED", argv=["/bin/sh", "/tmp/script"], script="/tmp/script", settle_ms=20000, **program)
    c.write("/tmp/source", b"cat; echo fed; exit 5")
    c.ask("QUIESCE")
    refused(D.ERR_STATE, 0, c.ask, "STATS", "USAGE")
    resumed = c.ask("RESUME", "RESUMED", entropy=os.urandom(32), wall_clock_ns=time.time_ns(), instance=os.urandom(16), hostname="new")
    assert resumed.done == D.RESUMED_ENTROPY | D.RESUMED_RESEEDED | D.RESUMED_CLOCK | D.RESUMED_HOSTNAME | D.RESUMED_MACHINE_ID
    job = c.begin("FEED", job=started.job, source="/tmp/source", flags=D.JOB_STDIN, rows=0, cols=0, wall_ms=30000, cpu_ms=0, memory=0,
                  pids=0, files=0, output=0)
    job.type(b"input ")
    job.end_input()
    assert job.wait().status == 5 and job.data[1] == b"input fed\n", job.data


def last_words(c):
    refused(D.ERR_INVALID, 0, c.ask, "SHUTDOWN", action=200, status=0)
    c.ask("SHUTDOWN", action=D.SHUTDOWN_POWEROFF, status=0)


def everything(path):
    worked_examples()
    c = Client(path)
    for part in (first_words, jobs, controls, None, files, what_is_refused, primed_and_restored, last_words):
        if part is None:
            c.close()
            what_cannot_be_meant(path)
            c = attached(path)
        else:
            part(c)
        print(f"ok: {(part or attached).__name__.replace('_', ' ')}", flush=True)
    c.close()
    missing = {m for m in D.number if D.sender[m] in ("host", "both")} - Client.sent
    missing |= {m for m in D.number if D.sender[m] in ("guest", "both")} - Client.received
    assert not missing, f"never spoken of: {missing}"


def main():
    if len(sys.argv) > 1:
        everything(sys.argv[1])
        return
    from guest import Guest  # pylint: disable=import-outside-toplevel
    with Guest(programs=()) as guest:
        guest.disconnect()
        time.sleep(0.2)
        everything(guest.path)
        assert guest.wait_end() == 0


if __name__ == "__main__":
    main()
