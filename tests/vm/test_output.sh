#!/bin/bash
# timeout: 600
# 64 MiB arrive whole and in order, and capsid's own memory stays bounded.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python
program='import sys
block = b"".join(b"%07d\n" % i for i in range(8192))
for n in range(1024):
    sys.stdout.buffer.write(b"%063d\n" % n + block[64:])'
want=$(python3 -c "$program" | sha256sum | cut -d' ' -f1)

# run_watched FILE OPTIONS...: the highest memory of capsid itself, in KiB, goes to $peak.
run_watched() {
	local file=$1 pid now
	shift
	"$CAPSID" run -l python -t 240 "$@" -c "$program" </dev/null >"$file" 2>"$TMPDIR/err" &
	pid=$!
	peak=0
	while kill -0 $pid 2>/dev/null; do
		now=$(awk '/VmHWM/ {print $2}' /proc/$pid/status 2>/dev/null)
		[ "${now:-0}" -gt "$peak" ] && peak=$now
		sleep 0.02
	done
	wait $pid
	expect "$*: status" $? 0
	printf 'peak memory of capsid itself: %s KiB\n' "$peak"
	if [ "$peak" -eq 0 ] || [ "$peak" -gt 40000 ]; then
		fail "$*: capsid's own memory: $peak KiB"
	fi
}

run_watched "$TMPDIR/large" --raw
expect "size" "$(stat -c %s "$TMPDIR/large")" 67108864
expect "content" "$(sha256sum <"$TMPDIR/large" | cut -d' ' -f1)" "$want"
rm -f "$TMPDIR/large"

run_watched "$TMPDIR/out" --json
expect "JSON: truncated" "$(field truncated)" True
expect "JSON: kept" "$(field stdout | wc -c)" 1048576
finish
