#!/bin/sh
# Builds the guest kernel (an uncompressed PVH vmlinux) from Debian's kernel source, which fetch.sh fetches, and the
# fragments beside this file. The same inputs give the same bytes, and a second call answers from the cache.
set -eu
export LC_ALL=C TZ=UTC
umask 022

here=$(cd "$(dirname "$0")" && pwd)
lockfile=$here/kernel.lock
# Part of the cache's key: raise it when a change of this script makes other bytes of the same inputs.
recipe=1
fragments='base virtio filesystems isolation hardening'
extra='' cache='' output='' source='' jobs=$(nproc) discard=no update_lock=no
# Compiler lines in the log of one whole build, and processor seconds it takes; only for the progress lines.
usual_files=1410 usual_seconds=450

usage() {
	cat <<EOF
Usage: kernel-config/build.sh --cache DIR --output FILE [options]
  --cache DIR        keeps results, the unpacked source and the objects (1.2 GB while the trees stay)
  --output FILE      the kernel; written only when it differs
  --fragment NAME    adds NAME.config to the configuration, and applies NAME.patch to the source where there is one;
                     may be given again
  --jobs N           compile with N processes (default: $jobs, the processors here)
  --source FILE      another source (a .tar.xz) than kernel.lock names
  --discard-tree     remove the unpacked source and the objects at the end
  --update-lock      build from the newest version of the source and record it in kernel.lock
EOF
}

fail() { printf 'Error: %s\n' "$*" >&2; exit 1; }
value() { [ "$2" -ge 2 ] || fail "$1: needs a value; see build.sh --help"; }

while [ $# -gt 0 ]; do
	case $1 in
	--cache) value "$1" $#; cache=$2; shift ;;
	--output) value "$1" $#; output=$2; shift ;;
	--fragment) value "$1" $#; extra="$extra ${2%.config}"; shift ;;
	--jobs) value "$1" $#; jobs=$2; shift ;;
	--source) value "$1" $#; source=$2; shift ;;
	--discard-tree) discard=yes ;;
	--update-lock) update_lock=yes ;;
	--help | -h) usage; exit 0 ;;
	*) fail "$1: unknown option; see build.sh --help" ;;
	esac
	shift
done
[ -n "$cache" ] || fail "--cache: missing; name a directory"
[ -n "$output" ] || fail "--output: missing; name a file"
case $jobs in '' | *[!0-9]* | 0) fail "--jobs $jobs: not a number of processes; give 1 or more" ;; esac
[ "$update_lock" = no ] || [ -z "$extra" ] ||
	fail "--update-lock: the lock describes the product kernel; leave out --fragment"
[ "$update_lock" = no ] || [ -z "$source" ] ||
	fail "--update-lock: the lock describes the product kernel; leave out --source"
[ -z "$source" ] || [ -r "$source" ] || fail "--source $source: not found; name a .tar.xz"
for tool in gcc ld make flex bison bc xz strip readelf flock; do
	command -v "$tool" >/dev/null || fail "$tool: not found; run 'make deps'"
