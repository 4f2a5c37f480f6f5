#!/bin/sh
# Fetches the source of a newer kernel, which tests run initd under, from Debian's backports suite.
# Nothing is installed: the package is unpacked beside the output. An output that is there is kept.
set -eu
export LC_ALL=C
umask 022

package=linux-source-6.12 suite=bookworm-backports keyring=/usr/share/keyrings/debian-archive-keyring.gpg
output='' mirror=''

usage() {
	cat <<EOF
Usage: kernel-config/fetch-newer.sh --output FILE [options]
  --output FILE    the source, a .tar.xz for build.sh --source
  --package NAME   Debian package (default: $package)
  --suite NAME     Debian suite (default: $suite)
  --mirror URL     Debian mirror (default: the one that apt uses here)
EOF
}

fail() { printf 'Error: %s\n' "$*" >&2; exit 1; }

while [ $# -gt 0 ]; do
	case $1 in
	--help | -h) usage; exit 0 ;;
	--output | --package | --suite | --mirror)
		[ $# -ge 2 ] || fail "$1: needs a value; see fetch-newer.sh --help"
		;;
	*) fail "$1: unknown option; see fetch-newer.sh --help" ;;
	esac
	case $1 in
	--output) output=$2 ;;
	--package) package=$2 ;;
	--suite) suite=$2 ;;
	--mirror) mirror=$2 ;;
	esac
	shift 2
done
[ -n "$output" ] || fail "--output: missing; name a file"
[ ! -s "$output" ] || exit 0
for tool in apt-get dpkg-deb; do
	command -v $tool >/dev/null || fail "$tool: not found; fetch $package of $suite by hand and give its .tar.xz to build.sh --source"
done
[ -r $keyring ] || fail "$keyring: not found; install debian-archive-keyring"
if [ -z "$mirror" ]; then
	# shellcheck disable=SC2016 # apt fills these in
	mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
		sed -n 's#^\(https\{0,1\}://[^ ]*/debian\(/[0-9]\{8\}T[0-9]\{6\}Z\)\{0,1\}\)/\{0,1\} main$#\1#p' | sed 1q)
fi
[ -n "$mirror" ] || fail "apt on this machine knows no Debian archive; name one with --mirror URL"

mkdir -p "$(dirname "$output")"
output=$(cd "$(dirname "$output")" && pwd)/$(basename "$output")
work=$output.tmp.$$
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"

# The machine's own lists and caches stay as they are.
with_apt() {
	(cd "$work" && timeout 600 apt-get -q -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none \
		"$@" </dev/null >>"$work/log" 2>&1) || {
		tail -n 3 "$work/log" >&2
		fail "$package: cannot be fetched from $suite"
	}
}
printf 'Fetching %s from %s\n' "$package" "$suite" >&2
with_apt update
with_apt download "$package"
dpkg-deb --fsys-tarfile "$work"/"$package"_*.deb | tar -xf - -C "$work" "./usr/src/$package.tar.xz" ||
	fail "$package: has no /usr/src/$package.tar.xz"
mv "$work/usr/src/$package.tar.xz" "$output"
