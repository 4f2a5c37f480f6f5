#!/bin/bash
# timeout: 600
# Ctrl-C, SIGTERM and SIGKILL at any time leave nothing behind, or nothing that the next run does not remove.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python

# interrupt SIGNAL SECONDS COMMAND...: starts it, sends the signal after a while.
interrupt() {
	local signal=$1 delay=$2 pid
	shift 2
	# A background process of a script ignores SIGINT, and capsid would respect that.
	env --default-signal=INT "$@" </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
	pid=$!
	sleep "$delay"
	kill "-$signal" $pid 2>/dev/null
	wait $pid 2>/dev/null
	status=$?
}
endless=(run -l python -t 300 -c 'import time; time.sleep(300)')

for delay in 0.01 0.05 0.1 0.2 1; do
	for signal in INT TERM; do
		interrupt $signal $delay "$CAPSID" "${endless[@]}"
		if [ $status -ne 130 ] && [ $status -ne 143 ]; then
			fail "$signal after $delay s: status $status, $(cat "$TMPDIR/err")"
		fi
		expect_clean "$signal after $delay s of a run"
	done
done

for delay in 0.3 0.8 1.5; do
	rm -rf "$CAPSID_HOME"/snapshots/*
	interrupt TERM $delay "$CAPSID" snapshot create --lang python
	expect_clean "TERM after $delay s of making a snapshot"
done
need_snapshot python

for delay in 0.05 0.15 1; do
	interrupt KILL $delay "$CAPSID" "${endless[@]}"
	expect "KILL after $delay s: status" "$status" 137
	capsid doctor
	expect_clean "KILL after $delay s of a run"
done

# ends NAME COMMAND...: SIGTERM ends it soon, which waits for what does not come, or reads what has no end.
ends() {
	local name=$1 pid
	shift
	# A background job has /dev/null for its input where nothing else is said.
	"$@" <&0 >"$TMPDIR/out" 2>"$TMPDIR/err" &
	pid=$!
	for _ in $(seq 600); do # until it has a handler for it
		kill -0 $pid 2>/dev/null || break
		((0x$(sed -n 's/^SigCgt:\t//p' "/proc/$pid/status") & 0x4000)) && break
		sleep 0.05
	done
	sleep 0.5
	kill -TERM $pid
	for _ in $(seq 600); do
		kill -0 $pid 2>/dev/null || break
		sleep 0.05
	done
	kill -KILL $pid 2>/dev/null
	wait $pid 2>/dev/null
	expect "TERM of $name: status" $? 143
	expect "TERM of $name: one line" "$(grep -c '^Error: .*interrupted' "$TMPDIR/err") $(wc -l <"$TMPDIR/err")" "1 1"
	expect_clean "TERM of $name"
}
mkfifo "$TMPDIR/silent"
exec {silent}<>"$TMPDIR/silent"
ends "a program that does not come" "$CAPSID" run -l python -f - <"$TMPDIR/silent"
ends "a file that does not come" "$CAPSID" run -l python -f "$TMPDIR/silent" </dev/null
ends "a program for a server" "$CAPSID" run --api http://127.0.0.1:1 -l python -f - <"$TMPDIR/silent"
exec {silent}>&-
cp -a "$CAPSID_HOME/images" "$TMPDIR/images"
truncate -s 2T "$CAPSID_HOME"/images/*.erofs
ends "rootfs verify" "$CAPSID" rootfs verify </dev/null
rm -rf "$CAPSID_HOME/images"
mv "$TMPDIR/images" "$CAPSID_HOME/images"

# A server that is told to end while it starts: just before it begins to listen.
cat >"$TMPDIR/early.c" <<'EOF'
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
int listen(int fd, int waiting)
{
    kill(getpid(), SIGTERM);
    return (int)syscall(SYS_listen, fd, waiting);
}
EOF
"${CC:-gcc}" -shared -fPIC -o "$TMPDIR/early.so" "$TMPDIR/early.c" || fail "early.c does not compile"
LD_PRELOAD=$TMPDIR/early.so timeout -s KILL 60 "$CAPSID" api --port 0 --pool off >"$TMPDIR/out" 2>"$TMPDIR/err"
expect "TERM of a server that starts: status" $? 143
expect "TERM of a server that starts: it never was ready" "$(cat "$TMPDIR/out")" ""
expect_match "TERM of a server that starts: what it says" "$(cat "$TMPDIR/err")" "*Error: interrupted"
expect_clean "TERM of a server that starts"

# The VMM is killed under a running program: a result of its own kind, with the output so far.
# Once it has read so much input, it has printed.
mkfifo "$TMPDIR/input"
"$CAPSID" run -l python -t 300 -c 'import sys, time; print("so far", flush=True); sys.stdin.buffer.read(16 << 20); time.sleep(300)' \
	<"$TMPDIR/input" >"$TMPDIR/out" 2>"$TMPDIR/err" &
pid=$!
head -c $((16 << 20)) /dev/zero >"$TMPDIR/input"
kill -KILL "$(recorded_children | tail -n 1 | cut -d ' ' -f 1)"
wait $pid
expect "VMM killed: status" $? 1
expect "VMM killed: end" "$(field end)" vm_lost
expect "VMM killed: output so far" "$(field stdout)" "so far"
expect_clean "VMM killed"

# The image builder runs other programs and mounts things.
for signal in INT KILL; do
	for delay in 0.5 3; do
		interrupt $signal $delay "$CAPSID" rootfs create --name python
		[ $signal = KILL ] && capsid doctor
		expect_clean "$signal after $delay s of building an image"
	done
done
capsid run -l python -c 'print("still works")' </dev/null
expect "afterwards" "$(field stdout)" "still works"
finish
