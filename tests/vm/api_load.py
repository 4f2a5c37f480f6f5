"""Many clients at a time, each with a connection that it keeps, on a pool of 8 VMs. Every program prints a token of its
own: nothing may be lost or crossed. Who waits is served in order; only who comes past the bound is refused.

Environment: API_LOAD_SECONDS (8; in the long form 25), API_LOAD_CLIENTS (64; in the long form 200). Prints "ok: ..." or "FAILED: ..." lines."""

import bisect
import http.client
import json
import os
import sys
import threading
import time

import api
from api import Server, expect, metric, pool, wait_for

SECONDS = float(os.environ.get("API_LOAD_SECONDS", "25" if os.environ.get("CHECK_ALL") else "8"))
CLIENTS = int(os.environ.get("API_LOAD_CLIENTS", "200" if os.environ.get("CHECK_ALL") else "64"))
FDS_SLACK = 4
MEMORY_SLACK = 4 << 20


class Load:
    """What clients saw."""

    def __init__(self, server, clients):
        self.server, self.clients = server, clients
        self.lock = threading.Lock()
        self.waits, self.bad, self.refused, self.times = [], [], 0, []
        self.end = threading.Event()

    def client(self, number):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=300)
        count = 0
        while not self.end.is_set():
            token = f"{os.getpid()}-{number}-{count}"
            count += 1
            begin = time.monotonic()
            connection.request("POST", "/api/v1/execute", json.dumps({"language": "sh", "code": f"echo {token}"}),
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            self.note(token, answer, json.loads(answer.read()), begin)
        connection.close()

    def note(self, token, answer, value, begin):
        with self.lock:
            if answer.status == 503 and value["code"] == "E010" and answer.headers["Retry-After"]:
                self.refused += 1
            elif answer.status != 200 or value["stdout"] != token + "\n" or value["exit_code"] != 0:
                self.bad.append((token, answer.status, value))
            else:
                self.waits.append(float(value["load_time"].removesuffix("ms")))
                self.times.append((begin, time.monotonic()))

    def run(self, seconds, at_full=lambda: None):
        """at_full is called when every client has had an answer, and some a second one."""
        threads = [threading.Thread(target=self.client, args=(n,)) for n in range(self.clients)]
        end = time.monotonic() + seconds
        for t in threads:
            t.start()
        while len(self.waits) + self.refused < self.clients * 5 / 4 and not self.bad:
            time.sleep(0.1)
        at_full()
        time.sleep(max(0, end - time.monotonic()))
        self.end.set()
        for t in threads:
            t.join()
        self.waits.sort()
        return self

    def wait(self, quantile):
        return self.waits[int(quantile * (len(self.waits) - 1) + 0.5)]

    def overtaken(self, quantile):
        """By how many that came later a request was overtaken. Unlike the waits, the order does not depend on how fast the
        machine is, nor on what else it does."""
        ends, overtakers = [], []
        for _, end in sorted(self.times, reverse=True):
            overtakers.append(bisect.bisect_left(ends, end))
            bisect.insort(ends, end)
        overtakers.sort()
        return overtakers[int(quantile * (len(overtakers) - 1) + 0.5)]


def resources(s):
    return metric(s, "process_open_fds"), metric(s, "process_resident_memory_bytes")


def test_many():
    with Server("--pool", "sh=8", "--pool-max", "8", "--queue-seconds", "300") as s:
        wait_for("the pool fills", lambda: s.call("GET", "/health")[2]["pool"].get("sh") == 8)
        before, under = resources(s), []
        start = time.monotonic()
        load = Load(s, CLIENTS).run(SECONDS, lambda: under.append(resources(s)))
        took = time.monotonic() - start
        memory = resources(s)[1]
        print(f"{CLIENTS} clients for {took:.0f} s: {len(load.waits)} runs, {len(load.waits) / took:.1f} a second; waited p50 "
              f"{load.wait(0.5):.0f}, p99 {load.wait(0.99):.0f} ms, overtaken p99 {load.overtaken(0.99)}, at most {load.overtaken(1)}; memory {before[1] / 2**20:.1f} MiB before, "
              f"{under[0][1] / 2**20:.1f} once each was served, {memory / 2**20:.1f} at the end")
        expect("every program printed its token", load.bad[:3], [])
        expect("all were served", len(load.waits) >= CLIENTS, True)
        expect("nobody was refused", load.refused, 0)
        # In an order of its own making, a server would let hundreds by; those that run at the same time end in any order.
        expect("fair: 99 of 100 are overtaken by few", load.overtaken(0.99), lambda n: n <= CLIENTS / 4)
        expect("memory does not grow", memory - under[0][1], lambda grown: grown <= MEMORY_SLACK)
        wait_for("the pool is full again", lambda: s.call("GET", "/health")[2]["pool"]["sh"] == 8)
        wait_for("no more files are open than before", lambda: resources(s)[0] <= before[0] + FDS_SLACK)
        expect("each had a VM of its own", pool(s, "served_total"), len(load.waits))


def test_bound():
    with Server("--pool", "sh=4", "--pool-max", "4", "--queue", "12") as s:
        wait_for("the pool fills", lambda: s.call("GET", "/health")[2]["pool"].get("sh") == 4)
        load = Load(s, 12).run(2)
        expect("as many as may wait: nobody is refused", (load.refused, load.bad[:3]), (0, []))
        load = Load(s, 60).run(2)
        expect("more: some are refused", (load.refused > 0, load.bad[:3]), (True, []))
        expect("and the others served", len(load.waits) > 0, True)


test_many()
test_bound()
sys.exit(api.failures > 0)
