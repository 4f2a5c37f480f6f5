#!/bin/bash
# The kernel's source and what packages come from depend on neither the host's release nor on what it has installed. A stand-in
# of Debian's archive on loopback has the packages; the host's apt is one that knows no Debian archive and has a newer
# linux-source-6.1 installed.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"

archive=$TMPDIR/archive
mkdir "$archive" "$TMPDIR/lists"
coproc exec python3 "$SRC/tests/vm/debian_archive.py" "$archive"
archive_pid=$COPROC_PID
read -r port <&"${COPROC[0]}" || {
	fail "no stand-in of the archive"
	finish
}
printf 'Package: linux-source-6.1\nStatus: install ok installed\nMaintainer: none\nArchitecture: all\nVersion: 9.9\nDescription: none\n' >"$TMPDIR/status"
cat >"$TMPDIR/host.conf" <<END
Dir::Etc::SourceList "$TMPDIR/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$TMPDIR/lists";
Dir::State::status "$TMPDIR/status";
Dir::Cache "$TMPDIR/cache";
APT::Sandbox::User "root";
Acquire::http::Proxy "http://127.0.0.1:$port";
END
: >"$TMPDIR/sources.list"
export APT_CONFIG=$TMPDIR/host.conf CAPSID_KEYRING=$archive/key.gpg
unset http_proxy CAPSID_MIRROR

mkdir -p "$TMPDIR/repo"
cp -a "$SRC/kernel-config" "$SRC/rootfs" "$TMPDIR/repo/"
source=$TMPDIR/source/source.tar.xz
lock() { # VERSION SOURCE
	printf 'package = linux-source-6.1\nsuite = bookworm\nversion = %s\nsource_sha256 = %s\n' "$1" \
		"$(printf %s "$2" | sha256sum | cut -d ' ' -f 1)" >"$TMPDIR/repo/kernel-config/kernel.lock"
}
fetch() {
	"$TMPDIR/repo/kernel-config/fetch.sh" --output "$source" "$@" >"$TMPDIR/out" 2>"$TMPDIR/err"
	status=$?
	err=$(cat "$TMPDIR/err")
}
requests() { wc -l <"$archive/requests"; }

lock 1.0 1.0
fetch
expect "the locked version: status" "$status" 0
[ "$status" = 0 ] || printf '%s\n' "$err"
expect "the locked version: the source" "$(cat "$source")" 1.0
expect_match "the locked version: no warning" "$err" "Fetching linux-source-6.1 1.0 from http://deb.debian.org/debian (bookworm)"
expect_match "from Debian's public mirror" "$(head -n 1 "$archive/requests")" "http://deb.debian.org/debian*/InRelease"
expect_match "security updates, too" "$(cat "$archive/requests")" "*http://deb.debian.org/debian-security/dists/bookworm-security/InRelease*"
before=$(requests)
fetch
expect "again: status" "$status" 0
expect "again: without the network" "$(requests)" "$before"
printf damaged >"$source"
fetch
expect "a damaged file is fetched anew" "$(cat "$source")" 1.0

lock 0.9 0.9
fetch
expect "a version that is gone: status" "$status" 0
expect_match "a version that is gone: warning" "$err" \
	"*Warning: linux-source-6.1 0.9, *no longer in Debian bookworm; taking its newest version, 1.1 (*snapshot.debian.org*"
expect "a version that is gone: the newest" "$(cat "$source")" 1.1
expect_match "the origin says which" "$(cat "$source.origin")" $'package = linux-source-6.1\nsuite = bookworm\nversion = 1.1\nsource_sha256 = *'
before=$(requests)
fetch
expect "the newest, again: without the network" "$status $(requests)" "0 $before"
fetch --newest
expect "--newest asks the archive" "$status $(cat "$source") $(("$(requests)" > before))" "0 1.1 1"

rm "$source"
lock 1.0 other
fetch
expect_match "other bytes than locked" "$status $err" "1 *Error: linux-source-6.1 1.0: its source has another SHA-256 than kernel.lock says;*"
expect "other bytes than locked: no source, nothing left" "$(ls "$TMPDIR/source")" source.tar.xz.origin

# apt takes linux-source-6.1 for a pattern that linux-source-6.12 matches.
fetch --package linux-source-6.1 --suite trixie
expect_match "no such package in a release" "$status $err" "1 *Error: linux-source-6.1: not in Debian trixie (any more);*"
fetch --package linux-source-6.12 --suite trixie
expect "another package" "$status $(cat "$source")" "0 2.0"
fetch --package 'linux-source-.*' --suite trixie
expect_match "a pattern for a name" "$status $err" "1 Error: linux-source-.\*: not a kernel source;*"

lock 1.0 1.0
CAPSID_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg fetch
expect_match "signed with another key" "$status $err" "1 *Error: linux-source-6.1: cannot be fetched from http://deb.debian.org/debian (bookworm); check the network*"
CAPSID_KEYRING=$TMPDIR/nothing fetch
expect_match "no keyring" "$status $err" "1 Error: $TMPDIR/nothing: not found; install the package debian-archive-keyring"
CAPSID_MIRROR=http://127.0.0.1:$port/debian fetch
expect_match "a mirror that is named" "$status $err" "0 *from http://127.0.0.1:$port/debian (bookworm)*"

# Where the host's apt knows a Debian archive, that one is used.
printf 'deb [signed-by=%s] http://mirror.example/debian bookworm main\n' "$CAPSID_KEYRING" >"$TMPDIR/sources.list"
apt-get -q update >"$TMPDIR/out" 2>&1 || fail "the host's apt: $(cat "$TMPDIR/out")"
"$SRC/rootfs/debian-apt" --dir "$TMPDIR/apt" --suite trixie
expect "the host's own mirror" "$(cat "$TMPDIR/apt/archive")" http://mirror.example/debian

kill "$archive_pid"
wait "$archive_pid" 2>/dev/null
finish
