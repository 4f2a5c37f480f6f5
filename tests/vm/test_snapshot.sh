#!/bin/bash
# timeout: 400
# The snapshot store: what a key is made of, show, verify, rm and gc, and that nobody loses a snapshot that is in use.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
bare_home python

capsid snapshot create --lang python --json
key=$(field key)
snapshot=$CAPSID_HOME/snapshots/$key
[ ${#key} = 64 ] || fail "no key: $out $err"

# ---- the manifest ---------------------------------------------------------------------------------

for file in memory state; do
	expect "manifest: SHA-256 of $file" \
		"$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["files"][sys.argv[2]]["sha256"])' "$snapshot/manifest.json" $file)" \
		"$(sha256sum <"$snapshot/$file" | cut -d ' ' -f 1)"
done
expect "manifest: the key is the digest of the inputs" "$(python3 -c '
import hashlib, json, sys
inputs = json.load(open(sys.argv[1]))["inputs"]
text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
print(hashlib.sha256(text.encode()).hexdigest())' "$snapshot/manifest.json")" "$key"
expect "the memory file has no page of zeros that is not a hole" "$(python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
at = zeros = data = 0
while True:
    try:
        at = os.lseek(fd, at, os.SEEK_DATA)
    except OSError:
        break
    end = os.lseek(fd, at, os.SEEK_HOLE)
    while at < end:
        page = os.pread(fd, 4096, at)
        zeros += page.count(0) == 4096
        data += 1
        at += 4096
print(zeros, data > 1000)' "$snapshot/memory")" "0 True"

# ---- show, verify, list ---------------------------------------------------------------------------

capsid snapshot show "${key:0:12}"
expect_match "show" "$out" "Key       $key*Primed    yes*Current   yes*accelerator*kernel_sha256*memory_mib*256*vmm_version       QEMU*"
capsid snapshot show "$key" --json
expect "show --json: current, reason" "$(field current) $(field reason)" "True None"
expect_match "show --json: sizes" "$(field apparent_bytes) $(field allocated_bytes)" "26??????? [1-9]???????"
capsid snapshot list --json
expect_match "list: what is allocated" "$out" "*\"allocated_bytes\": $((($(stat -c %b "$snapshot/memory") + $(stat -c %b "$snapshot/state")) * 512)),*"
capsid snapshot verify
expect "verify: status" "$status" 0
expect "verify" "$out" "ok       ${key:0:16}  python"
capsid snapshot verify "${key:0:9}" --json
expect "verify --json" "$(field snapshots)" "[{'key': '$key', 'language': 'python', 'ok': True, 'problem': ''}]"
CAPSID_KERNEL_ARGS=nosmap capsid snapshot show "$key"
expect_match "show names the input that is another now" "$out" '*Current   no: kernel_arguments (was "", is "nosmap")*'
CAPSID_KERNEL=/nowhere capsid snapshot show "$key"
expect_match "show without a kernel" "$out" "*Current   unknown: *nowhere*"
if [ -w /dev/kvm ] && grep -q '"accelerator": "tcg"' "$snapshot/manifest.json" && grep -q '^flags' /proc/cpuinfo; then
	capsid snapshot show "$key" --accel kvm
	expect_match "with KVM the processor and the host's kernel count" "$out" \
		"*Current   no: *accelerator (was \"tcg\", is \"kvm\")*cpu_flags_sha256 (was nothing, is *host_kernel (was nothing, is \"$(uname -r)\")*"
fi
for wrong in "show" "rm" "show nothing" "verify zz" "list x" "frob"; do
	# shellcheck disable=SC2086
	capsid snapshot $wrong
	expect "snapshot $wrong: status" "$status" 1
	expect "snapshot $wrong: one line" "$(wc -l <"$TMPDIR/err")" 1
done

for words in $'a\nb' $'\xff\xfe'; do
	CAPSID_KERNEL_ARGS=$words capsid run -l python -c 'print(1)' </dev/null
	expect_match "kernel arguments that are no text" "$status $err" "1 Error: the kernel's arguments, or another setting, are not plain text*"
done

# ---- in use ---------------------------------------------------------------------------------------

"$CAPSID" run -l python --raw -t 300 -c 'import time; print("in", flush=True); time.sleep(300)' </dev/null >"$TMPDIR/run" 2>&1 &
pid=$!
for _ in $(seq 600); do
	grep -q in "$TMPDIR/run" && break
	sleep 0.1
done
capsid snapshot rm "$key"
expect "rm of one in use: status" "$status" 1
expect_match "rm of one in use" "$err" "Error: snapshot ${key:0:16} is used by another process; *"
capsid snapshot create -l python --force
expect "replacing one in use: status" "$status" 1
expect_match "replacing one in use" "$err" "Error: snapshot ${key:0:16} is used by another process; *"
CAPSID_KERNEL_ARGS=nosmap capsid snapshot gc --json
expect "gc leaves one in use" "$(field removed) $(field freed_bytes)" "[] 0"
expect_match "gc says so" "$(field kept)" "*$key*is used by another process*"
kill -0 "$pid" || fail "the run did not live on"
kill -TERM "$pid"
wait "$pid"
[ -f "$snapshot/memory" ] || fail "a snapshot in use was removed"

# ---- the VMM's version, and gc --------------------------------------------------------------------

# shellcheck disable=SC2016 # for the other shell
printf '#!/bin/sh\n[ "$1" != --version ] || echo asked >>%s\nexec qemu-system-x86_64 "$@"\n' "$TMPDIR/asked" >"$TMPDIR/other-qemu"
chmod +x "$TMPDIR/other-qemu"
export CAPSID_QEMU=$TMPDIR/other-qemu CAPSID_VMM_CALLS=lenient # a script executes QEMU
capsid snapshot create --lang python --json
other=$(field key)
capsid run -l python --raw -c 'print("other")' </dev/null
expect "with another QEMU" "$out" other
capsid snapshot show "$key"
expect_match "the first one is of another QEMU" "$out" "*Current   no: vmm_sha256 (was *"
expect "the VMM was asked for its version once" "$(cat "$TMPDIR/asked")" asked
unset CAPSID_QEMU CAPSID_VMM_CALLS

mkdir "$CAPSID_HOME/snapshots/${key//[0-9]/a}" "$CAPSID_HOME/snapshots/notes"
echo '{}' >"$CAPSID_HOME/snapshots/${key//[0-9]/a}/manifest.json"
capsid snapshot list
expect_match "list shows what cannot be used" "$out" "*(unusable)*"
capsid snapshot verify
expect "verify with one that cannot be used: status" "$status" 1
expect_match "verify with one that cannot be used" "$out" "*corrupt  *manifest.json is not valid*capsid snapshot rm*"

capsid snapshot gc --dry-run --json
expect_match "gc --dry-run" "$(field removed)" "*$other*vmm_sha256*"
case $out in *"$key"*) fail "gc would remove the current one" ;; esac
[ -d "$CAPSID_HOME/snapshots/$other" ] || fail "gc --dry-run removed one"
capsid snapshot gc --keep-days 1 --json
expect "gc --keep-days" "$(field removed)" "[]"
digest=$CAPSID_HOME/cache/digest-$(printf %s "$CAPSID_HOME/snapshots/$other/memory" | sha256sum | cut -c 1-32)
sleep 1.1
CAPSID_VMM_CALLS=lenient CAPSID_QEMU=$TMPDIR/other-qemu capsid run -l python --raw -c 1 </dev/null
[ -f "$digest" ] || fail "the digest is not remembered"
CAPSID_KERNEL=/nowhere capsid snapshot gc
expect "gc without a kernel: status" "$status" 1
[ -d "$snapshot" ] || fail "gc without a kernel removed a snapshot"
capsid snapshot gc
expect "gc: status" "$status" 0
expect_match "gc" "$out" "*Removed ${other:0:16}  *MB  python: vmm_sha256 *Freed: *MB*"
expect "gc: what is left" "$(ls "$CAPSID_HOME/snapshots")" "$(printf '%s\nnotes' "$key")"
[ ! -e "$digest" ] || fail "the digest of a removed file is still remembered"
capsid snapshot gc
expect "gc again" "$out" "Freed: 0 B"

own_data
cp "$data/languages/c.ini" "$TMPDIR/data/languages/"
CAPSID_DATA=$TMPDIR/data capsid snapshot gc --dry-run
expect_match "gc: the language is gone" "$out" "Would remove ${key:0:16}  *MB  python: there is no language python*"
mv "$CAPSID_HOME/images/names/python.json" "$TMPDIR/python.json"
capsid snapshot gc --dry-run
expect_match "gc: the image is gone" "$out" "Would remove ${key:0:16}  *MB  python: the image of python is missing*"
mv "$TMPDIR/python.json" "$CAPSID_HOME/images/names/"

capsid snapshot rm "${key:0:16}"
expect_match "rm" "$out" "Removed snapshot ${key:0:16}, * MB"
[ ! -e "$snapshot" ] || fail "rm: it is still there"
expect_clean "after all"
finish
