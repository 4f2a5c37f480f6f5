#!/bin/bash
# timeout: 900
# capsid run --api: what a command does there is what it does here: output, status and result; over TCP and a Unix
# socket. And what it says when the server is busy, wants a token, goes away or is none.
# shellcheck disable=SC1091,SC2154,SC2016 # lib.sh sets out, err, status and failures; programs have their own $
. "$SRC/tests/vm/lib.sh"
need_snapshot python sh c
unset CAPSID_API CAPSID_API_TOKEN CAPSID_API_TOKEN_FILE http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY

# start_server NAME COMMAND...: sets $server to its process; its first lines go to $TMPDIR/NAME, its log to NAME.log.
start_server() {
	local name=$1
	shift
	: >"$TMPDIR/$name" # what one before said there must not be taken for its word
	"$@" >"$TMPDIR/$name" 2>"$TMPDIR/$name.log" &
	server=$!
	for _ in $(seq 600); do
		[ ! -s "$TMPDIR/$name" ] || ! grep -qE '^(ready|[0-9]+)$' "$TMPDIR/$name" || return 0
		sleep 0.1
	done
	fail "the server $name did not start"
	tail -n 5 "$TMPDIR/$name.log"
	finish
}
stop_server() {
	kill "$1"
	wait "$1"
}
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT

start_server api "$CAPSID" api --port 0 --socket "$TMPDIR/socket" --workers 2 --grace 1
api=$server
tcp=$(sed -n 's/^listening on \(http:.*\)/\1/p' "$TMPDIR/api")

# ---- the same here and there -----------------------------------------------------------------------

mkdir -p "$TMPDIR/tree/lib/deep" "$TMPDIR/tree/empty" "$TMPDIR/other"
echo 'from lib.a import x; import os; print(x, sorted(os.listdir(".")), oct(os.stat("tool").st_mode))' >"$TMPDIR/tree/main.py"
echo 'x = 5' >"$TMPDIR/tree/lib/a.py"
printf '#!/bin/sh\n' >"$TMPDIR/tree/tool" && chmod +x "$TMPDIR/tree/tool"
printf 'a\0\377b' >"$TMPDIR/tree/data.bin"
echo 'import sys; sys.stdout.buffer.write(open("data.bin", "rb").read()); print(__file__)' >"$TMPDIR/other/x.py"
cp "$TMPDIR/tree/data.bin" "$TMPDIR/other/"
printf 'print(__file__)\n' >"$TMPDIR/other/name.py"
printf 'import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())' >"$TMPDIR/cat.py"
echo 'import hashlib, sys; print(hashlib.md5(sys.stdin.buffer.read()).hexdigest())' >"$TMPDIR/sum.py"
head -c 1048576 /dev/urandom >"$TMPDIR/input"
head -c 1048577 /dev/urandom >"$TMPDIR/input-apart"
large=8000000
[ -z "${CHECK_ALL:-}" ] || large=50000000
head -c "$large" /dev/urandom >"$TMPDIR/large"
head -c 67108865 /dev/zero >"$TMPDIR/long"

# The result without what differs from run to run.
settled() {
	python3 -c '
import json, re, sys
text = open(sys.argv[1]).read()
try:
    value = json.loads(text)
except ValueError:
    sys.exit(sys.stdout.write(text))
for part in value, value.get("compile") or {}:
    for name in "exec_time", "load_time", "time", "trace_id", "memory_peak":
        if name in part:
            part[name] = re.sub("[0-9]+([.][0-9]+)?", "N", str(part[name]))
json.dump(value, sys.stdout, indent=1)' "$1"
}

# same NAME FILE OPTION...: FILE is the standard input; TMPDIR/here.{out,err,status} and there.out are kept for more checks. What is
# asked does not know how it gets there, so one goes over TCP and the next over the Unix socket; in the long form each over both.
there=unix
same() {
	local name=$1 input=$2 where
	local -a ways
	shift 2
	if [ "$there" = unix ]; then there=tcp; else there=unix; fi
	ways=("$there")
	[ -z "${CHECK_ALL:-}" ] || ways=(tcp unix)
	for where in here "${ways[@]}"; do
		local -a to=()
		[ "$where" != tcp ] || to=(--api "$tcp")
		[ "$where" != unix ] || to=(--api "unix:$TMPDIR/socket")
		timeout 120 "$CAPSID" run "${to[@]}" "$@" <"$input" >"$TMPDIR/$where.out" 2>"$TMPDIR/$where.err"
		echo $? >"$TMPDIR/$where.status"
		settled "$TMPDIR/$where.out" >"$TMPDIR/$where.settled"
		[ "$where" != here ] || continue
		expect "$name, $where: status" "$(cat "$TMPDIR/$where.status")" "$(cat "$TMPDIR/here.status")"
		cmp "$TMPDIR/here.settled" "$TMPDIR/$where.settled" || fail "$name, $where: another output, $(diff "$TMPDIR/here.settled" "$TMPDIR/$where.settled" | head -n 5)"
		cmp "$TMPDIR/here.err" "$TMPDIR/$where.err" || fail "$name, $where: other errors, $(head -n 3 "$TMPDIR/here.err" "$TMPDIR/$where.err")"
		cp "$TMPDIR/$where.out" "$TMPDIR/there.out"
	done
}
null=/dev/null

