#!/bin/bash
# timeout: 400
# Commands in images, and what they change as images of their own: names that go, directories that are replaced, hard links, owners,
# extended attributes, holes and devices come back; more branches in a row than a guest can have layers; what is not kept.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot sh
need_bare

# in_image IMAGE OPTION... -- COMMAND...: leaves $out and so on; $image is the image that is kept.
in_image() {
	local parent=$1
	shift
	capsid run --image "$parent" "$@"
	image=$(field result_image 2>/dev/null)
}

# shellcheck disable=SC2016 # it is the guest's shell that knows them
in_image tag:lang/sh --env A=b -- /bin/sh -c 'echo $(id -u) $(pwd) $HOME $A; echo problem >&2; exit 7'
expect "a command runs as root, in /root" "$(field stdout)" '0 /root /root b'
expect "its standard error" "$(field stderr)" problem
expect "its status is capsid's" "$status" 7
in_image tag:lang/sh --user 1234:77 --cwd /tmp --shell 'id -u; id -g; pwd'
expect "as another user, elsewhere" "$(field stdout)" $'1234\n77\n/tmp'
in_image tag:lang/sh --no-snapshot -- /bin/echo booted
expect "without a snapshot" "$(field stdout)" booted
echo 'some input' | "$CAPSID" run --raw --image tag:lang/sh -- /bin/cat >"$TMPDIR/out"
expect "standard input" "$(cat "$TMPDIR/out")" "some input"
in_image tag:lang/sh -t 1 -- /bin/sh -c 'while :; do :; done'
expect "its end" "$(field end) $status" "timed_out 124"

in_image tag:nothing -- /bin/true
expect "no such image" "$status" 1
expect_match "says so" "$err" "*nothing*"
in_image tag:lang/sh -- nosuch
expect "no such command" "$status $err" "1 Error: cannot start nosuch: the guest refused EXEC: execve: No such file or directory"
in_image tag:lang/sh
expect_match "no command" "$status $err" "1 Error: --image needs either a command after -- or --shell LINE*"
in_image tag:lang/sh -l sh -- /bin/true
expect_match "a language is not meant then" "$status $err" "1 Error: --image is for commands*"
capsid run -l sh --keep -c true
expect_match "nor is a program kept" "$status $err" "1 Error: *--keep*"

in_image tag:lang/sh --keep -- /bin/true
expect "nothing changed" "$(field kept) $(field filesystem_changed)" "unchanged False"
same=$image
in_image tag:lang/sh --keep --shell 'echo x >/tmp/x; rm /tmp/x'
expect "what was made and is gone is no change" "$(field kept) $image" "unchanged $same"
in_image tag:lang/sh --keep --shell 'echo x >/x; exit 1'
expect "a run that fails is not kept" "$(field kept) $image" "run_failed None"
in_image tag:lang/sh --keep --max-layer 100000 --shell 'head -c 1000000 /dev/urandom >/x; echo still here'
expect "a layer that is too large" "$(field kept) $(field stdout)" 'layer_too_large still here'
capsid run --raw --image tag:lang/sh --keep --shell 'echo x >/raw; echo out'
expect_match "what is kept is told beside the output, too" "$out $err" "out Kept as the image ????????-*"
capsid run --raw --image tag:lang/sh --keep -- /bin/false
expect_match "and that nothing is" "$status $err" "1 Nothing was kept, as the command failed*"
in_image tag:lang/sh --keep=always --shell 'echo x >/x; exit 1'
expect "unless it always is" "$(field kept) $(field filesystem_changed)" "kept True"

in_image tag:lang/sh --keep --shell '
mkdir -p /data/tree/sub /data/gone /data/replaced && echo 1 >/data/tree/sub/f && echo 1 >/data/gone/f && echo 1 >/data/replaced/old
echo one >/data/first && ln /data/first /data/second
chown 12:34 /data/tree && chmod 2750 /data/tree
truncate -s 1G /data/sparse && echo end >>/data/sparse
mknod /data/null c 1 3; mkfifo /data/fifo; ln -s nowhere /data/link'
expect "all kinds of files" "$(field kept) $(field stderr)" "kept "
first=$image
in_image "$first" --keep --shell '
rm -r /data/gone && rm -r /data/replaced && mkdir /data/replaced && echo 2 >/data/replaced/new
mv /data/tree /data/moved'
second=$image
# shellcheck disable=SC2016 # the guest's shell expands them
look='cd /data && ls -A . replaced && cat moved/sub/f replaced/new && stat -c "%a %u %g %F" moved null fifo link && stat -c "%h %s" first second
stat -c %s sparse && [ $(stat -c %b sparse) -lt 1000 ] && tail -c 4 sparse && cat first'
in_image "$second" --shell "$look"
expect "they come back" "$(field stderr)$(field stdout)" '.:
fifo
first
link
moved
null
replaced
second
sparse

