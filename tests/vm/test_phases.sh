#!/bin/bash
# timeout: 600
# Compiled languages: the build phase, its result and its limits; warm-up commands.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"

need_snapshot python c
run() { capsid run -l c "$@" </dev/null; }

# A field of the compile phase.
compile() {
	python3 -c 'import json, sys; print((json.load(open(sys.argv[1]))["compile"] or {}).get(sys.argv[2]), end="")' "$TMPDIR/out" "$1"
}

run -c '#include <stdio.h>
int main(int argc, char **argv) { int unused; for (int i = 1; i < argc; i++) puts(argv[i]); fputs("err\n", stderr); return 3; }' -- 'a b' --lang "c'd"
expect "run: status is the program's" "$status" 3
expect "run: arguments" "$(field stdout)" "a b
--lang
c'd"
expect "run: stderr is the program's alone" "$(field stderr)" err
expect "run: phase" "$(field phase)" run
expect "compile: exit_code" "$(compile exit_code)" 0
expect "compile: end" "$(compile end)" exited
expect_match "compile: time" "$(compile time)" "*ms"
expect_match "compile: a warning is kept" "$(compile stderr)" "*main.c:2:*unused*"

run -c 'int main(void) { return 0 }'
expect "compile error: status is the compiler's" "$status" 1
expect "compile error: exit_code" "$(field exit_code)" 1
expect "compile error: phase" "$(field phase)" compile
expect_match "compile error: stderr is the compiler's" "$(field stderr)" "*main.c:1:*error: expected*"
expect "compile error: the same in compile" "$(compile stderr)" "$(field stderr)"
expect "compile error: end" "$(field end)" exited

run --raw -c 'int main(void) { return 0 }'
expect "raw compile error: status" "$status" 1
expect "raw compile error: nothing on standard output" "$out" ""
expect_match "raw compile error: the compiler's words" "$err" "*main.c:1:*error: expected*"
run --raw -c '#include <unistd.h>
int main(void) { int unused; write(1, "x", 1); return 0; }'
expect "raw: output" "$out" x
expect "raw: a compiler that succeeds is silent" "$err" ""

echo 5 | "$CAPSID" run -l c -c '#include <stdio.h>
int main(void) { int i; return scanf("%d", &i) == 1 ? i : 99; }' >"$TMPDIR/out"
expect "standard input is the program's, not the compiler's" "$(field exit_code)" 5

# One time limit for both; the build can have a shorter one. The preprocessor waits for a FIFO.
run -t 30 -c '#include <unistd.h>
int main(void) { sleep(600); }'
expect "timeout of the run: status" "$status" 124
expect "timeout of the run: phase" "$(field phase) $(compile exit_code)" "run 0"
expect_match "timeout of the run: message" "$(field stderr)" "Execution timeout exceeded (30s)"
both=$(($(compile time | grep -o '^[0-9]*') + $(field exec_time | grep -o '^[0-9]*')))
[ "$both" -lt 35000 ] || fail "timeout of the run: both phases took $both ms, more than the limit"
forever='#include "/dev/zero"
int main(void) { return 0; }'
run --build-timeout 1 -t 60 --mem 1024 -c "$forever"
expect_match "timeout of the build: phase" "$(field phase)" compile
expect_match "timeout of the build: it was ended" "$(field end)" "[to]*" # timed_out, or out_of_memory on a fast machine
expect_match "timeout of the build: status" "$status" "1[23]*"

run -c 'int main(void) { __builtin_trap(); }'
expect_match "signal: only the program's" "$status $(field phase) $(compile exit_code)" "132 run 0"

run -e 'GREETING=a=b c' -e GREETING=last -e PATH=/nowhere -c '#include <stdio.h>
#include <stdlib.h>
int main(void) { printf("%s %s\n", getenv("GREETING"), getenv("HOME")); return 0; }'
expect_match "a PATH without a compiler fails in the build" "$(field phase) $(field exit_code)" "compile 127"

# A primed language has no compile phase.
capsid run -l python -c 'print(1)' </dev/null
expect "python: compile is null" "$(field compile) $(field phase) $(field primed)" "None run True"

# Warm-up commands, in a data directory with definitions of its own. The image is that of c.
own_data
define() { # WARM-UP COMMAND
	sed "s#^command = .*#command = $1#" "$data/languages/c.ini" >"$TMPDIR/data/languages/c.ini"
}
export CAPSID_DATA=$TMPDIR/data
# shellcheck disable=SC2016 # for the guest's shell
define 'cat {source} >/tmp/warm; pwd >>/tmp/warm; id -u >>/tmp/warm; echo $HOME >>/tmp/warm; touch left'
run -c '#include <stdlib.h>
int main(void) { return system("cat /tmp/warm; ls -A"); }'
expect "warm-up: the hello program in the job's directory, as the job's user; nothing is left there" \
	"$(field stdout)" "$(sed -n 's/^code = //p' "$data/languages/c.ini" | sed 's/\\n/\n/g; s/\\\n/\\n/g')
/tmp/job
1000
/tmp/job
main
main.c"
capsid snapshot list --json
key=$(python3 -c 'import json, sys; print(max((s for s in json.load(open(sys.argv[1]))["snapshots"] if s["language"] == "c"), key=lambda s: s["created"])["key"])' "$TMPDIR/out")
capsid snapshot rm "$key"
define 'echo first >\&2; echo "the reason" >\&2; exit 4'
capsid snapshot create -l c
expect "failing warm-up: status" "$status" 1
expect_match "failing warm-up: the command's last words" "$err" "*Error: the snapshot of c could not be made: the warm-up command failed: it ended with status 4: the reason"
define 'true\nkeep = yes'
capsid snapshot create -l c
expect_match "what is to be kept is missing" "$status $err" "1 *the warm-up command failed: it left nothing running*"
# shellcheck disable=SC2016 # for the guest's shell
define 'sleep 1000 >/dev/null 2>\&1 \& echo $! >/tmp/left\nkeep = yes'
# shellcheck disable=SC2016 # for the guest's shell
alive='#include <stdlib.h>
int main(void) { return system("kill -0 $(cat /tmp/left) && echo alive"); }'
run -c "$alive"
expect "what a warm-up command leaves running is in the snapshot" "$(field stdout)" alive
run -c "$alive"
expect "of each run" "$(field stdout)" alive
# shellcheck disable=SC2016 # for the guest's shell
define 'sleep 1000 >/dev/null 2>\&1 \& echo $! >/tmp/left'
run -c "$alive"
expect "only where that is asked for" "$(field stdout)" ""
expect_clean "after all"
finish
