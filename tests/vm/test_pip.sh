#!/bin/bash
# timeout: 900
# Python packages: images of wheels, which are hostile input; packages that a run names; imports before the snapshot.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
index=$TMPDIR/index
python3 "$SRC/tests/vm/wheels.py" "$index"

# What a wheel may not hold. A wheel of a lock file that is in the cache is unpacked without asking pip, which takes a second.
mkdir "$TMPDIR/wheels"
refused() { # NAME PATTERN
	expect "$1: status" "$status" 1
	expect_match "$1: message" "$(tail -n 1 "$TMPDIR/out")" "Error: Python package $1==1.0: $2*"
}
pip_tree() { # ARGUMENTS...
	"$SRC/rootfs/pip-tree" --python 3.13.5 --glibc 2.41 --cache "$TMPDIR/wheels" --epoch 1700000000 --output "$TMPDIR/pip.tar" \
		--record "$TMPDIR/pip.record" --index "file://$index" "$@" >"$TMPDIR/out" 2>&1
	status=$?
}
while read -r name pattern; do
	read -r sha _ < <(sha256sum "$index/$name"/*.whl)
	cp "$index/$name"/*.whl "$TMPDIR/wheels/$sha.whl"
	echo "pip $name 1.0 $sha" >"$TMPDIR/lock"
	pip_tree --lock "$TMPDIR/lock" "$name==1.0"
	refused "$name" "$pattern"
done <<END
upwards the wheel holds an unsafe path
absolute the wheel holds an unsafe path
backslash the wheel holds an unsafe path
control the wheel holds an unsafe path
symlink the wheel holds a link or a device
device the wheel holds a link or a device
twice the wheel holds a file twice
two-infos the wheel has no dist-info directory
place the wheel holds data for an unknown place
data-upwards the wheel holds an unsafe path
command the wheel's command
command-code the wheel's command
damaged the wheel is damaged
bomb with it the packages are larger
END
# What is asked of pip.
pip_tree elsewhere
refused elsewhere "it requires capsid-good from elsewhere"
pip_tree wrong-hash==1.0
expect_match "wrong hash" "$status $(tail -n 1 "$TMPDIR/out")" "1 Error: Python package wrong-hash*: the wheel does not have the SHA-256*"
pip_tree needs-absent
expect_match "a requirement that is not there" "$status $(tail -n 1 "$TMPDIR/out")" "1 Error: Python package capsid-absent: *has no such wheel*"

# Languages of this test, whose images are made faster, as nothing of Python itself is compiled: without packages, and with numpy.
own_data
export CAPSID_DATA=$TMPDIR/data
python3 -IS - "$data/languages/python-data.ini" "$CAPSID_DATA/languages" <<'END'
import re, sys
text = open(sys.argv[1]).read()
def replaced(text, **values):
    for key, value in values.items():
        text, n = re.subn(rf"(?m)^{key} = .*\n(?:  .*\n)*", value and f"{key} = {value}\n", text)
        assert n == 1, key
    return text
text = replaced(text, aliases="", memory="256").replace(" && python3 -S -m compileall -q -j1 --invalidation-mode unchecked-hash /usr/lib/python3.13\n", "")
assert "compileall" not in text
hello = 'print("hello", 6 * 7)'
drop = "/usr/lib/*/gconv, /usr/lib/python3*/test, /usr/bin/dpkg*, /usr/local/lib/python3*/dist-packages/*/tests"
numpy = re.search(r"numpy==[0-9.]+", text)[0]
print(numpy)
small = replaced(text, name="small", title="Small", pip="", code=hello, drop=drop, prime="no", **{"import": ""})
tiny = replaced(text, name="tiny", title="Tiny", pip=numpy, code=hello, drop=drop, **{"import": "numpy, random"})
open(sys.argv[2] + "/small.ini", "w").write(small.replace("MPL", "OTHER_"))
open(sys.argv[2] + "/tiny.ini", "w").write(tiny.replace("MPL", "OTHER_"))
END
[ -s "$CAPSID_DATA/languages/tiny.ini" ] || fail "no definitions were made"

# A run names packages; they are built once, whatever their order and spelling.
program='import capsid_good, os, subprocess, sys
print(capsid_good.VALUE, open("/usr/local/share/capsid/x").read(), os.path.exists("/opt/ran"), os.path.exists(capsid_good.__cached__))
sys.stdout.flush()
subprocess.run("capsid-good; capsid-tool", shell=True)'
CAPSID_PIP_INDEX=file://$index capsid run --raw --no-snapshot -l small --packages 'capsid-extra==1.0, Capsid.GOOD' -c "$program" </dev/null
expect "a run with packages" "$status $out" "0 42 data False True
42
tool"
[ ! -e /opt/ran ] || fail "code of a package ran on this machine"
CAPSID_PIP_INDEX=file:///nowhere capsid run --raw --no-snapshot -l small --packages 'capsid_good,capsid-extra==1.0' -c 'import capsid_needed' </dev/null
expect "the same packages again: nothing is built" "$status $(grep -c Building <<<"$err")" "0 0"
capsid rootfs show small+capsid-extra_1.0+capsid-good --json
digest=$(field digest)
capsid rootfs lock small+capsid-extra_1.0+capsid-good --output "$TMPDIR/lock"
expect "lock" "$(grep -c '^pip capsid-\(good\|needed\|extra\) 1.0 [0-9a-f]*$' "$TMPDIR/lock")" 3
CAPSID_PIP_INDEX=file:///nowhere capsid rootfs create --lang small+capsid-good+capsid-extra_1.0 --lock "$TMPDIR/lock" </dev/null
capsid rootfs show small+capsid-extra_1.0+capsid-good --json
expect "built again from the lock, without the index: the same bytes" "$status $(field digest)" "0 $digest"
capsid rootfs sbom small+capsid-extra_1.0+capsid-good
expect_match "sbom" "$out" "*pkg:pypi/capsid-needed@1.0*"
for bad in 'a b' 'numpy>=2' '' ',' '-r' 'a==1,a==2' '../x' "$(printf 'p%s,' {1..33})"; do
	capsid run -l small --packages "$bad" -c 1 </dev/null
	expect "packages \"${bad:0:12}\": refused" "$status $(grep -c '^Error: packages: ' <<<"$err")" "1 1"
done

# Servers have what is there; they make more only when they are told to.
serve() {
	CAPSID_PIP_INDEX=file://$index "$CAPSID" api --no-tcp --socket "$TMPDIR/api" >"$TMPDIR/server" 2>&1 &
	server=$!
	until grep -q '^ready' "$TMPDIR/server"; do kill -0 "$server" || break; sleep 0.05; done
}
asked() { capsid run --raw "${@:2}" --api "unix:$TMPDIR/api" -l small --packages "$1" -c 'import capsid_extra; print(1)' </dev/null; }
serve
asked capsid-good,capsid-extra==1.0
expect "server: packages that are there, of which a snapshot is made" "$status $out" "0 1"
asked capsid-extra --no-snapshot
expect_match "server: others" "$status $err" "127 *there is no image of small+capsid-extra,*make_packages*"
kill "$server"
wait "$server"
CAPSID_MAKE_PACKAGES=yes serve
asked capsid-extra --no-snapshot
expect "a server that makes them" "$status $out" "0 1"
kill "$server"
wait "$server"

# Imports before the snapshot: they are there, what was seeded by them is seeded anew, and one that fails is told.
program='import random, sys
loaded = "numpy" in sys.modules, "CAPSID_IMPORT" in __import__("os").environ
import numpy
print(*loaded, random.random(), random.getstate()[1][0], numpy.random.rand(), numpy.random.get_state()[1][0])'
for number in 1 2; do
	capsid run -l tiny -c "$program" </dev/null
	expect "tiny, run $number: primed" "$status $(field primed) $(field stderr)" "0 True "
	read -r loaded variable "first$number" "second$number" "third$number" "fourth$number" < <(field stdout)
	expect "tiny, run $number: loaded" "$loaded $variable" "True False"
done
# shellcheck disable=SC2154 # read sets them
for numbers in "$first1 $first2" "$second1 $second2" "$third1 $third2" "$fourth1 $fourth2"; do
	[ "${numbers% *}" != "${numbers#* }" ] || fail "two clones have the same random numbers: $numbers"
done
capsid run --no-prime --raw -l tiny -c 'import sys; print("numpy" in sys.modules)' </dev/null
expect "a new interpreter loads nothing" "$status $out" "0 False"
sed -i 's/^import = .*/import = random, no_such.module/' "$CAPSID_DATA/languages/tiny.ini"
capsid run -l tiny -c 1 </dev/null
expect_match "an import that is not there" "$status $err" \
	"1 *Error: the snapshot of tiny could not be made: *import = random, no_such.module: *no_such.module: ModuleNotFoundError: No module named 'no_such'*"
expect_clean "afterwards"
finish
