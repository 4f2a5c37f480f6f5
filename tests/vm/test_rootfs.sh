#!/bin/bash
# timeout: 600
# Images: the same bytes from the same inputs, lock files, records, damage, npm packages, and failures that change nothing.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
one=$CAPSID_HOME kept=$shared_home/cache/packages
# copy_kept FROM... TO: while no other test changes them.
copy_kept() { flock "$kept/lock" cp -a "$@"; }

complain() { # WHAT PATTERN ARGUMENTS...
	local what=$1 pattern=$2
	shift 2
	capsid "$@" </dev/null
	expect "$what: status" "$status" 1
	expect_match "$what: message" "$(grep '^Error' "$TMPDIR/err")" "$pattern"
}

small=(rootfs create --name small --packages busybox-static --method extract
	--post-install $'/bin/busybox --install -s /usr/bin\nfor d in bin sbin lib lib64; do [ "$(readlink /$d)" = usr/$d ]; done\necho two lines >/etc/motd')
capsid "${small[@]}" --output "$TMPDIR/out.erofs"
expect "create: status" "$status" 0
expect_match "create: says so" "$out" "Image small is ready: * MB, sha256 *"
capsid rootfs show small --json
digest=$(field digest)
image=$(field path)
expect_match "show --json: packages" "$(field packages)" "*'name': 'busybox-static', 'version': '1:1.*"
[ "$(field size_bytes)" -le 8000000 ] || fail "a shell image has $(field size_bytes) bytes, 8 MB are the limit"
expect "create --output" "$(sha256sum <"$TMPDIR/out.erofs")" "$digest  -"
capsid rootfs show small
expect_match "show" "$out" "Name: *small*SHA-256: *$digest*initd: *$("$INITD" --version | cut -d ' ' -f 2)*deb   busybox-static *"
capsid rootfs list
expect_match "list" "$out" "NAME*ON DISK*small *MB*all together *MB"
capsid rootfs verify
expect "verify: status" "$status" 0
capsid rootfs sbom small
expect "sbom: version" "$(field spdxVersion)" SPDX-2.3
expect_match "sbom: package URL" "$out" "*pkg:deb/debian/busybox-static@1%3A1.*"
capsid rootfs lock small --output "$TMPDIR/lock"
expect "lock: lines" "$(grep -cvE '^deb [a-z0-9.+-]+ [^ ]+ [0-9a-f]{64}$' "$TMPDIR/lock")" 0

# Elsewhere, later, from the lock file, and without a network, because what it needs was downloaded before.
sleep 1.1
CAPSID_HOME=$TMPDIR/another/directory
mkdir -p "$CAPSID_HOME/cache"
copy_kept "$kept" "$CAPSID_HOME/cache/packages"
CAPSID_MIRROR=http://127.0.0.1:1/debian capsid "${small[@]}" --lock "$TMPDIR/lock"
expect "locked and without network: status" "$status" 0
capsid rootfs show small --json
expect "elsewhere, later, the same bytes" "$(field digest)" "$digest"
cmp "$one/images/$digest.spdx.json" "$CAPSID_HOME/images/$digest.spdx.json" || fail "the bills of materials differ"

# A damaged download is noticed and replaced.
deb=$(ls "$CAPSID_HOME"/cache/packages/deb/"$(sed -n 's/^deb busybox-static .* //p' "$TMPDIR/lock")".deb)
printf 'x' | dd of="$deb" bs=1 seek=5000 conv=notrunc status=none
capsid "${small[@]}"
capsid rootfs show small --json
expect "after a damaged download, the same bytes" "$(field digest)" "$digest"

# Failures: one clear line, and the image is as it was.
CAPSID_HOME=$one
sed 's/1:1.[0-9.]*-/1:0.9-/; s/[0-9a-f]\{64\}/'"$(printf '0%.0s' {1..64})/" "$TMPDIR/lock" >"$TMPDIR/old"
complain "a version that is gone" "Error: *package busybox-static 1:0.9-*: no longer in Debian bookworm;*" "${small[@]}" --lock "$TMPDIR/old"
echo nonsense >"$TMPDIR/bad"
complain "no lock file" "Error: *--lock $TMPDIR/bad: line 1 is not*" "${small[@]}" --lock "$TMPDIR/bad"
grep -v busybox-static "$TMPDIR/lock" >"$TMPDIR/bad"
echo "deb dash 1 $(printf '0%.0s' {1..64})" >>"$TMPDIR/bad"
complain "a lock file of something else" "Error: *busybox-static is not in it*" "${small[@]}" --lock "$TMPDIR/bad"
complain "a package that is not there" "Error: *package no-such-package: not in Debian bookworm*" \
	rootfs create --name small --packages no-such-package
