#!/bin/bash
# capsid images: what is called how, what stands on what, what goes. No guest is started: the images are bytes.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_jsonschema

rm -rf "$CAPSID_HOME"
mkdir -p "$CAPSID_HOME/images/names"
cd "$CAPSID_HOME" || exit 1

# make_image NAME BYTES [MORE]
make_image() {
	printf '%s' "$2" >image
	digest=$(sha256sum <image | cut -d ' ' -f 1)
	mv image "images/$digest.erofs"
	printf '{"digest": "%s", "inputs": "%s", "size": %s, "created": %s%s}' "$digest" "$digest" ${#2} "$(date +%s)" "${3-}" >"images/names/$1.json"
}

# uuid_of IMAGE
uuid_of() {
	capsid images show "$1" --json
	field uuid
}

make_image python "python, built" ', "oci": {"image": "docker://docker.io/library/python:3", "env": ["A=1"], "workdir": "/app", "user": "1000"}'
make_image sh "sh, built"
python=$(uuid_of tag:lang/python) sh=$(uuid_of tag:lang/sh)

# ---- tags -------------------------------------------------------------------------------------------------

capsid images tag tag:lang/python base/python:3.13
expect "a tag" "$status $out" "0 The image $python has the tag base/python:3.13"
capsid images tag "${python^^}" work
expect "another one, by a UUID in capitals" "$status $(uuid_of tag:work)" "0 $python"
capsid images tag "$sh" work
expect "which moves" "$status $(uuid_of tag:work)" "0 $sh"
capsid images tag "$sh" 'a/../b'
expect_match "what is no tag" "$status $err" '1 Error: "a/../b" is no tag: *'
capsid images tag "$sh" lang/ruby
expect_match "languages' names are no tags" "$status $err" "1 Error: lang/ruby is the image of a language*"
capsid images show tag:nothing
expect_match "none" "$status $err" "1 Error: no image has the tag nothing; see: capsid images list*"
capsid images show python
expect_match "a name alone" "$status $err" '1 Error: "python" is no image: give its UUID, tag:NAME, or tag:lang/NAME*'
capsid images show tag:lang/ruby
expect_match "a language without an image" "$status $err" "1 Error: no image is called ruby; make it with: capsid rootfs create --name ruby*"

# ---- lists ------------------------------------------------------------------------------------------------

capsid images list
expect_match "list" "$out" "UUID *CREATED *CALLED*$sh *built *lang/sh work*"
expect_match "list" "$out" "*$python *imported *lang/python base/python:3.13*"
capsid images show "$python"
expect_match "show" "$out" "*Origin *imported from docker://docker.io/library/python:3*Workdir *app*User *1000*Env *A=1*"
capsid images list --prefix base/ --json
expect_match "by the beginning of a tag" "$status $(field count) $(field images)" "0 1 *'uuid': '$python'*"
capsid images list --prefix ase/ --json
expect "which is its beginning" "$(field count)" 0
capsid images list --tagged --since 1h --json
expect "tagged, and new" "$(field count)" 2
capsid images list --until 2020-01-01 --json
expect "old" "$(field count)" 0
capsid images list --since yesterday
expect_match "no time" "$status $err" '1 Error: --since is "yesterday", but must be a time: *'
capsid images du
expect_match "du" "$out" "*all together, each file once *"
capsid images lineage "$sh" --json
expect_match "an image that stands on none" "$(field count) $(field images)" "1 *'parent': None*"

# ---- what goes, what stays --------------------------------------------------------------------------------

capsid images rm "$sh"
expect_match "a language's image stays" "$status $err" "1 Error: the image $sh is that of sh; remove it with: capsid rootfs rm*"
make_image sh "sh, built anew"
make_image python "python, built anew"
capsid images gc --dry-run
expect_match "what has tags stays" "$status $out" "0 Would be freed: 0 B, images: 0, files: 0"
capsid images show tag:work
expect_match "also when its name is another's" "$status $out" "0 UUID *$sh*Called *work*"
capsid images untag base/python:3.13
expect "untag" "$status" 0
capsid images untag base/python:3.13
expect_match "once" "$status $err" "1 Error: no image has the tag base/python:3.13*"
capsid doctor --repair
expect_match "doctor counts them" "$(grep " records " <<<"$out" | tr -s ' ')" "ok records images: 4, names: 2, tags: 1; 1 without a name, * written anew from what is there"
capsid images gc --dry-run --json
expect_match "gc says what it would do" "$(field removed) $(field dry_run) $(field files)" "*'uuid': '$python'* True 1"
capsid images gc
expect_match "and does it" "$out" "Removed $python *Freed: *, images: 1, files: 1"
capsid images rm tag:work
expect_match "an image goes with its tags" "$status $out" "0 Removed the image $sh, *"
capsid images list --json
expect "two are left" "$(field count)" 2
expect "and their files" "$(find images -name '*.erofs' | wc -l) $(find images/tags -type f | wc -l)" "2 0"
printf 'half of a layer' >"images/$digest.ext4"
rm "images/names/python.json"
capsid images gc
expect_match "files that no image has" "$out" "Freed: *, images: 0, files: 2"
capsid doctor
expect_match "the catalog is made anew where it missed something" "$(grep " records " <<<"$out" | tr -s ' ')" "*images: 1, names: 1*"
capsid doctor --repair
capsid doctor
expect "for good" "$(grep " records " <<<"$out" | tr -s ' ')" "ok records images: 1, names: 1"

printf x >"images/ids/$python.json"
capsid images list
expect_match "a damaged manifest is told" "$status $err" "1 Error: $CAPSID_HOME/images/ids/$python.json is not the manifest of that image; remove that file*"
rm "images/ids/$python.json"

# ---- over HTTP --------------------------------------------------------------------------------------------

make_image python "python, built" ', "oci": {"image": "docker://docker.io/library/python:3", "env": ["A=1"], "workdir": "/app", "user": "1000"}'
python=$(uuid_of tag:lang/python) sh=$(uuid_of tag:lang/sh)
python3 "$SRC/tests/vm/images.py" "$python" "$sh" || fail "images over HTTP (above)"
[ "$failures" = 0 ] || tail -n 20 "$TMPDIR/api.log"

finish