same "a program" $null -l python -c 'print("Hello")'
expect "a program: as it must be" "$(grep -c '"Hello' "$TMPDIR/here.out")" 1
same "a status" $null -l python -c 'import sys; print("e", file=sys.stderr); sys.exit(3)'
expect "a status: as it must be" "$(cat "$TMPDIR/here.status")" 3
same "raw" $null -r -l python -c 'import sys; print("o"); print("e", file=sys.stderr); sys.exit(4)'
same "bytes" $null -l python -c 'import sys; sys.stdout.buffer.write(bytes(range(256)))'
same "raw bytes" $null -r -l python -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 4000)'
expect "raw bytes: all of them" "$(stat -c %s "$TMPDIR/there.out")" 1024000
same "a timeout" $null -t 5 -l python -c 'import time; print(1, flush=True)
time.sleep(600)'
expect "a timeout: as it must be" "$(cat "$TMPDIR/here.status")" 124
same "a raw timeout" $null -r -t 5 -l python -c 'import time; print(1, flush=True)
time.sleep(600)'
same "a signal" $null -l python -c 'import os; os.kill(os.getpid(), 15)'
expect "a signal: as it must be" "$(cat "$TMPDIR/here.status")" 143
same "a raw signal" $null -r -l sh -c 'kill -9 $$'
same "an unknown language" $null -l klingon -c x
expect "an unknown language: as it must be" "$(cat "$TMPDIR/here.status")" 127
same "no language" $null -c x
same "an input" "$TMPDIR/input" -r -f "$TMPDIR/cat.py"
cmp "$TMPDIR/input" "$TMPDIR/there.out" || fail "an input: not what was sent"
for large in input-apart large; do
	same "an input that is sent apart, $large" "$TMPDIR/$large" -r -t 240 -f "$TMPDIR/sum.py"
	expect "$large arrives" "$(cat "$TMPDIR/there.out")" "$(md5sum <"$TMPDIR/$large" | cut -d ' ' -f 1)"
done
same "a program on standard input" "$TMPDIR/cat.py" -l python -f -
same "an input beside it" "$TMPDIR/cat.py" -l python -f - --stdin "$TMPDIR/other/name.py"
same "a directory" $null -f "$TMPDIR/tree"
same "a directory and --lang" $null -l python -f "$TMPDIR/tree"
same "files" $null -r -f "$TMPDIR/other/x.py" -f "$TMPDIR/other/data.bin"
same "files and --entry" $null -f "$TMPDIR/other/data.bin" -f "$TMPDIR/other/x.py" --entry x.py
same "one file and --entry" $null -f "$TMPDIR/other/name.py" --entry name.py
same "one file" $null -f "$TMPDIR/other/name.py"
same "a file and a directory" $null -f "$TMPDIR/other/name.py" -f "$TMPDIR/tree"
same "a directory and a file" $null -f "$TMPDIR/tree" -f "$TMPDIR/other/name.py" --entry name.py -l python
same "a compiled program" "$TMPDIR/cat.py" -l c -c '#include <stdio.h>
int main(void) { int unused, c; while ((c = getchar()) != EOF) putchar(c); return 5; }'
expect "a compiled program: as it must be" "$(cat "$TMPDIR/here.status")" 5
same "a compile error" $null -l c -c 'int main(void) { return 0 }'
expect_match "a compile error: as it must be" "$(cat "$TMPDIR/here.out")" '*"phase": "compile"*'
same "a raw compile error" $null -r -l c -c 'int main(void) { return 0 }'
expect_match "a raw compile error: as it must be" "$(cat "$TMPDIR/here.err")" '*error: expected*'
endless='#if __INCLUDE_LEVEL__ < 100
#include "main.c"
#include "main.c"
#endif'
same "a compile timeout" $null --build-timeout 1 -l c -c "$endless"
expect "a compile timeout: as it must be" "$(cat "$TMPDIR/here.status")" 124
same "a raw compile timeout" $null -r --build-timeout 1 -l c -c "$endless"
same "arguments" $null -l python -c 'import sys; print(sys.argv[1:])' -- -x "a b" "" $'\n'
same "variables" $null -l sh -c 'echo "$A|$B"' -e 'A=1=2' -e B=$'x\ny'
same "--cwd" $null -l sh --cwd /usr -c pwd
same "--max-output" $null --max-output 3 -l sh -c 'echo abcdef'
same "--mem and --vcpus" $null -q --mem 300 --vcpus 2 --no-snapshot -l sh -c 'nproc; awk "/MemTotal/ { print (\$2 > 250000) }" /proc/meminfo'
same "--disk" $null -q --disk 900 -l python -c 'import os; s = os.statvfs("."); print(s.f_blocks * s.f_frsize >> 20 > 700)'
same "--no-prime" $null --no-prime -l python -c 'print(1)'
expect_match "--no-prime: as it must be" "$(cat "$TMPDIR/there.out")" '*"primed": false*'
same "--no-snapshot" $null --no-snapshot -l sh -c 'echo cold'

