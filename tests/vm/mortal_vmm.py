#!/usr/bin/env python3
"""QEMU (CAPSID_QEMU) that is killed MORTAL_MS after its start, when that variable is set and it restores."""

import os
import signal
import sys
import time

after = os.environ.get("MORTAL_MS") if "-incoming" in sys.argv else None
if after:
    qemu = os.getpid()
    if os.fork() == 0:
        os.closerange(0, 1024)  # the connections are QEMU's
        time.sleep(int(after) / 1000)
        if os.getppid() == qemu:
            os.kill(qemu, signal.SIGKILL)
        os._exit(0)
os.execvp("qemu-system-x86_64", ["qemu-system-x86_64", *sys.argv[1:]])
