"""Commands in images over HTTP: what they change as images, several at a time, and what operations say as they say it. Prints
"ok: ..." or "FAILED: ..." lines; exit status 1 when one failed."""

import concurrent.futures
import http.client
import sys

import api
from api import Server, expect, wait_for

SH = "tag:lang/sh"


def run(s, image, line, **fields):
    return s.call("POST", "/api/v1/execute", {"image": image, "shell": line, **fields})[2]


def test_commands(s):
    r = run(s, SH, "id -u; pwd; cat; echo $A", stdin="in\n", env={"A": "b"}, cwd="/tmp")
    expect("a command as root", (r["stdout"], r["exit_code"], "kept" in r), ("0\n/tmp\nin\nb\n", 0, False))
    r = s.call("POST", "/api/v1/execute", {"image": SH, "argv": ["/bin/sh", "-c", "exit 3"], "user": "1000"})[2]
    expect("as somebody else", r["exit_code"], 3)
    s.error("no such image", 404, "E007", "POST", "/api/v1/execute", {"image": "tag:nothing", "shell": "true"})
    s.error("no image at all", 400, "E001", "POST", "/api/v1/execute", {"image": "../x", "shell": "true"})
    s.error("no command", 400, "E001", "POST", "/api/v1/execute", {"image": SH})
    s.error("a program too", 400, "E001", "POST", "/api/v1/execute", {"image": SH, "shell": "true", "code": "true"})
    s.error("kept without an image", 400, "E001", "POST", "/api/v1/execute", {"language": "sh", "code": "true", "keep": "always"})
    s.error("kept when?", 400, "E001", "POST", "/api/v1/execute", {"image": SH, "shell": "true", "keep": "maybe"})


def test_branches(s):
    first = run(s, SH, "echo 1 >/first", keep="success")
    expect("a change is kept", (first["kept"], first["filesystem_changed"]), ("kept", True))
    again = run(s, first["result_image"], "cat /first", keep="success")
    expect("none gives the same image", (again["stdout"], again["kept"], again["result_image"]), ("1\n", "unchanged", first["result_image"]))
    large = run(s, SH, "head -c 1000000 /dev/urandom >/x", keep="success", max_layer_bytes=100000)
    expect("one too large is not", (large["kept"], "result_image" in large, bool(large["kept_note"])), ("layer_too_large", False, True))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: run(s, first["result_image"], f"echo {n} >/n", keep="success")["result_image"], range(6)))
        read = list(pool.map(lambda image: run(s, image, "cat /first /n")["stdout"], made))
    expect("branches do not see each other", read, [f"1\n{n}\n" for n in range(6)])
    expect("the parent does not see them", run(s, first["result_image"], "ls /n")["exit_code"] != 0, True)


def follow(s, path, headers=None):
    """The events of a stream until its end: (number, name, data)."""
    c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=60)
    c.request("GET", path, headers=headers or {})
    response = c.getresponse()
    all_events = []
    for part in response.read().decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.splitlines() if ": " in line)
        if "event" in fields:
            all_events.append((int(fields["id"]), fields["event"], api.json.loads(fields["data"])))
    c.close()
    return response.status, all_events


def test_events(s):
    line = "echo one; sleep 1; echo two >&2; sleep 1; echo three"
    one = run(s, SH, line, wait=False)["id"]
    path = f"/api/v1/operations/{one}/events"
    status, told = follow(s, path)
    expect("an operation is looked at as it goes on", (status, [e[1] for e in told if e[1] != "start"]), (200, ["stdout", "stderr", "stdout", "end"]))
    expect("with its output", "".join(e[2]["data"] for e in told if e[1].startswith("std")), "one\ntwo\nthree\n")
    expect("and how it ended", (told[-1][2]["status"], told[-1][2]["result"]["exit_code"]), ("succeeded", 0))
    _, rest = follow(s, path, {"Last-Event-ID": str(told[1][0])})
    expect("who comes back goes on", rest, told[2:])
    _, rest = follow(s, f"{path}?since={told[-2][0]}")
    expect("at its end, too", rest, told[-1:])
    long = run(s, SH, "echo begun; sleep 100", wait=False)["id"]
    wait_for("it prints", lambda: len(follow(s, f"/api/v1/operations/{long}/events?follow=false")[1]) > 2)
    s.call("DELETE", f"/api/v1/operations/{long}")
    expect("a cancelled one ends", follow(s, f"/api/v1/operations/{long}/events")[1][-1][2]["status"], "cancelled")
    s.error("of none there are none", 404, "E007", "GET", "/api/v1/operations/op-nothing/events")


def main():
    with Server("--pool", "off") as s:
        test_commands(s)
        test_branches(s)
        test_events(s)
    return 1 if api.failures else 0


if __name__ == "__main__":
    sys.exit(main())