# ---- output as it comes ----------------------------------------------------------------------------

mkfifo "$TMPDIR/fifo"
"$CAPSID" run --api "$tcp" -r -t 120 -l python -c 'import time
print("first", flush=True); time.sleep(100)' </dev/null >"$TMPDIR/fifo" 2>"$TMPDIR/err" &
run=$!
read -r -t 100 line <"$TMPDIR/fifo"
expect "output comes before the end" "$line" first
kill -TERM $run
wait $run
expect "a signal: status" $? 143
metric() {
	python3 - "$tcp" "$1" <<-'END'
		import sys, urllib.request
		for line in urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1] + "/metrics").read().decode().splitlines():
		    if line.startswith(sys.argv[2] + " "):
		        print(int(float(line.split()[-1])))
	END
}
wait_metric() {
	for _ in $(seq 600); do
		[ "$(metric "$2")" != "$3" ] || break
		sleep 0.1
	done
	expect "$1" "$(metric "$2")" "$3"
}
wait_metric "a signal ends the program there" 'capsid_workers_busy{lane="run"}' 0
wait_metric "a signal: it is cancelled there" 'capsid_runs_total{end="cancelled"}' 1

# ---- what it says ----------------------------------------------------------------------------------

# says NAME STATUS PATTERN URL OPTION...
says() {
	local name=$1 wanted=$2 pattern=$3
	shift 3
	timeout 120 "$CAPSID" run -q --api "$@" -l python -c 'print(1)' </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err"
	expect "$name: status" $? "$wanted"
	expect_match "$name: what it says" "$(cat "$TMPDIR/err")" "$pattern"
	expect "$name: one line" "$(wc -l <"$TMPDIR/err")" 1
}
says "no server" 1 'Error: cannot reach the server http://127.0.0.1:1: *' http://127.0.0.1:1
says "no socket" 1 'Error: cannot reach the server unix:/nowhere: No such file or directory' unix:/nowhere
says "no URL" 1 'Error: --api klingon: must be http://HOST:PORT, *' klingon
says "a password" 1 'Error: --api: the URL cannot hold a name or a password*' http://me:secret@127.0.0.1:1
says "a timeout that is too long" 1 'Error: "timeout" is 900, but must be from 1 to 300' "$tcp" -t 900
says "--kernel" 1 'Error: --kernel is for runs on this machine*' "$tcp" --kernel /x
capsid run --api "$tcp" -l python -c 1 --stdin "$TMPDIR/long"
expect_match "a long input" "$status $err" '1 Error: the program'\''s standard input is larger than 64 MiB*'
CAPSID_API=$tcp capsid run -r -l python -c 'print("there")'
expect "CAPSID_API" "$status $out" "0 there"
CAPSID_API=http://127.0.0.1:1 capsid run --api '' -r -l python -c 'print("here")'
expect "--api '' is here" "$status $out" "0 here"

