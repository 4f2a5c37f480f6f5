#!/bin/bash
# timeout: 3000
# check-all: to build the agent image takes minutes; vm/recipes has a small one, made in the same way
# The agent image has the programs that it promises, and they work.
# shellcheck disable=SC1091,SC2154,SC2016 # lib.sh sets out, err, status and failures; the guest's shell has its own $
. "$SRC/tests/vm/lib.sh"
need_snapshot sh
need_bare
in_agent() { capsid run --image tag:agent --mem 1024 -t 600 --shell "$1" </dev/null; }

in_agent 'for c in bash ls grep sed gawk find ps file less tar xz zip unzip curl git python3 python pip node npm npx gcc make jq sqlite3 apt-get
do command -v $c >/dev/null || echo missing $c; done; [ -s /etc/ssl/certs/ca-certificates.crt ] || echo missing certificates'
expect "built when it is first wanted, with every program" "$status $(field stdout)" "0 "
in_agent 'echo "int main(void) { return 0; }" >a.c && gcc a.c && ./a.out && node -e "console.log(6 * 7)" && npm --version >/dev/null &&
python3 -m venv v && v/bin/python -c "print(43)" && echo "{\"a\": 44}" | jq .a && sqlite3 :memory: "select 45" && git init -q r && pip --version >/dev/null'
expect "compiler, Node.js, Python, jq, SQLite, git" "$(field stdout)" $'42\n43\n44\n45'
in_agent 'apt-get --print-uris update | head -n 1'
expect_match "apt knows where Debian is" "$(field stdout)" "'http*debian*trixie*"
capsid rootfs lock agent
expect_match "its lock file" "$out" "*deb git *npm npm *"
expect_clean "afterwards"
finish
