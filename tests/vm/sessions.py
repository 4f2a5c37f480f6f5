"""Sessions of the HTTP API with real guests: programs, files, terminals over WebSocket, limits and ends. Prints "ok: ..."
or "FAILED: ..." lines; exit status 1 when one failed."""

import base64
import hashlib
import http.client
import json
import os
import random
import re
import signal
import socket
import struct
import sys
import threading
import time

import api
from api import Server, expect, metric, wait_for

# ---- a WebSocket client ----------------------------------------------------------------------------

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class WebSocket:
    def __init__(self, port, path, headers=None, first=b""):
        key = base64.b64encode(os.urandom(16)).decode()
        head = {"Host": f"127.0.0.1:{port}", "Upgrade": "websocket", "Connection": "keep-alive, Upgrade",
                "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key, **(headers or {})}
        self.s = socket.create_connection(("127.0.0.1", port), timeout=120)
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items() if value is not None)
        self.s.sendall(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode() + first)
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            more = self.s.recv(65536)
            if not more:
                break
            self.buffer += more
        answer, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.status = int(answer.split()[1])
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        self.accepted = b"sec-websocket-accept: " + accept.lower() in answer.lower()
        self.shown, self.texts, self.closed = b"", [], None

    @staticmethod
    def frame(opcode, data=b"", final=True, masked=True):
        mask = os.urandom(4) if masked else b""
        size = len(data)
        bit = 0x80 if masked else 0
        head = bytes([(0x80 if final else 0) | opcode])
        if size < 126:
            head += bytes([bit | size])
        elif size < 65536:
            head += bytes([bit | 126]) + struct.pack(">H", size)
        else:
            head += bytes([bit | 127]) + struct.pack(">Q", size)
        if masked:
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
        return head + mask + data

    def send(self, opcode, data=b"", **more):
        self.s.sendall(self.frame(opcode, data, **more))

    def type(self, text):
        self.send(BINARY, text.encode())

    def control(self, **value):
        self.send(TEXT, json.dumps(value).encode())

    def take(self, size):
        while len(self.buffer) < size:
            more = self.s.recv(65536)
            if not more:
                raise EOFError
            self.buffer += more
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def step(self):
        """One frame. False: there are no more."""
        try:
            first, size = self.take(2)
            if size == 126:
                size = struct.unpack(">H", self.take(2))[0]
            elif size == 127:
                size = struct.unpack(">Q", self.take(8))[0]
            data = self.take(size)
        except (EOFError, OSError):
            return False
        opcode = first & 15
        if opcode == BINARY:
            self.shown += data
        elif opcode == TEXT:
            self.texts.append(json.loads(data))
        elif opcode == PING:
            self.send(PONG, data)
        elif opcode == PONG:
            self.texts.append(data)
        elif opcode == CLOSE:
            self.closed = struct.unpack(">H", data[:2])[0]
            try:
                self.send(CLOSE, data)
            except OSError:
                pass
        return True

    def until(self, wanted, seconds=100):
        """Waits until that is shown; what was shown before it is dropped."""
        end = time.monotonic() + seconds
        while wanted.encode() not in self.shown:
            if time.monotonic() > end or not self.step():
                return False
        self.shown = self.shown.split(wanted.encode(), 1)[1]
        return True

    def finish(self):
        while self.step():
            pass
        self.s.close()


# ---- help ------------------------------------------------------------------------------------------


class Session:
    def __init__(self, s, headers=None, **fields):
        self.s, self.headers = s, headers or {}
        status, headers, value = s.call("POST", "/api/v1/sessions", {"language": "python", **fields}, self.headers)
        expect("a session is made", status, 201)
        self.path = headers["Location"]
        self.value = value

    def call(self, method, path="", body=None, **more):
        return self.s.call(method, self.path + path, body, {**self.headers, **more})

    def execute(self, **fields):
        status, _, value = self.call("POST", "/execute", fields)
        return value if status == 200 else (status, value)

    def sh(self, command, **fields):
        value = self.execute(argv=["sh", "-c", command], **fields)
        return value["stdout"] if isinstance(value, dict) else value

    def raw(self, method, path, data=None, headers=None):
        c = http.client.HTTPConnection("127.0.0.1", self.s.port, timeout=120)
        c.request(method, self.path + "/files" + path, data, {**self.headers, **(headers or {})})
        r = c.getresponse()
        body = r.read()
        c.close()
        return r.status, r.headers, body

    def state(self):
        return self.call("GET")[2].get("state")

    def close(self):
        expect("a session is closed", self.call("DELETE")[0], 204)

    def terminal(self, query="", **more):
        return WebSocket(self.s.port, self.path + "/pty" + query, {**self.headers, **more.pop("headers", {})}, **more)


