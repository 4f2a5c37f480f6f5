#!/bin/bash
# The double of Firecracker is as strict as the real one; tests/fake/README.md says where each rule is from. No guest that finds a root.
exec python3 "$SRC/tests/fake/test_strict.py"
