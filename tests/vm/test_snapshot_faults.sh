#!/bin/bash
# timeout: 600
# Damaged, vanishing and unwritable snapshots: one line to the one who asked, no hang, nothing left behind.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
bare_home sh python

capsid snapshot create --lang sh --json
key=$(field key)
snapshot=$CAPSID_HOME/snapshots/$key
kept=$TMPDIR/kept
cp -a --sparse=always "$snapshot" "$kept"

put_back() {
	rm -rf "$snapshot"
	cp -a --sparse=always "$kept" "$snapshot"
}
# refused WHAT PATTERN: a run fails with one line like the pattern that says what to do; verify finds it, too.
refused() {
	local what=$1
	capsid run -l sh -c 'echo 1' </dev/null
	expect "$what: status" "$status" 1
	expect_match "$what: message" "$err" "Error: snapshot ${key:0:16} cannot be used (remove it with: capsid snapshot rm ${key:0:16}): $2"
	expect "$what: one line, no output" "$(wc -l <"$TMPDIR/err") $out" "1 "
	timeout 60 "$CAPSID" snapshot verify "$key" >"$TMPDIR/out" 2>&1
	expect "$what: verify: status" $? 1
	expect_match "$what: verify" "$(cat "$TMPDIR/out")" "corrupt  ${key:0:16}  *capsid snapshot rm*"
	put_back
}
flip_bit() { # FILE OFFSET
	python3 -c 'import sys
f = open(sys.argv[1], "r+b")
f.seek(int(sys.argv[2]))
byte = f.read(1)[0]
f.seek(int(sys.argv[2]))
f.write(bytes([byte ^ 1]))' "$@"
}
edit() { # PYTHON STATEMENT on the manifest m
	python3 -c 'import json, sys
m = json.load(open(sys.argv[1]))
exec(sys.argv[2])
json.dump(m, open(sys.argv[1], "w"))' "$snapshot/manifest.json" "$1"
}

# ---- the files ------------------------------------------------------------------------------------

flip_bit "$snapshot/memory" 16777300
refused "a bit of the memory" "$snapshot/memory is corrupt"
flip_bit "$snapshot/state" 2000
refused "a bit of the state" "$snapshot/state is corrupt"
truncate -s 100000000 "$snapshot/memory"
refused "truncated memory" "$snapshot/memory is corrupt: it has 100000000 bytes instead of 134217728"
truncate -s 0 "$snapshot/state"
refused "empty state" "$snapshot/state is corrupt: it has 0 bytes instead of *"
for file in memory state; do
	rm "$snapshot/$file"
	refused "no $file" "$snapshot/$file is missing"
	rm "$snapshot/$file"
	mkfifo "$snapshot/$file"
	refused "a FIFO for $file" "$snapshot/$file is corrupt: not a file"
done

# ---- the manifest ---------------------------------------------------------------------------------

manifest=$snapshot/manifest.json
rm "$manifest"
refused "no manifest" "$manifest is missing"
head -c 3000 /dev/urandom >"$manifest"
refused "garbage" "$manifest is not valid: it is not JSON*"
: >"$manifest"
refused "an empty manifest" "$manifest is not valid: it is not JSON*"
head -c 1000000 /dev/zero | tr '\0' ' ' >>"$manifest"
refused "a huge manifest" "$manifest is not a file of at most 65536 bytes"
rm "$manifest"
ln -s "$kept/manifest.json" "$manifest"
refused "a symbolic link" "$manifest is a symbolic link, but must be a file"
rm "$manifest"
mkfifo "$manifest"
refused "a FIFO" "$manifest is a FIFO, but must be a file"
edit 'del m["files"]["state"]'
refused "a file is not described" "$manifest is not valid: it does not describe every file"
edit 'del m["created"]'
refused "a missing field" "$manifest is not valid: a field is missing*"
edit 'm["primed_job"] = -5'
refused "an impossible number" "$manifest is not valid: a number is out of range"
edit 'm["inputs"]["memory_mib"] = 100000'
refused "changed inputs" "$manifest is not valid: it belongs to another snapshot"
# What is as sound as what was written, and something else: nothing of it is used.
for change in 'm["files"]["memory"]["sha256"] = "0" * 64' 'm["primed_job"] += 1' 'm["primed_job"] = 0' 'm["created"] += 1' \
	'm["note"] = ""'; do
	edit "$change"
	refused "$change" "$manifest is corrupt: it is not what manifest.sha256 says"
