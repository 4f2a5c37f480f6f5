"""A server whose VMs a real Firecracker runs: a program, and a session, which keeps what a call left. Prints "ok: ..." or
"FAILED: ..." lines; exit status 1 when one failed."""

import sys

import api
from api import Server, expect
from sessions import Session


def main():
    with Server("--pool", "python=1") as s:
        status, _, value = s.execute("import os; print('served', len(os.urandom(16)))")
        expect("a program", (status, value["stdout"]), (200, "served 16\n"))
        x = Session(s)
        expect("a session is ready", x.value["state"], "ready")
        x.execute(code="open('kept', 'w').write('of the first')")
        expect("a session keeps files", x.execute(code="print(open('kept').read())")["stdout"], "of the first\n")
        value = x.execute(argv=["sh", "-c", "echo out; echo no >&2; exit 3"])
        expect("a command in a session", (value["stdout"], value["stderr"], value["exit_code"]), ("out\n", "no\n", 3))
        x.close()
    return api.failures > 0


if __name__ == "__main__":
    sys.exit(main())
