#!/bin/bash
# timeout: 900
# Both examples of three languages in real guests, from a snapshot: one that is interpreted, one that is compiled, and one
# more that is another every day. `make check-languages` runs all, and cold guests too.
# shellcheck disable=SC1091 # lib.sh sets CAPSID_HOME
. "$SRC/tests/vm/lib.sh"
turns=(awk bash erlang jq asm lisp lua perl php prolog ruby scheme sqlite tcl)
today=${turns[$(($(date +%s) / 86400 % ${#turns[@]}))]}

names=(sh c "$today")
printf 'languages: %s\n' "${names[*]}"
for name in "${names[@]}"; do
	if [ ! -e "$SRC/rootfs/languages/$name.ini" ]; then
		printf 'FAILED: rootfs/languages/%s.ini is missing\n' "$name"
		exit 1
	fi
done
need_snapshot sh c
exec python3 "$SRC/tests/languages/run" --no-cold "${names[@]}"
