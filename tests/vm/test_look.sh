#!/bin/bash
# timeout: 300
# What files an image has and what is in them, told by a guest: also where names are no text, links go round, nodes are no files, and
# directories hold more than is asked for, and the guest lies; and what is made of them here.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot sh
need_bare

# shellcheck disable=SC2016 # the guest's shell
capsid run --image tag:lang/sh --keep --shell 'set -e
mkdir -p /data/sub/deeper /data/closed /many && cd /data
printf "one\ntwo foo.bar\nfoo" >a.txt; chown 12:34 a.txt; chmod 4750 a.txt
printf "FOO\n\303\244 foo\n\377 foo\n" >sub/b.c; printf "foo\n" >sub/deeper/c.c; chmod 0 sub/deeper/c.c; chmod 500 closed; : >closed/in
printf "a\000foo\n" >binary; ln -s loop loop; ln -s /data/a.txt absolute; ln -s ../../../../data/sub up; ln -s /data sub/around
mkfifo fifo; mknod device c 1 3; truncate -s 1M hole
: >"$(printf "new\nline")"; : >"$(printf "bad\377")"
long=$(printf "%0120d" 0); : >sub/$long; ln -s $long sub/link
ln -s / outside; chown -h 3000000:4000000 up; touch -d @-86400 binary
cd /many; i=0; while [ $i -lt 300 ]; do : >$(printf "%03d" $i); i=$((i + 1)); done
: >/run/hidden; : >/dev/hidden'
image=$(field result_image)

look() {
	capsid images "$@"
}

# listed FIELD: of all entries.
listed() {
	python3 -IS -c 'import json, sys
for e in json.load(open(sys.argv[1]))["entries"]: print(e.get(sys.argv[2]), end=" ")' "$TMPDIR/out" "$1"
}

look ls "$image" /data --json
expect "names in order" "$(listed name)" "a.txt absolute YmFk/w== binary closed device fifo hole loop new
line outside sub up "
expect "what they are" "$(listed type)" "file symlink file file directory character_device fifo file symlink file symlink directory symlink "
expect "their targets" "$(listed target)" "None /data/a.txt None None None None None None loop None / None ../../../../data/sub "
expect "rights and owners" "$(python3 -IS -c 'import json, sys
e = json.load(open(sys.argv[1]))["entries"][0]; print(e["mode"], e["uid"], e["gid"], e["size"])' "$TMPDIR/out")" "4750 12 34 19"
expect "that is all" "$(field count) $(field truncated)" "13 False"
look ls "$image" /many --limit 3 --after 098 --json
expect "a page" "$(listed name)$(field truncated)" "099 100 101 True"
look ls "$image" /many --after 296 --json
expect "the last page" "$(listed name)$(field truncated)" "297 298 299 False"
look ls "$image" data/a.txt
expect_match "a file" "$out" "-rwsr-x---    12    34           19 * data/a.txt"
look ls "$image" /data
expect_match "for a terminal" "$out" "*bad\?*new line*outside -> /*"
for place in dev run proc; do
	look ls "$image" "/$place"
	expect "what the guest has in /$place does not show" "$out$err" ""
done

look cat "$image" /data/absolute
expect "content, over links inside of the image" "$out" $'one\ntwo foo.bar\nfoo'
"$CAPSID" images cat "$image" /data/hole >"$TMPDIR/out"
expect "of zeros" "$(tr -d "\000" <"$TMPDIR/out" | wc -c) $(wc -c <"$TMPDIR/out")" "0 1048576"
while read -r path why; do
	look cat "$image" "$path"
	expect_match "no content of $path" "$status $out $err" "1  Error: $path in the image: $why"
done <<-END
	/data Is a directory
	/data/fifo not a regular file
	/data/device not a regular file
	/data/loop Too many levels of symbolic links
	/data/nothing No such file or directory
END

look grep "$image" 'fo+' /data
expect "lines" "$(sort <<<"$out")" '/data/a.txt:2:two foo.bar
/data/a.txt:3:foo
/data/sub/b.c:2:ä foo
/data/sub/b.c:3:? foo
/data/sub/deeper/c.c:1:foo'
look grep "$image" '^. FOO$' /data -i --glob '*.c' --json
expect "in some files, in base64 where it is no text" "$(python3 -IS -c 'import json, sys
for m in json.load(open(sys.argv[1]))["matches"]: print(m["path"], m["line"], m["text"])' "$TMPDIR/out")" '/data/sub/b.c 2 ä foo
/data/sub/b.c 3 /yBmb28='
look grep "$image" foo data/sub/b.c --max-count 1 --json
expect "at most so many of a file" "$(field count) $(field truncated)" "1 False"
look grep "$image" foo /data --max-total 2 --json
expect "at most so many in all" "$(field count) $(field truncated)" "2 True"
look grep "$image" 'a(' /data
expect_match "no such pattern" "$status $err" "1 Error: the pattern cannot be used: *"