# ---- programs and files ----------------------------------------------------------------------------


def test_programs(s):
    x = Session(s, env={"ONE": "session"})
    expect("it is ready", (x.value["state"], x.value["language"]), ("ready", "python"))
    expect("a program", x.execute(code="print(6 * 7)")["stdout"], "42\n")
    x.execute(code="open('kept', 'w').write('of the first')")
    expect("files stay", x.execute(code="print(open('kept').read())")["stdout"], "of the first\n")
    expect("a command", x.sh("cat kept; pwd"), "of the first/tmp/job\n")
    value = x.execute(argv=["sh", "-c", "echo $ONE $TWO; cat; echo no >&2; exit 3"], env={"TWO": "call"}, stdin="in")
    expect("a command's result", (value["stdout"], value["stderr"], value["exit_code"]), ("session call\nin", "no\n", 3))
    value = x.execute(argv=["sh", "-c", "echo $# ${#BIG}", "sh"] + ["a" * 100000] * 8, env={"BIG": "b" * 100000})
    expect("arguments larger than a frame", value["stdout"], "8 100000\n")
    value = x.execute(files=[{"name": "a/mod.py", "content": "print('named')"}])
    expect("a file with its name", (value["stdout"], x.sh("ls a")), ("named\n", "mod.py\n"))
    for target in "b/one", "b/two":
        value = x.execute(files=[{"name": "link", "link": target}, {"name": "b/one", "content": "1"}, {"name": "b/two", "content": "2"}],
                          argv=["sh", "-c", "readlink link; cat link; ls -A b"])
        expect(f"a link to {target}, also where one is", value["stdout"], f"{target}\n{1 + (target == 'b/two')}one\ntwo\n")
    value = x.execute(files=[{"name": "link", "content": "file"}], argv=["sh", "-c", "cat link b/one b/two; test -L link || echo"])
    expect("a file in place of a link", value["stdout"], "file12\n")
    value = x.execute(code="print('a' * 10)", max_output=3)
    expect("a limit of output", (value["stdout"], value["truncated"]), ("aaa", True))
    value = x.execute(code="while True: pass", timeout=1)
    expect("a timeout", (value["end"], value["exit_code"]), ("timed_out", 124))
    expect("which the session outlives", x.sh("echo yes"), "yes\n")

    status, _, value = x.call("POST", "/execute", {"argv": ["sleep", "1000"], "background": True})
    expect("a command in the background", (status, value["status"]), (202, "running"))
    expect("it runs on", x.sh(f"kill -0 {value['pid']} && echo alive"), "alive\n")
    expect("and can be ended", x.sh(f"kill {value['pid']}; while kill -0 {value['pid']} 2>/dev/null; do sleep 0.1; done; echo gone"), "gone\n")
    leave = ["sh", "-c", "nohup sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"]
    gone = "while kill -0 %s 2>/dev/null; do sleep 0.1; done; echo gone"
    expect("what a call leaves running ends with it", x.sh(gone % x.execute(argv=leave)["stdout"].strip()), "gone\n")
    pid = x.execute(argv=leave, keep_processes=True)["stdout"].strip()
    code = "import subprocess; print(subprocess.Popen(['sleep', '1000'], start_new_session=True, stdout=subprocess.DEVNULL).pid)"
    by_code = x.execute(code=code, keep_processes=True)["stdout"].strip()
    expect("unless it is to be kept", x.sh(f"kill -0 {pid} {by_code} && echo alive"), "alive\n")
    expect("and can be ended", x.sh(f"kill {pid} {by_code}; " + (gone % pid) + "; " + (gone % by_code)), "gone\ngone\n")
    expect("32 are kept, and no more", [len({x.execute(argv=leave, keep_processes=True)["stdout"] for _ in range(32)}),
                                        x.execute(argv=["true"])[0]], [32, 400])
    x.close()
    x = Session(s, env={"ONE": "session"})
    expect("no such program", x.execute(argv=["/no/such"])[0], 400)
    for what, body in (("nothing", {}), ("both", {"argv": ["a"], "code": "b"}), ("an empty argv", {"argv": []}),
                       ("an unknown field", {"argv": ["a"], "x": 1}), ("a long timeout", {"argv": ["a"], "timeout": 10**6})):
        expect(f"{what}: refused", x.execute(**body)[0], 400)

    found = []
    c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=120)
    c.request("POST", x.path + "/execute", json.dumps({"argv": ["sh", "-c", "echo 1; sleep 0.3; echo 2"]}),
              {"Content-Type": "application/json", "Accept": "application/x-ndjson"})
    for line in c.getresponse():
        found.append(json.loads(line))
    expect("a stream", "".join(e["data"] for e in found if e["event"] == "stdout"), "1\n2\n")
    expect("and its end", (found[-1]["event"], found[-1]["exit_code"]), ("end", 0))
    c.close()

    threads, got = [], []
    for i in range(6):
        threads.append(threading.Thread(target=lambda i=i: got.append((i, x.sh(f"sleep 0.2; seq {i} 3000 | md5sum")))))
        threads[-1].start()
    for t in threads:
        t.join()
    wanted = [(i, hashlib.md5("".join(f"{n}\n" for n in range(i, 3001)).encode()).hexdigest() + "  -\n") for i in range(6)]
    expect("six at a time, none crossed", sorted(got), wanted)

    # A client that goes away: its program ends, the session does not.
    c = socket.create_connection(("127.0.0.1", s.port))
    body = json.dumps({"argv": ["sh", "-c", "echo $$ >/tmp/pid; exec sleep 1000"]})
    c.sendall(f"POST {x.path}/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
              f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
    wait_for("its program runs", lambda: x.sh("cat /tmp/pid 2>/dev/null") != "")
    c.close()
    wait_for("and ends with its client", lambda: x.sh("kill -0 $(cat /tmp/pid) 2>/dev/null || echo gone") == "gone\n")
    x.close()
    expect("a closed session is gone", x.call("GET")[0], 404)
    expect("and cannot be used", x.execute(argv=["true"])[0], 404)


def test_files(s):
    x = Session(s)
    data = random.Random(1).randbytes(5_000_000)
    status, _, body = x.raw("PUT", "/tmp/job/dir/big", data, {"X-File-Mode": "0600"})
    expect("5 MB are written", (status, json.loads(body)["size"]), (201, 5_000_000))
    expect("and are there", x.sh("md5sum <dir/big; stat -c %a:%u dir/big"),
           hashlib.md5(data).hexdigest() + "  -\n600:1000\n")
    status, headers, body = x.raw("GET", "/tmp/job/dir/big")
    expect("and come back", (status, body == data, headers["X-File-Mode"]), (200, True, "0600"))
    for spec, part, where in (("0-9", data[:10], "bytes 0-9/5000000"), ("4999990-", data[-10:], "bytes 4999990-4999999/5000000"),
                              ("-10", data[-10:], "bytes 4999990-4999999/5000000"),
                              ("1000000-2999999", data[1000000:3000000], "bytes 1000000-2999999/5000000")):
        status, headers, body = x.raw("GET", "/tmp/job/dir/big", headers={"Range": f"bytes={spec}"})
        expect(f"the range {spec}", (status, body == part, headers["Content-Range"]), (206, True, where))
    status, headers, _ = x.raw("GET", "/tmp/job/dir/big", headers={"Range": "bytes=5000000-"})
    expect("no such range", (status, headers["Content-Range"]), (416, "bytes */5000000"))
    expect("a directory is made", x.raw("PUT", "/tmp/job/empty/?mode=0700")[0], 201)
    expect("an empty file", (x.raw("PUT", "/tmp/job/none", b"")[0], x.raw("GET", "/tmp/job/none")[2]), (201, b""))
    expect("a name with spaces", x.raw("PUT", "/tmp/job/a%20b%25%C3%BC", b"x")[0], 201)
    value = json.loads(x.raw("GET", "/tmp/job/")[2])
    found = {e["name"]: (e["type"], e["mode"], e["size"]) for e in value["entries"]}
    expect("a directory", (found.get("none"), found.get("empty"), found.get("a b%ü")),
           (("file", "0644", 0), ("directory", "0700", found["empty"][2]), ("file", "0644", 1)))
    expect("the same with ?list", x.raw("GET", "/tmp/job?list")[0], 200)
    expect("a file without a size", b"MemTotal" in x.raw("GET", "/proc/meminfo")[2], True)
    expect("a tree is removed", (x.raw("DELETE", "/tmp/job/dir")[0], x.raw("GET", "/tmp/job/dir/big")[0]), (204, 404))
    for what, path, status in (("..", "/tmp/../etc/passwd", 400), ("encoded ..", "/tmp/%2e%2e/x", 400), ("NUL", "/tmp/%00", 400),
                               ("a long path", "/" + "x" * 5000, 400), ("a missing one", "/no/such", 404),
                               ("a long name", "/tmp/" + "x" * 300, 400)):
        expect(f"{what}: refused", x.raw("GET", path)[0], status)
    expect("the root is not removed", x.raw("DELETE", "/")[0], 400)
    expect("a bad mode", x.raw("PUT", "/tmp/x?mode=9", b"")[0], 400)
    expect("a file that is too large", x.raw("PUT", "/tmp/x", b"x" * (32 << 20) + b"x")[0], 413)
    expect("a sparse file that is too large", (x.sh("truncate -s 40M /tmp/sparse"), x.raw("GET", "/tmp/sparse")[0]), ("", 413))
    x.close()


# ---- terminals -------------------------------------------------------------------------------------


def test_terminal(s):
    x = Session(s)
    t = x.terminal("?cols=101&rows=33")
    expect("a terminal", (t.status, t.accepted), (101, True))
    t.type("PS1=; stty -echo; echo be''gin\n")
    expect("its shell answers", t.until("begin\r\n"), True)
    t.type("stty size\n")
    expect("its size", t.until("33 101\r\n"), True)
    t.control(resize={"cols": 60, "rows": 20})
    t.type("until [ \"$(stty size)\" = '20 60' ]; do sleep 0.1; done; stty size\n")
    expect("its new size", t.until("20 60\r\n"), True)
    t.type("echo sl''eeps; sleep 1000; echo not''yet\n")
    expect("a command", t.until("sleeps\r\n"), True)
    # A shell that has not yet handed its terminal to the command waits for its end whatever is typed.
    x.sh("while :; do for s in /proc/[0-9]*/stat; do read -r pid name state parent group session tty foreground rest <$s; "
         "[ \"$name $group\" != \"(sleep) $foreground\" ] || exit 0; done; done 2>/dev/null")
    t.type("\x03")
    t.type("echo in''terrupted\n")
    expect("Ctrl-C", (t.until("interrupted\r\n"), b"notyet" in t.shown), (True, False))
    t.send(PING, b"are you there")
    wait_for("a ping is answered", lambda: t.step() and b"are you there" in t.texts)
    t.send(BINARY, b"echo fr", final=False)
    t.send(PING, b"between")
    t.send(CONTINUATION, b"agments\n")
    expect("a message in fragments", t.until("fragments\r\n"), True)
    expect("meanwhile a program", x.sh("echo beside"), "beside\n")
    t.type("seq 200000; echo e''nd\n")
    expect("much output", t.until("200000\r\nend\r\n"), True)
    t.type("exit 7\n")
    t.finish()
    last = t.texts[-1] if t.texts else None
    expect("its exit status", (last and last.get("exit_code"), last and last.get("type"), t.closed), (7, "exit", 1000))

    t = x.terminal("?command=trap%20%22echo%20caught%3B%20exit%205%22%20TERM%3B%20echo%20go%3B%20while%20%3A%3B%20do%20sleep%200.1%3B%20done")
    expect("a command's terminal", t.until("go\r\n"), True)
    t.control(signal="TERM")
    t.finish()
    expect("a signal", (b"caught" in t.shown, t.texts[-1:] and t.texts[-1].get("exit_code")), (True, 5))

    # A client that goes away, without a word.
    t = x.terminal(first=WebSocket.frame(BINARY, b"echo $$ >/tmp/shell; echo wri''tten\n"))
    expect("what comes with the request", t.until("written\r\n"), True)
    t.s.close()
    wait_for("its shell ends with its client", lambda: x.sh("kill -0 $(cat /tmp/shell) 2>/dev/null || echo gone") == "gone\n")

    for what, frame, code in (("an unmasked frame", WebSocket.frame(BINARY, b"x", masked=False), 1002),
                              ("a reserved bit", b"\xf2\x80abcd", 1002), ("an unknown opcode", b"\x83\x80abcd", 1002),
                              ("text that is not UTF-8", WebSocket.frame(TEXT, b"\xff"), 1007),
                              ("a message that is too large", WebSocket.frame(BINARY, b"x" * 70000), 1009),
                              ("a continuation of nothing", WebSocket.frame(CONTINUATION, b"x"), 1002),
                              ("an unknown control message", WebSocket.frame(TEXT, b"{}"), 1008),
                              ("a close", WebSocket.frame(CLOSE, struct.pack(">H", 1001)), 1001)):
        t = x.terminal("?command=sleep%20100")
        t.s.sendall(frame)
        t.finish()
        expect(f"{what}: closed with {code}", t.closed, code)
    for what, headers, status in (("no upgrade", {"Upgrade": None}, 426), ("an old version", {"Sec-WebSocket-Version": "8"}, 426),
                                  ("a bad key", {"Sec-WebSocket-Key": "abc"}, 400),
                                  ("a page of elsewhere", {"Origin": "http://evil.example"}, 403)):
        expect(f"{what}: refused", x.terminal(headers=headers).status, status)
    expect("a bad size", x.terminal("?cols=0").status, 400)
    t = x.terminal(headers={"Origin": f"http://127.0.0.1:{s.port}"})
    expect("a page of this server", t.status, 101)
    x.close()
    t.finish()
    expect("closing ends its terminals", (t.closed, t.texts[-1:] and t.texts[-1].get("code")), (1001, "E018"))


# ---- limits and ends -------------------------------------------------------------------------------


def vmms():
    """The pids of all VMMs of this state directory."""
    home, found = os.environ["CAPSID_HOME"], set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                words = f.read().split("\0")
        except OSError:
            continue
        if "qemu" in words[0] and any(home in word for word in words):
            found.add(int(pid))
    return found


def test_limits(s):
    # Times that a slow machine does not need between a session's beginning and its first call.
    x = Session(s, idle_timeout=15)
    expect("a call keeps it", x.execute(argv=["sh", "-c", "sleep 18; echo awake"], timeout=100)["stdout"], "awake\n")
    wait_for("it ends when idle", lambda: x.state() == "idle")
    status, value = x.execute(argv=["true"])
    expect("and says why", (status, value["code"]), (410, "E018"))
    expect("its terminal, too", x.terminal().status, 410)
    x = Session(s, timeout=15)
    value = x.execute(argv=["sleep", "200"], timeout=250)
    expect("its time is over", (value["end"], "time was over" in str(value.get("note"))), ("vm_lost", True))
    expect("which it says", x.state(), "expired")
    x = Session(s, idle_timeout=15)
    t = x.terminal("?command=cat")
    t.finish()
    expect("a silent terminal is idle", (t.closed, x.state()), (1001, "idle"))
    before = vmms()
    x = Session(s)
    (pid,) = vmms() - before
    os.kill(pid, signal.SIGKILL)
    wait_for("a VM that is lost", lambda: x.state() == "lost")
    expect("is told", x.execute(argv=["true"])[0], 410)
    for what, body in (("no language", {}), ("a long time", {"language": "python", "timeout": 86401}),
                       ("a long idle time", {"language": "python", "idle_timeout": 3601}),
                       ("an unknown language", {"language": "klingon"}), ("an unknown field", {"language": "python", "x": 1})):
        expect(f"{what}: refused", s.call("POST", "/api/v1/sessions", body)[0], 400)
    expect("an unknown session", s.call("GET", "/api/v1/sessions/ses-0")[0], 404)


def test_many(s):
    all_of_them, before = [], vmms()
    for old in s.call("GET", "/api/v1/sessions")[2]["sessions"]:
        s.call("DELETE", f"/api/v1/sessions/{old['id']}")
    wait_for("the sessions before have ended", lambda: not before & vmms())
    for i in range(20):
        all_of_them.append(Session(s, memory_mib=128))
    expect("twenty at a time", s.call("GET", "/api/v1/sessions")[2]["count"] >= 20, True)
    for i, x in enumerate(all_of_them):
        x.sh(f"echo {i} >/tmp/number")
    expect("each has its own files", [x.sh("cat /tmp/number") for x in all_of_them], [f"{i}\n" for i in range(20)])
    status, headers, value = s.call("POST", "/api/v1/sessions", {"language": "python"})
    expect("one more than the limit", (status, value["code"], bool(headers["Retry-After"])), (429, "E002", True))
    for x in all_of_them[:5]:
        x.close()
    # The others end with the server.


def test_waiting():
    """No session waits for others', however much these do; one that does all it can says so; threads end with what they do."""
    with Server("--queue-seconds", "2", "--grace", "1") as s:
        busy, x = [Session(s), Session(s)], Session(s)
        threads = [threading.Thread(target=y.execute, kwargs={"argv": ["sleep", "60"], "timeout": 100})
                   for y in busy for _ in range(8)]
        for t in threads:
            t.start()
        wait_for("both do all they can", lambda: metric(s, 'capsid_workers_busy{lane="session"}') == 16)
        expect("a program of a third one", x.call("POST", "/execute", {"argv": ["true"]})[0], 200)
        expect("a file of it", x.call("GET", "/files/tmp/")[0], 200)
        expect("that one client does it is seen", metric(s, 'capsid_queue_clients{lane="session"}'), 1)
        status, headers, value = busy[0].call("POST", "/execute", {"argv": ["true"]})
        expect("one more in one of the two", (status, value.get("code"), "Retry-After" in headers), (429, "E002", True))
        for y in busy:
            y.close()
        for t in threads:
            t.join()
        expect("then all is as before", x.sh("echo again"), "again\n")
        wait_for("no thread stays but a few", lambda: metric(s, 'capsid_threads{lane="session"}') <= 4)


def test_tokens():
    file, tokens = os.path.join(os.environ["TMPDIR"], "tokens"), {}
    with open(file, "w") as f:
        for name in ("ann", "bob"):
            token = "capsid_" + os.urandom(32).hex()
            tokens[name] = {"Authorization": f"Bearer {token}"}
            f.write(f"{name} {hashlib.sha256(token.encode()).hexdigest()}\n")
    os.chmod(file, 0o600)
    with Server("--tokens", file, "--sessions", "2") as s:
        x = Session(s, tokens["ann"])
        y = Session(s, tokens["bob"])
        for method, path, body in (("GET", "", None), ("DELETE", "", None), ("POST", "/execute", {"argv": ["true"]}),
                                   ("GET", "/files/etc/passwd", None), ("GET", "/pty", None)):
            status = s.call(method, x.path + path, body, tokens["bob"])[0]
            expect(f"{method} of another's session {path}", status, 404)
        expect("lists are of one's own", s.call("GET", "/api/v1/sessions", None, tokens["bob"])[2]["count"], 1)
        expect("without a token", WebSocket(s.port, x.path + "/pty").status, 401)
        expect("the server is full", s.call("POST", "/api/v1/sessions", {"language": "python"}, tokens["ann"])[0], 503)
        t = x.terminal()
        t.type("echo st''ill\n")
        expect("with its token", t.until("still\r\n"), True)
        y.close()
        s.stop()
        t.finish()
        expect("the server's end closes terminals", t.closed, 1001)


def main():
    with Server("--client-sessions", "20") as s:
        api.KEPT.update(s.call("GET", "/api/v1/openapi.json")[2])
        for test in sys.argv[1:] or ("programs", "files", "terminal", "limits", "many"):
            if test not in ("tokens", "waiting"):
                globals()["test_" + test](s)
    for test in (test_waiting, test_tokens):
        if not sys.argv[1:] or test.__name__.removeprefix("test_") in sys.argv[1:]:
            test()
    sys.exit(api.failures > 0)


if __name__ == "__main__":
    main()
