#!/usr/bin/env python3
"""Stands in for QEMU (CAPSID_QEMU): speaks enough of QMP, and plays a guest on the channel, well or badly.

As the VMM that makes a snapshot it always behaves. As one that restores (-incoming) it does what the environment
variable HOSTILE names, at that point of its life, and then stays until it is killed. With HOSTILE_ACCEL it does so with
that accelerator only. A name that is not known here
ends it with status 99 at once, so that a test notices.
"""

import json
import os
import re
import select
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from wire import C, Frames, HEADER, protocol

arguments = sys.argv[1:]
if arguments == ["--version"]:
    print("hostile VMM 1")
    sys.exit(0)
restoring = "-incoming" in arguments
hostile = os.environ.get("HOSTILE", "") if restoring else ""
KNOWN = set("""
    die-at-start silent-control garbage-control endless-control flood-control die-in-load load-fails
    silent-hello die-at-hello garbage-at-hello huge-frame half-frame flood-at-hello old-version wrong-magic
    silent-resume die-at-resume resume-refused resume-without-entropy resume-of-another resume-garbage flood-at-resume
    silent-write write-refused never-drain window-of-nothing
    silent-job die-in-job garbage-in-job exit-before-start exit-twice exit-lies cause-unknown beyond-window gap-in-output
    flood-output flood-windows output-of-another text-attack
""".split())
if hostile and hostile not in KNOWN:
    sys.exit(99)
if os.environ.get("HOSTILE_ACCEL", "") not in ("", arguments[arguments.index("-accel") + 1]):
    hostile = ""


def option(pattern):
    return next(m.group(1) for a in arguments for m in [re.search(pattern, a)] if m)


def stay():
    while True:
        time.sleep(1000)


def end():
    os.kill(os.getpid(), signal.SIGKILL)


# ---- control ---------------------------------------------------------------------------------------------

class Control:
    def __init__(self):
        self.socket = socket.socket(fileno=int(option(r"^socket,id=control,fd=(\d+)")))
        self.files = []
        self.input = b""
        if hostile == "silent-control":
            stay()
        if hostile == "garbage-control":
            self.socket.sendall(b"\0\xff{]\n" * 1000)
            stay()
        while hostile == "endless-control":
            self.socket.sendall(b" " * 65536)
        self.say({"QMP": {"version": {}, "capabilities": []}})

    def say(self, message):
        self.socket.sendall(json.dumps(message).encode() + b"\r\n")

    def commands(self):
        """What there is now; JSON objects need no newline between them."""
        data, files, _, _ = socket.recv_fds(self.socket, 65536, 4)
        if not data:
            end()
        self.files += files
        self.input += data
        while self.input.strip():
            text = self.input.decode()
            try:
                command, size = json.JSONDecoder().raw_decode(text.lstrip())
            except ValueError:
                return
            self.input = text.lstrip()[size:].encode()
            yield command

    def take(self):
        for command in self.commands():
            name = command["execute"]
            if name.startswith("migrate-incoming"):
                if hostile == "die-in-load":
                    end()
                while hostile == "flood-control":
                    self.say({"event": "STOP", "data": {}})
            self.say({"return": "" if name == "ringbuf-read" else {}})
            if name in ("migrate", "migrate-incoming"):
                if name == "migrate":
                    os.write(self.files[-1], b"state of nothing")
                status = "failed" if hostile == "load-fails" else "completed"
                self.say({"event": "MIGRATION", "data": {"status": status}})


# ---- the guest -------------------------------------------------------------------------------------------

