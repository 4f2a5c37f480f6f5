"""Commands in images over HTTP: what they change as images, several at a time, and what operations say as they say it. Prints
"ok: ..." or "FAILED: ..." lines; exit status 1 when one failed."""

import concurrent.futures
import http.client
import os
import subprocess
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


def test_look(s):
    line = "mkdir /d; echo one >/d/a; echo two >/d/b; ln -s a /d/link; mkfifo /d/fifo; printf 'x\\377' >/d/bytes"
    path = "/api/v1/images/" + run(s, SH, line, keep="success")["result_image"]
    entries = s.call("GET", path + "/list?path=/d")[2]["entries"]
    expect("a directory of an image", [(e["name"], e["type"]) for e in entries],
           [("a", "file"), ("b", "file"), ("bytes", "file"), ("fifo", "fifo"), ("link", "symlink")])
    expect("a page of it", s.call("GET", path + "/list?path=/d&after=a&limit=1")[2]["entries"][0]["name"], "b")
    expect("a file", s.call("GET", path + "/read?path=/d/link")[2], "one\n")
    expect("a part of it", s.call("GET", path + "/read?path=/d/a&offset=1&length=2")[2], "ne")
    found = s.call("GET", path + "/grep?path=/d&pattern=^t")[2]["matches"]
    expect("what matches", [(m["path"], m["line"], m["text"]) for m in found], [("b", 1, "two")])
    s.error("none such", 404, "E007", "GET", path + "/list?path=/nothing")
    s.error("no pattern", 400, "E001", "GET", path + "/grep?path=/d")
    s.error("no number", 400, "E001", "GET", path + "/list?limit=many")
    s.error("no image", 400, "E001", "GET", "/api/v1/images/nothing/list")


def capsid(s, *arguments):
    """Its status, output and standard error, with the server as the one to ask."""
    done = subprocess.run([os.environ["CAPSID"], *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "CAPSID_API": f"http://127.0.0.1:{s.port}"})
    return done.returncode, done.stdout, done.stderr


def test_verb(s):
    begun = [api.json.loads(capsid(s, "run", "--image", SH, "--detach", "--shell", line)[1])["id"]
             for line in ("echo out; echo err >&2; sleep 1; echo more", "sleep 100", "exit 3")]
    expect("logs -f prints what the program does", capsid(s, "operations", "logs", "-f", begun[0]), (0, "out\nmore\n", "err\n"))
    status, out, _ = capsid(s, "operations", "wait", begun[0], begun[2], "--json")
    expect("wait waits for all", (status, [o["status"] for o in api.json.loads(out)["operations"]]), (0, ["succeeded"] * 2))
    status, out, _ = capsid(s, "operations", "wait", "-t", "1", begun[1])
    expect("but not for ever", status, 124)
    expect("wait --any is for one", capsid(s, "operations", "wait", "--any", "--cancel-others", *begun)[0], 0)
    wait_for("the others are cancelled", lambda: s.call("GET", "/api/v1/operations/" + begun[1])[2]["status"] == "cancelled")
    out = api.json.loads(capsid(s, "operations", "list", "--status", "cancelled", "--json")[1])
    expect("list --status", begun[1] in [o["id"] for o in out["operations"]], True)
    expect("of a command that failed the run has succeeded", api.json.loads(capsid(s, "operations", "show", begun[2])[1])["result"]["exit_code"], 3)
    status, _, err = capsid(s, "operations", "show", "op-none")
    expect("none such", (status, "no such operation" in err), (1, True))
    status, _, err = capsid(s, "operations", "show", "../x")
    expect("no name of one", (status, "is no operation" in err), (1, True))
    expect("cancel twice is once", capsid(s, "operations", "cancel", begun[1])[0], 0)
    status, _, err = capsid(s, "run", "--api", "", "--image", SH, "--detach", "--", "/bin/true")
    expect("nothing is detached without a server", (status, "--api" in err), (1, True))


def main():
    with Server("--pool", "off") as s:
        test_commands(s)
        test_branches(s)
        test_look(s)
        test_events(s)
        test_verb(s)
    return 1 if api.failures else 0


if __name__ == "__main__":
    sys.exit(main())
