#!/bin/bash
# timeout: 600
# ConTree's public clients, unmodified, against capsid api: contree-client, contree-cli, contree-mcp. contree.py has the checks.
# They are brought from PyPI once, into a venv that stays from one run of the tests to the next.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"

clients=(contree-client==0.4.4 contree-mcp==0.5.0 contree-cli==0.9.4 contree-sdk==0.3.6 'mcp==1.30.0')
venv=$BUILD/test/venv-contree
if [ "$(cat "$venv/clients" 2>/dev/null)" != "${clients[*]}" ]; then
	rm -rf "$venv"
	if ! { python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check "${clients[@]}"; } >"$TMPDIR/pip.log" 2>&1; then
		printf 'SKIP: the clients cannot be had from PyPI: %s\n' "$(tail -n 1 "$TMPDIR/pip.log")"
		rm -rf "$venv"
		exit 77
	fi
	printf '%s\n' "${clients[*]}" >"$venv/clients"
fi
need_snapshot sh
need_bare
"$venv/bin/python" "$SRC/tests/vm/contree.py" || fail "ConTree's clients (above)"
[ "$failures" = 0 ] || tail -n 20 "$TMPDIR/api.log" "$TMPDIR/mcp.log"
expect_clean "after the clients"
finish
