#!/bin/bash
# timeout: 300
# Where capsid runs: closed descriptors, umasks, a full disk, a state directory that others planted things in. They make no
# difference, or give a clear line.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python sh

# ---- closed descriptors ----------------------------------------------------------------------------

run=(timeout 120 "$CAPSID" run -l python)
say='import sys; print("said"); print(len(sys.stdin.read()))'

"${run[@]}" -c "$say" >&- 2>"$TMPDIR/err" </dev/null
expect "no stdout: status" $? 1
expect "no stdout: what it says" "$(cat "$TMPDIR/err")" "Error: cannot write standard output: Bad file descriptor"
"${run[@]}" -r -c "$say" >&- 2>"$TMPDIR/err" </dev/null
expect "no stdout, raw: status" $? 1
expect "no stdout, raw: what it says" "$(cat "$TMPDIR/err")" "Error: cannot write the program's output: Bad file descriptor"
"${run[@]}" -r -c "$say" >"$TMPDIR/out" 2>&- </dev/null
expect "no stderr" "$? $(tr '\n' ' ' <"$TMPDIR/out")" "0 said 0 "
"${run[@]}" -r -c "$say" >"$TMPDIR/out" 2>"$TMPDIR/err" <&-
expect "no stdin" "$? $(tr '\n' ' ' <"$TMPDIR/out")" "0 said 0 "
"${run[@]}" -r -c "$say" --stdin - >"$TMPDIR/out" 2>"$TMPDIR/err" <&-
expect "no stdin, but asked for" "$? $(cat "$TMPDIR/err")" "1 Error: --stdin -: the standard input of capsid is closed"
"${run[@]}" -f - >"$TMPDIR/out" 2>"$TMPDIR/err" <&-
expect "no stdin for the program" "$? $(cat "$TMPDIR/err")" "1 Error: cannot read standard input: Bad file descriptor"
"${run[@]}" -c "$say" <&- >&- 2>&-
expect "none of them" $? 1
"$CAPSID" --help >&- 2>"$TMPDIR/err"
expect "no stdout for the help" "$? $(cat "$TMPDIR/err")" "1 Error: cannot write standard output: Bad file descriptor"
for program in import-oci fetch; do
	timeout 20 "$BUILD/share/capsid/$program" <&- >&- 2>&-
	expect_match "$program without any" $? "[12]"
done
timeout 20 "$CAPSID" api --help <&- >&- 2>"$TMPDIR/err"
expect "the server's help" "$? $(cat "$TMPDIR/err")" "1 Error: cannot write standard output: Bad file descriptor"

# ---- umasks ----------------------------------------------------------------------------------------

# Private is what the state directory holds, whatever the umask: nothing that others may write, nothing that they may read
# but images (packages of Debian) below a directory that they cannot enter.
home=$CAPSID_HOME
CAPSID_HOME=$TMPDIR/masked
for mask in 000 077; do
	rm -rf "$CAPSID_HOME"
	mkdir -m 700 "$CAPSID_HOME"
	cp -a "$home/images" "$CAPSID_HOME/"
	out=$(umask $mask && timeout 200 "$CAPSID" run -q -r -l sh -c 'echo under' </dev/null 2>&1)
	expect "umask $mask" "$out" under
	expect "umask $mask: what others can write" "$(find "$CAPSID_HOME" -perm /022 ! -type l)" ""
	expect "umask $mask: what others can read" "$(find "$CAPSID_HOME" -path "$CAPSID_HOME/images" -prune -o -type f -perm /077 -print)" ""
done
(umask 027 && "$CAPSID" rootfs sbom python --output "$TMPDIR/sbom" 2>"$TMPDIR/err")
expect "a file for the user has the user's mode" "$(stat -c %a "$TMPDIR/sbom")" 640
CAPSID_HOME=$home

# ---- stopped past the timeout ----------------------------------------------------------------------

# The program ends in its time; capsid, which was stopped, looks much later than it would have waited (timeout and 3 s).
: >"$TMPDIR/out" # of the command before
"$CAPSID" run -r -t 5 -l sh -c 'echo early; sleep 0.3; echo late; exit 3' </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
stopped=$!
until [ -s "$TMPDIR/out" ] || ! kill -0 $stopped 2>/dev/null; do sleep 0.05; done
kill -STOP $stopped
begin=$(date +%s)
until [ $(($(date +%s) - begin)) -ge 9 ]; do sleep 0.2; done
kill -CONT $stopped
wait $stopped
expect "stopped past the timeout" "$? $(tr '\n' ' ' <"$TMPDIR/out")$(cat "$TMPDIR/err")" "3 early late "

