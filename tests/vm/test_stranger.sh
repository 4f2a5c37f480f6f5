#!/bin/bash
# timeout: 200
# A client that was written from proto/PROTOCOL.md alone, and a real guest: every message of the protocol.
exec python3 "$SRC/tests/vm/stranger_client.py"
