#!/bin/bash
# timeout: 600
# Uploaded files and directory states: capsid files, capsid sync, and what a run has of them.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python

run() { capsid run -l python "$@" </dev/null; }
cd "$TMPDIR" || exit 1

# ---- files
printf 'a,b\n1,2\n' >data.csv
cp data.csv same.csv
capsid files add data.csv same.csv
uuid=${out%% *}
expect "equal content has one UUID" "$(cut -d' ' -f1 <<<"$out" | sort -u | wc -l) ${#uuid}" "1 36"
capsid files add --json - <data.csv
expect "standard input, as JSON" "$(field files | grep -c "$uuid")" 1
expect "its SHA-256" "$(field files | grep -c "$(sha256sum <data.csv | cut -d' ' -f1)")" 1
run --put "$uuid:/srv/in/x.csv" --put "$uuid:copy.csv:600" -c 'import os
for p in "/srv/in/x.csv", "/tmp/job/copy.csv": print(open(p).read().split(), oct(os.stat(p).st_mode), os.stat(p).st_uid)'
expect "one file at two places" "$status $(field stdout)" "0 ['a,b', '1,2'] 0o100644 1000
['a,b', '1,2'] 0o100600 1000"
expect "and the waiting interpreter took the program" "$(field primed)" True
run --put "$uuid:/etc/passwd" -c 'print(open("/etc/passwd").read().split())'
expect "in place of a file of the image" "$status $(field stdout)" "0 ['a,b', '1,2']"
capsid run --image tag:lang/python --put "$uuid:x.csv" --put "$uuid:/srv/y.csv:640:7:8" -- sh -c 'cat x.csv; pwd; stat -c "%a %u %g" x.csv /srv/y.csv' </dev/null
expect "in any image, where its commands start" "$status $(field stdout)" "0 a,b
1,2
/root
644 0 0
640 7 8"
run --put "$uuid:/a/../b" -c 1
expect_match "a path with .." "$status $err" "1 Error: *\"..\"*"
run --put "${uuid/[0-9a-f]/x}:/b" -c 1
expect_match "a UUID of nothing" "$status $err" "1 Error: there is no file *"
run --put "$uuid:/proc/x" -c 1
expect_match "where no file can be" "$status $err" "1 Error: cannot place files in /proc*"
run --put "$uuid:/usr" -c 1
expect_match "in the place of a directory" "$status $err" "1 Error: cannot place files in /*"

# ---- directory states
mkdir -p tree/sub tree/empty tree/.git
echo 'print("helped")' >tree/sub/helper.py
echo x >tree/drop.log
echo '*.log' >tree/.gitignore
ln -s sub/helper.py tree/link
ln -s /etc/shadow tree/absolute
chmod 750 tree/sub/helper.py
chmod 700 tree/empty
printf odd >"tree/new"$'\n'"line"$'\xff'
mkfifo tree/fifo
capsid sync tree --gitignore --exclude /fifo
state=$out
expect "its number" "$status $state" "0 1"
run --state "$state" -c 'import os, sub.helper
for d, ds, fs in sorted(os.walk(b".")):
    for n in sorted(ds + fs):
        p = os.path.join(d, n); s = os.lstat(p)
        if b"__pycache__" not in p and n != b"main.py": print(oct(s.st_mode), s.st_uid, p, os.readlink(p) if os.path.islink(p) else "")'
expect "it is there as it was, and imported" "$status $(field stdout)" "0 helped
0o100644 1000 b'./.gitignore' 
0o120777 1000 b'./absolute' b'/etc/shadow'
0o40700 1000 b'./empty' 
0o120777 1000 b'./link' b'sub/helper.py'
0o100644 1000 b'./new\\nline\\xff' 
0o40755 1000 b'./sub' 
0o100750 1000 b'./sub/helper.py' "
run --state "$state:/opt/there" -c 'import os; print(sorted(os.listdir("/opt/there"))[:2])'
expect "in another directory" "$status $(field stdout)" "0 ['.gitignore', 'absolute']"
printf 'import sub.helper\n' >main.py
run --state "$state" -f main.py -- argument
expect "where the interpreter is started anew" "$status $(field stdout) $(field primed)" "0 helped False"
run --state 99 -c 1
expect_match "a state that there is not" "$status $err" "1 Error: there is no directory state 99"
capsid files rm "$(capsid files list --json; field files | grep -o '[0-9a-f-]\{36\}' | head -n 1)"
expect_match "a file of a state stays" "$status $err" "1 Error: the directory state 1 has the file *"

# ---- much: in place at once, and not read again
mkdir many
python3 -c 'import os
for i in range(10000):
    d = f"many/{i // 100}"
    if i % 100 == 0: os.mkdir(d)
    open(f"{d}/{i}", "w").write(f"{i:05}" * 800)'
sleep 0.1 # a file that has just been made is read again, as another change may have the same time
capsid sync many --json
many=$(field id)
expect "all are read once" "$status $(field files) $(field bytes) $(field read)" "0 10000 40000000 10000"
strace -f -e trace=openat,openat2,open -o opened "$CAPSID" sync many --json >"$TMPDIR/out"
out=$(cat "$TMPDIR/out")
expect "and none the second time" "$(field id) $(field read) $(grep -c '"[0-9]*/[0-9]*"' opened)" "$many 0 0"
run --state "$many:/tmp/many" -c 'import os
print(sum(len(f) for _, _, f in os.walk("/tmp/many")), open("/tmp/many/99/9999").read() == "09999" * 800)'
expect "10,000 files are in place" "$status $(field stdout)" "0 10000 True"
printf 'with 10,000 files: %s\n' "$(field exec_time)"
mkdir large
for i in 1 2 3 4; do head -c 10000000 /dev/zero >large/$i; done
capsid sync large
large=$out
run --mem 64 --state "$large:/tmp/large" -c 1
expect_match "more than the guest has room for" "$status $err" "1 *Error: cannot place files in /tmp/large*No space left*"

# ---- bounds
CAPSID_FILES_MAX=1 capsid files add main.py
expect_match "a bound of all" "$status $err" "1 Error: files and directory states would take * files_max *"
capsid files rm "$state" "$many" "$large"
capsid files list --json
for name in $(field files | grep -o "'uuid': '[0-9a-f-]*" | cut -d"'" -f4); do echo "$name"; done >all
xargs "$CAPSID" files rm <all
capsid files list --json
expect "nothing is left" "$(field files) $(field states) $(field used) $(find "$CAPSID_HOME/files/blobs" -type f | wc -l)" "[] [] 0 0"
expect_clean "afterwards"
finish