replaced:
new
1
2
2750 12 34 directory
644 0 0 character special file
644 0 0 fifo
777 0 0 symbolic link
2 4
2 4
1073741828
end
one'
in_image "$first" --shell 'ls /data; cat /data/first'
expect "the parent is as it was" "$(field stdout)" $'fifo\nfirst\ngone\nlink\nnull\nreplaced\nsecond\nsparse\ntree\none'

# As many as a guest can stack, and more: layers are taken into one.
image=$second
for i in 1 2 3 4 5; do
	in_image "$image" --keep --shell "echo $i >/data/b$i; echo $i >/data/last; rm -f /data/b$((i - 2))"
	[ "$(field kept)" = kept ] || fail "branch $i: $(field kept_note)"
done
branch=$image
in_image "$branch" --shell 'cd /data && cat last && ls && cat replaced/new moved/sub/f && stat -c "%h %s" first && ls -A replaced'
expect "a row of branches" "$(field stderr)$(field stdout)" '5
b4
b5
fifo
first
last
link
moved
null
replaced
second
sparse
2
1
2 4
new'
expect_match "has no more layers than there are places" "$(grep -c '"kind": "ext4"' "$CAPSID_HOME/images/ids/$branch.json")" '[1-4]'

# What stands on what, and what goes.
capsid images lineage "$branch" --json
expect_match "its lineage, to the image of the language" "$(field count) $(field images)" "8 *'uuid': '$branch'*'uuid': '$second'*'uuid': '$first'*'names': ?'sh'?*"
capsid images show "$second"
expect_match "where a branch comes from" "$out" "*Parent *$first*Origin *branch by ?*Branches *1*"
capsid images rm "$first"
expect_match "others stand on it" "$status $err" "1 Error: the image $first stays, as others stand on it: $second; remove these first*"
capsid images tag "$second" work
capsid images gc
expect_match "what nothing needs goes" "$status $out" "0 *Removed $branch *Freed: *"
expect "and its files" "$(find "$CAPSID_HOME/images" -name '*.ext4' | wc -l) $(find "$CAPSID_HOME/images/ids" -type f | wc -l)" "2 3"
in_image tag:work --shell 'cat /data/first'
expect "the rest is whole" "$(field stdout)" one
top=$("$CAPSID" images show tag:work | sed -n '$s/^ *//p')
chmod 600 "$top" && printf x | dd of="$top" bs=1 seek=5000 conv=notrunc status=none
in_image tag:work -- /bin/true
expect_match "a layer that was altered is not used" "$status $err" "1 Error: *file $top of the image $second is corrupt*"
capsid doctor
expect_match "and doctor finds it" "$out" "*fail *images *$top of the image $second is corrupt*"
rm -f "$top"
in_image tag:work -- /bin/true
expect_match "one that is lost is named" "$status $err" "1 Error: the image $second was removed meanwhile, or has lost its file $top"
# An image whose bytes are as they were made, and no filesystem.
head -c 1048576 /dev/urandom >"$TMPDIR/junk"
digest=$(sha256sum <"$TMPDIR/junk" | cut -d ' ' -f 1)
mv "$TMPDIR/junk" "$CAPSID_HOME/images/$digest.erofs"
sed "s/\"digest\": *\"[0-9a-f]*\"/\"digest\": \"$digest\"/; s/\"name\": *\"sh\"/\"name\": \"junk\"/" "$CAPSID_HOME/images/names/sh.json" >"$CAPSID_HOME/images/names/junk.json"
in_image tag:lang/junk -- /bin/true
expect_match "an image that is no filesystem" "$status $err" \
	"1 Error: the VM could not be restored: the guest cannot make its root of the image tag:lang/junk: *: layer vdc: Invalid argument"
expect_clean "branches"
exit "$failures"