"$CAPSID" images tar "$image" /data >"$TMPDIR/tar.tar"
mkdir "$TMPDIR/tar" && tar -C "$TMPDIR/tar" --exclude device -xpf "$TMPDIR/tar.tar" 2>/dev/null
long=$(printf '%0120d' 0)
expect "an archive" "$(cd "$TMPDIR/tar" && find . ! -name device -print0 | LC_ALL=C sort -z | tr '\n\0\377' '_ X')" ". ./a.txt ./absolute ./badX ./binary ./closed ./closed/in ./fifo ./hole ./loop ./new_line ./outside ./sub ./sub/$long ./sub/around ./sub/b.c ./sub/deeper ./sub/deeper/c.c ./sub/link ./up "
expect "with what is in its files" "$(cat "$TMPDIR/tar/sub/b.c") $(readlink "$TMPDIR/tar/sub/link")" "$(printf 'FOO\nä foo\n\377 foo') $long"
expect "and owners and times that have no room" "$(TZ=UTC tar --numeric-owner -tvf "$TMPDIR/tar.tar" up binary 2>/dev/null | sort |
	cut -d' ' -f2- | tr -s ' ' | sed 's/ 0 20.* up/ up/')" '0/0 6 1969-12-31 00:00 binary
3000000/4000000 up -> ../../../../data/sub'
expect "and devices" "$(tar tvf "$TMPDIR/tar.tar" device | grep -c '^crw-r--r--.* 1,3 ')" 1
"$CAPSID" images tar "$image" /data --max-size 1 2>"$TMPDIR/err" >"$TMPDIR/out"
expect_match "no more than is allowed" "$? $(cat "$TMPDIR/err")" "1 Error: the files have more bytes than are allowed"

cd "$TMPDIR" && mkdir place && umask 022
look cp "$image" /data place/copy
expect_match "no directory unless it is asked for" "$status $err" "1 Error: /data is a directory; -r *"
look cp -r "$image" /data place/copy
expect_match "what cannot be copied is counted" "$status $err" "0 *left out: 2"
expect "a directory" "$(diff -r --no-dereference -x device -x fifo tar place/copy; stat -c '%a %F' place/copy/a.txt place/copy/closed place/copy/sub/deeper/c.c)" '750 regular file
700 directory
0 regular file'
look cp -r "$image" /data place/copy
expect "into one that is there" "$status $(wc -c <place/copy/data/a.txt)" "0 19"
look cp -r "$image" /data place/copy
expect_match "not over what is there" "$status $err" "1 Error: cannot make place/copy/data: File exists"
look cp "$image" /data/absolute place/copy/sub/b.c
expect "a file over another" "$status $(cat place/copy/sub/b.c)" $'0 one\ntwo foo.bar\nfoo'
look cp "$image" /data/fifo place
expect_match "no FIFO" "$status $err" "1 Error: /data/fifo is a fifo, which cannot be copied"
expect "nothing else is left" "$(ls -A place)" copy

# What the guest's root did to its disk: the machine that reads it has the trouble.
# shellcheck disable=SC2016
capsid run --image tag:lang/sh --keep --shell 'mkdir /data && : >/data/x && sync && head -c 20000000 /dev/urandom |
dd of=$(sed -n "s| /run/initd-upper .*||p" /proc/mounts) bs=4096 seek=2 conv=notrunc'
look ls "$(field result_image)" /data
expect_match "a filesystem that is broken" "$status $err" "1 Error: *cannot make its root of the image*"

# A guest that lies: with another program in the place of ours.
own_data
rm "$TMPDIR/data/look"
lie() {
	printf '#!/bin/sh\n%s\n' "$1" >"$TMPDIR/data/look"
	CAPSID_DATA=$TMPDIR/data look ls tag:lang/sh / --timeout 3
}
lie 'echo no message at all'
expect_match "a guest that tells no message" "$status $out $err" "1  Error: what the guest tells of the image's files breaks the rules: *"
lie 'exit 0'
expect_match "nothing" "$status $out $err" "1  Error: what the guest tells of the image's files breaks the rules: it ends early"
lie 'while :; do :; done'
expect_match "nothing for ever" "$status $out $err" "1  Error: not within 3 s, and --timeout allows more: *"

look ls tag:nothing
expect_match "no such image" "$status $err" "1 *nothing*"
expect_clean "look"
exit "$failures"
