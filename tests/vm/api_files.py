"""Files and directory states over HTTP: content once, owners apart, bounds, hostile lists, what runs and sessions have of them.
Prints "ok: ..." or "FAILED: ..." lines; exit status 1 when one failed."""

import base64
import hashlib
import json
import os
import subprocess
import sys

import api
from api import Server, expect

BYTES = {"Content-Type": "application/octet-stream"}
TMPDIR = os.environ["TMPDIR"]


def sha(data):
    return hashlib.sha256(data).hexdigest()


def make_tokens(path, *names):
    tokens = {}
    with open(path, "w", encoding="ascii") as f:
        for name in names:
            token = "capsid_" + os.urandom(32).hex()
            tokens[name] = token
            f.write(f"{name} {hashlib.sha256(token.encode()).hexdigest()}\n")
    os.chmod(path, 0o600)
    return tokens


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def upload(s, who, data):
    return s.call("POST", "/api/v1/files", data, {**who, **BYTES})


def make(s, who, *entries):
    return s.call("POST", "/api/v1/states", {"entries": list(entries)}, who)


def test_files(s, ann, bob):
    status, headers, made = upload(s, ann, b"hello")
    expect("an upload", (status, made["sha256"], made["size"]), (201, sha(b"hello"), 5))
    path = "/api/v1/files/" + made["uuid"]
    expect("where it is", headers["Location"], path)
    expect("once more it is the same", upload(s, ann, b"hello")[2], made)
    for name in made["uuid"], made["sha256"]:
        status, headers, value = s.call("GET", "/api/v1/files/" + name, None, ann)
        expect("its content", (status, value, headers["ETag"]), (200, "hello", f'"{sha(b"hello")}"'))
        status, headers, _ = s.call("HEAD", "/api/v1/files/" + name, None, ann)
        expect("is it there?", (status, headers["Content-Length"]), (200, "5"))
    expect("another client has no such file", [s.call(m, path, None, bob)[0] for m in ("GET", "HEAD", "DELETE")], [404] * 3)
    expect("nor lists it", s.call("GET", "/api/v1/files", None, bob)[2], {"files": [], "used": 0})
    listed = s.call("GET", "/api/v1/files", None, ann)[2]
    expect("the list", ([f["uuid"] for f in listed["files"]], listed["used"]), ([made["uuid"]], 4096))
    expect("an empty file", upload(s, ann, b"")[2]["size"], 0)
    expect("no such names", [s.call("GET", "/api/v1/files/" + n, None, ann)[0] for n in ("..%2Frecords.db", "x" * 64, "%00", "0" * 64)],
           [404] * 4)
    expect("it is removed", s.call("DELETE", path, None, ann)[0], 204)
    expect("and gone", s.call("GET", path, None, ann)[0], 404)


def test_states(s, ann, bob):
    one = upload(s, ann, b"one")[2]
    odd = base64.b64encode(b"new\nline\xff").decode()
    entries = [{"path": "d/run.sh", "uuid": one["uuid"], "mode": "0755"}, {"path": "empty", "directory": True, "mode": "1700"},
               {"path": "link", "link": "/etc/passwd"}, {"path": odd, "encoding": "base64", "sha256": one["sha256"]}]
    status, headers, state = make(s, ann, *entries)
    expect("a state", (status, state["files"], state["bytes"], headers["Location"]), (201, 2, 6, f"/api/v1/states/{state['id']}"))
    expect("an equal one is the same", make(s, ann, *reversed(entries))[2]["id"], state["id"])
    shown = s.call("GET", headers["Location"], None, ann)[2]["entries"]
    expect("what it holds", [(e["path"], e["mode"], e.get("link")) for e in shown],
           [("d/run.sh", "0755", None), ("empty", "1700", None), ("link", "0777", "/etc/passwd"), (odd, "0644", None)])
    expect("another's", [s.call(m, headers["Location"], None, bob)[0] for m in ("GET", "DELETE")], [404, 404])
    missing = sha(b"two")
    status, _, value = make(s, ann, {"path": "a", "sha256": one["sha256"]}, {"path": "b", "sha256": missing})
    expect("what is missing is told", (status, value), (200, {"id": None, "missing": [missing]}))
    expect("another's files are missing", make(s, bob, {"path": "a", "uuid": one["uuid"]})[2]["missing"], [one["uuid"]])
    code = "import os; print(open('d/run.sh').read(), oct(os.stat('d/run.sh').st_mode), sorted(os.listdir(b'.'))[-1])"
    value = s.execute(code, headers=ann, state=str(state["id"]))[2]
    expect("a run has it", value["stdout"], "one 0o100755 b'new\\nline\\xff'\n")
    value = s.execute("print(open('/srv/x').read())", headers=ann, put=[f"{one['uuid']}:/srv/x:600"])[2]
    expect("and a file", value["stdout"], "one\n")
    expect("another has neither", [s.execute("1", headers=bob, **f)[0] for f in ({"state": str(state["id"])}, {"put": [f"{one['uuid']}:/x"]})],
           [404, 404])
    expect("a file of a state stays", s.call("DELETE", "/api/v1/files/" + one["uuid"], None, ann)[0], 400)
    status, headers, session = s.call("POST", "/api/v1/sessions", {"language": "python"}, ann)
    path = headers["Location"] + "/execute"
    value = s.call("POST", path, {"code": "print(open('d/run.sh').read())", "state": str(state["id"])}, ann)[2]
    expect("a session has it", value["stdout"], "one\n")
    s.error("not in the background", 400, "E001", "POST", path, {"argv": ["true"], "background": True, "state": str(state["id"])}, ann)
    s.call("DELETE", headers["Location"], None, ann)
    return state["id"]


