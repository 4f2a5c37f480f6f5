# page.awk: makes a page of the manual out of its text and of what the program says of itself, so that no list is written twice.
#
#   awk -v tables=DIR -f page.awk HELP PAGE.in
#
# HELP is what "capsid VERB --help" prints (or, for capsid(1), "capsid --help" and a verb's). In the text these lines stand for:
#
#   @SUMMARY@        the verb in a few words
#   @USAGE@          what follows "capsid VERB"
#   @VERBS@          the verbs
#   @OPTIONS@        the verb's options, up to a line @END@; between them, what is said of an option beyond its one line of help:
#                    a line "@--lang", and text
#   @COMMON@         in the same way the options of all verbs
#   @TABLE NAME@     in the same way the rows of DIR/NAME: "term TAB text", or "term TAB text TAB default"
#
# Text for an option that there is not, or for a term, is an error: so what goes away in the program goes away here.

BEGIN { FS = "\t"; blanks = -1 }

FILENAME == ARGV[1] { help($0); next }

/^@END@$/ { splice(); list = ""; next }
list != "" && /^@/ { key = substr($0, 2); more[key] = ""; next }
list != "" { if (key == "") wrong("text before the first \"@OPTION\""); more[key] = more[key] $0 "\n"; next }
/^@SUMMARY@$/ { print ".Nd " safe(summary); next }
/^@USAGE@$/ { print safe(usage); next }
/^@VERBS@$/ { verbs(); next }
/^@OPTIONS@$/ { begin("options"); next }
/^@COMMON@$/ { begin("common"); next }
/^@TABLE [a-z]+@$/ { begin(substr($0, 8, length($0) - 8)); read_table(); next }
/^@/ { wrong("what is " $0 "?") }
{ print }

END { if (list != "" && !failed) wrong("there is no @END@ after the list " list) }

function wrong(what) {
    printf "%s:%d: %s\n", FILENAME, FNR, what >"/dev/stderr"
    failed = 1
    exit 1
}

# ---- what the program prints

# Groups of lines after "Usage:": first the verb's options, then those of all; of "capsid --help" the verbs.
function help(line) {
    if (line ~ /^capsid [a-z -]+: /)
        summary = substr(line, index(line, ": ") + 2)
    else if (line ~ /^Usage: capsid /) {
        usage = line
        sub(/^Usage: capsid /, "", usage)
        sub(/^[^[]*/, "", usage)
        blanks = 0
    } else if (line == "" && blanks >= 0)
        blanks++
    else if (line ~ /^  [a-z]/ && blanks == 1)
        row("verbs", line)
    else if (line ~ /^ +-/ && (blanks == 1 || blanks == 2))
        row(blanks == 1 ? "options" : "common", line)
}

# "  LEFT  TEXT" becomes a row of a table: its key, and what it says.
function row(table, line,    left, name) {
    sub(/^ +/, "", line)
    if (!match(line, /  +/))
        wrong("no two blanks after the option in: " line)
    left = substr(line, 1, RSTART - 1)
    line = substr(line, RSTART + RLENGTH)
    if (table == "verbs")
        add(table, left, left, line)
    else {
        name = left
        sub(/^-[a-zA-Z], /, "", name)
        sub(/[ \[].*/, "", name)
        add(table, name, option(left), line)
    }
}

function add(table, key, head, text) {
    count[table]++
    keys[table, count[table]] = key
    heads[table, count[table]] = head
    texts[table, count[table]] = text
}

# "-l, --lang NAME" in mdoc(7).
function option(left,    words, n, i, ret) {
    n = split(left, words, / /)
    for (i = 1; i <= n; i++) {
        if (match(words[i], /\[=.*\]$/)) # a value that may be left out
            ret = ret "Fl " substr(words[i], 2, RSTART - 2) " Ns Op Li = Ns Ar " safe(substr(words[i], RSTART + 2, RLENGTH - 3)) " "
        else if (words[i] ~ /^--/)
            ret = ret "Fl " substr(words[i], 2) " "
        else if (words[i] ~ /^-/)
            ret = ret "Fl " substr(words[i], 2, 1) " , "
        else
            ret = ret "Ar " safe(words[i]) " "
    }
    sub(/ $/, "", ret)
    return ret
}

function read_table(    line, fields, n) {
    while ((getline line <(tables "/" list)) > 0) {
        n = split(line, fields, "\t")
        add(list, fields[1], "Va " safe(fields[1]) (n > 2 && fields[3] != "" ? " Pq Li " safe(fields[3]) : ""), fields[2])
    }
    if (!count[list])
        wrong("there is nothing in " tables "/" list)
}

# ---- what the page gets

function begin(name) {
    list = name
    key = ""
    split("", more)
}

function splice(    i, k) {
    print ".Bl -tag -width Ds"
    for (i = 1; i <= count[list]; i++) {
        k = keys[list, i]
        printf ".It %s\n%s.\n%s", heads[list, i], safe(texts[list, i]), more[k]
        delete more[k]
    }
    for (k in more)
        wrong("text for " k ", which is not in the list " list)
    print ".El"
}

function verbs(    i) {
    print ".Bl -tag -width benchmark"
    for (i = 1; i <= count["verbs"]; i++)
        printf ".It Xr capsid-%s 1\n%s.\n", keys["verbs", i], safe(texts["verbs", i])
    print ".El"
}

# Text as mdoc(7) takes it: a backslash is a backslash, two dashes are two dashes.
function safe(text) {
    gsub(/\\/, "\\e", text)
    gsub(/--/, "\\-\\-", text)
    if (text ~ /^[.']/)
        text = "\\\\\\&" text
    return text
}
