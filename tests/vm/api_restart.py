"""A server that is killed and started again: what was done is there to be asked about, what was not is said to be lost. Prints
"ok: ..." or "FAILED: ..." lines; exit status 1 when one failed."""

import os
import signal
import sys

import api
from api import Server, expect, wait_for

RECORDS = os.path.join(os.environ["CAPSID_HOME"], "service", "records.db")
OPTIONS = "--pool", "off", "--grace", "1"
KEY = {"Idempotency-Key": "once"}


def tidy(s):
    """Many transactions, whose log a worker then moves into the file."""
    size = os.stat(RECORDS).st_size
    for number in range(200):
        s.call("POST", "/api/v1/execute", {"language": "none", "code": ""}, {"Idempotency-Key": f"{number}"})
    s.execute("true", "sh")
    wait_for("the log is moved into the file", lambda: os.stat(RECORDS).st_size > size)


def begin(s):
    """Ids of an operation that is done, one with a large result, one that runs; the answer for a key."""
    ids = []
    for code in "echo done", "head -c 300000 /dev/zero | tr '\\0' x", "sleep 200":
        ids.append(s.execute(code, "sh", wait=False, timeout=250)[2]["id"])
    for one in ids[:2]:
        wait_for("it ends", lambda: s.call("GET", "/api/v1/operations/" + one)[2]["finished"])
    wait_for("the last one runs", lambda: s.call("GET", "/api/v1/operations/" + ids[2])[2]["status"] == "running")
    session = s.call("POST", "/api/v1/sessions", {"language": "sh"})[2]["id"]
    return ids, session, s.execute("cat /proc/sys/kernel/random/uuid", "sh", KEY)[2]


def look(s, ids, session, answer):
    done, large, lost = (s.call("GET", "/api/v1/operations/" + one)[2] for one in ids)
    expect("what was done is there", (done["status"], done["result"]["stdout"]), ("succeeded", "done\n"))
    expect("large as well", (large["status"], len(large["result"]["stdout"])), ("succeeded", 300000))
    expect("what was not is lost", (lost["status"], lost["error"]["code"], bool(lost["finished"])), ("failed", "E022", True))
    expect("all are listed", [o["id"] for o in s.call("GET", "/api/v1/operations")[2]["operations"]], ids[::-1])
    s.error("a session is gone, and said to be", 410, "E018", "GET", "/api/v1/sessions/" + session)
    s.error("one that never was is not", 404, "E007", "GET", "/api/v1/sessions/" + session[:-1])
    status, headers, value = s.execute("cat /proc/sys/kernel/random/uuid", "sh", KEY)
    expect("a key has its answer", (status, headers["Idempotency-Replayed"], value), (200, "true", answer))


def main():
    with Server(*OPTIONS) as s:
        tidy(s)
        kept = begin(s)
        s.process.send_signal(signal.SIGKILL)
        expect("the server is killed", s.process.wait(60), -signal.SIGKILL)
    with Server(*OPTIONS) as s:
        look(s, *kept)
        with Server(*OPTIONS) as other: # which keeps its own
            expect("a server beside it knows nothing of that", other.call("GET", "/api/v1/operations")[2]["count"], 0)
    with Server(*OPTIONS) as s:
        look(s, *kept)
    sys.exit(api.failures > 0)


main()
