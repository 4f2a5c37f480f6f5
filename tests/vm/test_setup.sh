#!/bin/bash
# timeout: 200
# capsid setup makes what it says, once, undoes only what it made, and survives whatever happens in between. It works on
# copies of /etc and /var/lib that only this test sees.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
if [ -z "${SETUP_NAMESPACE:-}" ]; then
	if ! unshare --mount true 2>/dev/null || [ "$(id -u)" != 0 ]; then
		echo "SKIP: only root can have a view of /etc of its own"
		exit 77
	fi
	SETUP_NAMESPACE=1 exec unshare --mount --propagation private "$0"
fi
. "$SRC/tests/vm/lib.sh"

if ! { mkdir "$TMPDIR/layers" && mount -t tmpfs tmpfs "$TMPDIR/layers" && mkdir "$TMPDIR"/layers/{upper,work} &&
	mount -t overlay -o "lowerdir=/etc,upperdir=$TMPDIR/layers/upper,workdir=$TMPDIR/layers/work" overlay /etc &&
	mount -t tmpfs tmpfs /var/lib && mount -t tmpfs tmpfs /mnt; }; then
	fail "no view of /etc of its own"
	finish
fi
rm -rf /etc/capsid
: >/etc/subuid
: >/etc/subgid
userdel capsid 2>/dev/null
groupdel capsid 2>/dev/null
groupadd --force --system kvm
mkdir -p /etc/udev
export CAPSID_HOME=/var/lib/capsid

# Everything that setup may touch, without the backups that passwd(5)'s tools make.
state_of_system() {
	find /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/subuid /etc/subgid /etc/capsid /etc/udev /var/lib \
		-printf '%y %m %U %G %p ' \( -type f -exec sha256sum {} \; -o -printf '\n' \) 2>/dev/null | sort
}
# What setup said of a step.
said() {
	awk -v step="$1" '$2 == step { print $1 }' <<<"$out"
}
# setup WHAT ARGUMENTS...: must succeed.
setup() {
	local what=$1
	shift
	capsid setup --quiet "$@"
	[ "$status" = 0 ] || fail "$what: status $status, $err"
}
# complain WHAT PATTERN ARGUMENTS...: one line on standard error, status 1.
complain() {
	local what=$1 pattern=$2
	shift 2
	capsid setup --quiet "$@"
	expect "$what: status" "$status" 1
	expect_match "$what: error" "$err" "Error: $pattern"
}

mkdir "$TMPDIR/www" "$TMPDIR/release"
head -c 3000000 /dev/urandom >"$TMPDIR/www/vmlinux"
echo other >"$TMPDIR/www/other"
sha=$(sha256sum <"$TMPDIR/www/vmlinux" | cut -c 1-64)
other=$(sha256sum <"$TMPDIR/www/other" | cut -c 1-64)
python3 "$SRC/tests/vm/setup_server.py" "$TMPDIR/www" "$TMPDIR/port" &
server=$!
trap 'kill $server' EXIT
for _ in $(seq 600); do
	[ -s "$TMPDIR/port" ] && break
	sleep 0.05
done
url=http://127.0.0.1:$(cat "$TMPDIR/port")
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY

# ---- the plain way there and back ---------------------------------------------------------------------

fresh=$(state_of_system)
all=(--kvm udev --kernel "$url/vmlinux" --kernel-sha256 "$sha")
setup "dry run" --dry-run "${all[@]}"
expect "dry run: all is to do" "$(grep -vc '^to do ' <<<"$out") $(wc -l <<<"$out")" "0 7"
expect "dry run: changes nothing" "$(state_of_system)" "$fresh"