# bad NAME STATUS PATTERN KIND [N [OPTION...]]: of a server that is no good, twice: as JSON and raw
bad() {
	local name=$1 wanted=$2 pattern=$3
	shift 3
	start_server bad python3 "$SRC/tests/vm/run_api_server.py" "${@:1:2}"
	says "$name" "$wanted" "$pattern" "http://127.0.0.1:$(cat "$TMPDIR/bad")" "${@:3}"
	stop_server $server
}
bad "always busy" 1 'Error: the server * is busy: too many?\[31m requests; try again in 1 seconds' busy 100
bad "busy for long" 1 'Error: the server * is busy: too many; try again in 600 seconds' full
bad "no token" 1 'Error: the server * wants a token; set CAPSID_API_TOKEN or --api-token-file' refused 9
bad "a wrong token" 1 'Error: the server * does not know the token; *' refused 1
bad "a page" 1 'Error: * does not answer as a Capsid server does (status 200)' html
bad "a page, raw" 1 'Error: * does not answer as a Capsid server does (status 200)' html 0 --raw
bad "a broken stream" 1 'Error: the server * went away before the program'\''s end*' broken 0 --raw
bad "no answer" 1 'Error: the server * went away before the program'\''s end*' silent
export CAPSID_API_PATIENCE=1
for raw in '' --raw; do
	slow="Error: the server * did not answer in time; api_patience says *"
	bad "a server that hangs$raw" 1 "$slow" hang 0 -t 1 $raw
	bad "a server that drips$raw" 1 "$slow" drip 0 -t 1 $raw
	bad "a server that stops$raw" 1 "$slow" stop 0 -t 1 $raw
	bad "a head without end$raw" 1 'Error: the server * answers with more than 65536 bytes of headers' heads 0 $raw
	bad "an exit status of 256$raw" 1 'Error: * does not answer as a Capsid server does (status 200)' status 256 $raw
	bad "an exit status of -1$raw" 1 'Error: * does not answer as a Capsid server does (status 200)' status -1 $raw
	# What a parser would make of these takes 460 MB.
	limit=$(ulimit -S -v)
	ulimit -S -v 250000
	bad "many values$raw" 1 'Error: *' many 0 $raw
	bad "deep values$raw" 1 'Error: *' deep 0 $raw
	ulimit -S -v "$limit"
done
bad "a line without end" 1 'Error: the server * answers with more than 67108876 bytes' line 0 --max-output 1 --raw
unset CAPSID_API_PATIENCE
start_server bad python3 "$SRC/tests/vm/run_api_server.py" status 255
capsid run --api "http://127.0.0.1:$(cat "$TMPDIR/bad")" -l python -c 1
expect "an exit status of 255" "$status" 255
stop_server $server
start_server bad python3 "$SRC/tests/vm/run_api_server.py" control
capsid run --api "http://127.0.0.1:$(cat "$TMPDIR/bad")" -l python -c 1
expect "control characters" "$status $(grep -c '"stdout": "a\\u009B31mb\\u007F\\u001B\[0mc\\u0080"' "$TMPDIR/out") $(LC_ALL=C grep -cP '[\x80-\xff\x7f\x1b]' "$TMPDIR/out")" "0 1 0"
stop_server $server
start_server bad python3 "$SRC/tests/vm/run_api_server.py" busy 2
capsid run --api "http://127.0.0.1:$(cat "$TMPDIR/bad")" -l python -c 1
expect "busy, then not" "$status $(field stdout)" "7 at last"
expect "busy, then not: what it says" "$err" "The server is busy; trying again in 1 s
The server is busy; trying again in 1 s"
stop_server $server

# ---- tokens ----------------------------------------------------------------------------------------

"$CAPSID" api --new-token me >"$TMPDIR/new"
sed -n 's/^line: *//p' "$TMPDIR/new" >"$TMPDIR/tokens"
sed -n 's/^token: *//p' "$TMPDIR/new" >"$TMPDIR/token"
start_server guarded "$CAPSID" api --port 0 --tokens "$TMPDIR/tokens" --workers 1
guarded=$(sed -n 's/^listening on \(http:.*\)/\1/p' "$TMPDIR/guarded")
says "no token" 1 'Error: the server * wants a token; *' "$guarded"
CAPSID_API_TOKEN=wrong says "a wrong token" 1 'Error: the server * does not know the token; *' "$guarded"
says "an empty token file" 1 'Error: /dev/null holds no token*' "$guarded" --api-token-file /dev/null
capsid run --api "$guarded" --api-token-file "$TMPDIR/token" -r -l python -c 'print("let in")'
expect "a token in a file" "$status $out" "0 let in"
CAPSID_API_TOKEN=$(cat "$TMPDIR/token") capsid run --api "$guarded" -r -l python -c 'print("let in")'
expect "a token in the environment" "$status $out" "0 let in"
stop_server $server

# ---- a server that ends ----------------------------------------------------------------------------

for raw in '' --raw; do
	start_server mortal "$CAPSID" api --port 0 --workers 1
	mortal=$(sed -n 's/^listening on \(http:.*\)/\1/p' "$TMPDIR/mortal")
	"$CAPSID" run $raw --api "$mortal" -t 120 -l python -c 'import time; time.sleep(100)' </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
	run=$!
	tcp=$mortal wait_metric "it runs" 'capsid_workers_busy{lane="run"}' 1
	kill -KILL $server
	wait $server
	wait $run
	expect "a server that is killed${raw:+, raw}: status" $? 1
	expect_match "a server that is killed${raw:+, raw}" "$(cat "$TMPDIR/err")" 'Error: the server * went away before the program'\''s end*'
	expect "a server that is killed${raw:+, raw}: one line" "$(wc -l <"$TMPDIR/err")" 1
done
stop_server $api
"$CAPSID" run -l python -c 1 </dev/null >"$TMPDIR/out" # removes what the killed servers left
expect_clean "after the servers"
finish
