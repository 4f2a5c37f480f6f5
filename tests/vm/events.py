#!/usr/bin/env python3
"""Reads the event lines among what capsid --verbose printed, strictly, and prints those of one VM.

    events.py FILE

Of each event a line: its name, then the fields that a test asks for. Fails when a line is not of the form that
host/core/event.h promises, or when the fields that name the VM differ between its events."""

import re
import sys

FIELD = re.compile(r'([a-z_]+)=(?:([A-Za-z0-9._:/@+-]+)|"((?:[ !#-\[\]-~]|\\"|\\\\|\\x[0-9a-f]{2})*)")(?: |$)')
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SAME = ("vm", "driver", "accel", "language", "snapshot", "trace_id")


def parse(line):
    fields, at = {}, 0
    while at < len(line):
        m = FIELD.match(line, at)
        if not m or m.group(1) in fields:
            raise SystemExit(f"not an event at {at}: {line}")
        fields[m.group(1)] = m.group(2) if m.group(2) is not None else m.group(3)
        at = m.end()
    if list(fields)[:3] != ["time", "since_ms", "event"] or not TIME.fullmatch(fields["time"]):
        raise SystemExit(f"an event begins with time, since_ms and event: {line}")
    for key, value in fields.items():
        if key.endswith("_ms") and not (re.fullmatch(r"\d+\.\d", value) and float(value) < 1e6):
            raise SystemExit(f"{key} is no duration: {line}")
    return fields


def main():
    with open(sys.argv[1], encoding="ascii") as f:
        events = [parse(line.rstrip("\n")) for line in f if line.startswith("time=")]
    vms = [e for e in events if "vm" in e]
    if len({e["vm"] for e in vms}) != 1:
        raise SystemExit(f"not one VM: {events}")
    for e in events:
        if any(e[key] != vms[0].get(key) for key in SAME if key in e):
            raise SystemExit(f"another VM's or run's: {e}")
    if any("pid" in e and e["pid"] != vms[-1]["pid"] for e in vms):
        raise SystemExit("several VMMs")
    times = [float(e["since_ms"]) for e in events]
    if times != sorted(times):
        raise SystemExit("out of order")
    for e in events:
        durations = sorted(key for key in e if key.endswith("_ms") and key != "since_ms")
        print(e["event"], *(e[key] for key in ("why", "end", "primed") if key in e), *durations)


if __name__ == "__main__":
    main()
