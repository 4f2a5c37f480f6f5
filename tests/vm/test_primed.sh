#!/bin/bash
# timeout: 1800
# A waiting interpreter does exactly what a new one does: python, sh, and one more language that is another every day. With
# PRIMED_LANGUAGES=all (or names) all of them (or these).
turns=(bash lua nodejs perl php r ruby tcl)
today=${turns[$(($(date +%s) / 86400 % ${#turns[@]}))]}

read -ra names <<<"${PRIMED_LANGUAGES:-python sh $today}"
printf 'languages: %s\n' "${names[*]}"
export CAPSID_HOME=$TMPDIR/home
exec python3 "$SRC/tests/vm/primed.py" "${names[@]}"
