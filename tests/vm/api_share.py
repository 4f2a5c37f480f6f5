"""One client who has more operations and Idempotency-Keys than are kept loses his own, and nobody else's. Prints "ok: ..." or
"FAILED: ..." lines; exit status 1 when one failed."""

import hashlib
import http.client
import json
import os
import sys
import time

import api
from api import Server, expect, wait_for

KEPT = 1024
CODE = "cat /proc/sys/kernel/random/uuid"


def make_tokens(path):
    tokens = {}
    with open(path, "w", encoding="ascii") as f:
        for name in ("ann", "bob"):
            token = "capsid_" + os.urandom(32).hex()
            tokens[name] = {"Authorization": f"Bearer {token}"}
            f.write(f"{name} {hashlib.sha256(token.encode()).hexdigest()}\n")
    os.chmod(path, 0o600)
    return tokens


def flood(s, headers, count):
    """That many operations, each with a key; nothing is made by them."""
    c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=60)
    body, done, ids = json.dumps({"language": "klingon"}), 0, []
    while done < count:
        c.request("POST", "/api/v1/rootfs", body,
                  {**headers, "Content-Type": "application/json", "Idempotency-Key": f"flood {done}"})
        r = c.getresponse()
        value = json.loads(r.read())
        if r.status == 202:
            ids.append(value["id"])
            done += 1
        elif r.status in (429, 503):
            time.sleep(0.01)
        else:
            raise SystemExit(f"FAILED: an operation: {r.status} {value}")
    c.close()
    return ids


def main():
    tokens = make_tokens(os.path.join(os.environ["TMPDIR"], "tokens"))
    ann, bob = tokens["ann"], tokens["bob"]
    with Server("--pool", "off", "--tokens", os.path.join(os.environ["TMPDIR"], "tokens")) as s:
        mine = s.execute("echo mine", "sh", bob, wait=False)[2]["id"]
        wait_for("an operation ends", lambda: s.call("GET", "/api/v1/operations/" + mine, None, bob)[2]["finished"])
        answer = s.execute(CODE, "sh", {**bob, "Idempotency-Key": "mine"})[2]
        ids = flood(s, ann, KEPT + 20)
        path = "/api/v1/operations/"
        expect("who has too many loses the oldest", [s.call("GET", path + ids[i], None, ann)[0] for i in (0, 19, 20, -1)],
               [404, 404, 200, 200])
        expect("and has as many as are kept", s.call("GET", path[:-1], None, ann)[2]["count"], KEPT)
        body = {"language": "klingon"}
        keys = [s.call("POST", "/api/v1/rootfs", body, {**ann, "Idempotency-Key": f"flood {i}"})[1]["Idempotency-Replayed"]
                for i in (KEPT + 19, 30, 0)]
        expect("as of keys", keys, ["true", "true", None])
        value = s.call("GET", path + mine, None, bob)[2]
        expect("another's operation is there", (value["status"], value["result"]["stdout"]), ("succeeded", "mine\n"))
        status, headers, value = s.execute(CODE, "sh", {**bob, "Idempotency-Key": "mine"})
        expect("another's key has its answer", (status, headers["Idempotency-Replayed"], value), (200, "true", answer))
    sys.exit(api.failures > 0)


main()
