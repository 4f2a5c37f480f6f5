#!/bin/bash
# timeout: 300
# initd in a real guest: thousands of jobs; in the long form ten thousand.
exec python3 "$SRC/tests/vm/initd_endurance.py"
