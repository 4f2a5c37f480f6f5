#!/bin/bash
# timeout: 300
# initd in a real guest: what root can do in a guest that it shares with initd.
exec python3 "$SRC/tests/vm/initd_root.py"
