#!/bin/bash
# A state directory of the version before there were records (commit 94d870c) is used as it is: nothing in it changes, images
# are listed, and the catalog is made from what is there. Then what doctor --repair does.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"

# What that version wrote, but for the bytes of images and of memory, which are nobody's to look into here.
rm -rf "$CAPSID_HOME"
mkdir -p "$CAPSID_HOME"/{images/names,snapshots,cache,locks,log,run}
cd "$CAPSID_HOME" || exit 1

# old_image BYTES
old_image() {
	printf '%s' "$1" >image
	digest=$(sha256sum <image | cut -d ' ' -f 1)
	mv image "images/$digest.erofs"
	printf '# capsid packages 1\n' >"images/$digest.lock"
	printf '{"spdxVersion": "SPDX-2.3"}\n' >"images/$digest.spdx.json"
}

# old_name NAME DIGEST SIZE [MORE]
old_name() {
	printf '{\n  "name": "%s",\n  "digest": "%s",\n  "inputs": "%s",\n  "initd": "0.1.0-b80e4518a57a",\n  "size": %s,\n  "created": 1796076143,\n  "disk_mib": 0%s\n}' \
		"$1" "$2" "$2" "$3" "${4-}" >"images/names/$1.json"
}
old_image "image of sh"
sh=$digest
old_name sh "$sh" 11
old_name sh-too "$sh" 11
old_image "imported"
old_name mine "$digest" 8 ',
  "oci": {"image": "docker://docker.io/library/debian:13", "env": ["A=1"], "layers": []}'
old_image "what sh was before"
inputs="{\"accelerator\":\"tcg\",\"disk_mib\":0,\"format\":6,\"image_sha256\":\"$sh\",\"language\":\"sh\",\"memory_mib\":128,\"vcpus\":1,\"vmm\":\"qemu\"}"
key=$(printf '%s' "$inputs" | sha256sum | cut -d ' ' -f 1)
mkdir "snapshots/$key"
printf memory >"snapshots/$key/memory"
printf state >"snapshots/$key/state"
printf '{"key": "%s", "created": 1796076143, "primed_job": 1, "inputs": %s, "files": {"memory": {"size": 6, "sha256": "%s"}, "state": {"size": 5, "sha256": "%s"}}}' \
	"$key" "$inputs" "$(printf memory | sha256sum | cut -d ' ' -f 1)" "$(printf state | sha256sum | cut -d ' ' -f 1)" >"snapshots/$key/manifest.json"
before=$(find images snapshots -type f -exec sha256sum {} + | sort)

# records SQL: a number out of the catalog.
records() {
	python3 -IS -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])' images/records.db "$1"
}

# doctor's line about records
doctor() {
	capsid doctor "$@"
	out=$(grep " records " <<<"$out" | tr -s ' ')
}

# ---- as it is ---------------------------------------------------------------------------------------------

capsid rootfs list --json
expect "all images are listed" "$(python3 -IS -c 'import json, sys; print([i["name"] for i in json.load(sys.stdin)["images"]])' <<<"$out")" \
	"['mine', 'sh', 'sh-too']"
capsid rootfs verify --name sh
expect "and sound" "$status" 0
capsid snapshot list
expect "a snapshot is there" "$status $(grep -c "${key:0:16}" <<<"$out")" "0 1"
doctor
expect "doctor has records of them" "$out" "ok records images: 2, names: 3"
expect "where they come from" "$(records "SELECT group_concat(name || '=' || ifnull(origin_of, origin), ' ') FROM (SELECT name, origin, origin_of FROM names JOIN images ON uuid = image ORDER BY name)")" \
	"mine=docker://docker.io/library/debian:13 sh=built sh-too=built"
expect "nothing of what was there has changed" "$(find images snapshots -type f ! -name 'records.db*' -exec sha256sum {} + | sort)" "$before"

# ---- what is done with it -----------------------------------------------------------------------------------

capsid rootfs rm sh-too
expect "a name goes" "$status $(records 'SELECT count(*) FROM names')" "0 2"
capsid rootfs rm mine
expect "and an image with its last name" "$status $(records 'SELECT count(*) FROM images')" "0 1"
cp images/names/sh.json images/names/again.json
doctor
expect "what was done without it is seen" "$out" "warning records images: 1, names: 2; they are not up to date, run: capsid doctor --repair"
doctor --repair
expect "and mended" "$out" "ok records images: 1, names: 2; written anew from what is there"
doctor
expect "for good" "$out" "ok records images: 1, names: 2"

rm -f images/records.db-*
head -c 5000 /dev/urandom >images/records.db
doctor
expect_match "damage is told" "$out" "fail records $CAPSID_HOME/images/records.db is damaged (*; capsid doctor --repair *"
capsid rootfs list
expect "and does no harm" "$status" 0
doctor --repair
expect_match "repaired" "$out" "ok records images: 1, names: 2;*written anew from what is there; what was there before is $CAPSID_HOME/images/records.db.damaged-*"
rm images/records.db*
python3 -IS -c 'import sqlite3; c = sqlite3.connect("images/records.db"); c.execute("CREATE TABLE x (y)"); c.execute("PRAGMA user_version = 7")'
chmod 600 images/records.db
doctor
expect_match "another program's is refused" "$out" "fail records *is the database of another program*"

finish
