#!/bin/bash
# timeout: 600
# What this machine's own pip is set up for, from within a guest: TLS through the proxy; in make check-all pip itself.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err and failures
. "$SRC/tests/vm/lib.sh"

# The index that pip uses here, a certificate bundle, and where the index has its files.
index=$(python3 -m pip config get global.index-url 2>/dev/null ||
	python3 -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)' 2>/dev/null)
bundle=${PIP_CERT:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}
mkdir "$TMPDIR/program"
hosts=$(python3 - "${index:-none}" "$bundle" "$TMPDIR/program/ca.crt" <<'END'
import re, shutil, ssl, sys, urllib.parse, urllib.request
index, bundle, to = sys.argv[1:]
page = index.rstrip("/") + "/six/"
text = urllib.request.urlopen(page, context=ssl.create_default_context(cafile=bundle), timeout=20).read().decode()
links = {urllib.parse.urlsplit(urllib.parse.urljoin(page, link)) for link in re.findall('href="([^"]+)"', text)}
shutil.copy(bundle, to)
for url in {urllib.parse.urlsplit(page)} | links:
    print(url.hostname, url.port or (443 if url.scheme == "https" else 80))
END
) || {
	echo "SKIP: the package index that pip is set up for cannot be reached from this machine"
	exit 77
}
need_snapshot python

# Each by its name; and by its number, too, where that is none of the Internet: a mirror of this network.
rules=()
while read -r host port; do
	rules+=(--net "$host:$port")
	for address in $(getent ahosts "$host" | awk '{ print $1 }' | sort -u); do
		case $address in
		*:*) rules+=(--net "[$address]:$port") ;;
		*) rules+=(--net "$address:$port") ;;
		esac
	done
done < <(sort -u <<<"$hosts")

cat >"$TMPDIR/program/main.py" <<'END'
import runpy, ssl, sys, urllib.request
page = urllib.request.urlopen(sys.argv[1].rstrip("/") + "/six/", context=ssl.create_default_context(cafile="ca.crt"), timeout=100)
print("six-" in page.read().decode())
if len(sys.argv) > 2:
    sys.path.insert(0, "pip.whl")
    sys.argv = ["pip", "install", "-q", "--no-cache-dir", "--cert", "ca.crt", "--index-url", sys.argv[1], "--target", "got", "six"]
    try:
        runpy.run_module("pip", run_name="__main__")
    except SystemExit as e:
        print("pip", e.code)
    sys.path.insert(0, "got")
    import six
    print(six.__name__)
END
capsid run -l python -t 200 "${rules[@]}" -f "$TMPDIR/program" -- "$index" </dev/null
expect "the index over TLS" "$(field stdout)$err" True
if [ -n "${CHECK_ALL:-}" ]; then
	cp "$(python3 -c 'import ensurepip, glob, os; print(glob.glob(os.path.dirname(ensurepip.__file__) + "/_bundled/pip-*.whl")[0])')" \
		"$TMPDIR/program/pip.whl"
	capsid run -l python -t 300 "${rules[@]}" -f "$TMPDIR/program" -- "$index" pip </dev/null
	expect "pip install, and what it installed" "$(field stdout)" $'True\npip 0\nsix'
fi
finish
