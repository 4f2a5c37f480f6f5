#!/bin/bash
# timeout: 200
# Two guests from one snapshot share nothing that must be secret or current.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python
program='import os, time, random, uuid
print(os.urandom(16).hex())
print(random.random())
print(uuid.uuid4())
print(open("/etc/machine-id").read().strip())
print(time.time())'

declare -A first
for prime in "" --no-prime; do
	for i in 1 2; do
		before=$(date +%s.%N)
		# shellcheck disable=SC2086
		capsid run -l python $prime -c "$program" </dev/null
		after=$(date +%s.%N)
		mapfile -t line < <(field stdout)
		expect "$prime run $i: all lines" "${#line[@]}" 5
		for what in 0 1 2 3; do
			if [ "${line[$what]:-}" = "${first[$what]:-}" ]; then
				fail "$prime run $i: value $what is that of an earlier run: ${line[$what]:-}"
			else
				printf 'ok: %s run %s: value %s is new\n' "$prime" $i $what
			fi
			first[$what]=${line[$what]:-}
		done
		right=$(python3 -c 'import sys; t, b, a = map(float, sys.argv[1:]); print(b - 1 <= t <= a + 1)' "${line[4]:-0}" "$before" "$after")
		expect "$prime run $i: wall clock" "$right" True
	done
done
finish