done
names='' patches=''
for f in $fragments $extra; do
	case $f in */* | .*) fail "--fragment $f: not a name; give one of the .config files in $here without the ending" ;; esac
	[ -r "$here/$f.config" ] || fail "--fragment $f: $here/$f.config not found; see kernel-config/README.md"
	names="$names $f.config"
	[ ! -e "$here/$f.patch" ] || patches="$patches $f.patch"
done
[ -z "$patches" ] || command -v patch >/dev/null || fail "patch: not found; run 'make deps-check'"

mkdir -p "$cache" || fail "$cache: cannot be created; choose another --cache"
cache=$(cd "$cache" && pwd)
lock_value() { [ ! -r "$lockfile" ] || sed -n "s/^$1 = //p" "$lockfile"; }
origin_value() { sed -n "s/^$1 = //p" "$source.origin"; }

# ---- what this kernel is made of -------------------------------------------------------------------

gcc_version=$(gcc --version | sed 1q) ld_version=$(ld --version | sed 1q)
locked=$(lock_value source_sha256)

# look_up SHA-256: sets tarball, the source's, and result, where the kernel is when it was built before.
look_up() {
	tarball=$1
	result=$cache/$(cd "$here" && {
		printf '%s\n' "$recipe" "$tarball" "$gcc_version" "$ld_version" "$names"
		# shellcheck disable=SC2086 # names without spaces, checked above
		cat $names $patches
	} | sha256sum | cut -c1-32)
}

if [ -n "$source" ]; then
	look_up "$(sha256sum <"$source" | cut -d' ' -f1)"
else
	source=$cache/source.tar.xz
	look_up "$locked"
	# Who has the kernel needs no source.
	if [ $update_lock = yes ]; then
		"$here/fetch.sh" --output "$source" --newest
		look_up "$(origin_value source_sha256)"
	elif [ ! -e "$result/vmlinux" ]; then
		"$here/fetch.sh" --output "$source"
		look_up "$(origin_value source_sha256)"
	fi
fi

# ---- finish: give the result to the caller ---------------------------------------------------------

finish() {
	mkdir -p "$(dirname "$output")"
	if ! cmp -s "$result/vmlinux" "$output"; then
		cp --reflink=auto "$result/vmlinux" "$output.tmp.$$"
		mv "$output.tmp.$$" "$output"
	fi
	if [ $update_lock = yes ]; then write_lock; fi
	if [ $discard = yes ]; then rm -rf "$cache"/src-* "$cache"/obj-*; fi
	exit 0
}

write_lock() {
	{
		printf '# What the guest kernel is built from, and what came out. Written by build.sh --update-lock.\n'
		printf 'package = %s\nsuite = %s\n' "$(origin_value package)" "$(origin_value suite)"
		printf 'version = %s\nsource_sha256 = %s\n' "$(origin_value version)" "$tarball"
		printf 'gcc = %s\nld = %s\n' "$gcc_version" "$ld_version"
		printf 'config_sha256 = %s\n' "$(sha256sum <"$result/config" | cut -d' ' -f1)"
		printf 'vmlinux_sha256 = %s\n' "$(sha256sum <"$result/vmlinux" | cut -d' ' -f1)"
	} >"$lockfile.tmp.$$"
	mv "$lockfile.tmp.$$" "$lockfile"
}

# A result appears by one rename, so a hit needs no lock.
if [ -e "$result/vmlinux" ] && [ $discard = no ]; then finish; fi

# ---- one build at a time ---------------------------------------------------------------------------

exec 9>"$cache/lock"
if ! flock -n 9; then
	printf 'Waiting for another kernel build in %s\n' "$cache" >&2
	flock 9
fi
if [ -e "$result/vmlinux" ]; then finish; fi

child=
# shellcheck disable=SC2317 # called by the trap
stop() {
	trap '' INT TERM HUP
	# The compiler runs in its own process group, which a signal to this script does not reach.
	if [ -n "$child" ]; then
		kill -TERM -- "-$child" 2>/dev/null || true
		wait "$child" 2>/dev/null || true
	fi
	[ ! -t 2 ] || printf '\n' >&2
	fail "kernel build: interrupted; run the same command to start again"
}
trap stop INT TERM HUP

# What a killed run left; the lock is ours, so nobody uses it. Always the same name, because the kernel's
# build tools compare paths and would compile everything again in a copy that has another.
work=$cache/tmp-build
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
mkdir "$work"
log=$work/build.log
minutes=$(((usual_seconds + 60 * jobs - 1) / (60 * jobs)))

# Runs a command as a process group of its own with the log as its output. It keeps the lock (fd 9) open:
# should this script be killed outright, nobody touches the tree before the last compiler is gone.
logged() {
	setsid "$@" >>"$log" 2>&1 </dev/null &
	child=$!
	began=$(date +%s) said=$began files=
	while kill -0 "$child" 2>/dev/null; do
		sleep 0.5
		now=$(date +%s)
		[ "$phase" != compiling ] || files=", $(grep -c '^  [A-Z]' "$log" || true) of about $usual_files files"
		if [ -t 2 ]; then
			printf '\r  %s: %ss%s ' "$phase" $((now - began)) "$files" >&2
		elif [ $((now - said)) -ge 10 ]; then
			said=$now
			printf '  %s: %ss%s\n' "$phase" $((now - began)) "$files" >&2
		fi
	done
	[ ! -t 2 ] || printf '\r%70s\r' '' >&2
	rc=0
	wait "$child" || rc=$?
	child=
	return $rc
}

broken() {
	mv "$log" "$cache/failed.log"
	tail -n 15 "$cache/failed.log" >&2
	fail "$1; see $cache/failed.log"
}

# ---- the source ------------------------------------------------------------------------------------

unpack() {
	printf 'Unpacking the kernel source\n' >&2
	phase=unpacking
	mkdir "$work/src"
	# Without the largest parts that no option here can reach.
	logged tar -xf "$source" -C "$work/src" --strip-components=1 --no-same-owner \
		--exclude='*/drivers/gpu/drm/amd/include/asic_reg' --exclude='*/Documentation/devicetree' \
		--exclude='*/tools/testing' || broken "$source: cannot be unpacked"
}

