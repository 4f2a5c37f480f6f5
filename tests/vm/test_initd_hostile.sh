#!/bin/bash
# timeout: 300
# initd in a real guest: what jobs with and without privileges do to break their guest.
exec python3 "$SRC/tests/vm/initd_hostile.py"
