"""One client attacks with its default limits while another one runs programs, each of which prints a token of its own: none may
be refused, none lost or crossed. How long they took beside a quiet server is printed, and only a server that stands still fails by it.

An attack is a class with a row in ATTACKS: entered, it is under way; left, nothing of it is. HOSTILE_PROGRAMS (12; in the long form 200) is how
many programs run; arguments choose among the attacks. Prints "ok: ..." or "FAILED: ..." lines."""

import http.client
import json
import multiprocessing
import os
import re
import selectors
import socket
import subprocess
import sys
import threading
import time

import api
from api import Server, expect, metric, wait_for

PROGRAMS = int(os.environ.get("HOSTILE_PROGRAMS", "200" if os.environ.get("CHECK_ALL") else "12"))
IN_FULL = PROGRAMS > 12
CLIENTS = 2  # of the other one, at a time
SLOWER_MAX = 100  # this many times slower stands for standing still


class Tokens:
    """A file with these clients."""

    def __init__(self, *names):
        self.path = os.path.join(os.environ["TMPDIR"], "tokens")
        self.of = {}
        with open(self.path, "w", encoding="ascii") as f:
            for name in names:
                out = subprocess.run([os.environ["CAPSID"], "api", "--new-token", name], check=True, stdout=subprocess.PIPE, text=True).stdout
                self.of[name] = re.search(r"^token: *(\S+)$", out, re.M)[1]
                print(re.search(r"^line: *(.*)$", out, re.M)[1], file=f)