# ---- a state directory that is full, of others, or odd ---------------------------------------------

# run_full HOME OPTION COMMAND...: the command, with a copy of that state directory on a filesystem that has room for no more
# than it holds: of bytes (size) or of files (nr_inodes). In a mount namespace, so that no mount is left whatever happens.
# shellcheck disable=SC2016 # the inner shell expands them
run_full() {
	unshare --mount --propagation private -- sh -c 'mkdir -p "$0/full" && mount -t tmpfs full "$0/full" && cp -a --sparse=always "$1/." "$0/full/" &&
		rm -f "$0/full/cache/version-"* && chmod 700 "$0/full" || exit 99
		case $2 in
		size) left=size=$(df -k --output=used "$0/full" | tail -n 1 | tr -d " ")k ;;
		*) left=nr_inodes=$(df --output=iused "$0/full" | tail -n 1 | tr -d " ") ;;
		esac
		mount -o "remount,$left" "$0/full" || exit 99
		shift 2
		CAPSID_HOME=$0/full exec "$@"' "$TMPDIR" "$@" </dev/null
}

if [ "$(id -u)" = 0 ]; then
	out=$(run_full "$CAPSID_HOME" size "$CAPSID" run -q -r -l python -c 'print("runs")' 2>&1)
	expect_match "a full disk" "$out" "Warning: cannot write $TMPDIR/full/cache/*: No space left on device; this takes longer each time, until there is room
runs"
	out=$(run_full "$CAPSID_HOME" nr_inodes "$CAPSID" run -q -r -l python -c 'print("runs")' 2>&1)
	expect "a disk without room for a file" "$? $out" "1 Error: state directory $TMPDIR/full cannot be used (set CAPSID_HOME to another): cannot create a directory in $TMPDIR/full/run: No space left on device"
	rm -f "$CAPSID_HOME"/cache/version-*
	out=$(ulimit -f 0 && "$CAPSID" run -q -r -l python -c 'print("runs")' </dev/null 2>&1 | cat)
	expect_match "no file may grow" "$out" "Warning: cannot write $CAPSID_HOME/cache/version-*: File too large; *
Error: the VM could not be restored: *: File too large"

	# Planted by who may write there: nothing in it is acted upon.
	chown 65534 "$CAPSID_HOME"
	capsid snapshot list
	expect "a directory of another user" "$status $err" "1 Error: state directory $CAPSID_HOME cannot be used (set CAPSID_HOME to another): $CAPSID_HOME belongs to user 65534, and this is user 0; run capsid as its owner"
	chown 0 "$CAPSID_HOME"
	chmod o+w "$CAPSID_HOME/run"
	sleep 600 &
	victim=$!
	mkdir -p "$CAPSID_HOME/run/planted/records"
	ln -s "$victim $(cut -d ' ' -f 22 "/proc/$victim/stat")" "$CAPSID_HOME/run/planted/records/child-1"
	capsid snapshot list
	expect "a directory that others may write" "$status $err" "1 Error: state directory $CAPSID_HOME cannot be used (set CAPSID_HOME to another): others may write into $CAPSID_HOME/run; run: chmod go-w $CAPSID_HOME/run"
	chmod o-w "$CAPSID_HOME/run"
	# And what was planted before it was mended, of a process that no capsid started.
	capsid snapshot list
	expect "then it is used" "$status" 0
	kill -0 $victim 2>/dev/null || fail "a process of another's was killed"
	kill $victim
	wait $victim 2>/dev/null
fi

# A FIFO in place of a cache, of a name and of a lock holds nobody up.
rm "$CAPSID_HOME/cache/tsc"
mkfifo "$CAPSID_HOME/cache/tsc"
timeout 60 "$CAPSID" run -r -l python -c 'print(1)' </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err"
expect_match "a FIFO for a cache" "$? $(cat "$TMPDIR/err" "$TMPDIR/out")" "0 Warning: $CAPSID_HOME/cache/tsc is a FIFO, but must be a file; what it holds is found out anew*
1"
rm "$CAPSID_HOME/images/names/python.json"
mkfifo "$CAPSID_HOME/images/names/python.json"
timeout 60 "$CAPSID" rootfs show python >"$TMPDIR/out" 2>"$TMPDIR/err"
expect_match "a FIFO for a name" "$? $(cat "$TMPDIR/err")" "1 Error: $CAPSID_HOME/images/names/python.json is a FIFO, but must be a file"
expect_clean "at the end"
finish
