#!/usr/bin/env python3
"""What a program sees of its clocks, for SECONDS: run in a guest and on its host, the two are compared (kvm.py).

Prints two lines of JSON. When it begins: wall and monotonic clock, in seconds, and which clock the kernel uses. When it
ends: the clocks again; how often each went backwards; the rate of the TSC against the monotonic clock, in kHz; how
far the wall clock moved against the monotonic one, in seconds; how late it was woken from the sleep that took longest."""

import ctypes
import json
import mmap
import sys
import time

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
TRIES = 50
NAP = 0.05
# rdtsc; shl rdx, 32; or rax, rdx; ret
CODE = b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3"

page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(CODE)
read_tsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))


def read_clocks():
    """TSC, monotonic and wall clock of one moment, as nearly as a program that may be interrupted can: the closest of
    some readings."""
    best = None
    for _ in range(TRIES):
        before = read_tsc()
        monotonic, wall = time.monotonic_ns(), time.time_ns()
        spread = read_tsc() - before
        if best is None or spread < best[0]:
            best = (spread, before + spread // 2, monotonic, wall)
    return best[1:]


def say(**fields):
    print(json.dumps(fields), flush=True)


def kernel_clock():
    try:
        with open("/sys/devices/system/clocksource/clocksource0/current_clocksource", encoding="ascii") as f:
            return f.read().strip()
    except OSError:
        return None


def main():
    begin = last = now = read_clocks()
    say(wall=time.time(), monotonic=begin[1] / 1e9, clock=kernel_clock())
    backwards, moved, late = [0, 0, 0], 0, 0.0
    while now[1] - begin[1] < SECONDS * 1e9:
        for _ in range(200):
            now = (read_tsc(), time.monotonic_ns(), time.time_ns())
            backwards = [count + (b < a) for count, a, b in zip(backwards, last, now)]
            last = now
        asleep = time.monotonic()
        time.sleep(NAP)
        late = max(late, time.monotonic() - asleep - NAP)
        now = read_clocks()
        moved = max(moved, abs((now[2] - now[1]) - (begin[2] - begin[1])))
    say(wall=time.time(), monotonic=now[1] / 1e9, backwards=backwards, khz=round((now[0] - begin[0]) * 1e6 / (now[1] - begin[1])),
        moved=moved / 1e9, late=late)


main()