done
seal=$snapshot/manifest.sha256
expect "the seal is what sha256sum(1) says" "$(cd "$snapshot" && sha256sum manifest.json)" "$(cat "$seal")"
flip_bit "$seal" 3
refused "a bit of the seal" "$manifest is corrupt: it is not what manifest.sha256 says"
: >"$seal"
refused "an empty seal" "$manifest is corrupt: it is not what manifest.sha256 says"
rm "$seal"
refused "no seal" "$seal is missing"
rm "$seal"
mkfifo "$seal"
refused "a FIFO for the seal" "$seal is a FIFO, but must be a file"

capsid run -l sh --raw -c 'echo restored' </dev/null
expect "the snapshot put back is good again" "$status $out" "0 restored"
flip_bit "$snapshot/memory" 16777300
capsid snapshot rm "${key:0:16}"
capsid run -l sh --raw -c 'echo anew' </dev/null
expect "after the advice was taken" "$status $out" "0 anew"
expect_clean "damaged files"

# Truncated under a running VM: that run ends, with what it had printed, and the next is told.
"$CAPSID" run -l sh --raw -t 300 -c 'echo so far
sleep 3
head -c 30000000 /dev/zero | sort | wc -c >/dev/null
cksum /usr/bin/* /usr/lib/*/*.so* >/dev/null
echo end' </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
pid=$!
until grep -q "so far" "$TMPDIR/out" || ! kill -0 $pid 2>/dev/null; do
	sleep 0.05
done
truncate -s 0 "$snapshot/memory"
wait $pid
status=$?
# A VM whose memory is a copy does not even notice.
case "$status $(tr '\n' ' ' <"$TMPDIR/out") $(wc -l <"$TMPDIR/err")" in
"0 so far end  0" | "1 so far  1") printf 'ok: truncated under a running VM: %s\n' "$(cat "$TMPDIR/err")" ;;
*) fail "truncated under a running VM: status $status, $(cat "$TMPDIR/out" "$TMPDIR/err")" ;;
esac
rm -rf "$kept"
capsid snapshot rm "$key"
expect_clean "truncated under a running VM"

# ---- removed while it is restored -----------------------------------------------------------------

# The hard way, behind capsid's back, and the polite way: a run works or says in one line what happened.
worked=0
for round in $(seq 8); do
	timeout 120 "$CAPSID" run -q -l sh --raw -c 'echo fine' </dev/null >"$TMPDIR/run" 2>"$TMPDIR/run.err" &
	pid=$!
	sleep "0.$(((round * 37) % 100 + 100))"
	if [ $((round % 2)) = 0 ]; then
		rm -rf "$snapshot" 2>/dev/null
	else
		"$CAPSID" snapshot rm "$key" >/dev/null 2>&1
	fi
	wait $pid
	status=$?
	if [ "$status" = 0 ] && [ "$(cat "$TMPDIR/run")" = fine ]; then
		worked=$((worked + 1))
	elif [ "$status" != 1 ] || [ "$(grep -c '^Error: ' "$TMPDIR/run.err")" != 1 ] || [ "$(wc -l <"$TMPDIR/run.err")" != 1 ]; then
		fail "removed meanwhile, round $round: status $status, $(cat "$TMPDIR/run.err")"
	fi
