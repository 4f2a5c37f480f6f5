#!/bin/bash
# timeout: 600
# 64 MiB arrive whole and in order, and capsid's own memory stays bounded.
. "$SRC/tests/vm/lib.sh"
need_snapshot
program='import sys
block = b"".join(b"%07d\n" % i for i in range(8192))
for n in range(1024):
    sys.stdout.buffer.write(b"%063d\n" % n + block[64:])'
want=$(python3 -c "$program" | sha256sum | cut -d' ' -f1)

# measure COMMAND...: its peak memory in KiB into $peak.
measure() {
	python3 - "$TMPDIR/peak" "$@" <<'P'
import os, sys
pid = os.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss, file=open(sys.argv[1], "w"))
sys.exit(os.waitstatus_to_exitcode(status))
P
	status=$?
	peak=$(cat "$TMPDIR/peak")
}

measure "$CAPSID" run -l python --raw -t 240 -c "$program" </dev/null >"$TMPDIR/large"
expect "status" $status 0
expect "size" "$(stat -c %s "$TMPDIR/large")" 67108864
expect "content" "$(sha256sum <"$TMPDIR/large" | cut -d' ' -f1)" "$want"
# The peak counts the largest process that was waited for, QEMU's too; so look at capsid alone.
rm -f "$TMPDIR/large"

"$CAPSID" run -l python -t 240 -c "$program" </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
pid=$!
own=0
while kill -0 $pid 2>/dev/null; do
	now=$(awk '/VmHWM/ {print $2}' /proc/$pid/status 2>/dev/null)
	[ "${now:-0}" -gt "$own" ] && own=$now
	sleep 0.05
done
wait $pid
expect "JSON: status" $? 0
expect "JSON: truncated" "$(field truncated)" True
expect "JSON: kept" "$(field stdout | wc -c)" 1048576
[ "$own" -gt 0 ] && [ "$own" -lt 40000 ] || fail "capsid's own memory: $own KiB"
printf 'peak memory of capsid itself: %s KiB\n' "$own"
finish
