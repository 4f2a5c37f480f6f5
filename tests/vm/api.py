"""The HTTP API of a live server, whose answers are checked against its own OpenAPI description. Standard library and
jsonschema only. Prints "ok: ..." or "FAILED: ..." lines; exit status 1 when one failed."""

import hashlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import jsonschema

import prometheus

failures = 0
KEPT = {}  # the description, once it was read


def expect(what, got, wanted):
    global failures
    if got == wanted or (callable(wanted) and wanted(got)):
        print(f"ok: {what}")
    else:
        failures += 1
        print(f"FAILED: {what}: got {str(got)[:400]!r}, wanted {wanted!r}")


class Server:
    """capsid api with these options, until the end of the with block; few_files: with no more than 64 open at a time."""

    def __init__(self, *options, few_files=False):
        self.options = options
        self.before = ["prlimit", "--nofile=64"] if few_files else []

    def __enter__(self):
        self.log = open(os.path.join(os.environ["TMPDIR"], "api.log"), "ab+")
        self.process = subprocess.Popen([*self.before, os.environ["CAPSID"], "api", "--port", "0", *self.options],
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.where = []
        for line in self.process.stdout:
            if line == "ready\n":
                break
            self.where.append(line.split()[-1])
        else:
            raise SystemExit("FAILED: the server did not start")
        self.port = int(self.where[0].rsplit(":", 1)[1])
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
        self.process.stdout.close()
        self.log.close()

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        expect("the server ends with status 0", self.process.wait(60), 0)

    def call(self, method, path, body=None, headers=None, **more):
        """Status, headers and value of one request."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=290)
        h = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        if body is not None:
            h.setdefault("Content-Type", "application/json")
        c.request(method, path, body, h, **more)
        r = c.getresponse()
        data = r.read()
        c.close()
        check(method, path, r, data)
        value = json.loads(data) if r.headers.get_content_type() == "application/json" and data else data.decode()
        return r.status, r.headers, value

    def execute(self, code, language="python", headers=None, path="/api/v1/execute", **fields):
        return self.call("POST", path, {"language": language, "code": code, **fields}, headers)

    def error(self, what, status, code, method, path, body=None, headers=None):
        got, _, value = self.call(method, path, body, headers)
        expect(f"{what}: status", got, status)
        expect(f"{what}: code", value.get("code") if isinstance(value, dict) else value, code)


def check(method, path, r, data):
    """Is this answer one that the description knows, and of its shape?"""
    expect_header = r.headers.get("X-Request-Id")
    if not expect_header:
        expect(f"{method} {path}: X-Request-Id", expect_header, "something")
    if not KEPT or method in ("OPTIONS", "HEAD", "PUT"):
        return
    for pattern, item in KEPT["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", pattern), path) and method.lower() in item:
            answers = item[method.lower()]["responses"]
            break
    else:
        return
    if str(r.status) not in answers:
        expect(f"{method} {path}: a documented status", r.status, sorted(answers))
        return
    if "content" not in answers[str(r.status)]:
        return
    content = answers[str(r.status)]["content"].get(r.headers.get_content_type())
    if content is None:
        expect(f"{method} {path}: a documented type", r.headers.get_content_type(), None)
    elif r.headers.get_content_type() == "application/json":
        validate(f"{method} {path}", json.loads(data), content["schema"])


def validate(what, value, schema):
    whole = {**schema, "components": KEPT["components"]}
    problems = [e.message[:200] for e in jsonschema.Draft202012Validator(whole).iter_errors(value)]
    if problems:
        expect(f"{what}: as described", problems, [])


def events(s, kind, body):
    """Name and value of each event of a stream."""
    c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=290)
    c.request("POST", "/api/v1/execute", json.dumps(body), {"Content-Type": "application/json", "Accept": kind})
    r = c.getresponse()
    expect(f"{kind}: its type", r.headers.get_content_type(), kind)
    found = []
    if kind == "application/x-ndjson":
        for line in r:
            value = json.loads(line)
            validate("an event", value, KEPT["components"]["schemas"]["StreamEvent"])
            found.append((value.pop("event"), value))
    else:
        for block in r.read().decode().split("\n\n")[:-1]:
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    c.close()
    return found


def metric(s, name):
    for line in s.call("GET", "/metrics")[2].splitlines():
        if line.startswith(name + " "):
            return float(line.split()[-1])
    return None


def wait_for(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    expect(what, bool(condition()), True)


class Running:
    """A request in a thread of its own: a program that runs until the end of the with block, where its client hangs up, or
    until the server ends it. However slow the machine, what is looked at meanwhile is looked at while it runs."""

    FOREVER = {"python": "import time; time.sleep(250)", "sh": "sleep 250"}

    def __init__(self, s, language="python", code=None, headers=None):
        self.body = {"language": language, "code": code or self.FOREVER[language], "timeout": 280}
        self.seen, self.answer = [], None  # the events of a stream, and what came in the end
        self.connection = http.client.HTTPConnection("127.0.0.1", s.port, timeout=300)
        self.connection.request("POST", "/api/v1/execute", json.dumps(self.body), {"Content-Type": "application/json", **(headers or {})})
        self.sock = self.connection.sock  # a response that ends its connection takes it away
        self.thread = threading.Thread(target=self.wait)
        self.thread.start()

    def wait(self):
        try:
            r = self.connection.getresponse()
            if r.headers.get_content_type() == "application/x-ndjson":
                for line in r:
                    value = json.loads(line)
                    self.seen.append((value["event"], value.get("data")))
                self.answer = r.status, None
            else:
                self.answer = r.status, json.loads(r.read())
        except (OSError, ValueError, http.client.HTTPException):
            pass  # its client has hung up

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the server was first
        self.thread.join()
        self.connection.close()


# ---- what it does ----------------------------------------------------------------------------------


def test_simple(s):
    status, headers, value = s.call("GET", "/api/v1/openapi.json")
    expect("the description", (status, value["openapi"]), (200, "3.1.0"))
    KEPT.update(value)
    expect("health", s.call("GET", "/health")[2]["status"], "ok")
    status, _, value = s.call("GET", "/api/v1/languages")
    expect("languages", {"python", "sh", "c"} <= {one["name"] for one in value["languages"]}, True)
    expect("a language by its alias", s.call("GET", "/api/v1/languages/py")[2]["name"], "python")
    expect("images", "python" in [one["name"] for one in s.call("GET", "/api/v1/rootfs")[2]["images"]], True)
    expect("snapshots", s.call("GET", "/api/v1/snapshots")[2]["count"] > 0, True)
    status, headers, value = s.call("HEAD", "/health")
    expect("HEAD", (status, value, int(headers["Content-Length"]) > 0), (200, "", True))
    status, headers, _ = s.call("GET", "/api/v1/openapi.json")
    status, _, _ = s.call("HEAD", "/api/v1/openapi.json", headers={"If-None-Match": headers["ETag"]})
    expect("a known ETag", status, 304)


def test_execute(s):
    status, _, value = s.execute('print("Hello from Firecracker!")')
    expect("execute", (status, value["status"], value["stdout"], value["stderr"], value["exit_code"]),
           (200, "success", "Hello from Firecracker!\n", "", 0))
    _, _, value = s.execute("import sys; print('x', file=sys.stderr); sys.exit(3)")
    expect("a failing program", (value["status"], value["stderr"], value["exit_code"]), ("error", "x\n", 3))
    _, _, value = s.execute("import time; print(1, flush=True); time.sleep(60)", timeout=5)
    expect("a timeout", (value["status"], value["stdout"], value["stderr"], value["exit_code"]),
           ("timeout", "1\n", "Execution timeout exceeded (5s)", 124))
    _, _, value = s.execute("import os,sys; print(sys.argv[1:], os.environ['A'])", args=["b c"], env={"A": "d"})
    expect("arguments and environment", value["stdout"], "['b c'] d\n")
    _, _, value = s.execute("import os; s = os.statvfs('.'); print(s.f_blocks * s.f_frsize >> 20 > 700)", disk_mib=900)
    expect("a disk", value["stdout"], "True\n")
    _, _, value = s.execute("print(input())", stdin="what it reads")
    expect("standard input", (value["stdout"], value["stdin"]), ("what it reads\n", "what it reads"))
    _, _, value = s.execute("import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())", stdin="/wAB",
                            stdin_encoding="base64")
    expect("bytes in and out", (value["stdout"], value.get("stdout_encoding")), ("/wAB", "base64"))
    files = [{"name": "main.py", "content": "import lib.a; print(lib.a.x)"}, {"name": "lib/a.py", "content": "x = 5"}]
    _, _, value = s.call("POST", "/api/v1/run", {"language": "python", "files": files})
    expect("files", (value["stdout"], isinstance(value["executionTime"], int)), ("5\n", True))
    _, _, value = s.call("POST", "/api/v1/run", {"language": "python", "stdin": ["a", "b", "a"], "files": [
        {"name": "x.py", "content": "print(input() * 2)"}]})
    expect("a batch", [(one["stdin"], one["stdout"]) for one in value], [("a", "aa\n"), ("b", "bb\n"), ("a", "aa\n")])


def test_streams(s):
    code = "import sys, time\nfor i in range(3):\n  print(i, flush=True); time.sleep(0.1)\nprint('e', file=sys.stderr)"
    found = events(s, "application/x-ndjson", {"language": "python", "code": code})
    expect("a stream: its first event", found[0][0], "start")
    expect("a stream: its output", "".join(v["data"] for n, v in found if n == "stdout"), "0\n1\n2\n")
    expect("a stream: its errors", "".join(v["data"] for n, v in found if n == "stderr"), "e\n")
    expect("a stream: its end", (found[-1][0], found[-1][1]["exit_code"]), ("end", 0))
    with Running(s, code="print('now', flush=True); import time; time.sleep(250)", headers={"Accept": "application/x-ndjson"}) as r:
        wait_for("a stream: output as it comes", lambda: ("stdout", "now\n") in r.seen)
        expect("a stream: before its end", r.answer, None)
    wait_for("a stream: who goes away frees the worker", lambda: metric(s, 'capsid_workers_busy{lane="run"}') == 0)
    found = events(s, "text/event-stream", {"language": "python", "code": "import sys\nsys.stdout.buffer.write(b'\\xc3')\n"
                                            "sys.stdout.flush()\nimport time; time.sleep(0.3)\nsys.stdout.buffer.write(b'\\xa9')"})
    expect("server-sent events: a character in two pieces",
           "".join(v["data"] for n, v in found if n == "stdout"), "\u00e9")
    expect("server-sent events: the end", found[-1][0], "end")
    found = events(s, "application/x-ndjson", {"language": "python", "code": "print('x' * 5000000)"})
    expect("a long stream", sum(len(v["data"]) for n, v in found if n == "stdout"), 5000001)
    s.error("a stream of an unknown language", 400, "E011", "POST", "/api/v1/execute",
            {"language": "klingon", "code": "x"}, {"Accept": "text/event-stream"})


def test_client_gone(s):
    for accept in "application/json", "text/event-stream":
        before = metric(s, 'capsid_runs_total{end="cancelled"}')
        body = json.dumps({"language": "python", "code": "print(1, flush=True)\nimport time; time.sleep(200)", "timeout": 250})
        c = socket.create_connection(("127.0.0.1", s.port))
        c.sendall(f"POST /api/v1/execute HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nContent-Type: "
                  f"application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        wait_for(f"{accept}: it runs", lambda: metric(s, 'capsid_workers_busy{lane="run"}') == 1)
        if accept != "application/json":
            c.recv(1)
        c.close()
        wait_for(f"{accept}: a client that goes away cancels its run",
                 lambda: metric(s, 'capsid_runs_total{end="cancelled"}') == before + 1)
        wait_for(f"{accept}: its worker is free", lambda: metric(s, 'capsid_workers_busy{lane="run"}') == 0)


def test_operations(s):
    status, headers, value = s.call("POST", "/api/v1/snapshots", {"language": "python"})
    expect("a snapshot is an operation", (status, headers["Location"]), (202, "/api/v1/operations/" + value["id"]))
    path = headers["Location"]
    wait_for("it ends", lambda: s.call("GET", path)[2]["finished"])
    value = s.call("GET", path)[2]
    expect("with the snapshot", (value["status"], value["result"]["language"]), ("succeeded", "python"))
    keys = set()
    for disk in 20, 30, 32:
        _, headers, _ = s.call("POST", "/api/v1/snapshots", {"language": "sh", "disk_mib": disk})
        wait_for(f"one with a disk of {disk} MiB", lambda: s.call("GET", headers["Location"])[2]["finished"])
        keys.add(s.call("GET", headers["Location"])[2]["result"]["key"])
    shown = [i for i in s.call("GET", "/api/v1/snapshots")[2]["snapshots"] if i["key"] in keys]
    expect("clients choose among few sizes of disks", [i["disk_mib"] for i in shown], [32])
    _, _, value = s.call("POST", "/api/v1/rootfs", {"language": "klingon"})
    path = "/api/v1/operations/" + value["id"]
    wait_for("one that fails ends", lambda: s.call("GET", path)[2]["finished"])
    value = s.call("GET", path)[2]
    expect("with its error", (value["status"], value["error"]["code"]), ("failed", "E011"))
    labels = {"job": "7", "text": "a = b"}
    expect("labels", s.execute("", labels=labels)[2]["labels"], labels)
    expect("a label's name", s.execute("", labels={"a b": ""})[0], 400)
    _, _, value = s.execute("import time; time.sleep(200)", timeout=250, wait=False, labels=labels)
    expect("labels of an operation", value["labels"], labels)
    path = "/api/v1/operations/" + value["id"]
    wait_for("a run without waiting runs", lambda: s.call("GET", path)[2]["status"] == "running")
    expect("DELETE", s.call("DELETE", path)[0], 200)
    wait_for("it is cancelled", lambda: s.call("GET", path)[2]["status"] == "cancelled")
    expect("DELETE again", s.call("DELETE", path)[2]["status"], "cancelled")
    expect("all operations", s.call("GET", "/api/v1/operations")[2]["count"], 6)
    s.error("an operation that is not", 404, "E007", "GET", "/api/v1/operations/op-0")


def test_idempotency(s):
    code, key = "import os; print(os.urandom(8).hex())", {"Idempotency-Key": "a b"}
    first = s.execute(code, headers=key)
    second = s.execute(code, headers=key)
    expect("a key: the same answer", second[2], first[2])
    expect("a key: it says so", (first[1]["Idempotency-Replayed"], second[1]["Idempotency-Replayed"]), (None, "true"))
    expect("no key: another answer", s.execute(code)[2]["stdout"] != first[2]["stdout"], True)
    s.error("a key with another body", 422, "E013", "POST", "/api/v1/execute", {"language": "python", "code": "1"}, key)
    key = {"Idempotency-Key": "c"}
    with Running(s, headers=key) as busy:
        wait_for("the first runs", lambda: metric(s, 'capsid_workers_busy{lane="run"}') == 1)
        s.error("a key that is in use", 409, "E012", "POST", "/api/v1/execute", busy.body, key)
    wait_for("the first was cancelled", lambda: metric(s, 'capsid_workers_busy{lane="run"}') == 0)


def look_at_effects(s):
    text = s.call("GET", "/metrics")[2].splitlines()
    return (sum(float(l.split()[-1]) for l in text if l.startswith("capsid_runs_total")),
            s.call("GET", "/api/v1/operations")[2]["count"], s.call("GET", "/api/v1/snapshots")[2]["count"],
            s.call("GET", "/api/v1/rootfs")[2]["count"])


def effects(s):
    """What requests that are refused must not change; what earlier ones still change is waited for."""
    before, same = look_at_effects(s), 0
    while same < 6:
        time.sleep(0.3)
        now = look_at_effects(s)
        before, same = now, same + 1 if now == before else 0
    return now


def test_bad_input(s):
    run, before = "/api/v1/execute", effects(s)
    good = {"language": "python", "code": "1"}
    for what, body in {
        "not JSON": "{", "nothing": "", "a list": "[]", "deep": "[" * 1000, "two values": "{} {}",
        "a raw NUL": '{"language": "python", "code": "a\0"}', "bad UTF-8": b'{"language": "python", "code": "\xff"}',
        "a NUL": {**good, "code": "a\0"}, "many values": {**good, "args": [1] * 30000},
        "an argument longer than Linux takes": {**good, "args": ["x" * 131072]},
        "more of them than Linux takes": {**good, "args": ["x" * 100000] * 12, "env": {f"A{i}": "x" * 100000 for i in range(9)}},
        "a field twice": '{"language": "python", "code": "1", "code": "2"}', "an unknown field": {**good, "x": 1},
        "no code": {"language": "python"}, "no language": {"code": "1"}, "a number as code": {**good, "code": 1},
        "timeout 0": {**good, "timeout": 0}, "timeout -1": {**good, "timeout": -1}, "timeout 1e9": {**good, "timeout": 10**9},
        "timeout 1.5": {**good, "timeout": 1.5}, "timeout too long": {**good, "timeout": 10**30},
        "a bad variable": {**good, "env": {"A=": "x"}}, "both": {**good, "files": [{"name": "a", "content": ""}]},
        "no files": {"language": "python", "files": []}, "bad base64": {**good, "stdin": "x", "stdin_encoding": "base64"},
        "little memory": {**good, "memory_mib": 63}, "more memory than there is": {**good, "memory_mib": 1 << 20}, "1000 processors": {**good, "vcpus": 1000},
        "a list of inputs": {**good, "stdin": ["a"]}, "no entry": {"language": "python", "entry": "b", "files": {"a": ""}},
    }.items():
        s.error(what, 400, "E001", "POST", run, body)
    for name in "../x", "/x", "a/../b", "a//b", "", ".", "a/", "a\nb", "x" * 300, "a/" * 40 + "b":
        s.error(f"a file called {name[:9]!r}", 400, "E001", "POST", run,
                {"language": "python", "files": [{"name": name, "content": ""}]})
    for names in ("a", "a"), ("a", "a/b"):
        s.error(f"files {names}", 400, "E001", "POST", run,
                {"language": "python", "files": [{"name": n, "content": ""} for n in names]})
    s.error("an unknown language", 400, "E011", "POST", run, {"language": "klingon", "code": "1"})
    s.error("no such language", 404, "E007", "GET", "/api/v1/languages/klingon")
    s.error("a long input", 413, "E005", "POST", run, {**good, "stdin": "x" * (1 << 20) + "x"})
    s.error("a long program", 413, "E005", "POST", run, {**good, "code": "x" * (17 << 20)})
    s.error("no such path", 404, "E007", "GET", "/api/v2")
    s.error("a NUL in a path", 404, "E007", "GET", "/health%00")
    s.error("a form", 415, "E009", "POST", run, "a=b", {"Content-Type": "application/x-www-form-urlencoded"})
    s.error("another host", 421, "E016", "GET", "/health", headers={"Host": "evil.example"})
    status, headers, value = s.call("PUT", run, "{}")
    expect("a wrong method", (status, headers["Allow"], value["code"]), (405, "POST, OPTIONS", "E008"))
    status, headers, _ = s.call("OPTIONS", run, headers={"Origin": "http://a", "Access-Control-Request-Method": "POST"})
    expect("a preflight that is not allowed", (status, headers["Access-Control-Allow-Origin"]), (204, None))
    for path in "/api/v1/rootfs", "/api/v1/snapshots":
        for what, body in {"not JSON": "x", "a number": {"language": 1}, "an unknown field": {"language": "sh", "x": 1}}.items():
            s.error(f"{path}: {what}", 400, "E001", "POST", path, body)
    expect("none of this had an effect", effects(s), before)


def raw(s, data, seconds=60, half_close=False):
    """All that comes back, until the server closes or the time is over."""
    with socket.create_connection(("127.0.0.1", s.port), timeout=seconds) as c:
        got = b""
        try:
            c.sendall(data)
            if half_close:
                c.shutdown(socket.SHUT_WR)
            while chunk := c.recv(65536):
                got += chunk
        except (ConnectionResetError, TimeoutError):
            pass  # a server that has read enough closes
    return got


def test_wire(s):
    got = raw(s, b"GET /health HTTP/1.0\r\n\r\n")
    expect("HTTP/1.0", (got.split(b" ")[1], b'"ok"' in got), (b"200", True))
    one = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    got = raw(s, one * 5 + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    expect("pipelining", got.count(b" 200 OK"), 6)
    s.error("oversized headers", 431, "E021", "GET", "/health", headers={"X": "x" * 50000})
    s.error("many headers", 431, "E021", "GET", "/health", headers={f"X-{i}": "x" * 50 for i in range(1000)})
    s.error("a long path", 431, "E021", "GET", "/" + "x" * 40000)
    got = raw(s, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 500000 + b"\r\n\r\n")
    expect("headers without end", got.split(b" ")[1] if got else b"431", b"431")
    got = raw(s, b"\x00\x01\x02\r\n\r\n", 1)
    expect("not HTTP", b" 200 " in got, False)
    _, headers, value = s.call("GET", "/api/v1/languages/none", headers={
        "X-Request-Id": "my-id", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
    expect("the client's ids", (headers["X-Request-Id"], value["trace_id"], headers["traceparent"][:36]),
           ("my-id", "my-id", "00-4bf92f3577b34da6a3ce929d0e0e4736-"))
    _, headers, _ = s.call("GET", "/health", headers={"X-Request-Id": "a b\tc" * 60})
    expect("a bad id is replaced", headers["X-Request-Id"][:3], "tr-")


def post(body, *headers, length=None):
    """The bytes of a request to run a program."""
    head = ["POST /api/v1/execute HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    if length is not False:
        head.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def answers(got):
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d+) ", got)]


def in_parts(*parts, end="--"):
    body = b"".join(b"--b0und\r\nContent-Disposition: form-data; name=\"%s\"\r\n%s\r\n%s\r\n" % (
        name.encode(), b"".join(h.encode() + b"\r\n" for h in headers), data) for name, data, *headers in parts)
    return body + f"--b0und{end}\r\n".encode(), {"Content-Type": "multipart/form-data; boundary=b0und"}


def test_parts(s):
    run, md5 = "/api/v1/execute", "import hashlib, sys; d = sys.stdin.buffer.read(); print(len(d), hashlib.md5(d).hexdigest())"
    request = {"language": "python", "code": md5, "timeout": 120}
    send = lambda *parts, path=run, headers=None, **more: s.call("POST", path, *(
        lambda body, h: (body, {**h, **(headers or {})}))(*in_parts(*parts, **more)))
    limit = 64 << 20
    for size in 0, 5, 50 * 10**6, limit:
        data = random.Random(size).randbytes(size)
        status, _, value = send(("request", json.dumps(request).encode(), "Content-Type: application/json"),
                                ("stdin", data, 'Content-Type: application/octet-stream'))
        expect(f"{size} bytes of standard input", value.get("stdout"), f"{size} {hashlib.md5(data).hexdigest()}\n")
        expect("are not sent back", "stdin" in value, False)
    small = json.dumps({**request, "code": "print(input())"}).encode()
    expect("the input may come first", send(("stdin", b"--b0un\r\n-"), ("request", small))[2]["stdout"], "--b0un\r\n")
    both = json.dumps({**request, "code": "print(input())", "stdin": ["a", "b"]}).encode()
    expect("the part counts", send(("request", both), ("stdin", b"c"), path="/api/v1/run")[2]["stdout"], "c\n")
    expect("POST /run", send(("request", small), ("stdin", b"a"), path="/api/v1/run")[2]["stdout"], "a\n")
    detached = send(("request", json.dumps({**request, "wait": False}).encode()), ("stdin", b"later"), path="/api/v1/run")[2]
    wait_for("a run that does not wait has it", lambda: s.call("GET", "/api/v1/operations/" + detached["id"])[2]["status"] == "succeeded")
    expect("all of it", s.call("GET", "/api/v1/operations/" + detached["id"])[2]["result"]["stdout"].split()[0], "5")
    for what, parts, status in (
            ("one byte more", (("request", small), ("stdin", bytes(limit + 1))), 413), ("no request", (("stdin", b"a"),), 400),
            ("an unknown part", (("request", small), ("other", b"a")), 400), ("no part", (), 400),
            ("a part twice", (("request", small), ("stdin", b"a"), ("stdin", b"b")), 400),
            ("an encoding", (("request", small), ("stdin", b"YQ==", "Content-Transfer-Encoding: base64")), 400),
            ("no JSON", (("request", b"a"),), 400)):
        expect(f"parts with {what}", send(*parts)[0], status)
    expect("parts without an end", send(("request", small), end="")[0], 400)
    expect("no boundary", send(("request", small), headers={"Content-Type": "multipart/form-data"})[0], 415)
    expect("another boundary", send(("request", small), headers={"Content-Type": "multipart/form-data; boundary=other"})[0], 400)
    expect("a form of another page", send(("request", small), headers={"Origin": "http://evil.example"})[2].get("code"), "E017")
    expect("parts elsewhere", send(("request", b"{}"), path="/api/v1/sessions")[0], 415)
    key = {"Idempotency-Key": "parts"}
    first = send(("request", small), ("stdin", b"1"), headers=key)[2]
    expect("a key", send(("request", small), ("stdin", b"1"), headers=key)[2], first)
    expect("counts with the input", send(("request", small), ("stdin", b"2"), headers=key)[0] // 100, 4)
    metrics = lambda: s.call("GET", "/metrics")[2]
    wait_for("what they held is free", lambda: "capsid_http_bodies_bytes 0\n" in metrics())


def test_wire_bodies(s):
    before = effects(s)
    bad, chunked, close = b'{"x": 1}', "Transfer-Encoding: chunked", "Connection: close"
    expect("pipelined refusals", answers(raw(s, post(bad) * 4 + post(b"{", close))), [400] * 5)
    for length in "-1", "x", "1x", "18446744073709551616", "":
        expect(f"Content-Length {length!r}", answers(raw(s, post(b"", length=length)))[:1], lambda a: a in ([400], [413], []))
    expect("a length over the limit", answers(raw(s, post(b"", close, length=49 << 20)))[:1], [413])
    piece = b"%x\r\n%s\r\n" % (1 << 20, b" " * (1 << 20))
    expect("a huge body in chunks", answers(raw(s, post(piece * 49 + b"0\r\n\r\n", chunked, close, length=False)))[:1],
           lambda a: a in ([413], []))
    expect("a chunk that is none", answers(raw(s, post(b"zz\r\n\r\n", chunked, close, length=False)))[:1], lambda a: a in ([400], []))
    expect("two lengths", answers(raw(s, post(bad, chunked, close))), lambda a: set(a) <= {400})
    expect("no Host", answers(raw(s, b"GET /health HTTP/1.1\r\n\r\n"))[:1], [400])
    for what, data in {"the head": b"POST /api/v1/execute HTTP/1.1\r\nHost: loc", "the body": post(b'{"lang', length=1000)}.items():
        expect(f"half a connection, closed in {what}", answers(raw(s, data, half_close=True)), lambda a: set(a) <= {400})
    got = raw(s, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", half_close=True)
    expect("half a connection, closed after a request", answers(got), lambda a: set(a) <= {200})
    began = time.monotonic()
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", s.port), timeout=60) as c:
            c.sendall(post(bytes(3 << 20), length=40 << 20))
    wait_for("clients that go away in the middle of a body: it is free", lambda: metric(s, "capsid_http_bodies_bytes") == 0)
    expect("and not only when the connection was idle for a minute", time.monotonic() - began < 45, True)
    expect("none of this had an effect", effects(s), before)
    cancelled = metric(s, 'capsid_runs_total{end="cancelled"}')
    body = json.dumps({"language": "python", "code": "import time; time.sleep(200)", "timeout": 250}).encode()
    raw(s, post(body), half_close=True)
    wait_for("half a connection, closed after a program: its worker is free",
             lambda: metric(s, 'capsid_workers_busy{lane="run"}') == 0)
    expect("and it was cancelled, if it ran", metric(s, 'capsid_runs_total{end="cancelled"}') - cancelled in (0, 1), True)


def test_metrics(s):
    _, headers, text = s.call("GET", "/metrics")
    expect("metrics: type", headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
    expect("metrics: as Prometheus reads them", prometheus.problems(text), [])
    expect("metrics: the reader finds faults", len(prometheus.problems(text.replace("_total", "") + "x{a=b} 1\n")) > 2, True)
    rows = [float(l.split()[-1]) for l in text.splitlines() if l.startswith("capsid_run_exec_seconds_bucket")]
    expect("metrics: a histogram grows", rows, sorted(rows))
    expect("metrics: all of it", rows[-1], metric(s, "capsid_run_exec_seconds_count"))


# ---- other servers ---------------------------------------------------------------------------------


def new_token(name):
    out = subprocess.run([os.environ["CAPSID"], "api", "--new-token", name], capture_output=True, text=True, check=True).stdout
    return re.search("token: (.*)", out)[1], re.search("line:  (.*)", out)[1]


def test_tokens():
    path = os.path.join(os.environ["TMPDIR"], "tokens")
    (alice, alice_line), (bob, bob_line) = new_token("alice"), new_token("bob")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"# who\n{alice_line} rate=1000 concurrent=1\n")
    with Server("--tokens", path, "--bind", "0.0.0.0", "--cors-origin", "http://page") as s:
        bearer = {"Authorization": f"Bearer {alice}"}
        expect("health needs no token", s.call("GET", "/health")[0], 200)
        s.error("no token", 401, "E003", "GET", "/api/v1/operations")
        s.error("a wrong token", 401, "E004", "GET", "/api/v1/operations", headers={"Authorization": "Bearer x"})
        s.error("a token that is not there yet", 401, "E004", "GET", "/metrics", headers={"Authorization": f"Bearer {bob}"})
        expect("a token", s.call("GET", "/api/v1/operations", headers=bearer)[0], 200)
        path_ = "/api/v1/operations/" + s.execute("import time; time.sleep(200)", headers=bearer, wait=False, timeout=250)[2]["id"]
        s.error("more at a time than the token may", 429, "E002", "POST", "/api/v1/execute",
                {"language": "python", "code": "1"}, bearer)
        with open(path, "a", encoding="utf-8") as f:
            f.write(f"{bob_line} rate=1 burst=2\n")
        s.process.send_signal(signal.SIGHUP)
        bobs = {"Authorization": f"Bearer {bob}"}
        wait_for("SIGHUP reads the tokens anew", lambda: s.call("GET", "/api/v1/operations/x", headers=bobs)[0] != 401)
        got = [s.call("GET", path_, headers=bobs) for _ in range(12)]
        expect("another client's operation", {g[0] for g in got} <= {404, 429}, True)
        limited = [g for g in got if g[0] == 429]
        expect("a rate", len(limited) > 0 and limited[0][2]["code"], "E002")
        expect("Retry-After", limited[0][1]["Retry-After"] if limited else "", lambda v: v.isdigit())
        s.call("DELETE", path_, headers=bearer)
        _, headers, _ = s.call("OPTIONS", "/api/v1/execute", headers={"Origin": "http://page"})
        expect("CORS", (headers["Access-Control-Allow-Origin"], "POST" in headers["Access-Control-Allow-Methods"]),
               ("http://page", True))
    refused = subprocess.run([os.environ["CAPSID"], "api", "--port", "0", "--bind", "0.0.0.0"], capture_output=True, text=True,
                             check=False)
    expect("for everyone without tokens", (refused.returncode, "--tokens" in refused.stderr), (1, True))


def test_overload(*options):
    """Programs wait in one line, whether for a VM of the pool or for a worker."""
    with Server(*options, "--workers", "1", "--queue", "3", "--grace", "250") as s:
        answers, code = [], "import time; time.sleep(2)"

        def state():
            return metric(s, 'capsid_workers_busy{lane="run"}'), metric(s, 'capsid_queue_length{lane="run"}')

        threads = [threading.Thread(target=lambda: answers.append(s.execute(code))) for _ in range(3)]
        with Running(s):
            wait_for("the first is in", lambda: state() == (1, 0))
            for n, t in enumerate(threads):
                t.start()
                wait_for(f"request {n} is in", lambda n=n: state() == (1, n + 1))
            status, headers, value = s.execute("print(1)")
            expect("beyond the queue", (status, value["code"], headers["Retry-After"]), (503, "E010", "1"))
            status, headers, value = s.execute("print(1)", headers={"Accept": "text/event-stream"})
            expect("a stream beyond the queue", (status, value["code"], headers["Retry-After"]), (503, "E010", "1"))
        wait_for("the next has its turn", lambda: state()[1] < 3)
        s.process.send_signal(signal.SIGTERM)
        for t in threads:
            t.join()
        expect("work is finished at shutdown", [a[0] for a in answers], [200] * 3)
        expect("the server ends", s.process.wait(60), 0)


# ---- the pool --------------------------------------------------------------------------------------


def pool(s, name, language="sh"):
    return metric(s, f'capsid_pool_{name}{{language="{language}"}}')


def vmms(s):
    """The VMMs below the server."""
    found, waiting = [], [s.process.pid]
    while waiting:
        for task in os.listdir(f"/proc/{waiting[0]}/task"):
            try:
                with open(f"/proc/{waiting[0]}/task/{task}/children", encoding="ascii") as f:
                    children = [int(pid) for pid in f.read().split()]
            except FileNotFoundError:
                continue  # it has just ended
            for pid in children:
                try:
                    if "qemu" in os.readlink(f"/proc/{pid}/exe"):
                        found.append(pid)
                    else:
                        waiting.append(pid)
                except FileNotFoundError:
                    pass
        waiting.pop(0)
    return found


def test_pool_runs(s):
    wait_for("the pool fills", lambda: s.call("GET", "/health")[2]["pool"].get("sh") == 2)
    code = "cat /tmp/left /work/left left 2>/dev/null; echo secret >/tmp/left; echo secret >left; cat /etc/machine-id"
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(s.execute(code, "sh")[2])) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    expect("runs see nothing of each other", [a["stdout"].count("\n") for a in answers], [1] * 8)
    expect("each has a VM of its own", len({a["stdout"] for a in answers}), 8)
    expect("they were primed", [a["primed"] for a in answers], [True] * 8)
    expect("from the pool", pool(s, "served_total"), 8)
    code = "echo $0 $1; cat; pwd"
    want = s.execute(code, "sh", stdin="x\n")[2]
    for what, pooled, more in (("primed", True, {}), ("unprimed", True, {"prime": False}), ("cold", False, {"snapshot": False}),
                               ("with other memory", False, {"memory_mib": 192}),
                               ("with another processor", False, {"vcpus": 2})):
        before = pool(s, "served_total")
        _, _, got = s.execute(code, "sh", stdin="x\n", **more)
        expect(f"a run {what}: the same", [got[k] for k in ("stdout", "stderr", "exit_code", "end", "status")],
               [want[k] for k in ("stdout", "stderr", "exit_code", "end", "status")])
        expect(f"a run {what}: primed", got["primed"], what in ("primed", "with other memory", "with another processor"))
        expect(f"a run {what}: from the pool", pool(s, "served_total") - before, int(pooled))
    s.error("a directory that is not there", 400, "E001", "POST", "/api/v1/execute",
            {"language": "sh", "code": "1", "cwd": "/nowhere"})
    made = {name: s.execute("read -r _ size _ </proc/meminfo; echo $((size / 50000))", "sh", **size)[2]["stdout"]
            for name, size in {"129": {"memory_mib": 129}, "cold": {"memory_mib": 129, "snapshot": False}}.items()}
    expect("sizes of restored VMs are powers of two", made, {"129": "4\n", "cold": "2\n"})
    _, _, value = s.execute("echo $1 $A", "sh", args=["b"], env={"A": "c"})
    expect("arguments and variables", (value["stdout"], value["primed"]), ("b c\n", False))


def test_pool_mends(s):
    wait_for("all are ready", lambda: pool(s, "size") == s.call("GET", "/health")[2]["pool"]["sh"] and
             metric(s, 'capsid_pool_vms{language="sh",state="ending"}') == 0)
    victims, lost = vmms(s), pool(s, "lost_total")
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    answers = [s.execute("echo alive", "sh") for _ in range(4)]
    expect("idle VMs are killed: programs run", [(a[0], a[2].get("stdout")) for a in answers], [(200, "alive\n")] * 4)
    wait_for("idle VMs are killed: they are counted", lambda: pool(s, "lost_total") >= lost + len(victims) > lost)
    wait_for("and replaced", lambda: s.call("GET", "/health")[2]["pool"]["sh"] == 2)
    before = pool(s, "restored_total")
    s.process.send_signal(signal.SIGHUP)
    expect("SIGHUP keeps the pool", (s.execute("echo 1", "sh")[0], pool(s, "restored_total") >= before), (200, True))
    _, headers, _ = s.call("POST", "/api/v1/snapshots", {"language": "sh", "force": True})
    path = headers["Location"]
    wait_for("a snapshot is made anew", lambda: s.call("GET", path)[2]["finished"])
    expect("although the pool has it", s.call("GET", path)[2]["status"], "succeeded")
    expect("a run of the new one", s.execute("echo 1", "sh")[2]["stdout"], "1\n")
    expect("the new one is in the pool", pool(s, "served_total"), 1)


def test_pool_waits():
    with Server("--pool", "sh=1", "--pool-max", "1", "--queue-seconds", "15") as s:
        wait_for("the pool fills", lambda: s.call("GET", "/health")[2]["pool"].get("sh") == 1)
        with Running(s, "sh"):
            wait_for("it runs", lambda: metric(s, 'capsid_workers_busy{lane="run"}') == 1)
            with Running(s, "sh"):
                wait_for("one waits", lambda: metric(s, 'capsid_queue_length{lane="run"}') == 1)
            wait_for("a client that goes away leaves the line", lambda: metric(s, 'capsid_queue_length{lane="run"}') == 0)
            status, headers, value = s.execute("echo 3", "sh", timeout=100)
            expect("who waits too long", (status, value["code"], "Retry-After" in headers), (503, "E010", True))
            expect("a language beyond the pool's bound", s.execute("print(4)")[2]["stdout"], "4\n")
            expect("is not in the pool", list(s.call("GET", "/health")[2]["pool"]), ["sh"])
        wait_for("the pool fills again", lambda: s.call("GET", "/health")[2]["pool"].get("sh") == 1)
        expect("who comes then", s.execute("echo 1", "sh")[2]["stdout"], "1\n")
    for options in (["sh=9", "--pool-max", "8"], ["klingon"], ["sh=0"]):
        done = subprocess.run([os.environ["CAPSID"], "api", "--port", "0", "--pool", *options], capture_output=True, text=True,
                              check=False)
        expect(f"--pool {' '.join(options)} is refused", (done.returncode != 0, "pool" in done.stderr), (True, True))


def test_pool():
    with Server("--pool", "sh=2", "--grace", "1") as s:
        test_pool_runs(s)
        test_pool_mends(s)
    with Server("--pool", "sh=2") as s:
        wait_for("the pool fills", lambda: s.call("GET", "/health")[2]["pool"].get("sh") == 2)
        left = vmms(s)
        s.process.kill()
        s.process.wait(60)
        wait_for("no VM outlives a server that was killed", lambda: left and not any(os.path.exists(f"/proc/{p}") for p in left))
    with Server("--pool", "off") as s:
        expect("without a pool", (s.execute("echo 1", "sh")[2]["stdout"], s.call("GET", "/health")[2]["pool"]), ("1\n", {}))


def test_reload():
    os.environ["CAPSID_VMM"] = "firecracker"
    try:
        with Server("--pool", "off", "--vmm", "qemu") as s:
            begin = os.path.getsize(s.log.name)

            def said():
                with open(s.log.name, "rb") as f:
                    f.seek(begin)
                    return f.read().decode()

            s.process.send_signal(signal.SIGHUP)
            wait_for("SIGHUP reads the settings anew", lambda: "read anew" in said())
            expect("what the command line sets has not changed", "has changed" in said(), False)
    finally:
        del os.environ["CAPSID_VMM"]


def test_shutdown_and_socket():
    path = os.path.join(os.environ["TMPDIR"], "s")
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.bind(os.path.join(os.environ["TMPDIR"], "n"))
    notified.settimeout(60)
    os.environ["NOTIFY_SOCKET"] = os.path.join(os.environ["TMPDIR"], "n")
    with Server("--socket", path, "--grace", "0") as s:
        expect("systemd is told", notified.recv(100), b"READY=1")
        expect("where", s.where[1], f"unix:{path}")
        c = http.client.HTTPConnection("localhost")
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.connect(path)
        c.request("GET", "/health")
        expect("a Unix socket", c.getresponse().status, 200)
        c.close()
        answers = []
        t = threading.Thread(target=lambda: answers.append(s.execute("import time; time.sleep(200)", timeout=250)))
        t.start()
        wait_for("it runs", lambda: metric(s, 'capsid_workers_busy{lane="run"}') == 1)
        s.stop()
        t.join()
        expect("work is cancelled at the end of the grace", (answers[0][0], answers[0][2]["code"]), (503, "E015"))
    expect("systemd is told of the end", notified.recv(100), b"STOPPING=1")
    notified.close()
    del os.environ["NOTIFY_SOCKET"]
    expect("the socket is removed", os.path.exists(path), False)


def test_slow_clients():
    with Server("--receive-seconds", "1") as s:
        for what, begin in (("head", b"GET /health HTTP/1.1\r\nX: "),
                            ("body", b"POST /api/v1/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                                     b"Content-Length: 100000\r\n\r\n{")):
            with socket.create_connection(("127.0.0.1", s.port), timeout=0.1) as c:
                c.sendall(begin)
                end, closed = time.monotonic() + 40, False
                while not closed and time.monotonic() < end:
                    try:
                        c.sendall(b" ")
                        closed = c.recv(1) == b""
                    except TimeoutError:
                        pass
                    except (ConnectionResetError, BrokenPipeError):
                        closed = True
                expect(f"a slow {what} ends its connection", closed, True)
    with Server("--receive-seconds", "10") as s: # a request that is not slow gets through in that
        status, _, _ = s.execute("import time; time.sleep(12); print(1)")
        expect("a slow program does not", status, 200)


def test_activation():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        script = 'exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$CAPSID" api'
        p = subprocess.Popen(["sh", "-c", script], stdin=listener, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        expect("a socket that systemd opened", p.stdout.readline(), f"listening on http://127.0.0.1:{listener.getsockname()[1]}\n")
        expect("ready", p.stdout.readline(), "ready\n")
        c = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=60)
        c.request("GET", "/health")
        expect("it answers there", c.getresponse().status, 200)
        c.close()
        p.terminate()
        expect("its end", p.wait(60), 0)
        p.stdout.close()


def test_trace_of_vms():
    for options in ("--pool", "off"), ("--pool", "sh=1"):
        with Server("-v", *options) as s:
            expect(f"{options}: a program", s.execute("echo 1", "sh", {"X-Request-Id": "asked-for.1"})[0], 200)
            s.stop()
            s.log.seek(0)
            events = [line for line in s.log.read().decode().splitlines() if " trace_id=asked-for.1 " in f"{line} "]
        names = {word for line in events for word in line.split() if word.startswith("event=")}
        expect(f"{options}: events have the request's trace id", {"event=job", "event=destroyed", "event=run"} - names, set())


def main():
    with Server("--workers", "2", "--grace", "1") as s:
        for test in (test_simple, test_execute, test_streams, test_client_gone, test_operations, test_idempotency,
                     test_bad_input, test_parts, test_wire, test_wire_bodies, test_metrics):
            test(s)
    test_tokens()
    test_overload("--pool-max", "1")
    test_overload("--pool", "off")
    for test in test_pool, test_pool_waits, test_reload, test_shutdown_and_socket, test_slow_clients, test_activation, test_trace_of_vms:
        test()
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
