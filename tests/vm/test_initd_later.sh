#!/bin/bash
# timeout: 240
# initd in a real guest that is told later what its root is made of: ROOT, CHANGES and SEAL, and what goes wrong with them.
exec python3 "$SRC/tests/vm/initd_later.py"
