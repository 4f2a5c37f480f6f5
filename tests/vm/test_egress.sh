#!/bin/bash
# timeout: 600
# --net: what a program may reach, and 40 and more ways to what it may not, with listeners that nothing may come to.
# shellcheck disable=SC1091,SC2154 # lib.sh sets failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python

# A network of its own, in which all of the world's addresses are this machine's, and so are its names.
if ! unshare -rnm true 2>/dev/null; then
	echo "SKIP: this machine gives no network namespace to make a world in"
	exit 77
fi
unshare -rnm python3 "$SRC/tests/vm/egress.py" || fail "the network (above)"
expect_clean "after all runs"
finish
