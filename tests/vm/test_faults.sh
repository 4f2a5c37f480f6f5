#!/bin/bash
# timeout: 400
# Whatever a guest, a VMM, the clock or the host's limits do: the one run concerned ends in time, with an error or an end
# that says what happened; others are unharmed, and nothing is left behind.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python
export CAPSID_ACCEL=tcg
export CAPSID_CONFINE=off # the doubles need Python, their sources and their environment
pids=()

# A small program, and one that does not fit the buffers of a connection.
echo 'print(1)' >"$TMPDIR/small.py"
head -c 3000000 /dev/zero | tr '\0' '#' >"$TMPDIR/large.py"

# ---- a hostile guest, or VMM ------------------------------------------------------------------------------

# hostile NAME: runs with a VMM that behaves so, beside others; its results are files.
hostile() {
	local program=small begin
	case $1 in
	never-drain | window-of-nothing) program=large ;;
	esac
	begin=$(date +%s)
	HOSTILE=$1 CAPSID_BOOT_TIMEOUT=10 CAPSID_QEMU=$SRC/tests/vm/hostile_vmm.py \
		"$CAPSID" run -t 5 -l python -f "$TMPDIR/$program.py" </dev/null >"$TMPDIR/$1.out" 2>"$TMPDIR/$1.err"
	echo "$? $(($(date +%s) - begin))" >"$TMPDIR/$1.status"
}

# judge NAME: sets status, err, and the result's fields end, stdout.
judge() {
	local seconds
	read -r status seconds <"$TMPDIR/$1.status"
	err=$(cat "$TMPDIR/$1.err")
	cp "$TMPDIR/$1.out" "$TMPDIR/out"
	[ "$seconds" -lt 60 ] || fail "$1: took $seconds s"
	if [ -s "$TMPDIR/out" ]; then
		end=$(field end) stdout=$(field stdout)
		[ -z "$err" ] || fail "$1: a result and an error: $err"
	else
		end=none stdout=
		[ "$(wc -l <"$TMPDIR/$1.err")" = 1 ] || fail "$1: not one line: $err"
	fi
	grep -q '[^[:print:][:space:]]' "$TMPDIR/$1.err" && fail "$1: control characters reach the terminal"
}

before_ready=(die-at-start garbage-control endless-control die-in-load load-fails die-at-hello garbage-at-hello huge-frame
	old-version wrong-magic die-at-resume resume-refused resume-without-entropy resume-of-another resume-garbage
	flood-at-resume)
never_ready=(silent-control flood-control silent-hello half-frame flood-at-hello silent-resume)
lost=(die-in-job garbage-in-job exit-before-start exit-lies cause-unknown beyond-window gap-in-output output-of-another)
endless=(silent-job silent-write never-drain window-of-nothing flood-output flood-windows)
refused=(write-refused text-attack)
harmless=(exit-twice "")

CAPSID_QEMU=$SRC/tests/vm/hostile_vmm.py "$CAPSID" snapshot create --quiet --lang python >/dev/null || fail "no snapshot of the double"
count=0
for name in "${before_ready[@]}" "${never_ready[@]}" "${lost[@]}" "${endless[@]}" "${refused[@]}" "${harmless[@]}"; do
	hostile "$name" &
	pids+=($!)
	count=$((count + 1))
	[ $((count % 4)) != 0 ] || wait "${pids[@]}"
done
wait "${pids[@]}"
for name in "${before_ready[@]}"; do
	judge "$name"
	expect "$name: status, end" "$status $end" "1 none"
	expect_match "$name: error" "$err" "Error: the VM could not be restored: *"
done
for name in "${never_ready[@]}"; do
	judge "$name"
	expect "$name: status, end" "$status $end" "1 none"
	expect_match "$name: error" "$err" "Error: the VM could not be restored: *in time*"
done
judge silent-resume
expect_match "silent-resume: error" "$err" "*initd is there, but its guest does not get ready: *in time*"
for name in "${lost[@]}"; do
	judge "$name"
	expect "$name: status, end" "$status $end" "1 vm_lost"
	expect_match "$name: note" "$(field note)" "?*"
done
judge die-in-job
expect "die-in-job: the output until then" "$stdout" "so far"
for name in "${endless[@]}"; do
	judge "$name"
	expect "$name: status, end" "$status $end" "124 timed_out"
done
for name in "${refused[@]}"; do
	judge "$name"
	expect "$name: status, end" "$status $end" "1 none"
	expect_match "$name: error" "$err" "Error: *the guest refused *"
done
for name in "${harmless[@]}"; do
	judge "$name"
	expect "harmless $name: status, end" "$status $end $stdout" "0 exited so far"
done
expect_clean "hostile guests"

# ---- the VMM is killed, sooner or later -----------------------------------------------------------------------

export CAPSID_QEMU=$SRC/tests/vm/mortal_vmm.py
"$CAPSID" snapshot create --quiet --lang python >/dev/null || fail "no snapshot of the mortal VMM"
for ms in 0 20 60 100 140 180 240 300 500; do
	MORTAL_MS=$ms capsid run --quiet -l python -c 'import time; time.sleep(60)' </dev/null
	expect "killed after $ms ms: status" "$status" 1
	if [ -n "$out" ]; then
		expect "killed after $ms ms: end" "$(field end)" vm_lost
	else
		expect_match "killed after $ms ms: error" "$err" "Error: the VM could not be restored: *"
	fi
