#!/bin/bash
# timeout: 300
# capsid rootfs from-docker: from a registry, a layout and an archive; what the layers do; hostile images.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
. "$SRC/tests/vm/registry.sh"
make_image() { python3 "$SRC/tests/vm/oci_image.py" "$TMPDIR/$1" "$(command -v busybox)" "${2:-}"; }
make_image good

trap end_registry EXIT
start_registry
copy_image "oci:$TMPDIR/good:latest" "docker://127.0.0.1:$port/team/box:1"

capsid rootfs from-docker --name box --image "docker://127.0.0.1:$port/team/box:1"
expect "from a registry: status" "$status" 0
expect_match "from a registry: says where it is" "$out" "Image box is ready: *, sha256 *"
digest=${out##* }
expect "the image is where its digest says" "$(sha256sum <"$CAPSID_HOME/images/$digest.erofs" | cut -c1-64)" "$digest"
capsid rootfs from-docker --name box2 --image "127.0.0.1:$port/team/box:1" --json
expect "a name without docker://; the same image gives the same bytes" "$(field digest)" "$digest"
expect_match "ENV, WORKDIR, USER, ENTRYPOINT and CMD are kept" "$(field oci)" \
	"*'cmd': ?'-c', 'greet'?*'entrypoint': ?'/bin/sh'?*'GREETING=hello from the image'*'user': '1234:4321'*'workdir': '/srv'*"
expect_match "what was dropped is counted" "$(field oci)" "*'xattrs_dropped': 1*"
capsid rootfs from-docker --name box3 --image "oci:$TMPDIR/good:latest" --json
expect "the same from a layout" "$(field digest)" "$digest"
copy_image "oci:$TMPDIR/good:latest" "docker-archive:$TMPDIR/box.tar:box:1"
capsid rootfs from-docker --name box4 --image "docker-archive:$TMPDIR/box.tar" --json
expect "the same from an archive" "$(field digest)" "$digest"
capsid rootfs from-docker --name other --image "oci:$TMPDIR/good:latest" --cmd "greet you" --json
expect_match "--cmd replaces the image's" "$(field oci)" "*'cmd': ?'greet', 'you'?*"
expect "rootfs list shows them" "$("$CAPSID" rootfs list | grep -c '^box')" 4

# With a tag, with and without a name.
capsid images show tag:lang/box --json
uuid=$(field uuid)
capsid rootfs from-docker --tag team/box:1 --image "oci:$TMPDIR/good:latest" --size 100 --json
expect "a tag alone" "$(field name) $(field tag) $(field digest) $(field disk_mib)" "None team/box:1 $digest 100"
capsid images show tag:team/box:1 --json
expect_match "it is the same image" "$(field uuid) $(field names) $(field env)" "$uuid *'box'* *'GREETING=hello from the image'*"
capsid rootfs from-docker --name box4 --tag team/box:2 --image "oci:$TMPDIR/good:latest"
expect_match "and with a name" "$out" "Image box4 is ready: *It has the tag team/box:2"
capsid rootfs from-docker --tag "no tag" --image "oci:$TMPDIR/good:latest"
expect_match "what is no tag is told before anything is pulled" "$status $err" '1 Error: "no tag" is no tag: *'
capsid rootfs from-docker --image "oci:$TMPDIR/good:latest"
expect_match "neither" "$status $err" "1 Error: --name, or --tag, is required*"
capsid images untag team/box:1
capsid images untag team/box:2

# What it is made of: layers, and the packages that it says it has.
capsid rootfs show box
expect_match "show: layers, packages, initd, where from" "$out" \
	"*initd:     [0-9]*Imported:  docker://127.0.0.1:$port/team/box:1*Env: *GREETING=*apk   musl *1.2.5-r0*deb   libc6 *2.36-9+deb12u10*layer 001 *layer 003 *"
expect "show: not what is not installed, or has no name" "$(grep -c 'gone\|bad' <<<"$out")" 0
capsid rootfs show box --json
expect_match "show --json" "$(field packages)" "*'kind': 'deb', 'name': 'tzdata', 'version': '2025b-0+deb12u1', 'sha256': '-'*'kind': 'layer'*"
expect_match "show --json: how many were left out" "$(field oci)" "*'packages_skipped': 1*"
capsid rootfs sbom box
expect_match "sbom: packages and layers" "$(field packages)" "*pkg:apk/alpine/musl@1.2.5-r0*pkg:deb/debian/libc6@2.36-9%2Bdeb12u10*'name': 'layer-001'*"
capsid rootfs lock box
expect_match "lock: says what to do in its place" "$err" "Error: the image box was imported;*digest*"

# A language that names the image runs in it.
own_data
cat >"$TMPDIR/data/languages/boxsh.ini" <<END
[language]
name = boxsh
extension = sh
source = main.sh
run = /bin/sh {source}
[image]
oci = docker://127.0.0.1:$port/team/box:1
[env]
LANG = C.UTF-8
END
export CAPSID_DATA=$TMPDIR/data
capsid run -l boxsh -c 'greet' </dev/null
expect "before it is imported: status" "$status" 1
expect_match "before it is imported: how to" "$err" "*capsid rootfs from-docker --name boxsh --image docker://127.0.0.1:$port/team/box:1*"
capsid rootfs from-docker --name boxsh --image "docker://127.0.0.1:$port/team/box:1"
run() { capsid run -l boxsh -c "$1" </dev/null; }
# shellcheck disable=SC2016 # for the guest
run 'greet; echo "$GREETING, $LANG, $HOME"'
expect "runs, with ENV where the definition says nothing" "$(field stdout)" $'greetings\nhello from the image, C.UTF-8, /tmp/job'
run 'ls -d /gone /single /opaque/old /opaque/deep 2>/dev/null; find /opaque | sort; cat /etc/release; id -un'
expect "whiteouts and replaced files" "$(field stdout)" $'/opaque\n/opaque/new\ntwo\nrunner'
run 'cd /srv; stat -c "%u:%g %a %h" owned linked; stat -c "%u %a" setuid; stat -c %a sticky; [ owned -ef linked ] && cat long*'
expect "owners, modes, hard links, long names" "$(field stdout)" $'1234:4321 640 2\n1234:4321 640 2\n7 4755\n1777\nlong'
run 'stat -c %Y /etc/release; cat /etc/hostname; stat -L -c "%u %a" /sbin/initd; [ -L /sbin ] && ls -d /dev /proc /sys /run /tmp /mnt | wc -l'
expect "times of the configuration, initd over a link, mount points" "$(field stdout)" $'1714979289\ncapsid\n0 755\n6'
"$CAPSID" run -l boxsh --no-snapshot --raw -c greet </dev/null >"$TMPDIR/out" 2>&1
expect "in a VM that boots" "$(cat "$TMPDIR/out")" greetings
unset CAPSID_DATA

# Hostile images leave the old image as it was and nothing behind.
refused() { # kind, what the message says
	make_image "$1" "hostile-$1"
	capsid rootfs from-docker --name box --image "oci:$TMPDIR/$1:latest"
	expect "$1: status" "$status" 1
	expect_match "$1: says why" "$err" "*Error: oci:*$2*"
	[ "$(grep -c '^Error' <<<"$err")" = 1 ] || fail "$1: more than one line of error: $err"
}
refused traversal 'layer 3 (sha256:*../../etc/evil: a path contains ".."*'
refused symlink 'door/evil: its directory is a symbolic link that is absolute or leaves the image*'
refused device 'dev/sda: device files are not allowed*'
refused bomb 'compression bomb*'
refused architecture 'linux/arm64*'
refused digest 'sha256:*'
[ ! -e /etc/evil ] || fail "a layer wrote into this machine"
capsid rootfs from-docker --name box --image "oci:$TMPDIR/good:latest" --max-size 1
expect_match "--max-size" "$err" "*Error:*the limit of 1048576 bytes*--max-size*"
capsid rootfs from-docker --name box --image "oci:$TMPDIR/good:latest" --max-entries 5
expect_match "--max-entries" "$err" "*Error:*more than 5 files*--max-entries*"
expect_match "the old image is still there" "$("$CAPSID" rootfs list --json | tr -d '\n')" "*\"name\": \"box\"*\"digest\": \"$digest\"*"

capsid rootfs from-docker --name box --image "docker://127.0.0.1:$port/team/none:1"
expect "an image that is not there: status" "$status" 1
expect_match "an image that is not there: says so" "$err" "*Error: docker://127.0.0.1:$port/team/none:1 cannot be pulled: *"
capsid rootfs from-docker --name ../box --image "oci:$TMPDIR/good:latest"
expect_match "a name that is a path" "$err" "Error: --name must be a plain name*"
capsid rootfs from-docker --name box --image "dir:$TMPDIR/good"
expect_match "another transport" "$err" "Error: --image dir:* cannot be used; give docker://*"
capsid rootfs from-docker --help
expect_match "help" "$out" "*Usage: capsid rootfs from-docker *--image REFERENCE*--max-ratio N*"
capsid rootfs from-docker --name box
expect_match "no image" "$err" "Error: --image is required*"
expect_clean "after all"
finish
