#!/bin/bash
# timeout: 200
# A second client that was written from proto/PROTOCOL.md alone, in Go with nothing but its standard library, and a guest whose
# image is made as initd/README.md says: initd and busybox.
# shellcheck disable=SC1091 # lib.sh
. "$SRC/tests/vm/lib.sh"

command -v go >/dev/null || {
	echo "SKIP: Go is not installed; 'make deps-check' installs it"
	exit 77
}
program=$BUILD/test/tools/stranger
mkdir -p "${program%/*}"
"$SRC/tests/stranger/go" build -o "$program" . || {
	fail "the client cannot be built"
	finish
}

tree=$TMPDIR/tree
mkdir -p "$tree"/{proc,sys,dev,run,tmp,mnt,etc,root,bin,sbin}
cp "$INITD" "$tree/sbin/initd"
cp "$(command -v busybox)" "$tree/bin/busybox"
for name in $("$tree/bin/busybox" --list); do
	[ "$name" = busybox ] || ln -s busybox "$tree/bin/$name"
done
mkfs.erofs -T0 -U 00000000-0000-0000-0000-000000000000 --all-root "$TMPDIR/root.erofs" "$tree" >/dev/null 2>&1 || fail "no image"

clock="norandmaps no_timer_check"
read -r _ khz _ 2>/dev/null <"$CAPSID_HOME/cache/tsc" && clock+=" tsc=reliable tsc_early_khz=$khz"
# shellcheck disable=SC2086 # words of the command line
"$program" "$BUILD/share/capsid/vmlinux" "$TMPDIR/root.erofs" "$TMPDIR" $clock noreplace-smp nolapic_timer || fail "checks (above)"
finish
