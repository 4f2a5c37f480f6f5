#!/bin/bash
# timeout: 1800
# A waiting interpreter does exactly what a new one does: python and sh; in the long form also one more language, which is
# another every day. With PRIMED_LANGUAGES=all (or names) all of them (or these).
# shellcheck disable=SC1091 # lib.sh sets CAPSID_HOME and failures
. "$SRC/tests/vm/lib.sh"
turns=(bash lua nodejs perl php r ruby tcl)
today=
[ -z "${CHECK_ALL:-}" ] || today=${turns[$(($(date +%s) / 86400 % ${#turns[@]}))]}

read -ra names <<<"${PRIMED_LANGUAGES:-sh $today}"
if [ -z "${PRIMED_LANGUAGES:-}" ]; then
	printf 'languages: python %s\n' "${names[*]}"
	need_snapshot python sh
	python3 "$SRC/tests/vm/primed.py" --keep python || fail "python"
fi

python3 "$SRC/tests/vm/primed.py" "${names[@]}" || fail "${names[*]}"
finish
