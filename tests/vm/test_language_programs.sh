#!/bin/bash
# timeout: 900
# Both examples of two languages in real guests, from a snapshot: one that is interpreted and one that is compiled; in the
# long form also of one more, which is another every day. `make check-languages` runs all, and cold guests too.
# shellcheck disable=SC1091 # lib.sh sets CAPSID_HOME
. "$SRC/tests/vm/lib.sh"
turns=(awk bash erlang jq asm lisp lua perl php prolog ruby scheme sqlite tcl)
names=(sh c)
[ -z "${CHECK_ALL:-}" ] || names+=("${turns[$(($(date +%s) / 86400 % ${#turns[@]}))]}")
printf 'languages: %s\n' "${names[*]}"
for name in "${names[@]}"; do
	if [ ! -e "$SRC/rootfs/languages/$name.ini" ]; then
		printf 'FAILED: rootfs/languages/%s.ini is missing\n' "$name"
		exit 1
	fi
done
need_snapshot sh c
exec python3 "$SRC/tests/languages/run" --no-cold "${names[@]}"
