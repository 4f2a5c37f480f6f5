"""Reads the API's description, and prints it for programs that really run: in languages that are there, for a short
time, in a small VM. What only some combinations of fields allow is left out, so that what is good by the description
must succeed."""

import json
import sys

description = json.load(sys.stdin)
run = description["components"]["schemas"]["RunRequest"]
fields = run["properties"]
for name in ("lang", "files", "entry", "tree", "cwd", "wait", "code_encoding", "stdin_encoding", "truncate_output_at",
             "memory_mib", "vcpus", "disk_mib", "max_output", "image", "argv", "shell", "user", "keep", "max_layer_bytes", "net", "packages",
             "state", "put"):
    fields.pop(name, None)
run["required"] = ["language", "code"]
for name in "anyOf", "oneOf", "allOf", "not":
    run.pop(name, None)
pattern = "^[^\\u0000]*$"
fields["language"] = {"type": "string", "enum": ["sh", "dash"]}
fields["timeout"].update(maximum=3)  # as the test starts the server
fields["build_timeout"].update(maximum=3)
fields["code"] = {"type": "string", "pattern": pattern}
fields["stdin"] = {"type": ["string", "null"], "pattern": pattern}
del fields["args"], fields["env"], fields["labels"]
description["paths"] = {p: item for p, item in description["paths"].items() if p == "/api/v1/execute"}
for item in description["paths"].values():
    item["post"].pop("parameters", None)
json.dump(description, sys.stdout)
