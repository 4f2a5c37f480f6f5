#!/bin/bash
# timeout: 240
# initd in a real guest: what EXEC promises.
exec python3 "$SRC/tests/vm/initd_jobs.py"
