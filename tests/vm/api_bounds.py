"""What clients can make a live server hold: memory with bodies and answers, VMs by reading slowly, and answers for an
Idempotency-Key. Prints "ok: ..." or "FAILED: ..." lines; exit status 1 when one failed."""

import json
import os
import socket
import sys
import threading
import time

import api
from api import Server, expect, metric, post, wait_for

MIB = 1 << 20
BUSY = 'capsid_workers_busy{lane="run"}'


class Peak:
    """The most resident memory of a server during a with block."""

    def __init__(self, server):
        self.path, self.peak, self.end = f"/proc/{server.process.pid}/statm", 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while not self.end.wait(0.02):
            with open(self.path, encoding="ascii") as f:
                self.peak = max(self.peak, int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE"))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()


def batch(s, count, character, size=MIB):
    code = f"import sys\nfor f in sys.stdout, sys.stderr: f.write({character!r} * {size})"
    return s.call("POST", "/api/v1/run", {"language": "python", "stdin": [""] * count, "code": code})


def test_batches(s):
    status, _, value = batch(s, 16, "x")
    expect("a large batch of text is answered", (status, len(value)), (200, 16))
    expect("whole", {len(one[k]) for one in value for k in ("stdout", "stderr")}, {MIB})
    wait_for("what it held is free", lambda: metric(s, "capsid_http_bodies_bytes") == 0)
    with Peak(s) as p:
        status, headers, value = batch(s, 64, "\x01")
    expect("one that becomes six times as large is stopped", (status, value["code"] if status != 200 else None), (503, "E010"))
    expect("as by a full server", bool(headers["Retry-After"]), True)
    expect("memory has a bound", p.peak // MIB, lambda mib: mib < 700)
    wait_for("what it held is free again", lambda: metric(s, "capsid_http_bodies_bytes") == 0)
    expect("the server goes on", s.execute("print(1)")[2]["stdout"], "1\n")


def test_detached(s):
    held = "x" * (8 * MIB)
    first = s.execute("import time; time.sleep(280)", timeout=300, wait=False)[2]["id"]
    wait_for("one runs", lambda: metric(s, BUSY) == 1)
    ids = []
    for _ in range(40):
        status, _, value = s.call("POST", "/api/v1/run", {"language": "python", "code": f"#{held}", "wait": False})
        if status != 202:
            break
        ids.append(value["id"])
    expect("bodies of runs that do not wait are counted", (status, value.get("code"), len(ids) < 32), (503, "E010", True))
    for one in [first, *ids]:
        s.call("DELETE", "/api/v1/operations/" + one)
    wait_for("what they held is free", lambda: metric(s, "capsid_http_bodies_bytes") == 0)


def test_lost_connection(s):
    code, key = "import os, time; time.sleep(2); print(os.urandom(8).hex())", "Idempotency-Key: lost"
    body = json.dumps({"language": "python", "code": code})
    cancelled = metric(s, 'capsid_runs_total{end="cancelled"}')
    with socket.create_connection(("127.0.0.1", s.port)) as c:
        c.sendall(post(body.encode(), key))
        wait_for("a program with a key runs", lambda: metric(s, BUSY) == 1)
    wait_for("a lost connection cancels it", lambda: metric(s, 'capsid_runs_total{end="cancelled"}') > cancelled)
    headers = {"Idempotency-Key": "lost"}
    for _ in range(50):
        status, got, value = s.call("POST", "/api/v1/execute", body, headers)
        if value.get("code") != "E012":
            break
        time.sleep(0.1)
    expect("who tries again has it run", (status, value.get("exit_code"), got["Idempotency-Replayed"]), (200, 0, None))
    expect("once", s.call("POST", "/api/v1/execute", body, headers)[2], value)


def test_slow_reader(s):
    body = json.dumps({"language": "sh", "code": "yes", "timeout": 2}).encode()
    with socket.socket() as c:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)  # or a busy machine's guest prints less in 2 s than sockets hold
        c.connect(("127.0.0.1", s.port))
        c.sendall(post(body, "Accept: application/x-ndjson"))
        wait_for("a program prints more than is read", lambda: metric(s, BUSY) == 1)
        wait_for("its VM is free when its time is over", lambda: metric(s, BUSY) == 0, 25)
        expect("it timed out", metric(s, 'capsid_runs_total{end="timed_out"}'), 1)
        c.settimeout(60)
        got, end = b"", time.monotonic() + 60
        while b'"event":"end"' not in got[-4096:] and time.monotonic() < end:
            chunk = c.recv(1 << 20)
            if not chunk:
                break
            got += chunk
    last = got[got.find(b'{"event":"end"'):]
    expect("what there is can be read, and how it ended",
           [word in last for word in (b'"end":"timed_out"', b'"truncated":true', b"timeout exceeded (2s)")], [True] * 3)


def test_few_files():
    """Each VM takes some; who comes when there are none is told to come again, and not that the server is broken."""
    statuses = []

    def ask():
        statuses.append(s.execute("sleep 1; echo 1", "sh")[0])

    with Server("--pool", "off", "--workers", "8", "--grace", "1", few_files=True) as s:
        threads = [threading.Thread(target=ask) for _ in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        expect("with few files some are refused, by 503", (len(statuses), set(statuses)), (20, {200, 503}))
        expect("and the server goes on", s.execute("echo 1", "sh")[2].get("stdout"), "1\n")


def main():
    with Server("--workers", "1", "--pool", "off", "--grace", "1") as s:
        for test in test_slow_reader, test_lost_connection, test_detached, test_batches:
            test(s)
    test_few_files()
    sys.exit(api.failures > 0)


main()