done
capsid run -l python -c 'print("unharmed")' </dev/null
expect "killed: the next run" "$(field stdout)" unharmed
expect_clean "killed VMM"
unset CAPSID_QEMU

# ---- supervisors are killed while 20 VMs run ---------------------------------------------------------------------

pids=() inputs=()
for i in $(seq 20); do
	mkfifo "$TMPDIR/in$i"
	"$CAPSID" run --quiet -t 300 -l python -c 'print("ready", flush=True); print(input())' --raw <"$TMPDIR/in$i" >"$TMPDIR/out$i" 2>&1 &
	pids+=($!)
	exec {fd}>"$TMPDIR/in$i"
	inputs+=("$fd")
	for _ in $(seq 600); do
		[ -s "$TMPDIR/out$i" ] && break
		sleep 0.05
	done
done
expect "20 VMs: all run" "$(cat "$TMPDIR"/out[0-9]* | grep -cx ready)" 20
kill -KILL "${pids[@]:0:19}"
wait "${pids[@]:0:19}" 2>/dev/null
for _ in $(seq 600); do
	[ "$(processes_of_home | wc -l)" = 1 ] && break
	sleep 0.05
done
expect "20 VMs: only the survivor's VMM is left" "$(processes_of_home | wc -l)" 1
capsid doctor
expect "20 VMs: what the dead left is removed, what the living has is not" "$(find "$CAPSID_HOME/run" -mindepth 1 -maxdepth 1 | wc -l)" 1
echo alive >&"${inputs[19]}"
for fd in "${inputs[@]}"; do
	exec {fd}>&-
done
wait "${pids[19]}"
expect "20 VMs: the survivor is unharmed" "$? $(tr '\n' ' ' <"$TMPDIR/out20")" "0 ready alive "
expect_clean "20 VMs"

# ---- limits of the host ---------------------------------------------------------------------------------------------

# limited WHAT OPTION-OF-PRLIMIT VALUE: a run, which may fail with one line, or not.
limited() {
	prlimit "--$2=$3" "$CAPSID" run -l python -c 'print("fits")' </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err"
	status=$?
	err=$(cat "$TMPDIR/err")
	case $status in
	0) expect "$1 $3: output" "$(field stdout)" fits ;;
	1)
		expect_match "$1 $3: error" "$err" "Error: *"
		expect "$1 $3: one line" "$(wc -l <"$TMPDIR/err")" 1
		limited_failed=1
		;;
	*) fail "$1 $3: status $status, $err" ;;
	esac
}
# Beside them one lives that has no such limits.
"$CAPSID" run --quiet -t 300 -l python -c 'print("ready", flush=True); print(input())' --raw <"$TMPDIR/in1" >"$TMPDIR/out1" 2>&1 &
pid=$!
exec {survivor}>"$TMPDIR/in1"
for _ in $(seq 600); do
	grep -q ready "$TMPDIR/out1" && break
	sleep 0.05
done
limited_failed=0
for fds in 5 6 7 8 9 10 11 12 13 14 16 20; do
	limited "file descriptors" nofile $fds
	expect "file descriptors $fds: nothing is left, and the other's is" "$(find "$CAPSID_HOME/run" -mindepth 1 -maxdepth 1 | wc -l)" 1
done
expect "file descriptors: some were too few" "$limited_failed" 1
limited_failed=0
for mib in 100 300 400 600 900; do
	limited "bytes of address space" as $((mib << 20))
done
expect "address space: some was too little" "$limited_failed" 1
echo alive >&"$survivor"
exec {survivor}>&-
wait $pid
expect "limits: the other one is unharmed" "$? $(tr '\n' ' ' <"$TMPDIR/out1")" "0 ready alive "
capsid run -l python -c 'print("still works")' </dev/null
expect "limits: the next run" "$(field stdout)" "still works"
expect_clean "limits"

# ---- the clock jumps ---------------------------------------------------------------------------------------------------

# A day forward and back, at every look; time limits do not go by that clock.
cat >"$TMPDIR/jump.c" <<'EOF'
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *t)
{
    static int looks;
    int result = (int)syscall(SYS_clock_gettime, id, t);
    if (id == CLOCK_REALTIME)
        t->tv_sec += looks++ % 2 ? 86400 : -86400;
    return result;
}
EOF
"${CC:-gcc}" -shared -fPIC -o "$TMPDIR/jump.so" "$TMPDIR/jump.c" || fail "jump.c does not compile"
begin=$SECONDS
LD_PRELOAD=$TMPDIR/jump.so capsid run -t 5 -l python -c 'import time; print("before", flush=True); time.sleep(600)' </dev/null
expect "clock jumps: ends at its limit" "$status $(field end) $(field stdout)" "124 timed_out before"
[ $((SECONDS - begin)) -lt 120 ] || fail "clock jumps: took $((SECONDS - begin)) s"
LD_PRELOAD=$TMPDIR/jump.so capsid run -l python -c 'print(1)' </dev/null
expect "clock jumps: a run" "$status $(field end) $(field stdout)" "0 exited 1"
expect_clean "clock jumps"
finish
