#!/bin/bash
# timeout: 600
# capsid run with files, directories, arguments, variables and a working directory.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python c

run() { capsid run "$@" </dev/null; }
cd "$TMPDIR" || exit 1

# The language from the extension, or not.
echo 'import sys; print(__file__, sys.argv[1:])' >solo.py
run -f solo.py
expect "one file: the language is guessed, the name is the language's" "$(field stdout)" "/tmp/job/main.py []"
expect "one file: primed" "$(field primed)" True
run -f solo.py -- -x 'a b' ''
expect "arguments" "$(field stdout)" "/tmp/job/main.py ['-x', 'a b', '']"
expect "arguments: a new interpreter" "$(field primed)" False
run -f solo.py --entry solo.py
expect "one file with --entry keeps its name" "$(field stdout)" "/tmp/job/solo.py []"
run --file - <solo.py
expect_match "standard input has no extension" "$status $err" "1 Error: --lang is required*"
cp solo.py solo.unheard
run -f solo.unheard
expect_match "an extension of no language" "$status $err" "127 Error: no language has files ending in .unheard*"
run -l python -f solo.unheard
expect "--lang beats the extension" "$(field stdout)" "/tmp/job/main.py []"
run -f <(cat solo.py) -l python
expect "a pipe of the shell" "$(field stdout)" "/tmp/job/main.py []"

printf '#!/usr/bin/env -S python3.11 -u\nimport sys; print("by its line", sys.argv[1:])\n' >script
run -f script -- x
expect "no extension: the first line tells the language" "$(field stdout)" "by its line ['x']"
run -f solo.py -f script --entry script
expect "and that of --entry" "$(field stdout)" "by its line []"
printf '#!/opt/unheard\n' >unheard
run -f unheard
expect_match "an interpreter of no language" "$status $err" "127 Error: unheard begins with #! and an interpreter of no language, unheard;*"
head -c 100000 /bin/ls >binary
run -f binary
expect_match "no text at all" "$status $err" "1 Error: binary has no extension*"

# Several files.
mkdir -p lib
echo 'def f(): return "from lib"' >lib/deep.py
echo 'def f(): return "from beside"' >beside.py
echo 'import os, sys, beside, lib.deep
print(__file__, beside.f(), lib.deep.f(), sorted(set(os.listdir(".")) - {"__pycache__"}), sys.argv[1:])' >app.py
run -f app.py -f beside.py -f lib/ -- arg
expect "several files: the first is the main one, names stay" "$(field stdout)" \
	"/tmp/job/app.py from beside from lib ['app.py', 'beside.py', 'lib'] ['arg']"
run -f beside.py -f app.py -f lib --entry app.py
expect_match "--entry chooses" "$(field stdout)" "/tmp/job/app.py from beside*"
run --no-snapshot -f app.py -f beside.py -f lib
expect_match "several files, cold" "$(field stdout)" "/tmp/job/app.py from beside*"

# A directory.
mkdir -p project/sub/empty
cp app.py project/main.py
cp -r beside.py lib project/
printf '#!/bin/sh\necho executed\n' >project/sub/tool
chmod +x project/sub/tool
echo 'import os, subprocess
print(os.getcwd(), os.path.isdir("/tmp/job/sub/empty"), os.stat("/tmp/job/sub/tool").st_uid, flush=True)
subprocess.run(["/tmp/job/sub/tool"])' >project/sub/other.py
run -f project
expect_match "a directory: the main file is found, and its language" "$(field stdout)" \
	"/tmp/job/main.py from beside from lib ?'beside.py', 'lib', 'main.py', 'sub'?*"
run -f project/ --entry sub/other.py
expect "a directory with --entry: modes, owner, empty directories" "$(field stdout)" "/tmp/job True 1000
executed"
run -f project --entry sub/other.py --cwd sub
expect_match "--cwd below the program's directory" "$(field stdout)" "/tmp/job/sub True*"
run -f project --entry sub/other.py --cwd /usr/lib
expect_match "--cwd, absolute" "$(field stdout)" "/usr/lib True*"
run -f project --cwd nowhere
expect_match "--cwd that is not there" "$status $err" "1 Error: cannot start the program in /tmp/job/nowhere: *No such file*"

