#!/bin/bash
# timeout: 600
# capsid languages, and the hello programs of two.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python sh c

# get EXPRESSION: of the JSON object j in $out.
get() { python3 -c 'import json, sys; j = json.load(open(sys.argv[1])); print(eval(sys.argv[2]), end="")' "$TMPDIR/out" "$1"; }

capsid languages
expect "table: status" "$status" 0
expect_match "table: head" "$out" "NAME *EXTENSION *MEMORY *INSTALLED*"
expect_match "table: python" "$out" "*python *.py *256 MiB *yes *bookworm *py, python3*"

capsid languages --json
expect "JSON: python" "$(get '[(l["name"], l["aliases"], l["extension"], l["source"], l["memory_mib"], l["installed"], l["compiled"]) for l in j["languages"] if l["name"] == "python"]')" \
	"[('python', ['py', 'python3'], 'py', 'main.py', 256, True, False)]"
expect "JSON: sorted, one for each definition" "$(get '[l["name"] for l in j["languages"]]')" \
	"$(python3 -c 'import glob, os, sys; print(sorted(os.path.basename(f)[:-4] for f in glob.glob(sys.argv[1] + "/*.ini")), end="")' "$SRC/rootfs/languages")"

capsid languages py --json
expect "one, by its alias" "$(get 'j["name"], j["suite"], j["packages"][0], j["oci"]')" "('python', 'bookworm', 'python3', None)"
capsid languages c
expect_match "one, for people" "$out" "name *c*build *gcc *{output}*installed *"
capsid languages nope
expect_match "unknown: as elsewhere" "$status $err" "127 Error: unknown language: nope*Available: *python*"
capsid languages a b
expect_match "two" "$status $err" '1 Error: unexpected argument "b"*'

# Installed means: the image of this very definition.
own_data
sed 's/^packages = /packages = sed, /' "$data/languages/python.ini" >"$TMPDIR/data/languages/python.ini"
CAPSID_DATA=$TMPDIR/data capsid languages --json
expect "another definition: not installed" "$(get 'j["languages"][0]["installed"]')" False
printf '[language]\nname = toy\nextension = py\nsource = main.toy\nrun = x {source}\n[image]\noci = registry.example/toy:1\n' >"$TMPDIR/data/languages/toy.ini"
CAPSID_DATA=$TMPDIR/data capsid languages toy
expect_match "a container image is named" "$out" "*from *oci registry.example/toy:1*installed *no"
echo 'colour = red' >>"$TMPDIR/data/languages/toy.ini"
CAPSID_DATA=$TMPDIR/data capsid languages
expect_match "a broken definition is named" "$status $err" "1 Error: $TMPDIR/data/languages/toy.ini: unknown key in *image*: colour"
CAPSID_DATA=$TMPDIR/data capsid languages toy
expect_match "also when shown" "$status $err" "1 Error: $TMPDIR/data/languages/toy.ini: unknown key*"

# The hello programs of the small ones.
for l in sh c; do
	code=$(python3 -c 'import re, sys; t = open(sys.argv[1]).read(); print(re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), re.search("^code = (.*)$", t, re.M)[1]))' "$data/languages/$l.ini")
	capsid run -l $l -c "$code" </dev/null
	expect "$l: hello" "$(field stdout)" "$(sed -n 's/^expect = //p' "$data/languages/$l.ini")"
done
expect_clean "after all"
finish
