#!/bin/bash
# timeout: 600
# capsid run: results, exit statuses, input and output, as a user sees them.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python

run() { capsid run -l python "$@" </dev/null; }

run --code "print('Hello')"
expect "hello: status" "$status" 0
expect "hello: stdout" "$(field stdout)" "Hello"
expect "hello: stderr" "$(field stderr)" ""
expect "hello: exit_code" "$(field exit_code)" 0
expect "hello: end" "$(field end)" exited
expect "hello: truncated" "$(field truncated)" False
expect "hello: a waiting interpreter took it" "$(field primed)" True
expect_match "hello: load_time" "$(field load_time)" "*ms"
expect_match "hello: exec_time" "$(field exec_time)" "*ms"
expect_match "hello: trace_id" "$(field trace_id)" "tr-*"
expect "hello: nothing on standard error" "$err" ""

run -c 'import sys; print("out"); print("err", file=sys.stderr); sys.exit(3)'
expect "the status follows the program" "$status" 3
expect "exit_code" "$(field exit_code)" 3
expect "stdout of a failing program" "$(field stdout)" out
expect "stderr of a failing program" "$(field stderr)" err

run -c 'import os, signal; print("x", flush=True); os.kill(os.getpid(), signal.SIGSEGV)'
expect "signal: status" "$status" 139
expect "signal: end" "$(field end)" signalled
expect "signal: name" "$(field signal)" SIGSEGV
expect "signal: output so far" "$(field stdout)" x

# IPv6 is on the loopback interface alone; a network interface would have IPv4 only.
run -c 'import socket
server = socket.create_server(("::1", 0), family=socket.AF_INET6)
socket.create_connection(("::1", server.getsockname()[1])).close()
print(server.accept()[1][0], [open(f"/proc/sys/net/ipv6/conf/{i}/disable_ipv6").read().strip() for i in ("lo", "default")])'
expect "IPv6 of loopback" "$(field stdout)$(field stderr)" "::1 ['0', '1']"

run -t 5 -c 'import time; print("before", flush=True); time.sleep(60)'
expect "timeout: status" "$status" 124
expect "timeout: exit_code" "$(field exit_code)" 124
expect "timeout: end" "$(field end)" timed_out
expect "timeout: output so far" "$(field stdout)" before
expect "timeout: message" "$(field stderr)" "Execution timeout exceeded (5s)"

run -c 'print("Hello'
expect "syntax error: status" "$status" 1
expect_match "syntax error: file, line and text" "$(field stderr)" '*File "/tmp/job/main.py", line 1*print("Hello*SyntaxError*'

run -c $'def f():\n    raise ValueError("deep")\nf()'
expect_match "traceback: source lines" "$(field stderr)" '*line 3, in <module>*f()*line 2, in f*raise ValueError("deep")*ValueError: deep*'

printf 'import sys\nprint(sys.argv, __file__, __name__)\n' >"$TMPDIR/script.py"
run -f "$TMPDIR/script.py" -t 10
expect "file" "$(field stdout)" "['/tmp/job/main.py'] /tmp/job/main.py __main__"
run --no-prime -f "$TMPDIR/script.py" -t 10
expect "file, unprimed: the same" "$(field stdout)" "['/tmp/job/main.py'] /tmp/job/main.py __main__"
expect "file, unprimed: says so" "$(field primed)" False

# Standard input.
printf 'a\nb' | "$CAPSID" run -l python -c 'import sys; print(repr(sys.stdin.read()))' >"$TMPDIR/out"
expect "piped standard input" "$(field stdout)" "'a\\nb'"
echo 'print(input())' | "$CAPSID" run -l python -f - >"$TMPDIR/out"
expect_match "-f -: the program's own input is empty" "$(field stderr)" '*EOFError*'
echo text >"$TMPDIR/input"
echo 'print(input())' | "$CAPSID" run -l python -f - --stdin "$TMPDIR/input" >"$TMPDIR/out"
expect "-f - with --stdin" "$(field stdout)" text
head -c 3000000 /dev/urandom >"$TMPDIR/input"
run --stdin "$TMPDIR/input" -c 'import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
expect "3 MB of standard input" "$(field stdout)" "$(sha256sum <"$TMPDIR/input" | cut -d' ' -f1)"
run --stdin "$TMPDIR/input" -c 'print("never reads")'
expect "standard input that nobody reads" "$(field stdout)" "never reads"

# A program larger than a frame of the protocol and than a pipe.
{ for i in $(seq 12000); do echo "x$i = $i  # padding padding"; done; echo 'print(x12000)'; } >"$TMPDIR/large.py"
run -f "$TMPDIR/large.py"
expect "a program of 400 kB, primed" "$(field stdout)" 12000
run --no-prime -f "$TMPDIR/large.py"
expect "a program of 400 kB, unprimed" "$(field stdout)" 12000

# Arguments and variables larger than a frame, up to what Linux takes.
argument=$(head -c 120000 /dev/zero | tr '\0' a)
run -c 'import sys, os; print(sum(map(len, sys.argv[1:])), len(sys.argv), len(os.environ["LONG"]))' -e "LONG=$argument" -- \
	"$argument" "$argument" "$argument" "$argument" "$argument" "$argument" "$argument" "$argument"
expect "a megabyte of arguments and variables" "$(field stdout)" "960000 9 120000"

# Output that is not text, or too much.
run -c 'import sys; sys.stdout.buffer.write(b"\xff\x00\xfe"); sys.stderr.write("\u20ac\0\x1b")'
expect "bytes: base64" "$(field stdout)" "/wD+"
expect "bytes: marked" "$(field stdout_encoding)" base64
expect "text with control characters stays text" "$(field stderr | od -An -tx1 | tr -d ' \n')" "e282ac001b"
run --max-output 10 -c 'print("\u20ac" * 10)'
expect "cut: at a character" "$(field stdout)" "€€€"
expect "cut: truncated" "$(field truncated)" True
expect "cut: not base64" "$(field stdout_encoding)" None
run -c 'print("x" * 3000000)'
expect "cut at the default limit" "$(field stdout | wc -c)" 1048576

run -c 'import os, sys; os.close(1); os.close(2); sys.exit(0)'
expect "closing its output is not an end" "$status $err" "0 "
run -c 'import subprocess; subprocess.Popen(["/bin/sh", "-c", "sleep 60"]); print("left a child")'
expect "a child left behind: output" "$(field stdout)" "left a child"
expect "a child left behind: said so" "$(field output_held)" True

run -c 'import os; print(os.getuid(), os.getcwd(), os.environ["HOME"]); open("f", "w").write("x"); print(open("f").read())'
expect "user, directory, and a place to write" "$(field stdout)" $'1000 /tmp/job /tmp/job\nx'

run -c 'x = bytearray(1 << 30)'
expect_match "memory: an error of the program or the OOM killer, not of capsid" "$(field end)" "[eo]*[dy]"

# --raw and the other verbs for the same job.
capsid run -l python --raw -c 'import sys; print("o"); print("e", file=sys.stderr); sys.exit(5)' </dev/null
expect "raw: status" "$status" 5
expect "raw: stdout" "$out" o
expect "raw: stderr" "$err" e
capsid host --lang python --code 'print("cold")' --mem 256 --vcpus 1 </dev/null
expect "host: boots" "$(field stdout) $(field primed)" "cold False"
capsid host --lang python --code 'print("warm")' --snapshot </dev/null
expect "host --snapshot: restores" "$(field stdout) $(field primed)" "warm True"
expect_clean "after all runs"
finish
