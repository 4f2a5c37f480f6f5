#!/bin/bash
# Completion for bash offers what capsid has: verbs, a verb's options, languages. No guest.
# shellcheck disable=SC1091,SC2154 # lib.sh sets failures
. "$SRC/tests/vm/lib.sh"
. "$SRC/host/completion/capsid.bash"

complete_words() { # what would be offered for the last word
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	_capsid "$CAPSID"
	printf '%s' "${COMPREPLY[*]}"
}
cd "$TMPDIR" && mkdir directory && touch file.py

expect_match "verbs" "$(complete_words capsid '')" "run host snapshot *--help --version"
expect "a verb" "$(complete_words capsid lang)" languages
expect "options of a verb" "$(complete_words capsid run --no | tr ' ' '\n' | sort | xargs)" "--no-prime --no-snapshot"
expect "options are the verb's own" "$(complete_words capsid snapshot --dry)" --dry-run
expect "a language" "$(complete_words capsid run --lang juli)" julia
expect "a language, short option" "$(complete_words capsid run -l kotl)" "kotlin kotlin2"
expect "files" "$(complete_words capsid run --file f)" file.py
expect "no guess where only the user knows" "$(complete_words capsid run --timeout '')" ""
options=$("$CAPSID" run --help | grep -oE '^  (-[a-zA-Z], |    )--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort)
expect "all options, whatever they take" "$(complete_words capsid run -- | tr ' ' '\n' | sort | xargs)" "$(echo "$options" | xargs)"
for verb in $(_capsid_verbs "$CAPSID"); do
	[ -n "$(_capsid_options "$CAPSID" "$verb")" ] || fail "$verb: no option is offered"
done
finish