setup "first" "${all[@]}"
expect "first: all was made" "$(grep -vc '^made ' <<<"$out")" 0
expect_match "user" "$(getent passwd capsid)" "capsid:*:*:*::/var/lib/capsid:/usr/sbin/nologin"
expect_match "group" "$(getent group capsid)" "capsid:*"
expect "ids" "$(grep '^capsid:' /etc/subuid) $(grep '^capsid:' /etc/subgid)" "capsid:900000:65536 capsid:900000:65536"
expect "state directory" "$(stat -c '%U %a' /var/lib/capsid)" "root 700"
expect "kernel" "$(sha256sum </var/lib/capsid/bin/vmlinux | cut -c 1-64)" "$sha"
expect_match "setting" "$(cat /etc/capsid/capsid.conf)" "*kernel = /var/lib/capsid/bin/vmlinux*"
expect_match "udev rule" "$(cat /etc/udev/rules.d/60-capsid-kvm.rules)" '*KERNEL=="kvm", GROUP="capsid", MODE="0660"*'
(
	unset CAPSID_KERNEL
	"$CAPSID" doctor
) >"$TMPDIR/doctor" 2>&1
expect_match "capsid uses it" "$(grep kernel "$TMPDIR/doctor")" "*/var/lib/capsid/bin/vmlinux*"
rm -rf /var/lib/capsid/{cache,images,locks,log,run,snapshots}

made=$(state_of_system)
setup "second" "${all[@]}"
expect "second: nothing to do" "$(grep -vc '^done ' <<<"$out")" 0
expect "second: changes nothing" "$(state_of_system)" "$made"
capsid setup --json --dry-run
expect "JSON" "$(python3 -c 'import json,sys; print({s["verdict"] for s in json.load(sys.stdin)["steps"]})' <<<"$out")" "{'done'}"

setup "remove, dry run" --remove --dry-run
expect "remove, dry run: changes nothing" "$(state_of_system)" "$made"
setup "remove" --remove
expect "remove: all is as it was" "$(state_of_system)" "$fresh"
setup "remove again" --remove
expect "remove again: says and does nothing" "$out$(state_of_system)" "$fresh"

# ---- what was there before stays ------------------------------------------------------------------------

useradd --system --user-group --no-create-home capsid
mkdir -p /etc/capsid /var/lib/capsid/images
echo precious >/var/lib/capsid/images/precious
printf '%s\n' '# of the administrator' '[capsid]' 'timeout = 7' 'kernel = /boot/own' '' '; the end' >/etc/capsid/capsid.conf
printf 'someone:900000:65536\nelse:970000:10\n' | tee /etc/subuid >/etc/subgid
before=$(state_of_system)
setup "beside others" --kvm group --kernel "$TMPDIR/www/vmlinux" --kernel-sha256 "$sha"
expect "beside others: the user was there" "$(said user)" "done"
expect "beside others: a range behind theirs" "$(grep '^capsid:' /etc/subuid)" "capsid:970010:65536"
expect_match "beside others: group kvm" "$(id -nG capsid)" "*kvm*"
expect "beside others: other settings stay" "$(grep -Ev '^(kernel|vm_uids)' /etc/capsid/capsid.conf)" \
	$'# of the administrator\n[capsid]\ntimeout = 7\n\n; the end'
expect "beside others: one setting is replaced" "$(grep -c ^kernel /etc/capsid/capsid.conf)" 1
setup "another kernel" --kernel "$TMPDIR/www/other" --kernel-sha256 "$other"
expect "another kernel: replaced" "$(cat /var/lib/capsid/bin/vmlinux)" other
setup "beside others, remove" --remove
expect "beside others, remove: all is as it was" "$(state_of_system)" "$before"
setup "changed since" --kernel "$TMPDIR/www/vmlinux" --kernel-sha256 "$sha"
sed -i 's|^kernel = .*|kernel = /boot/newer|' /etc/capsid/capsid.conf
setup "changed since, remove" --remove
expect_match "changed since: said" "$out" "*kernel was changed since*"
expect "changed since: stays" "$(grep ^kernel /etc/capsid/capsid.conf)" "kernel = /boot/newer"
complain "ids of others" "ids 900000-900009 are partly in use*" --vm-uids 900000-900009
userdel capsid
rm -rf /etc/capsid /var/lib/capsid
: >/etc/subuid
: >/etc/subgid
fresh=$(state_of_system)