# A patched tree is this build's alone. The other one is kept; it gets its final name when it is whole.
src=$cache/src-$(printf '%s' "$tarball" | cut -c1-12)
if [ -n "$patches" ]; then
	src=$work/src
	unpack
	for p in $patches; do
		logged patch -d "$src" -p1 --fuzz=0 -i "$here/$p" || broken "$p: does not fit this source"
	done
elif [ ! -d "$src" ]; then
	unpack
	rm -rf "$cache"/src-*
	mv "$work/src" "$src"
fi

# ---- the objects -----------------------------------------------------------------------------------

# Nothing of the caller's environment reaches the kernel's build: neither MAKEFLAGS nor CFLAGS nor a name.
build() {
	logged env -i PATH="$PATH" LC_ALL=C TZ=UTC KBUILD_BUILD_USER=capsid KBUILD_BUILD_HOST=capsid \
		KBUILD_BUILD_VERSION=1 KBUILD_BUILD_TIMESTAMP=2023-11-14 SOURCE_DATE_EPOCH=1699920000 \
		KCONFIG_ALLCONFIG="$work/merged.config" \
		make -C "$src" O="$obj" ARCH=x86_64 -j"$jobs" "$1"
}

# A later fragment overrides an earlier one; allnoconfig wants each symbol once.
(cd "$here" && {
	# shellcheck disable=SC2086 # as above
	cat $names
}) | awk -F= '/^CONFIG_/ { if (!($1 in v)) order[++n] = $1; v[$1] = substr($0, length($1) + 2) }
	END { for (i = 1; i <= n; i++) print order[i] "=" v[order[i]] }' >"$work/merged.config"

# The product kernel starts from nothing, so that its bytes depend on its inputs alone. A variant of the same
# source starts from the product's objects and compiles what its options change.
obj=$work/obj
objects=$cache/obj-$(printf '%s\n' "$tarball" "$gcc_version" "$ld_version" | sha256sum | cut -c1-12)
if [ -n "$extra" ] && [ -z "$patches" ] && [ -d "$objects" ]; then
	printf 'Building a variant of the guest kernel:%s (log: %s)\n' "$extra" "$log" >&2
	cp -a "$objects" "$obj"
else
	printf 'Building the guest kernel (about %s minutes; log: %s)\n' "$minutes" "$log" >&2
	mkdir "$obj"
fi

phase=configuring
build allnoconfig || broken "kernel: configuration failed"
while IFS='=' read -r name want; do
	got=$(sed -n "s/^$name=//p" "$obj/.config")
	if [ "${got:-n}" != "$want" ]; then
		mv "$obj/.config" "$cache/failed.config"
		fail "$name: the fragments ask for $want, the kernel's rules make it ${got:-n};" \
			"look up what it depends on and name that too (whole result: $cache/failed.config)"
	fi
done <"$work/merged.config"

phase=compiling
build vmlinux || broken "kernel: compilation failed"

# Symbol names serve nobody: the guest has no kallsyms, and System.map stays with the objects.
mkdir "$work/result"
strip -o "$work/result/vmlinux" "$obj/vmlinux"
# Without this note a VMM does not find the PVH entry point (type 18: XEN_ELFNOTE_PHYS32_ENTRY).
readelf -n "$work/result/vmlinux" 2>/dev/null | grep -q 'Xen .*0x00000012\|XEN_ELFNOTE_PHYS32_ENTRY' ||
	fail "vmlinux: has no PVH entry note; is CONFIG_PVH=y?"
cp "$obj/.config" "$work/result/config"
cp "$log" "$work/result/build.log"
if [ -z "$extra" ]; then
	rm -rf "$cache"/obj-*
	mv "$obj" "$objects"
fi
mv "$work/result" "$result"
rm -rf "$work"

# The same source, tools and configuration must give the bytes that the lock records.
if [ -z "$extra" ] && [ $update_lock = no ] && [ "$locked" = "$tarball" ] &&
	[ "$(lock_value gcc)" = "$gcc_version" ] && [ "$(lock_value ld)" = "$ld_version" ] &&
	[ "$(lock_value config_sha256)" = "$(sha256sum <"$result/config" | cut -d' ' -f1)" ] &&
	[ "$(lock_value vmlinux_sha256)" != "$(sha256sum <"$result/vmlinux" | cut -d' ' -f1)" ]; then
	printf 'Warning: the kernel is not the one that kernel.lock records, though its inputs are the same\n' >&2
fi
printf 'Built %s (%s MB)\n' "$output" "$(($(stat -c %s "$result/vmlinux") / 1000000))" >&2
finish
