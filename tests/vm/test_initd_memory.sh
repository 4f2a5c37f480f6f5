#!/bin/bash
# timeout: 300
# alone: it measures how fast initd answers
# initd in a real guest: jobs without limits take all the memory, and it answers meanwhile.
exec python3 "$SRC/tests/vm/initd_memory.py"
