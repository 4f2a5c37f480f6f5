#!/bin/bash
# timeout: 300
# initd alone: an image with one program, booted into it.
exec python3 "$SRC/tests/vm/initd_appliance.py"
