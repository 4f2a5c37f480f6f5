"""The protocol of proto/, for tests in Python: messages to bytes and back, and a connection over any socket.

    protocol      messages.def as it is: numbers, fields and values are never repeated here
    C             its values: C.ERR_LIMIT and so on
    DEFAULTS      what a request has when a test does not say otherwise
    Frames        messages out of a stream of bytes
    Link          a socket, and messages into it
    Conversation  a Link that waits for what comes, one message after the other

It needs ../../proto beside it and nothing else, so it also runs in a guest.
"""

import os
import re
import struct

PROTO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto")
FRAME_MAX = 65536
HEADER = struct.Struct("<IHHI")
FIRST_WINDOW = 1 << 16


# ---- messages, from their definition --------------------------------------------------------------

class Message:
    def __init__(self, kind, stream, fields):
        self.kind = kind
        self.stream = stream
        self.__dict__.update(fields)
        self.fields = fields

    def __repr__(self):
        short = {k: v if not isinstance(v, bytes) or len(v) < 40 else f"<{len(v)} bytes>" for k, v in self.fields.items()}
        return f"{self.kind}({self.stream}, {short})"


class Protocol:
    FIXED = {"u8": struct.Struct("<B"), "u16": struct.Struct("<H"), "u32": struct.Struct("<I"), "u64": struct.Struct("<Q"),
             "uuid": struct.Struct("16s")}
    SIZE = FIXED["u32"]

    def __init__(self, directory):
        with open(os.path.join(directory, "messages.def"), encoding="ascii") as f:
            text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S).replace("\\\n", " ")
        with open(os.path.join(directory, "messages.h"), encoding="ascii") as f:
            header = f.read()
        self.number, self.name, self.sender, self.fields = {}, {}, {}, {}
        bodies = dict(re.findall(r"^#define PROTO_FIELDS_(\w+)\(F\)(.*)$", text, flags=re.M))
        for upper, lower, number, sender in re.findall(r"\bM\((\w+), (\w+), (\d+), (\w+),", text):
            self.number[upper] = int(number)
            self.name[int(number)] = upper
            self.sender[upper] = sender
            self.fields[upper] = self._fields(bodies, lower)
        self.values = {name: int(value) for name, value in re.findall(r"\bV\((\w+), (\d+),", text)}
        for name, value in re.findall(r"#define PROTO_(\w+) (0x[0-9a-f]+|\d+)", header):
            self.values[name] = int(value, 0)
        self.values.update(re.findall(r'#define PROTO_(\w+) "(.*?)"', header))

    @staticmethod
    def _fields(bodies, name):
        fields = []
        for kind, field, included in re.findall(r"\bF\((\w+), (\w+),|\bPROTO_FIELDS_(\w+)\(F\)", bodies[name]):
            fields += Protocol._fields(bodies, included) if included else [(kind, field)]
        return fields

    def encode_field(self, kind, value):
        assert kind != "uuid" or len(value) == 16, f"not a UUID: {value!r}"
        if kind in self.FIXED:
            return self.FIXED[kind].pack(value)
        if kind == "u32s":
            return struct.pack(f"<I{len(value)}I", len(value), *value)
        if kind == "str":
            data = os.fsencode(value) + b"\0"
        elif kind == "strs":
            data = b"".join(os.fsencode(s) + b"\0" for s in value)
        else:
            data = bytes(value)
        return self.SIZE.pack(len(data)) + data

    def encode(self, kind, stream, fields):
        """A whole frame."""
        unknown = set(fields) - {name for _, name in self.fields[kind]}
        assert not unknown, f"{kind} has no field {unknown}"
        payload = b"".join(self.encode_field(t, fields[name]) for t, name in self.fields[kind])
        return HEADER.pack(len(payload), self.number[kind], 0, stream) + payload

    def decode_field(self, kind, data, at):
        """(value, where the next field begins)"""
        if kind in self.FIXED:
            form = self.FIXED[kind]
            return form.unpack_from(data, at)[0], at + form.size
        size = self.SIZE.unpack_from(data, at)[0]
        at += self.SIZE.size
        if kind == "u32s":
            return list(struct.unpack_from(f"<{size}I", data, at)), at + 4 * size
        piece = data[at:at + size]
        assert len(piece) == size, "a field is longer than its frame"
        if kind == "str":
            assert piece.endswith(b"\0") and piece.count(b"\0") == 1, f"not a string: {piece!r}"
            return os.fsdecode(piece[:-1]), at + size
        if kind == "strs":
            return [os.fsdecode(s) for s in piece.split(b"\0")[:-1]], at + size
        return piece, at + size

    def decode(self, kind, stream, data):
        fields, at = {}, 0
        for t, name in self.fields[kind]:
            fields[name], at = self.decode_field(t, data, at)
        assert at == len(data), f"{kind} has {len(data) - at} bytes too many"
        return Message(kind, stream, fields)

    def error_name(self, code):
        return next((n for n, v in self.values.items() if n.startswith("ERR_") and v == code), str(code))


