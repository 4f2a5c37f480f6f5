#!/bin/bash
# timeout: 300
# Confinement's limits for memory, processors and processes, in a guest whose kernel has cgroup v2 controllers.
exec python3 "$SRC/tests/vm/confine_limits.py"