# ---- mistakes and bad luck ----------------------------------------------------------------------------------

complain "no digest" "--kernel needs --kernel-sha256*" --kernel "$url/vmlinux"
complain "no file" "--kernel-sha256 needs --kernel" --kernel-sha256 "$sha"
complain "not a digest" "--kernel-sha256 must be 64 *" --kernel "$url/vmlinux" --kernel-sha256 abc
complain "not a way to KVM" "--kvm is \"all\", but must be*" --kvm all
complain "not a range" "--vm-uids is \"9-1\", but must be*" --vm-uids 9-1
expect "mistakes change nothing" "$(state_of_system)" "$fresh"
cp "$CAPSID" /mnt/capsid && chmod 755 /mnt
HOME=/ setpriv --reuid 65534 --clear-groups /mnt/capsid setup >"$TMPDIR/out" 2>"$TMPDIR/err"
expect "ordinary user: status" $? 1
expect_match "ordinary user: error" "$(cat "$TMPDIR/err")" \
	"Error: setup needs root for *user capsid*/etc/capsid*--dry-run*without root capsid works*.local/share/capsid"
HOME=/ setpriv --reuid 65534 --clear-groups /mnt/capsid setup --dry-run >"$TMPDIR/out" 2>"$TMPDIR/err"
expect_match "ordinary user: may look" "$? $(grep -c '^to do' "$TMPDIR/out")" "0 [45]"

bad() {
	complain "$1" "kernel: $2" --kernel "$3" --kernel-sha256 "${4:-$sha}"
	expect "$1: no kernel" "$(ls -A /var/lib/capsid/bin)" ""
	expect "$1: no setting" "$(grep -s ^kernel /etc/capsid/capsid.conf)" ""
}
bad "wrong digest" "*/vmlinux has the SHA-256 $sha, not $other; nothing was installed" "$url/vmlinux" "$other"
bad "no such page" "cannot get *404*" "$url/nowhere"
bad "cut short" "cannot get *" "$url/short/vmlinux"
bad "cut short, no length" "*has the SHA-256 *" "$url/cut/vmlinux"
bad "redirected for ever" "cannot get *redirect*" "$url/round/vmlinux"
bad "redirected to a file" "cannot get *" "$url/away/vmlinux"
bad "another protocol" "cannot get *" "ftp://127.0.0.1/vmlinux"
bad "nobody answers" "cannot get *" "http://127.0.0.1:1/vmlinux"
bad "no such file" "cannot open /nowhere*" /nowhere
bad "a device" "/dev/zero is not a regular file" /dev/zero
setup "redirected" --kernel "$url/moved/vmlinux" --kernel-sha256 "$sha"
expect "redirected: kernel" "$(sha256sum </var/lib/capsid/bin/vmlinux | cut -c 1-64)" "$sha"
setup "remove after trouble" --remove
expect "after trouble: all is as it was" "$(state_of_system)" "$fresh"

# ---- killed in the middle -------------------------------------------------------------------------------------

for delay in 0.01 0.03 0.06 0.1 0.15 0.2 0.3 1.5; do
	timeout --foreground --signal=KILL $delay "$CAPSID" setup --kvm udev --kernel "$url/slow/vmlinux" --kernel-sha256 "$sha" \
		>/dev/null 2>&1
	sleep 1 # a tool for accounts ends its work
	if [ $delay = 0.06 ] || [ $delay = 0.2 ]; then
		setup "killed after $delay s, removed" --remove
		expect "killed after $delay s, removed: all is as it was" "$(state_of_system)" "$fresh"
	else
		setup "killed after $delay s, again" "${all[@]}"
		expect "killed after $delay s, again: as without" "$(state_of_system)" "$made"
		setup "killed after $delay s, again, removed" --remove
		expect "killed after $delay s, again, removed: all is as it was" "$(state_of_system)" "$fresh"
	fi