protocol = Protocol(PROTO)


class Values:
    """C.ERR_LIMIT and so on."""

    def __getattr__(self, name):
        return protocol.values[name]


C = Values()

# What a request has when a test does not say otherwise.
LIMITS = dict(flags=0, rows=0, cols=0, wall_ms=0, cpu_ms=0, memory=0, pids=0, files=0, output=0, window=FIRST_WINDOW)
ENVIRONMENT = ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"]
PROGRAM = dict(env=ENVIRONMENT, cwd="/", uid=0, gid=0, groups=[])
DEFAULTS = {
    "HELLO": dict(magic=C.MAGIC, version_min=C.VERSION, version_max=C.VERSION, features=0),
    "EXEC": {**PROGRAM, **LIMITS},
    "PRIME": {**PROGRAM, "settle_ms": 20000},
    "FEED": LIMITS,
    "ATTACH": dict(stdout_offset=0, stderr_offset=0, window=FIRST_WINDOW),
    "SIGNAL": dict(scope=C.SCOPE_PROCESS),
    "WRITE_FILE": dict(mode=0o100644, uid=0, gid=0, mtime_ns=0, flags=0, offset=0),
    "UNPACK": dict(uid=0, gid=0),
    "READ_FILE": dict(offset=0, length=1 << 62, window=FIRST_WINDOW),
    "STAT": dict(flags=0),
    "LIST": dict(cursor=0),
    "REMOVE": dict(flags=0),
    "MOUNT": dict(flags=0, options=""),
    "UNMOUNT": dict(flags=0),
    "SHUTDOWN": dict(action=C.SHUTDOWN_POWEROFF, status=0),
}


class Refused(Exception):
    """ERROR was the answer."""

    def __init__(self, message):
        self.code, self.os_errno, self.request = message.code, message.os_errno, message.request
        what = protocol.name.get(message.request, message.request)
        super().__init__(f"{what}: {protocol.error_name(message.code)} errno={message.os_errno} ({message.text})")


class Lost(EOFError):
    """The connection is gone."""


# ---- connections ----------------------------------------------------------------------------------

class Frames:
    """Bytes in, in any pieces; messages out."""

    def __init__(self):
        self.data, self.at = b"", 0

    def add(self, piece):
        self.data, self.at = self.data[self.at:] + piece, 0

    def ready(self):
        """Whether a whole frame is here."""
        held = len(self.data) - self.at - HEADER.size
        if held < 0:
            return False
        length, _, flags, _ = HEADER.unpack_from(self.data, self.at)
        assert flags == 0 and length <= FRAME_MAX - HEADER.size, "not a frame"
        return held >= length

    def next(self):
        """The first message, which must be here."""
        length, number, _, stream = HEADER.unpack_from(self.data, self.at)
        start = self.at + HEADER.size
        self.at = start + length
        return protocol.decode(protocol.name[number], stream, self.data[start:self.at])


class Link:
    def __init__(self, sock):
        self.sock = sock
        self.frames = Frames()

    def send_raw(self, data):
        self.sock.sendall(data)

    def send(self, kind, stream=0, **fields):
        self.send_raw(protocol.encode(kind, stream, {**DEFAULTS.get(kind, {}), **fields}))


class Conversation(Link):
    """Over a socket that blocks."""

    def receive(self):
        while not self.frames.ready():
            piece = self.sock.recv(1 << 18)
            if not piece:
                raise Lost("initd's end is closed")
            self.frames.add(piece)
        return self.frames.next()

    def receive_one_of(self, *kinds):
        """The next message, which must be of these."""
        message = self.receive()
        if message.kind == "ERROR" and "ERROR" not in kinds:
            raise Refused(message)
        assert message.kind in kinds, f"{message} instead of {' or '.join(kinds)}"
        return message

    def hello(self):
        self.send("HELLO")
        welcome = self.receive_one_of("WELCOME")
        assert welcome.magic == C.MAGIC, welcome
        return welcome

    def ping(self, token=1):
        self.send("PING", token=token)
        pong = self.receive_one_of("PONG")
        assert (pong.stream, pong.token) == (0, token), pong
