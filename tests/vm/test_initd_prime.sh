#!/bin/bash
# timeout: 200
# initd in a real guest: PRIME, FEED, QUIESCE, RESUME, SHUTDOWN.
exec python3 "$SRC/tests/vm/initd_prime.py"
