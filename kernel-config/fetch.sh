#!/bin/sh
# Fetches a kernel source from Debian's archive, whatever the host is and has installed: the package, release and version
# that kernel.lock names, or with --package another one. Beside FILE, FILE.origin then says what it is.
set -eu
export LC_ALL=C
umask 022

here=$(cd "$(dirname "$0")" && pwd)
lockfile=$here/kernel.lock
output='' package='' suite='' version='' wanted_sha='' newest=no mirror=''

usage() {
	cat <<EOF
Usage: kernel-config/fetch.sh --output FILE [options]
  --output FILE    the source, a .tar.xz; kept when it is what is asked for
  --newest         ask for the newest version of the package in place of kernel.lock's
  --package NAME   another package, with --suite; its version is the newest when it is first fetched
  --suite NAME     Debian release
  --mirror URL     Debian mirror (default: as rootfs/debian-apt chooses)
EOF
}

fail() { printf 'Error: %s\n' "$*" >&2; exit 1; }

while [ $# -gt 0 ]; do
	case $1 in
	--help | -h) usage; exit 0 ;;
	--newest) newest=yes; shift; continue ;;
	--*) [ $# -ge 2 ] || fail "$1: unknown option or missing value; see fetch.sh --help" ;;
	esac
	case $1 in
	--output) output=$2 ;;
	--package) package=$2 ;;
	--suite) suite=$2 ;;
	--mirror) mirror=$2 ;;
	*) fail "$1: unknown option; see fetch.sh --help" ;;
	esac
	shift 2
done
[ -n "$output" ] || fail "--output: missing; name a file"
value_of() { sed -n "s/^$2 = //p" "$1"; } # file, key
if [ -z "$package$suite" ]; then
	package=$(value_of "$lockfile" package) suite=$(value_of "$lockfile" suite)
	if [ $newest = no ]; then
		version=$(value_of "$lockfile" version) wanted_sha=$(value_of "$lockfile" source_sha256)
	fi
fi
if [ -z "$package" ] || [ -z "$suite" ]; then fail "--package, --suite: one needs the other"; fi
# apt would take another word for a pattern.
case ${package#linux-source-} in
"$package" | '' | *[!0-9.]*) fail "$package: not a kernel source; name a linux-source-VERSION" ;;
esac

# ---- is it here already? -----------------------------------------------------------------------------

sha_of() { sha256sum <"$1" | cut -d ' ' -f 1; }
request="$package $suite ${version:-newest} ${wanted_sha:-any}"
if [ $newest = no ] && [ -s "$output" ] && [ -r "$output.origin" ] &&
	[ "$(value_of "$output.origin" request)" = "$request" ] &&
	[ "$(value_of "$output.origin" source_sha256)" = "$(sha_of "$output")" ]; then
	exit 0
fi
mkdir -p "$(dirname "$output")"
output=$(cd "$(dirname "$output")" && pwd)/$(basename "$output")
work=$output.tmp.$$
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
mkdir "$work"

# take FILE VERSION: makes FILE, which is in $work, the result.
take() {
	sha=$(sha_of "$1")
	if [ -n "$wanted_sha" ] && [ "$2" = "$version" ] && [ "$sha" != "$wanted_sha" ]; then
		fail "$package $version: its source has another SHA-256 than kernel.lock says; the archive or the lock was changed"
	fi
	printf 'package = %s\nsuite = %s\nversion = %s\nsource_sha256 = %s\nrequest = %s\n' \
		"$package" "$suite" "$2" "$sha" "$request" >"$work/origin"
	# Without its origin a file is never kept, so this order is safe.
	rm -f "$output.origin"
	mv "$1" "$output"
	mv "$work/origin" "$output.origin"
}

# Who has the very package installed needs no download.
installed=/usr/src/$package.tar.xz
if [ -n "$wanted_sha" ] && [ -r "$installed" ] && [ "$(sha_of "$installed")" = "$wanted_sha" ]; then
	cp --reflink=auto "$installed" "$work/source"
	take "$work/source" "$version"
	exit 0
fi

# ---- the archive -------------------------------------------------------------------------------------

command -v dpkg-deb >/dev/null || fail "dpkg-deb: not found; install the package dpkg"
"$here/../rootfs/debian-apt" --dir "$work/apt" --suite "$suite" ${mirror:+--mirror "$mirror"}
mirror=$(cat "$work/apt/archive")
export APT_CONFIG="$work/apt/apt.conf"
with_apt() { (cd "$work" && timeout 900 apt-get -q "$@" </dev/null >>"$work/log" 2>&1); }
not_fetched() {
	tail -n 3 "$work/log" >&2
	fail "$package: cannot be fetched from $mirror ($suite); check the network, choose a mirror with CAPSID_MIRROR=URL," \
		"or fetch it by hand and give its .tar.xz to build.sh --source"
}

# find_version [=VERSION]: sets found to the version that apt would download.
find_version() {
	found=$( (cd "$work" && apt-get -qq --print-uris download "$package${1:-}" 2>>"$work/log") |
		sed -n "s/^'[^']*' ${package}_\([^_ ]*\)_all\.deb .*/\1/p" | sed 's/%3a/:/g;1q')
	[ -n "$found" ]
}

older_archive='an archive that has it: CAPSID_MIRROR=http://snapshot.debian.org/archive/debian/DATE'
printf 'Fetching %s %s from %s (%s)\n' "$package" "${version:-(the newest)}" "$mirror" "$suite" >&2
with_apt --error-on=any update || not_fetched
if [ -z "$version" ] || ! find_version "=$version"; then
	find_version ||
		fail "$package: not in Debian $suite (any more); name another package and suite in kernel.lock, or $older_archive"
	[ -z "$version" ] || printf 'Warning: %s %s, which kernel.lock names, is no longer in Debian %s; taking its newest version, %s (for the very same kernel name %s)\n' \
		"$package" "$version" "$suite" "$found" "$older_archive" >&2
fi
with_apt download "$package=$found" || not_fetched
dpkg-deb --fsys-tarfile "$work/${package}_"*.deb | tar -xf - -C "$work" "./usr/src/$package.tar.xz" ||
	fail "$package $found: has no /usr/src/$package.tar.xz"
take "$work/usr/src/$package.tar.xz" "$found"