CAPSID_MIRROR=http://127.0.0.1:1/debian complain "no network" "Error: *download from http://127.0.0.1:1/debian failed*" \
	rootfs create --name small --packages dash --suite trixie
complain "post fails" "Error: *post command failed with status 3:*" \
	rootfs create --name small --packages busybox-static --method extract --post-install 'exit 3'
for bad in "--name ../x" "--name python --packages dash" "--name a --lang python --packages dash" "--name a --packages dash --base arch" \
	"--name a --suite trixie --lang python" "--packages dash"; do
	# shellcheck disable=SC2086 # words
	complain "create $bad" "Error: *" rootfs create $bad
done
complain "show what is not there" "Error: no image is called nothing;*" rootfs show nothing
complain "rm a path" "Error: no image is called*" rootfs rm ../names/small
capsid rootfs verify small
expect "after all failures: the image is good" "$status $out" "0 ok    small  $digest"
expect_clean "failures"

# Two builds at once share the downloads.
"$CAPSID" "${small[@]}" >"$TMPDIR/first" 2>&1 &
first=$!
capsid rootfs create --name second --packages busybox-static --method extract
expect "two at once: second" "$status" 0
wait $first
expect "two at once: first" $? 0

# Damage, and removal.
printf 'x' | dd of="$image" bs=1 seek=200000 conv=notrunc status=none
complain "verify a damaged image" "Error: image file $image is corrupt; make it anew with: capsid rootfs create --name small" rootfs verify
rm "$image"
complain "verify a missing image" "Error: image file $image is missing*" rootfs verify small
capsid rootfs rm small
expect "rm: status" "$status" 0
expect "rm: nothing of it is left" "$(find "$CAPSID_HOME/images" -name "$digest*")" ""
capsid rootfs verify
expect "rm: others stay" "$status" 0

# npm packages, from a registry of this test.
coproc "$SRC/tests/vm/npm_registry.py"
registry_pid=$COPROC_PID
read -r port <&"${COPROC[0]}"
build_npm() { # PACKAGES
	rm -rf "$TMPDIR/work" "$TMPDIR/npm.erofs"
	mkdir "$TMPDIR/work"
	"$SRC/rootfs/build-image" --packages busybox-static --suite bookworm --method extract --initd "$INITD" --work "$TMPDIR/work" \
		--output "$TMPDIR/npm.erofs" --cache "$TMPDIR/npm-cache" --npm "$1" --npm-registry "http://127.0.0.1:$port" \
		--lock-out "$TMPDIR/npm.lock" --post "$post" >"$TMPDIR/out" 2>&1
	status=$?
}
# shellcheck disable=SC2016 # for the shell in the image
post='cd /usr/local/lib/node_modules; b=/bin/busybox; [ -x good/bin/tool.sh ]; [ ! -x good/package.json ];
	[ "$($b stat -c "%a %u %Y" good/package.json)" = "644 0 1700000000" ]; [ "$($b cat good/d*/f*.js)" = long ]; [ -f @scope/good/package.json ]'
mkdir -p "$TMPDIR/npm-cache"
copy_kept "$kept/deb" "$kept/lists" "$TMPDIR/npm-cache/"
build_npm good@1.0.0,@scope/good@1.0.0
expect "npm: status" "$status" 0
[ "$status" = 0 ] || tail -n 5 "$TMPDIR/out"
expect "npm: lock" "$(grep -c '^npm \(@scope/\)\?good 1.0.0 [0-9a-f]*$' "$TMPDIR/npm.lock")" 2
post=
build_npm wrong-hash@1.0.0
expect "npm wrong-hash: status" "$status" 1
expect_match "npm wrong-hash: message" "$(tail -n 1 "$TMPDIR/out")" "Error: npm package wrong-hash*does not have the SHA-512*"
[ ! -e "$TMPDIR/npm.erofs" ] || fail "npm wrong-hash: made an image"
# The others are asked of the part that fetches, which says and does for build-image what it does alone.
while read -r name pattern; do
	"$SRC/rootfs/npm-tree" --registry "http://127.0.0.1:$port" --cache "$TMPDIR/npm-cache/npm" --epoch 1700000000 --output "$TMPDIR/npm.tar" \
		--record "$TMPDIR/npm.record" "$name@1.0.0" >"$TMPDIR/out" 2>&1
	expect "npm $name: status" $? 1
	expect_match "npm $name: message" "$(tail -n 1 "$TMPDIR/out")" "Error: npm package $name*$pattern*"
done <<END
no-hash no SHA-512
other-name metadata of another package
upwards unsafe path
absolute unsafe path
symlink link or a device
hardlink link or a device
device link or a device
control unsafe path
cut ends too early
noise damaged
no-json no valid metadata
missing download from
END
kill "$registry_pid"
wait "$registry_pid" 2>/dev/null
finish
