# Completion of capsid for bash. What there is comes from capsid itself: the verbs and options of its --help, and its languages.
# shellcheck shell=bash

# The verbs, one a line; or "OPTION ARGUMENT" of each option of a verb.
_capsid_verbs() { "$1" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'; }
_capsid_options() {
    "$1" "$2" --help 2>/dev/null | sed -n 's/^  \(-\([a-zA-Z]\), \|    \)--\([a-z-]*\)\(\[=[A-Z]*\]\)\{0,1\} \([A-Z][^ ]*\)\{0,1\} .*/\2 --\3 \5/p' |
        while IFS=' ' read -r letter option argument; do
            case $letter in
            --*) argument=$option option=$letter ;;
            *) printf -- '-%s %s\n' "$letter" "$argument" ;;
            esac
            printf '%s %s\n' "$option" "$argument"
        done
}

_capsid() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]} options argument
    COMPREPLY=()
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_capsid_verbs "$1") --help --version" -- "$word")
        return
    fi
    options=$(_capsid_options "$1" "$verb")
    argument=$(printf '%s\n' "$options" | sed -n "s/^$before //p" | head -n 1)
    case $before:$argument in
    -l:NAME | --lang:NAME) mapfile -t COMPREPLY < <(compgen -W "$("$1" languages 2>/dev/null | sed -n '2,$s/ .*//p')" -- "$word") ;;
    *:PATH | *:FILE | *:DIR) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    *:?*) ;; # a value that only the user knows
    *)
        case $word in
        -*) mapfile -t COMPREPLY < <(compgen -W "$(printf '%s\n' "$options" | sed 's/ .*//')" -- "$word") ;;
        *) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
        esac
        ;;
    esac
}
complete -o filenames -F _capsid capsid
