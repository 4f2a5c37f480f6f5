#!/bin/bash
# timeout: 300
# initd in a real guest: connections that are cut, garbage, hosts that do not read, ATTACH.
exec python3 "$SRC/tests/vm/initd_link.py"
