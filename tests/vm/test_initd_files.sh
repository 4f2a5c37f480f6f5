#!/bin/bash
# timeout: 200
# initd in a real guest: file operations.
exec python3 "$SRC/tests/vm/initd_files.py"