def test_hostile(s, ann):
    file = {"uuid": upload(s, ann, b"x")[2]["uuid"]}
    paths = ["", "/etc/passwd", "..", "../x", "a/../../x", "./x", "a//b", "a/", "x" * 256, "/".join(["d" * 200] * 25)]
    for path in paths:
        s.error(f"a path {path[:20]!r}", 400, "E001", "POST", "/api/v1/states", {"entries": [{"path": path, **file}]}, ann)
    for what, entries in {"through a link": [{"path": "a", "link": "/etc"}, {"path": "a/passwd", **file}],
                          "below a file": [{"path": "a", **file}, {"path": "a/b", **file}],
                          "twice": [{"path": "a", **file}, {"path": "a", "directory": True}],
                          "nothing": [{"path": "a"}], "both": [{"path": "a", "link": "b", "directory": True}],
                          "a mode": [{"path": "a", "mode": "77777", **file}], "a negative mode": [{"path": "a", "mode": "-1", **file}],
                          "a NUL": [{"path": "YQBi", "encoding": "base64", **file}], "no object": [7], "no text": [{"path": 7, **file}],
                          "no base64": [{"path": "?", "encoding": "base64", **file}], "an empty link": [{"path": "a", "link": ""}]}.items():
        s.error(f"entries, {what}", 400, "E001", "POST", "/api/v1/states", {"entries": entries}, ann)
    for body in ("", "[]", "{}", '{"entries": 7}', '{"entries": [], "more": 1}', "x", '{"entries": [' + "[" * 1000 + "]" * 1000 + "]}"):
        s.error(f"a body {body[:16]!r}", 400, "E001", "POST", "/api/v1/states", body, ann)
    many = '{"entries":[' + ",".join('{"path":"%d","directory":true}' % i for i in range(100001)) + "]}"
    s.error("too many entries", 400, "E001", "POST", "/api/v1/states", many, ann)
    for field in ({"state": "x"}, {"state": "1:/a/../b"}, {"put": ["x"]}, {"put": [f"{file['uuid']}:/a/../b"]}):
        status = s.execute("1", headers=ann, **field)[0]
        expect(f"a run with {field}", status, 400)
    expect("a state that there is not", s.execute("1", headers=ann, state="999999")[0], 404)
    value = s.execute("1", headers=ann, put=[f"{file['uuid']}:/proc/x"])[0]
    expect("where no file can be", value, 400)


def test_bounds(ann, bob):
    with Server("--pool", "off", "--tokens", os.path.join(TMPDIR, "tokens")) as s:
        expect("what an earlier server had is there", len(s.call("GET", "/api/v1/states", None, ann)[2]["states"]) > 0, True)
        big = os.urandom(1 << 20)
        expect("a bound of one", [upload(s, bob, big[i:])[0] for i in range(3)], [201, 201, 413])
        expect("and of all", upload(s, ann, big[10:])[0], 413)
        expect("what is removed makes room", (s.call("DELETE", "/api/v1/files/" + sha(big), None, bob)[0], upload(s, ann, big[10:])[0]), (204, 201))


def test_sync(s, token):
    """capsid sync --api sends what the server lacks, and no more."""
    tree = os.path.join(TMPDIR, "tree")
    os.makedirs(tree + "/sub")
    for i in range(20):
        with open(f"{tree}/sub/{i}", "w", encoding="ascii") as f:
            f.write(f"content {i // 2}")
    os.symlink("sub/1", tree + "/link")
    environment = {**os.environ, "CAPSID_API_TOKEN": token}
    command = [os.environ["CAPSID"], "sync", "--json", "--api", f"http://127.0.0.1:{s.port}", tree]
    first, second = (json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout) for _ in range(2))
    expect("what is sent", (first["files"], first["sent"]), (20, 10))
    expect("and not sent again", (second["id"], second["sent"]), (first["id"], 0))
    run = [os.environ["CAPSID"], "run", "-l", "python", "--api", command[4], "--state", f"{first['id']}:/tmp/in", "-c", "print(open('/tmp/in/link').read())"]
    out = json.loads(subprocess.run(run, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout)
    expect("and a run there has it", out["stdout"], "content 0\n")


def main():
    path = os.path.join(TMPDIR, "tokens")
    tokens = make_tokens(path, "ann", "bob")
    ann, bob = bearer(tokens["ann"]), bearer(tokens["bob"])
    with Server("--pool", "off", "--tokens", path) as s:
        api.KEPT.update(s.call("GET", "/api/v1/openapi.json")[2])
        test_files(s, ann, bob)
        test_states(s, ann, bob)
        test_hostile(s, ann)
        test_sync(s, tokens["ann"])
    os.environ.update(CAPSID_FILES_MAX="3", CAPSID_FILES_OWNER_MAX="2")
    test_bounds(ann, bob)
    sys.exit(api.failures > 0)


main()
