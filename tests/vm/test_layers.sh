#!/bin/bash
# timeout: 300
# An image of several layers: what is on top wins, what it deleted is gone, with a scratch disk and without, booted and restored,
# by QEMU and by the double of Firecracker.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
command -v mkfs.erofs >/dev/null || {
	echo "SKIP: mkfs.erofs is not installed (erofs-utils)"
	exit 77
}
need_snapshot sh
reference=$CAPSID_HOME/images/names/sh.json

# layer FILE...: of the tree in $TMPDIR/tree; its digest.
layer() {
	mkfs.erofs -T0 --all-root "$TMPDIR/layer" "$TMPDIR/tree" >/dev/null 2>&1 || fail "mkfs.erofs"
	digest=$(sha256sum <"$TMPDIR/layer" | cut -d ' ' -f 1)
	mv "$TMPDIR/layer" "$CAPSID_HOME/images/$digest.erofs"
	chmod 0644 "$CAPSID_HOME/images/$digest.erofs"
}

# layers DIGEST...: the image has them above its own file.
layers() {
	python3 -IS - "$reference" "$@" <<'PY'
import json, os, sys
with open(sys.argv[1]) as f:
    image = json.load(f)
image.pop("layers", None)
if sys.argv[2:]:
    image["layers"] = sys.argv[2:]
with open(sys.argv[1] + ".new", "w") as f:
    json.dump(image, f)
os.rename(sys.argv[1] + ".new", sys.argv[1])
PY
}

mkdir -p "$TMPDIR/tree/etc" "$TMPDIR/tree/opt"
echo below >"$TMPDIR/tree/etc/which"
echo stays >"$TMPDIR/tree/opt/stays"
chmod 666 "$TMPDIR/tree/opt/stays"
echo goes >"$TMPDIR/tree/opt/goes"
layer
first=$digest
rm -r "$TMPDIR/tree"
mkdir -p "$TMPDIR/tree/etc" "$TMPDIR/tree/opt"
echo above >"$TMPDIR/tree/etc/which"
mknod "$TMPDIR/tree/opt/goes" c 0 0 2>/dev/null || {
	echo "SKIP: only root can make the node that stands for a deleted file"
	exit 77
}
layer
second=$digest
program='cat /etc/which /opt/stays; ls /opt; echo more >/opt/stays && cat /opt/stays'
wanted=$'above\nstays\nstays\nmore'

# runs WHAT OPTION...
runs() {
	local what=$1
	shift
	capsid run "$@" -l sh -c "$program"
	expect "$what" "$status $(field stdout)$err" "0 $wanted"
}

layers "$first" "$second"
runs "booted" -q --no-snapshot
runs "restored" -q
runs "again" -q
runs "with a scratch disk, booted" -q --no-snapshot --disk 64
runs "with a scratch disk, restored" -q --disk 64
expect_clean "layers"
capsid snapshot list --json
expect "a snapshot of other layers is another one" "$(grep -c '"key"' <<<"$out")" 3

layers "$second" "$first"
capsid run -q --no-snapshot -l sh -c 'cat /etc/which /opt/goes'
expect "their order counts" "$status $(field stdout)" $'0 below\ngoes'

if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
	layers "$first" "$second"
	export CAPSID_VMM=firecracker CAPSID_ACCEL=kvm CAPSID_FIRECRACKER=$SRC/tests/fake/firecracker CAPSID_JAILER=none CAPSID_VMM_CALLS=lenient
	"$CAPSID" doctor >/dev/null 2>&1 # what is missing then is said once
	runs "Firecracker, booted" -q --no-snapshot
	runs "Firecracker, restored" -q
	unset CAPSID_VMM CAPSID_ACCEL CAPSID_FIRECRACKER CAPSID_JAILER CAPSID_VMM_CALLS
fi

# ---- damage, and the end --------------------------------------------------------------------------

layers "$first" "$second"
cp "$CAPSID_HOME/images/$second.erofs" "$TMPDIR/kept"
printf 'x' | dd of="$CAPSID_HOME/images/$second.erofs" bs=1 seek=2000 conv=notrunc 2>/dev/null
capsid run -q -l sh -c true
expect_match "a damaged layer" "$status $err" "1 *Error: *image file *$second.erofs is corrupt*"
mv "$TMPDIR/kept" "$CAPSID_HOME/images/$second.erofs"
layers "$first" "${first:0:63}x"
capsid run -q -l sh -c true
expect_match "a layer that is no digest" "$status $err" "1 *Error: *not a valid image reference*"
layers "$first" "$first" "$first" "$first" "$first" "$first" "$first" "$first" "$first"
capsid run -q -l sh -c true
expect_match "too many layers" "$status $err" "1 *Error: *not a valid image reference*"
layers "$first" "$second"
cp "$reference" "${reference%/*}/other.json"
python3 -IS -c 'import json, sys; j = json.load(open(sys.argv[1])); j["name"] = "other"; j["layers"] = j["layers"][:1]; json.dump(j, open(sys.argv[1], "w"))' "${reference%/*}/other.json"
capsid rootfs rm sh
expect "an image is removed" "$status" 0
expect "with the layer that nobody else has, and no other" \
	"$(test -e "$CAPSID_HOME/images/$second.erofs"; echo $?) $(test -e "$CAPSID_HOME/images/$first.erofs"; echo $?)" "1 0"
finish