done
timeout --signal=TERM 0.7 "$CAPSID" setup --kernel "$url/slow/vmlinux" --kernel-sha256 "$sha" >/dev/null 2>"$TMPDIR/err"
expect_match "interrupted: error" "$(tail -n 1 "$TMPDIR/err")" "Error: kernel: interrupted"
setup "interrupted, removed" --remove
expect "interrupted, removed: all is as it was" "$(state_of_system)" "$fresh"

# ---- another tree, as builders of images need it -----------------------------------------------------------------

mkdir -p "$TMPDIR/tree/etc"
cp /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/login.defs "$TMPDIR/tree/etc/"
setup "tree" --root "$TMPDIR/tree" --kernel "$TMPDIR/www/vmlinux" --kernel-sha256 "$sha"
expect "tree: this system is untouched" "$(state_of_system)" "$fresh"
expect "tree: user and kernel" "$(grep -c ^capsid: "$TMPDIR/tree/etc/passwd") $(ls "$TMPDIR/tree/var/lib/capsid/bin")" "1 vmlinux"
expect_match "tree: paths are those of the tree's own system" "$(cat "$TMPDIR/tree/etc/capsid/capsid.conf")" \
	"*kernel = /var/lib/capsid/bin/vmlinux*"
setup "tree, remove" --root "$TMPDIR/tree" --remove
expect "tree, remove" "$(grep -c ^capsid: "$TMPDIR/tree/etc/passwd") $(find "$TMPDIR/tree" -name '*capsid*')" "0 "

# ---- a release's archive ---------------------------------------------------------------------------------------------

echo program >"$TMPDIR/release/firecracker-v9.9.9-x86_64"
echo symbols >"$TMPDIR/release/firecracker-v9.9.9-x86_64.debug"
tar -C "$TMPDIR" -czf "$TMPDIR/www/firecracker.tgz" --sort=name release
tgz=$(sha256sum <"$TMPDIR/www/firecracker.tgz" | cut -c 1-64)
if CAPSID_FIRECRACKER=/x "$CAPSID" setup --dry-run --firecracker "$url/firecracker.tgz" --firecracker-sha256 "$tgz" >/dev/null 2>&1; then
	setup "archive" --firecracker "$url/firecracker.tgz" --firecracker-sha256 "$tgz"
	expect "archive: the program in it" "$(cat /var/lib/capsid/bin/firecracker)" program
	complain "archive without it" "jailer: *there is no program jailer in the archive" --jailer "$url/firecracker.tgz" --jailer-sha256 "$tgz"
	setup "archive, again" --firecracker "$url/firecracker.tgz" --firecracker-sha256 "$tgz"
	expect "archive, again: nothing to do" "$(said firecracker)" "done"
	setup "archive, removed" --remove
else
	complain "no setting for it" "this capsid has no setting firecracker" --firecracker "$url/x" --firecracker-sha256 "$tgz"
fi
"$BUILD/share/capsid/fetch" unpack firecracker 1000 <"$TMPDIR/www/firecracker.tgz" >"$TMPDIR/out"
expect "unpacked" "$? $(cat "$TMPDIR/out")" "0 program"
"$BUILD/share/capsid/fetch" unpack firecracker 3 <"$TMPDIR/www/firecracker.tgz" >"$TMPDIR/out" 2>"$TMPDIR/err"
expect "unpacked, too large" "$? $(cat "$TMPDIR/err")" "1 firecracker in it is larger than 3 bytes"
head -c 100 "$TMPDIR/www/firecracker.tgz" | "$BUILD/share/capsid/fetch" unpack firecracker 1000 >/dev/null 2>"$TMPDIR/err"
expect_match "unpacked, damaged" "$(cat "$TMPDIR/err")" "the archive is damaged: *"
"$BUILD/share/capsid/fetch" get "$url/vmlinux" 1000 >/dev/null 2>"$TMPDIR/err"
expect_match "fetched, too large" "$(cat "$TMPDIR/err")" "*/vmlinux is larger than 1000 bytes"
finish
