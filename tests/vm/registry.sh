# A registry of a test's own, sourced after lib.sh; its end is the trap's of the test: end_registry.
# shellcheck shell=bash disable=SC2154
for tool in skopeo docker-registry busybox; do
	command -v $tool >/dev/null || {
		echo "SKIP: $tool is not installed; 'make deps-check' installs it"
		exit 77
	}
done
registry=
# shellcheck disable=SC2317 # called by the trap
end_registry() { [ -z "$registry" ] || kill "$registry"; }

# The port is free when it gets to serve.
try_registry() {
	local port=$1
	cat >"$TMPDIR/registry.yml" <<END
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $TMPDIR/registry}}
http: {addr: "127.0.0.1:$port"}
END
	docker-registry serve "$TMPDIR/registry.yml" >"$TMPDIR/registry.log" 2>&1 &
	registry=$!
	for _ in $(seq 600); do
		kill -0 "$registry" 2>/dev/null || break
		# It answers, and it is ours that answers: another program on the port would have ended it.
		if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && sleep 0.2 && kill -0 "$registry" 2>/dev/null; then
			return 0
		fi
		sleep 0.1
	done
	wait "$registry"
	registry=
	return 1
}

# Sets port.
start_registry() {
	local try
	port=
	for try in 1 2 3 4 5; do
		port=$((20000 + (RANDOM % 20000)))
		try_registry $port && return
		[ "$try" != 5 ] || fail "no registry: $(tail -n 3 "$TMPDIR/registry.log")"
	done
}

# copy_image FROM TO, as skopeo names them.
copy_image() {
	local policy=()
	[ -e /etc/containers/policy.json ] || policy=(--insecure-policy)
	skopeo "${policy[@]}" copy --dest-tls-verify=false "$1" "$2" >/dev/null || fail "$1 cannot be copied to $2"
}
