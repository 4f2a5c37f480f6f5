"""Reads the API's description, and prints it for programs that really run: of languages that are there, for a short
time, in a small VM. Only the two paths that run programs stay."""

import json
import sys

description = json.load(sys.stdin)
run = description["components"]["schemas"]["RunRequest"]
for name in "language", "lang":
    run["properties"][name] = {"type": "string", "enum": ["sh", "ash"]}
run["properties"]["timeout"].update(maximum=3)
run["properties"]["build_timeout"].update(maximum=3)
run["properties"]["memory_mib"].update(minimum=96, maximum=160)
run["properties"]["vcpus"].update(maximum=2)
run["properties"]["disk_mib"].update(minimum=16, maximum=64)
description["paths"] = {p: item for p, item in description["paths"].items() if p in ("/api/v1/execute", "/api/v1/run")}
json.dump(description, sys.stdout)
