#!/bin/bash
# timeout: 300
# initd in a real guest: 10,000 jobs.
exec python3 "$SRC/tests/vm/initd_endurance.py"