# Symbolic links that stay in the directory are there, whatever it is called in the guest.
mkdir -p tied/src tied/bin
echo 'import os, mod
print(mod.name, os.readlink("bin/tool"), os.path.realpath("bin/tool"), os.path.islink("later"))' >tied/src/app.py
echo 'name = "of src"' >tied/src/mod.py
ln -s src/app.py tied/main.py
ln -s ../src/mod.py tied/bin/tool
ln -s not/there tied/later
run -f tied
expect "links, and one as the main file" "$(field stdout)" "of src ../src/mod.py /tmp/job/src/mod.py True"
run -f beside.py -f tied --entry tied/src/app.py --cwd tied
expect "links of a directory beside others" "$(field stdout)" "of src ../src/mod.py /tmp/job/tied/src/mod.py True"

# Variables.
run -l python -e A=1 -e A=2 -e 'B=x = y' -e LANG=de -e C= -c 'import os; print(*(repr(os.environ.get(k)) for k in "A B C LANG HOME".split()))'
expect "--env: the last counts, also against the language's own" "$(field stdout)" "'2' 'x = y' '' 'de' '/tmp/job'"
for bad in A =x 1A=x 'A B=x' ''; do
	run -l python -e "$bad" -c 'print(1)'
	expect_match "--env '$bad' is refused" "$status $err" "1 Error: --env *NAME=VALUE*"
done

# Standard input.
echo 'print(input())' >ask.py
echo text >input
run -f ask.py --stdin input
expect "--stdin FILE" "$(field stdout)" text
"$CAPSID" run -f ask.py --stdin - <input >out
expect "--stdin -" "$(field stdout)" text
"$CAPSID" run -f ask.py -f beside.py <input >out
expect "several files: standard input is passed on" "$(field stdout)" text

# A C program of several files.
mkdir -p "c dir/it's"
echo '#include "add.h"
int main(void) { return add(40, 2); }' >"c dir/it's/main.c"
echo 'int add(int a, int b);' >"c dir/it's/add.h"
echo '#include "add.h"
int add(int a, int b) { return a + b; }' >"c dir/it's/add.c"
run -f "c dir/it's/main.c" -f "c dir/it's/add.h" -f "c dir/it's/add.c"
expect "C: files are compiled together" "$status" 42
run -f "c dir" --entry "it's/main.c"
expect "C: a directory whose name needs quotes" "$status" 42

# What is refused, with a reason, before a VM is made.
refuse() { # WHAT PATTERN ARGUMENT...
	local what=$1 pattern=$2
	shift 2
	run "$@"
	expect_match "$what" "$status $err" "1 Error: $pattern"
	expect "$what: prints nothing" "$out" ""
}
refuse "no such file" "cannot open nothere.py*" -f nothere.py
refuse "--code and --file" "give either*" -l python -c 1 -f solo.py
refuse "neither" "give either*" -l python
refuse "an argument without --" 'unexpected argument "x"*come after --*' -l python -c 1 x
refuse "no such entry" "--entry other.py*" -f app.py -f beside.py --entry other.py
refuse "an entry outside" "--entry ../app.py*" -f app.py -f beside.py --entry ../app.py
refuse "--entry with --code" "--entry is for*" -l python -c 1 --entry main.py
refuse "two files of one name" "beside.py and project/beside.py would both be beside.py*" -f beside.py -f project/beside.py
refuse "standard input among files" "-f -, standard input*" -f app.py -f -
refuse "a directory without a main file" "there is no main.py*--entry" -l python -f lib
refuse "a directory that tells no language" "no file in the directory*--entry" -f lib
mkdir linked trap deep void
ln -s /etc/passwd linked/main.py
refuse "an absolute link" "linked/main.py is a symbolic link to /etc/passwd, which is an absolute path*" -f linked
ln -sf ../project/main.py linked/main.py
refuse "a link that leads out" "linked/main.py is a symbolic link to ../project/main.py, which is outside the directory*" -f linked
echo 'print(1)' >trap/main.py
mkfifo trap/fifo
refuse "a FIFO" "trap/fifo: neither a file nor a directory" -f trap
refuse "an empty directory" "there is no file to run" -l python -f void
echo 'print(1)' >deep/main.py
mkdir -p "deep/$(printf 'd/%.0s' $(seq 17))"
refuse "too deep" "deep/d/*more than 16 directories*" -f deep
mkdir many large
(cd many && echo 'print(1)' >main.py && seq 1000 | xargs touch)
refuse "too many" "many/*more than 1000 files*" -f many
echo 'print(1)' >large/main.py
truncate -s 16M large/1 large/2
refuse "too large together" "large/*all files together are larger than 32 MiB*" -f large
truncate -s 17M large/1
refuse "one too large" "*large/1*" -f large
expect_clean "after all"
finish