class Good:
    """The other one's programs: how long each took, and what went wrong."""

    def __init__(self, server, token, count):
        self.server, self.token, self.count = server, token, count
        self.lock, self.next, self.times, self.wrong = threading.Lock(), 0, [], []

    def one(self, number, kept):
        """With a connection that is kept, or, as others do, one of its own."""
        c = kept or http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=200)
        word = f"{os.getpid()}-{number}"
        begin = time.monotonic()
        try:
            c.request("POST", "/api/v1/execute", json.dumps({"language": "sh", "code": f"echo {word}"}),
                      {"Content-Type": "application/json", "Authorization": "Bearer " + self.token})
            r = c.getresponse()
            value = json.loads(r.read())
            if r.status != 200 or value["stdout"] != word + "\n":
                self.wrong.append((word, r.status, value))
        except (OSError, http.client.HTTPException) as e:
            self.wrong.append((word, repr(e)))
        self.times.append(time.monotonic() - begin)
        if not kept:
            c.close()

    def work(self, keep):
        kept = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=200) if keep else None
        while True:
            with self.lock:
                number, self.next = self.next, self.next + 1
            if number >= self.count:
                break
            self.one(number, kept)
        if kept:
            kept.close()

    def run(self):
        threads = [threading.Thread(target=self.work, args=(n % 2 == 0,)) for n in range(CLIENTS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.times.sort()
        return self

    def at(self, quantile):
        return self.times[int(quantile * (len(self.times) - 1) + 0.5)]


# ---- attacks ---------------------------------------------------------------------------------------


class HalfRequests:
    """Connections that bring half a head and then nothing; those that are ended are opened again. Without a token."""

    COUNT = 2000
    HALF = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: "

    def __init__(self, server, _token):
        self.server, self.end, self.opened = server, threading.Event(), 0
        self.selector, self.thread = selectors.DefaultSelector(), threading.Thread(target=self.keep)

    def open(self):
        c = socket.create_connection(("127.0.0.1", self.server.port), timeout=60)
        c.sendall(self.HALF)
        c.setblocking(False)
        self.selector.register(c, selectors.EVENT_READ)
        self.opened += 1

    def replace(self, c):
        self.selector.unregister(c)
        c.close()
        self.open()

    def keep(self):
        try:
            while not self.end.is_set():
                for key, _ in self.selector.select(0.1):
                    if self.end.is_set():
                        break
                    self.replace(key.fileobj)
                    time.sleep(0.002)  # the other one, and the guests, have the same processors
        except OSError as e:
            print(f"the attack ends: {e!r}")

    def __enter__(self):
        while self.opened < self.COUNT:
            self.open()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()

    def check(self):
        held = metric_of(self.server, 'capsid_http_connections{state="waiting"}')
        expect("half of the places are others'", held, lambda n: n <= metric_of(self.server, "capsid_http_client_connections_limit") + 2 * CLIENTS)
        expect("so some of it was ended", metric_of(self.server, 'capsid_http_connections_ended_total{why="crowded"}'), lambda n: n > 0)


class HalfBodies(HalfRequests):
    """The same, with a token and half a body."""

    COUNT = 1200

    def __init__(self, server, token):
        super().__init__(server, token)
        self.HALF = (b"POST /api/v1/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
                     b"Authorization: Bearer " + token.encode() + b"\r\n\r\n{")

    def check(self):
        expect("half of the places are others'", metric_of(self.server, 'capsid_http_connections{state="bringing"}'),
               lambda n: n <= metric_of(self.server, "capsid_http_client_connections_limit"))


class SleepingCalls:
    """Sessions that all do at once all that a session can, and that is to sleep."""

    SESSIONS, CALLS = 2, 8

    def __init__(self, server, token):
        self.server, self.headers, self.paths = server, {"Authorization": "Bearer " + token}, []
        self.threads = [threading.Thread(target=self.sleep, args=(n % self.SESSIONS,)) for n in range(self.SESSIONS * self.CALLS)]

    def make(self, headers):
        status, answer, _ = self.server.call("POST", "/api/v1/sessions", {"language": "sh"}, headers)
        expect("a session is made", status, 201)
        return answer["Location"]

    def sleep(self, which):
        self.server.call("POST", self.paths[which] + "/execute", {"argv": ["sleep", "250"], "timeout": 280}, self.headers)

    def __enter__(self):
        self.paths = [self.make(self.headers) for _ in range(self.SESSIONS)]
        for t in self.threads:
            t.start()
        wait_for("they all sleep", lambda: metric_of(self.server, 'capsid_workers_busy{lane="session"}') == len(self.threads))
        return self

    def __exit__(self, *_):
        for path in self.paths:
            self.server.call("DELETE", path, None, self.headers)
        for t in self.threads:
            t.join()

    def check(self):
        headers = self.server.as_admin.headers
        path = self.make(headers)
        expect("another's session is served", self.server.call("POST", path + "/execute", {"argv": ["true"]}, headers)[0], 200)
        self.server.call("DELETE", path, None, headers)


class LargeSessions:
    """Sessions that may come to take more memory and disk than there is."""

    COUNT = 16
    SHAPE = {"language": "sh", "memory_mib": 2048, "disk_mib": 4096}

    def __init__(self, server, token):
        self.server, self.headers, self.end = server, {"Authorization": "Bearer " + token}, threading.Event()
        self.threads = [threading.Thread(target=self.make) for _ in range(self.COUNT)]

    def make(self):
        status, answer, _ = self.server.call("POST", "/api/v1/sessions", self.SHAPE, self.headers)
        if status == 201:
            self.end.wait()
            self.server.call("DELETE", answer["Location"], None, self.headers)

    def has(self):
        return metric_of(self.server, 'capsid_vms{kind="session"}')

    def __enter__(self):
        for t in self.threads:
            t.start()
        wait_for("it has all that it gets", lambda: self.has() >= 2 and metric_of(self.server, "capsid_vms_waiting") > 0)
        return self

    def __exit__(self, *_):
        self.end.set()
        for t in self.threads:
            t.join()

    def check(self):
        limits = [metric_of(self.server, f"capsid_vms_{what}_limit_bytes") for what in ("memory", "disk")]
        expect("it has a share, and no more", [metric_of(self.server, f"capsid_vms_{what}_bytes") / limit < 0.85
                                               for what, limit in zip(("memory", "disk"), limits)], [True, True])
        headers = self.server.as_admin.headers
        status, answer, _ = self.server.call("POST", "/api/v1/sessions", {"language": "sh"}, headers)
        expect("another gets a session", status, 201)
        self.server.call("DELETE", answer["Location"], None, headers)


class Flood:
    """Clients who ask for the same again and again, as fast as they are answered; what they made is cancelled in the end. In a process of
    its own that stands back, as if it were on another machine."""

    CLIENTS = 8
    PATH = "/api/v1/rootfs"

    def __init__(self, server, token):
        self.server, self.headers = server, {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
        processes = multiprocessing.get_context("fork")
        self.asked, self.answers = processes.Value("i", 0), processes.Array("i", 600)
        self.process = processes.Process(target=self.flood)

    def request(self, _number):
        """What is asked for, and headers beside the usual ones. Of a language that there is not nothing can be made."""
        return {"language": "klingon"}, {}

    def ask(self):
        c = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=200)
        while True:
            with self.asked.get_lock():
                self.asked.value += 1
                body, more = self.request(self.asked.value)
            c.request("POST", self.PATH, json.dumps(body), {**self.headers, **more})
            r = c.getresponse()
            r.read()
            with self.answers.get_lock():
                self.answers[r.status] += 1
            if r.status in (429, 503):
                time.sleep(0.01)

    def flood(self):
        os.nice(19)
        threads = [threading.Thread(target=self.ask) for _ in range(self.CLIENTS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def answered(self):
        return {status: count for status, count in enumerate(self.answers) if count}

    def under_way(self):
        return sum(self.answers) > self.CLIENTS

    def __enter__(self):
        self.process.start()
        wait_for("it is under way", self.under_way)
        return self

    def going_on(self):
        listed = self.server.call("GET", "/api/v1/operations", None, self.headers)[2]["operations"]
        return [one["id"] for one in listed if not one["finished"]]

    def __exit__(self, *_):
        self.process.terminate()
        self.process.join()
        for one in self.going_on():
            self.server.call("DELETE", "/api/v1/operations/" + one, None, self.headers)
        print(f"its answers: {self.answered()}")
        wait_for("nothing of it is left", lambda: not self.going_on())

    def check(self):
        expect("it was answered", self.process.is_alive() and self.under_way(), True)


class Keys(Flood):
    """Programs that cannot run, each with a key, so that its answer is kept."""

    PATH = "/api/v1/execute"

    def request(self, number):
        return {"language": "klingon", "code": "x" * 20000}, {"Idempotency-Key": f"mine {number}"}


class Images(Flood):
    """An image that is built again and again."""

    def request(self, _number):
        return {"language": "sh", "force": True}, {}

    def under_way(self):
        return metric_of(self.server, 'capsid_vms{kind="making"}') > 0


class Snapshots(Images):
    """Snapshots in all sizes that there are, again and again."""

    PATH = "/api/v1/snapshots"

    def request(self, number):
        return {"language": "sh", "memory_mib": 128 << number % 3, "disk_mib": 64 << number % 5, "force": True}, {}


class Shapes(Images):
    """Programs in sizes that have no snapshot yet, with a disk each."""

    PATH = "/api/v1/execute"

    def request(self, number):
        return {"language": "sh", "code": "echo", "memory_mib": 130 + number * 61 % 600, "disk_mib": 64 + number * 97 % 2000}, {}


ATTACKS = {
    "operations": Flood,
    "keys": Keys,
    "images": Images,
    "snapshots": Snapshots,
    "odd shapes": Shapes,
    "sessions larger than the machine": LargeSessions,
    "sleeping calls of sessions": SleepingCalls,
    "half-sent requests": HalfRequests,
    "half-sent bodies": HalfBodies,
}


# ---- how they are tried ----------------------------------------------------------------------------


def metric_of(server, name):
    return metric(server.as_admin, name)


class AsAdmin:
    """The server, asked with a token of its own."""

    def __init__(self, server, token):
        self.server, self.headers = server, {"Authorization": "Bearer " + token}

    def call(self, method, path):
        return self.server.call(method, path, headers=self.headers)


def say(what, good):
    print(f"{what}: {good.count} programs, p50 {good.at(0.5) * 1000:.0f} ms, p99 {good.at(0.99) * 1000:.0f} ms, at most {good.at(1) * 1000:.0f} ms")


def run_quiet(server, tokens, name):
    quiet = Good(server, tokens.of["good"], PROGRAMS).run()
    say(f"{name}: before", quiet)
    expect(f"{name}: nothing was wrong before", quiet.wrong[:3], [])
    return quiet


def try_attack(server, tokens, name, quiet):
    with ATTACKS[name](server, tokens.of["evil"]) as a:
        good = Good(server, tokens.of["good"], PROGRAMS).run()
        say(f"{name}: meanwhile", good)
        print(f"{name}: p99 is {good.at(0.99) / quiet.at(0.99):.2f} times the quiet one")
        a.check()
    expect(f"{name}: none was refused, lost or crossed", good.wrong[:3], [])
    expect(f"{name}: they went on", good.at(0.99) / quiet.at(0.99), lambda times: times < SLOWER_MAX)


def main():
    tokens = Tokens("good", "evil", "admin")
    with Server("--tokens", tokens.path, "--pool", "sh=2", "--pool-max", "2", "--grace", "1") as server:
        server.as_admin = AsAdmin(server, tokens.of["admin"])
        wait_for("the pool fills", lambda: server.call("GET", "/health")[2]["pool"].get("sh") == 2)
        quiet = None
        for name in sys.argv[1:] or ATTACKS:
            if not quiet or IN_FULL:  # a machine does not stay as fast as it was
                quiet = run_quiet(server, tokens, name)
            try_attack(server, tokens, name, quiet)
    sys.exit(api.failures > 0)


if __name__ == "__main__":
    main()
