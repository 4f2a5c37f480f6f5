#!/bin/bash
# timeout: 300
# The system calls of a VMM: every number is tried, and what goes through is what confine_calls.txt says. And its memory: what a
# program in its place holds when it takes all it can, in each way there is, without a memory cgroup.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
export CAPSID_HOME=$TMPDIR/own
tool=$BUILD/test/inside/confine_calls

"$tool" calls >"$TMPDIR/calls" 2>"$TMPDIR/err"
expect "every number was tried" "$?" 0
grep -v '^#' "$SRC/tests/vm/confine_calls.txt" | diff - "$TMPDIR/calls" ||
	fail "what goes through is not what tests/vm/confine_calls.txt says (<); if that is meant, put it there (>)"

# In MiB: the guest's memory of 16, and host/confine/confine.c's ADDRESS_SPACE_MIB.
"$tool" memory >"$TMPDIR/memory" 2>"$TMPDIR/err"
expect "every way was tried" "$?" 0
cat "$TMPDIR/memory" "$TMPDIR/err"
expect "ways to take memory" "$(wc -l <"$TMPDIR/memory")" 13
expect "more than the bound was held" "$(sed 's/.*: \([0-9]*\) MiB.*/\1/' "$TMPDIR/memory" | awk '$1 > 16 + 1536')" ""
expect "in other ways than by address space was held" "$(grep -v 'pages: ' "$TMPDIR/memory" | grep -v ': 0 MiB')" ""
finish
