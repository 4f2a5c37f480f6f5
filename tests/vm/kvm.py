#!/usr/bin/env python3
"""Two clones of a snapshot (CAPSID_HOME has it) share nothing that must be secret or current, and the clocks of a
guest run as the host's do, whether it booted or was restored. What capsid said of the one that booted, and which processor that
one sees, is in the file "cold" in TMPDIR afterwards. Prints "ok: ..." or "FAILED: ..." lines; exit status 1 when one failed."""

import json
import os
import subprocess
import sys
import time

CLOCKS = os.path.join(os.environ["BUILD"], "test/guest/clocks")
CLOCKS_MAIN = os.path.join(os.environ["TMPDIR"], "main.sh")
SECRETS = """read -r uuid </proc/sys/kernel/random/uuid
read -r id </etc/machine-id
read -r uptime idle </proc/uptime
printf '%s\\n' "$uuid" "$id" "$uptime" """
NAMES = ("random numbers", "the machine's id", "the monotonic clock")
SLOW = 15.0  # seconds that a busy machine may keep a line from us
failures = 0


def expect(what, right, detail=""):
    global failures
    failures += not right
    print(f"ok: {what} ({detail})" if right else f"FAILED: {what}: {detail}")


def start(*options, **more):
    return subprocess.Popen([os.environ["CAPSID"], "run", "-l", "sh", "--raw", *options], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, text=True, **more)


def secrets():
    with start("-q", "-c", SECRETS) as p:
        lines = p.stdout.read().splitlines()
    expect("a clone prints its values", p.returncode == 0 and len(lines) == len(NAMES), lines)
    return lines


def read_clocks(command):
    """The two lines of the program, each with the host's wall clock when it arrived."""
    with command as p:
        lines = [dict(json.loads(line), arrived=time.time()) for line in p.stdout]
    expect("the program on clocks ends well", p.returncode == 0 and len(lines) == 2, lines)
    return lines


def check_clocks(what, begin, end, host_khz, began):
    print(f"{what}: {begin}\n{end}")
    expect(f"{what}: no clock goes backwards", end["backwards"] == [0, 0, 0], "TSC, monotonic, wall: {}".format(end["backwards"]))
    expect(f"{what}: the wall clock makes no step", end["moved"] < 0.02, "{:.6f} s".format(end["moved"]))
    expect(f"{what}: the clocks have the rate of the host's", abs(end["khz"] / host_khz - 1) < 0.002, f"{end['khz']} of {host_khz} kHz")
    for name, line in (("begin", begin), ("end", end)):
        expect(f"{what}: {name}: the wall clock is the host's", began - 0.1 < line["wall"] < line["arrived"] + 0.1
               and line["arrived"] - line["wall"] < SLOW, f"{line['wall'] - line['arrived']:.3f} s before it was read")
    expect(f"{what}: a sleep ends", end["late"] < SLOW, "{:.3f} s late".format(end["late"]))


def main():
    earlier, first, second = time.time(), secrets(), secrets()
    for name, a, b in zip(NAMES, first, second):
        expect(f"two clones differ: {name}", a != b, f"{a} {b}")

    with open(CLOCKS_MAIN, "w", encoding="ascii") as f:
        f.write("while read -r line; do case $line in 'model name'*) echo \"$line\" >&2;; esac; done </proc/cpuinfo\nexec ./clocks 3")
    host = subprocess.run([CLOCKS, "3"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    host_khz, number = json.loads(host[1])["khz"], json.loads(host[0])["number"]
    with open(os.path.join(os.environ["TMPDIR"], "cold"), "w", encoding="utf-8") as cold:
        for what, options, err in (("cold boot", ["-v", "--no-snapshot"], cold), ("restored", ["-q"], None)):
            began = time.time()
            begin, end = read_clocks(start(*options, "-f", CLOCKS_MAIN, "-f", CLOCKS, "--entry", "main.sh", stderr=err))
            expect(f"{what}: floating numbers are the host's", begin["number"] == number, begin["number"])
            check_clocks(what, begin, end, host_khz, began)
    # The time between the snapshot and a restore does not pass in the guest: its timers would all end at once.
    moved, apart = begin["monotonic"] - float(first[-1]), began - earlier
    expect("a clone's monotonic clock goes on from the snapshot", abs(moved) < apart / 2, f"{moved:.3f} s in {apart:.3f} s")
    return failures > 0


sys.exit(main())
