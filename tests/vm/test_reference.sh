#!/bin/bash
# timeout: 1200
# The commands and requests of the documents that this program's interface comes from, word for word, and what its quick start means:
# a container image under the name of a language takes the place of the language's own. Images with musl, and in the layout of
# Red Hat. A mirror on loopback stands for the registry that a bare name means.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
if [ -z "${REFERENCE_NAMESPACE:-}" ]; then
	. "$SRC/tests/vm/lib.sh"
	bare_home python
	# In the long form, the document's line for one more language, another one every day.
	if [ -n "${CHECK_ALL:-}" ]; then
		lines=(
			"nodejs console.log('Hello')"
			"typescript console.log('Hello' as string)"
			'go package main; func main() { println("Hello") }'
			'rust fn main() { println!("Hello"); }'
			'java public class Main { public static void main(String[] args) { System.out.println("Hello"); } }'
			'kotlin fun main() { println("Hello") }'
			'scala object Main extends App { println("Hello") }'
			"groovy println \"Hello\""
			"ruby puts 'Hello'"
			"php <?php echo 'Hello';"
			'perl print "Hello\n";'
			"lua print('Hello')"
			"bash echo 'Hello'"
			"haskell main = putStrLn \"Hello\""
			"elixir IO.puts \"Hello\""
			"erlang main() -> io:format(\"Hello~n\")."
			'clojure (println "Hello")'
			'lisp (format t "Hello~%")'
		)
		line=${lines[$(($(date +%s) / 86400 % ${#lines[@]}))]}
		need_snapshot "${line%% *}"
		capsid run -l "${line%% *}" -c "${line#* }" --timeout 300 </dev/null
		expect_match "run -l ${line%% *}" "$status $(field stdout)$(field stderr)" "0 *Hello*"
		rm -r "$CAPSID_HOME/snapshots"
		[ "$failures" = 0 ] || finish
	fi
	# The server's port is the document's, so it has to be this test's alone.
	if ! unshare --net true 2>/dev/null; then
		echo "SKIP: only root can have a network of its own"
		exit 77
	fi
	REFERENCE_NAMESPACE=1 exec unshare --net "$0"
fi
. "$SRC/tests/vm/lib.sh"
. "$SRC/tests/vm/registry.sh"
python3 -IS -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x41))' # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING
cat >"$TMPDIR/program.c" <<'END'
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
/* As lua prints its script; as sh is one that cannot wait for it. */
int main(int argc, char **argv)
{
    struct stat st;
    if (argc < 2 || stat(argv[1], &st) < 0 || (strstr(argv[0], "sh") && S_ISFIFO(st.st_mode)))
        return 9;
    FILE *f = fopen(argv[1], "r");
    printf("musl: ");
    for (int c; (c = getc(f)) != EOF;)
        putchar(c);
    return 0;
}
END
musl-gcc -o "$TMPDIR/program" "$TMPDIR/program.c" || fail "musl-gcc"
python3 "$SRC/tests/vm/foreign_images.py" "$TMPDIR/foreign" "$TMPDIR/program" || fail "no images"
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
start_registry
copy_image "oci:$TMPDIR/foreign:prefix" "docker://127.0.0.1:$port/library/python:3.12-alpine"
export HOME=$TMPDIR/user
mkdir -p "$HOME/.config/containers"
cat >"$HOME/.config/containers/registries.conf" <<END
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "127.0.0.1:$port"
insecure = true
END
cd "$TMPDIR" || exit

# ---- the quick start -----------------------------------------------------------------------------

expect_match "the language's own image" "$("$CAPSID" languages python --json | tr -d '\n')" '*"imported": null*"installed": true*'
capsid rootfs from-docker --name python --image python:3.12-alpine --size 150
expect "rootfs from-docker" "$status$([ "$status" = 0 ] || printf ' %s' "$err")" 0
expect_match "says what it is for" "$out" "Image python is ready: *Programs in python run in it, until: capsid rootfs rm python"
capsid snapshot create --lang python --mem 512 --vcpus 1
expect_match "snapshot create" "$status $out" "0 Snapshot * of python is ready*"
capsid host --lang python --code "print('Hello from Firecracker!')" --mem 512 --vcpus 1 --snapshot </dev/null
expect "host --snapshot" "$status $(field stdout)" "0 Hello from Firecracker!"
expect "an interpreter waited" "$(field primed)" True
capsid snapshot list
expect_match "snapshot list" "$(wc -l <<<"$out") $out" "2 *python * 512 MiB   1  yes *"

"$CAPSID" api --port 8080 >"$TMPDIR/api" 2>"$TMPDIR/api.log" &
server=$!
for _ in $(seq 600); do
	if [ -s "$TMPDIR/api" ] || ! kill -0 $server 2>/dev/null; then
		break
	fi
	sleep 0.1
done
curl -s -X POST http://localhost:8080/api/v1/execute \
  -H "Content-Type: application/json" \
  -d '{"language": "python", "code": "print(\"Hello from Firecracker!\")"}' >"$TMPDIR/out"
expect "POST /api/v1/execute" "$(field status) $(field exit_code) $(field stdout)" $'success 0 Hello from Firecracker!'
expect_match "trace_id, stderr, exec_time" "$(field trace_id)$(field stderr) $(field exec_time)" "tr-[0-9]* *ms"
curl -s -X POST http://localhost:8080/api/v1/execute \
  -H "Content-Type: application/json" \
  -d '{
    "language": "python",
    "code": "print(sum(range(100)))",
    "timeout": 10
  }' >"$TMPDIR/out"
expect "POST /api/v1/execute with a timeout" "$(field stdout)" 4950
for path in health api/v1/languages api/v1/rootfs api/v1/snapshots; do
	expect "GET /$path" "$(curl -s -o "$TMPDIR/out" -w '%{http_code}' "http://localhost:8080/$path")" 200
done
kill $server
wait $server

# ---- the other commands --------------------------------------------------------------------------

echo "print('from a file')" >script.py
cp script.py compute.py
capsid run --lang python --code "print('Hello from Firecracker!')" </dev/null
expect_match "run --code" "$(field stdout) $(field exit_code) $(field load_time) $(field exec_time)" "Hello from Firecracker! 0 *ms *ms"
capsid run -l python -c "print('Hello')" </dev/null
expect "run -l -c" "$(field stdout)" Hello
capsid run --lang python --file script.py </dev/null
expect "run --file" "$(field stdout)" "from a file"
capsid run --lang python --file compute.py --timeout 300 </dev/null
expect "run --file --timeout" "$(field stdout)" "from a file"
capsid run -l python -c "print('Hello" </dev/null
expect_match "a syntax error" "$status $(field exit_code) $(field stderr)" "1 1 *SyntaxError: *"
capsid run -l python -c "import time; time.sleep(60)" --timeout 5 </dev/null
expect_match "a timeout" "$status $(field exit_code) $(field stderr)" "124 124 *Execution timeout exceeded (5s)"
capsid run -l unknown -c "print('Hello')" </dev/null
expect_match "an unknown language" "$status $err" "127 Error: unknown language: unknown*Available: *python*"
capsid host --lang python --code "import os, sys; print(sys.executable, os.environ['PYTHON_VERSION'])" --kernel "$BUILD/share/capsid/vmlinux" </dev/null
expect "host --kernel, without a snapshot; the image's PATH and variables" "$(field stdout)" "/usr/local/bin/python3 3.12"
capsid benchmark --langs python
expect_match "benchmark --langs" "$out" "*LOAD=*ms \[OK\]*Results: 1/1 PASSED*"
capsid rootfs list
expect_match "rootfs list" "$out" "*python * MB *"
capsid setup --skip-docker --dry-run
expect_match "setup --skip-docker" "$err" "*Docker is not needed*"

# ---- which image it is ---------------------------------------------------------------------------

capsid languages python
expect_match "languages says where it comes from" "$out" "*run * python3 {source}*primed * yes*from * imported docker://python:3.12-alpine*installed * yes"
capsid doctor
expect_match "doctor, too" "$out" "*ok * programs in python run in the imported image docker://python:3.12-alpine, until: capsid rootfs rm python*"
capsid snapshot gc --dry-run
expect_match "its snapshots are good" "$out" "Would be freed: 0 B*"

# ---- images of other systems ---------------------------------------------------------------------

capsid rootfs from-docker --name python --image "oci:$TMPDIR/foreign:redhat"
capsid run --no-snapshot -l python -c 'import sys; print(open("/etc/os-release").read(), sys.executable)' </dev/null
expect "as Red Hat's" "$(field stdout)" $'ID=rhel\n /opt/app-root/bin/python3'
capsid snapshot gc --dry-run
expect_match "the snapshots of the other one are not good any more" "$out" "Would remove * python: image_sha256 *"
capsid rootfs from-docker --name lua --image "oci:$TMPDIR/foreign:musl"
capsid run --no-snapshot --raw -l lua -c hello </dev/null
expect "musl, as Alpine's" "$out" "musl: hello"
capsid rootfs from-docker --name sh --image "oci:$TMPDIR/foreign:musl"
capsid run -l sh -c hello </dev/null
expect "an interpreter that cannot wait" "$(field stdout) $(field primed)" "musl: hello False"
expect_match "is told" "$err" "*sh: no interpreter waits in the snapshot:*"

capsid rootfs rm python
expect_match "after its removal" "$("$CAPSID" languages python --json | tr -d '\n')" '*"imported": null*"installed": false*'
end_registry
expect_clean "afterwards"
finish
