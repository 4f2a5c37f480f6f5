"""A server whose VMs KVM runs, by QEMU or by a real Firecracker: programs from its pool, two at a time, and a session, which
keeps what a call left. All are restored from the snapshot that is there: to make one takes longer than a request waits.
Prints "ok: ..." or "FAILED: ..." lines, and where one failed what the server logged; exit status 1 when one failed."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import api
from api import Server, expect
from sessions import Session

TOKENS = ("one", "two", "three", "four")


def use(s):
    with ThreadPoolExecutor(2) as two:
        answers = list(two.map(lambda token: s.execute(f"echo {token}", "sh"), TOKENS))
    expect("each program's own output", [(status, value.get("stdout")) for status, _, value in answers],
           [(200, f"{token}\n") for token in TOKENS])
    x = Session(s, language="sh")
    expect("a session is ready", x.value["state"], "ready")
    x.execute(code="echo of the first >kept")
    expect("a session keeps files", x.execute(code='read -r words <kept; echo "$words"')["stdout"], "of the first\n")
    value = x.execute(argv=["sh", "-c", "echo out; echo no >&2; exit 3"])
    expect("a command in a session", (value["stdout"], value["stderr"], value["exit_code"]), ("out\n", "no\n", 3))
    x.close()


def logged():
    with open(os.path.join(os.environ["TMPDIR"], "api.log"), encoding="utf-8", errors="replace") as f:
        return f.read()


def main():
    good = False
    try:
        with Server("--verbose", "--pool", "sh=1") as s:
            use(s)
        expect("no snapshot was made", [line for line in logged().splitlines() if line.startswith("Making the snapshot")], [])
        good = api.failures == 0
    finally:
        if not good:
            print(logged()[-20000:], flush=True)
    return not good


if __name__ == "__main__":
    sys.exit(main())
