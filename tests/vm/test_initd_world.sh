#!/bin/bash
# timeout: 300
# initd in a real guest: what programs find there.
exec python3 "$SRC/tests/vm/initd_world.py"