done
[ "$worked" -gt 0 ] || fail "no run worked while snapshots were removed"
# Half of a removal may be what is left; the advice helps.
capsid snapshot rm "$key"
capsid run -q -l sh --raw -c 'echo fine' </dev/null
expect "afterwards" "$out" fine
expect_clean "removed meanwhile"

# ---- a state directory that cannot be written -----------------------------------------------------

if [ "$(id -u)" -ne 0 ] || ! unshare --mount true 2>/dev/null; then
	printf 'left out: read-only and full state directories (need root for a mount)\n'
	finish
fi
# shellcheck disable=SC2016 # for the other shell
unshare --mount sh -c 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$CAPSID" run -l sh -c "echo 1"' - \
	"$CAPSID_HOME" </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err"
expect "read-only: status" $? 1
expect_match "read-only: message" "$(cat "$TMPDIR/err")" "Error: state directory $CAPSID_HOME cannot be used (set CAPSID_HOME to another): *Read-only file system"
expect "read-only: one line, no output" "$(cat "$TMPDIR/err" "$TMPDIR/out" | wc -l)" 1

# There is room for the snapshot when it begins. Its warm-up command waits until something else has taken it, and then
# writes to memory for which the disk has no place.
mkdir -p "$TMPDIR/small"
own_data
sed 's/^\[hello\]/[warm]\ncommand = python3 -c "import time; time.sleep(5); b = bytearray(range(256)) * 400000"\n\n&/' \
	"$data/languages/python.ini" >"$TMPDIR/data/languages/python.ini"
cat >"$TMPDIR/full.sh" <<'EOF'
mount -t tmpfs -o size=300m,mode=755 none "$SMALL" && mkdir "$SMALL/images" || exit 9
cp -a "$CAPSID_HOME"/images/names "$SMALL/images/" && ln -s "$CAPSID_HOME"/images/*.* "$SMALL/images/"
export CAPSID_HOME=$SMALL
timeout 200 "$CAPSID" snapshot create -l python >"$TMPDIR/out" 2>"$TMPDIR/err" &
until ls "$SMALL"/run/*/snapshot-*/state >/dev/null 2>&1; do
	kill -0 $! || break
	sleep 0.05
done
cat /dev/zero >"$SMALL/filler" 2>/dev/null
wait $!
echo $? >"$TMPDIR/status"
rm "$SMALL/filler"
ls -A "$SMALL/run" "$SMALL/snapshots" >"$TMPDIR/left"
timeout 200 "$CAPSID" run -q -l python --raw -c 'print("room")' </dev/null >"$TMPDIR/after" 2>&1
cat /dev/zero >"$SMALL/filler" 2>/dev/null
timeout 200 "$CAPSID" run -q -l python -c 'print("restored")' </dev/null >"$TMPDIR/full" 2>&1
echo $? >>"$TMPDIR/full"
ls -A "$SMALL/run" >>"$TMPDIR/full"
EOF
SMALL=$TMPDIR/small CAPSID_DATA=$TMPDIR/data unshare --mount sh "$TMPDIR/full.sh"
expect "full: status" "$(cat "$TMPDIR/status")" 1
expect_match "full: message" "$(cat "$TMPDIR/err")" "Making the snapshot of python*
Error: the snapshot of python could not be made: not enough disk space in $TMPDIR/small: * needed, * free"
expect "full: two lines" "$(grep -cv '^The VMM is confined only in part' "$TMPDIR/err")" 2
expect "full: nothing is left" "$(cat "$TMPDIR/left")" "$TMPDIR/small/run:

$TMPDIR/small/snapshots:"
expect "full: with room again it works" "$(cat "$TMPDIR/after")" room
# The records of a run are links without content, so it may even work.
expect_match "full, with a snapshot: a result or one line, and nothing is left" "$(cat "$TMPDIR/full")" "@(Error: *No space left on device|*\"restored*?)
[01]"
expect_clean "after all"
finish
