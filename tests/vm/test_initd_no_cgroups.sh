#!/bin/bash
# timeout: 200
# initd in a real guest whose kernel has not all of cgroup v2, or nothing of it: weaker limits, and one warning for each thing.
exec python3 "$SRC/tests/vm/initd_no_cgroups.py"
