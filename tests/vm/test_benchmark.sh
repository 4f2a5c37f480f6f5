#!/bin/bash
# timeout: 200
# capsid benchmark: its report, its JSON, and languages that fail.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python

capsid benchmark --langs python
expect "status" "$status" 0
mapfile -t line <<<"$out"
expect "title" "${line[1]}" "  BENCHMARK: Snapshot Load Time"
expect "how many" "${line[3]}" "Testing 1 languages..."
expect_match "a line a language" "${line[5]}" "\[1/1\] python: LOAD=*ms \[OK\]"
expect_match "the report" "$out" "*Results: 1/1 PASSED, 0 FAILED*Average Load Time: *ms*Total Load Time: *s"

capsid benchmark --langs python --programs --json
expect "JSON: status" "$status" 0
expect "JSON: passed" "$(field passed) $(field failed)" "1 0"
expect_match "JSON: the longer program ran" "$(field languages)" "*'program_ms': [1-9]*"

capsid benchmark --langs python,nosuch
expect "an unknown language: status" "$status" 127
expect "an unknown language: nothing is measured first" "$out" ""
capsid benchmark
expect "neither --all nor --langs: status" "$status" 1
expect_match "neither --all nor --langs: message" "$err" "Error: say which: *"
for empty in "" ","; do
	capsid benchmark --langs "$empty"
	expect "--langs '$empty' names none: status" "$status" 1
	expect_match "--langs '$empty' names none: message" "$err" "Error: say which: *"
done

# A language whose example prints something else.
cp -r "$BUILD/share/capsid" "$TMPDIR/data"
sed -i 's/^expect = .*/expect = something else/' "$TMPDIR/data/languages/python.ini"
export CAPSID_DATA=$TMPDIR/data
capsid benchmark --langs python
expect "a wrong output: status" "$status" 1
expect_match "a wrong output: it is said" "$out" "*python: LOAD=*ms \[FAILED\] hello: its output is not what it should be*Results: 0/1 PASSED, 1 FAILED*"
finish