class Guest:
    def __init__(self):
        self.socket = socket.socket(fileno=int(option(r"^socket,id=guest,fd=(\d+)")))
        self.frames = Frames()

    def raw(self, data):
        self.socket.sendall(data)

    EMPTY = {"str": "", "bytes": b"", "strs": [], "u32s": [], "uuid": bytes(16)}

    def say(self, kind, stream, **fields):
        """Fields that are not given are empty."""
        whole = {name: fields.get(name, self.EMPTY.get(form, 0)) for form, name in protocol.fields[kind]}
        assert not set(fields) - set(whole), f"{kind} has not all of {set(fields)}"
        self.raw(protocol.encode(kind, stream, whole))

    def take(self):
        data = self.socket.recv(1 << 16)
        if not data:
            stay()
        self.frames.add(data)
        while self.frames.ready():
            message = self.frames.next()
            getattr(self, "on_" + message.kind.lower(), self.on_other)(message)

    def refuse(self, m, text):
        self.say("ERROR", m.stream, code=C.ERR_OS, os_errno=5, request=protocol.number[m.kind], text=text)

    def flood(self, kind, stream, **fields):
        data = protocol.encode(kind, stream, fields) * 100
        while True:
            self.raw(data)

    def on_other(self, m):
        if m.kind not in ("DATA", "END", "WINDOW"):
            self.say("OK", m.stream)

    def on_hello(self, m):
        if hostile == "silent-hello":
            stay()
        if hostile == "die-at-hello":
            end()
        if hostile == "garbage-at-hello":
            self.raw(os.urandom(1 << 20))
            stay()
        if hostile == "huge-frame":
            self.raw(HEADER.pack(0xffffffff, 2, 0, 0))
            stay()
        if hostile == "half-frame":
            self.raw(HEADER.pack(100, 2, 0, 0) + b"x")
            stay()
        if hostile == "flood-at-hello":
            self.flood("PONG", 7, token=1)
        self.say("WELCOME", m.stream, magic=1 if hostile == "wrong-magic" else C.MAGIC,
                 version=C.VERSION + (hostile == "old-version"), features=0, state=C.STATE_READY, init_ns=1, ready_ns=2,
                 build="double")

    def on_resume(self, m):
        done = C.RESUMED_ENTROPY | C.RESUMED_RESEEDED | C.RESUMED_CLOCK
        if hostile == "silent-resume":
            stay()
        if hostile == "die-at-resume":
            end()
        if hostile == "resume-refused":
            self.refuse(m, "no")
            return
        if hostile == "resume-garbage":
            self.raw(HEADER.pack(1, protocol.number["RESUMED"], 0, m.stream) + b"x")
            return
        if hostile == "flood-at-resume":
            self.flood("RESUMED", m.stream + 1, done=done, clock_before_ns=0)
        if hostile == "resume-without-entropy":
            done &= ~C.RESUMED_ENTROPY
        self.say("RESUMED", m.stream + (hostile == "resume-of-another"), done=done, clock_before_ns=0)

    def on_prime(self, m):
        self.say("STARTED", m.stream, job=1, pid=9, stdin_offset=0, stdin_limit=0)

    def on_write_file(self, m):
        if hostile in ("silent-write", "never-drain"):
            stay()
        if hostile == "write-refused":
            self.refuse(m, "no")
        elif hostile == "window-of-nothing":
            self.say("WINDOW", m.stream, channel=0, consumed=0, limit=0)
        elif m.size > len(m.data):
            self.say("WINDOW", m.stream, channel=0, consumed=len(m.data), limit=m.size)
            self.expected, self.writing = m.size, m.stream
        else:
            self.say("OK", m.stream)

    def on_data(self, m):
        if m.offset + len(m.data) == self.expected and m.stream == self.writing:
            self.say("OK", m.stream)

    def on_feed(self, m):
        self.job(m)

    def on_exec(self, m):
        self.job(m)

    def exit(self, stream, size, cause=None):
        self.say("EXIT", stream, cause=cause or C.CAUSE_EXITED, flags=0, status=0, signal=0, stdout_size=size, stderr_size=0,
                 wall_ns=1, user_ns=1, system_ns=1, max_rss=1, memory_peak=1)

    def output(self, stream, offset, data):
        self.say("DATA", stream, channel=1, offset=offset, data=data)

    def job(self, m):
        s = m.stream
        if hostile == "exit-before-start":
            self.exit(s, 0)
            return
        self.say("STARTED", s, job=1, pid=9, stdin_offset=0, stdin_limit=1 << 20)
        self.output(s, 0, b"so far\n")
        if hostile == "silent-job":
            stay()
        if hostile == "die-in-job":
            time.sleep(1) # the output arrives
            end()
        if hostile == "garbage-in-job":
            self.raw(os.urandom(1 << 20))
            stay()
        if hostile == "gap-in-output":
            self.output(s, 1 << 40, b"x")
        if hostile == "beyond-window":
            for offset in range(7, 1 << 24, 32768):
                self.output(s, offset, b"x" * 32768)
        if hostile == "output-of-another":
            self.output(s + 1, 0, b"x")
        if hostile == "flood-windows":
            self.flood("WINDOW", s, channel=0, consumed=0, limit=1 << 20)
        if hostile == "flood-output":
            self.flood_output(s, m.window)
        if hostile == "text-attack":
            self.say("ERROR", s, code=C.ERR_OS, os_errno=2, request=protocol.number[m.kind], text="\033]0;owned\a\nError: \x7f")
            return
        for channel, size in ((1, 7), (2, 0)):
            self.say("END", s, channel=channel, offset=size)
        self.exit(s, 1 << 50 if hostile == "exit-lies" else 7, 77 if hostile == "cause-unknown" else None)
        if hostile == "exit-twice":
            self.exit(s, 7)

    def flood_output(self, stream, window):
        """Output for ever, as fast as the windows allow, so that the host always has something to read."""
        sent, limit, data = 7, window, b"x" * 32768
        while True:
            while sent + len(data) <= limit:
                self.output(stream, sent, data)
                sent += len(data)
            self.frames.add(self.socket.recv(1 << 16))
            while self.frames.ready():
                message = self.frames.next()
                if message.kind == "WINDOW":
                    limit = max(limit, message.limit)


if hostile == "die-at-start":
    end()
if not restoring:
    memory = option(r"^memory-backend-file,.*mem-path=([^,]*)")
    with open(memory, "wb") as f:
        f.write(b"memory of nothing")
control, guest = Control(), Guest()
sources = {control.socket: control, guest.socket: guest}
while True:
    for ready in select.select(sources, [], [])[0]:
        sources[ready].take()
