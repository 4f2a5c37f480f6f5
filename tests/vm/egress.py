"""The checks of test_egress.sh, in a network namespace where every address is this machine's."""
import json
import os
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request

PUBLIC = "93.184.216.34"
OTHER = "93.184.216.99"
tmp = os.environ["TMPDIR"]
failures = 0


def expect(what, got, wanted):
    global failures
    if got == wanted:
        print("ok:", what)
    else:
        print(f"FAILED: {what}: got [{got}], wanted [{wanted}]")
        failures += 1


# ---- the world ---------------------------------------------------------------------------------------

asked = []
turns = {}


def addresses(name):
    """What the name server says: (addresses of IPv4, of IPv6)."""
    fixed = {
        "public.test": ([PUBLIC], []),
        "private.test": (["10.1.2.3"], []),
        "mixed.test": (["10.1.2.3", PUBLIC], []),
        "mapped.test": ([], ["::ffff:127.0.0.1"]),
        "meta.test": (["169.254.169.254"], []),
        "loop.test": (["127.0.0.1"], ["::1"]),
        "echo.wild.test": ([PUBLIC], []),
        "own.test": (["198.41.0.4"], []),
    }
    if name.startswith("rebind"):  # one answer, and then another
        turns[name] = turns.get(name, 0) + 1
        return ([PUBLIC] if turns[name] == 1 else ["127.0.0.1"]), []
    return fixed.get(name, ([], []))


def answer_name(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    name, kind = ".".join(labels).lower(), struct.unpack(">H", query[at + 1 : at + 3])[0]
    asked.append(name)
    four, six = addresses(name)
    data = [socket.inet_pton(socket.AF_INET, a) for a in four] if kind == 1 else []
    data = [socket.inet_pton(socket.AF_INET6, a) for a in six] if kind == 28 else data
    known = 0x8180 if four or six else 0x8183
    head = query[:2] + struct.pack(">HHHHH", known, 1, len(data), 0, 0)
    records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(d)) + d for d in data)
    return head + query[12 : at + 5] + records


class Names(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        sock.sendto(answer_name(data), self.client_address)


reached = []


class World(socketserver.BaseRequestHandler):
    """Every address, on each port that is listened on: remembers who was reached."""

    def handle(self):
        here = self.request.getsockname()
        reached.append((here[0].removeprefix("::ffff:"), here[1]))
        if here[1] == 443:  # echoes
            while data := self.request.recv(65536):
                self.request.sendall(data)
            return
        request = self.request.recv(65536).decode("latin-1")
        if request.startswith("GET /redirect "):
            reply = "HTTP/1.1 302 Found\r\nLocation: http://10.1.2.3/secret\r\nContent-Length: 0\r\n\r\n"
        else:
            reply = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
        self.request.sendall(reply.encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    address_family = socket.AF_INET6
    request_queue_size = 128


proxied = []


class Proxy(socketserver.StreamRequestHandler):
    """The machine's own proxy."""

    def handle(self):
        line = self.rfile.readline().decode()
        head = line
        while (more := self.rfile.readline()) not in (b"\r\n", b""):
            head += more.decode()
        proxied.append(head)
        host, port = line.split()[1].rsplit(":", 1)
        self.wfile.write(b"HTTP/1.1 200 fine\r\n\r\n")
        self.rfile.read1(65536)
        self.wfile.write(f"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nby proxy {host} {port}".encode())


def start(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()


def make_world():
    def run(*argv):
        subprocess.run(argv, check=True)

    run("ip", "link", "set", "lo", "up")
    for half in ("0.0.0.0/1", "128.0.0.0/1"):
        run("ip", "route", "add", "local", half, "dev", "lo")
    for half in ("::/1", "8000::/1"):
        run("ip", "-6", "route", "add", "local", half, "dev", "lo")
    run("ip", "address", "add", "198.41.0.4/32", "dev", "lo")
    for name, text in {"resolv.conf": "nameserver 127.0.0.1\n", "nsswitch.conf": "hosts: files dns\n"}.items():
        with open(f"{tmp}/{name}", "w", encoding="utf-8") as f:
            f.write(text)
        run("mount", "--bind", f"{tmp}/{name}", os.path.realpath(f"/etc/{name}"))
    start(socketserver.ThreadingUDPServer(("127.0.0.1", 53), Names))
    for port in (22, 80, 443, 8080):
        start(Server(("::", port), World))
    proxy = socketserver.ThreadingTCPServer(("127.0.0.1", 3129), Proxy)
    start(proxy)


# ---- what a program tries ----------------------------------------------------------------------------

LOOPBACK = [
    "127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1",
    "017700000001", "0", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "localhost", "localhost.", "loop.test",
]
OTHERS = [
    "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.100.100.200", "169.254.169.254", "168.63.129.16", "198.18.0.1",
    "224.0.0.1", "255.255.255.255", "[fe80::1]", "[fd00:ec2::254]", "[fc00::1]", "[ff02::1]", OTHER, "1.1.1.1",
    "198.41.0.4", "own.test", "[2606:4700::1111]", "private.test", "PRIVATE.Test.", "mapped.test", "meta.test",
    "notallowed.test", "secret-data.notallowed.test", "xpublic.test", "public.test.evil.test", "wild.test",
]
PORTS = ["public.test:22", "public.test:8080", "echo.wild.test:22"]
URLS = ["http://127.0.0.1/", "http://public.test@127.0.0.1/", "http://127.0.0.1#@public.test/", "http://[::1]/"]
SOCKS = {
    "127.0.0.1": "05010001" + "7f000001" + "0050",
    "169.254.169.254": "05010001" + "a9fea9fe" + "0050",
    "::1": "05010004" + "00" * 15 + "01" + "0050",
    "::ffff:127.0.0.1": "05010004" + "00" * 10 + "ffff7f000001" + "0050",
    "localhost": "05010003" + "09" + b"localhost".hex() + "0050",
    "2130706433": "05010003" + "0a" + b"2130706433".hex() + "0050",
    "bind": "05020001" + "7f000001" + "0050",
}
RULES = ["public.test", "*.wild.test", "private.test", "mapped.test", "meta.test", "loop.test", "own.test", "mixed.test"]


def capsid(*args, env=None):
    done = subprocess.run([os.environ["CAPSID"], "run", "-l", "python", *args], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False, env={**os.environ, **(env or {})})
    try:
        return json.loads(done.stdout), done.stderr
    except ValueError:
        print(f"FAILED: no result: {done.stderr[-2000:]}")
        sys.exit(1)


def check_attempts():
    plan = {"connect": [h + ":80" for h in LOOPBACK + OTHERS] + PORTS, "get": URLS, "socks": SOCKS, "rebind": 4,
            "half_open": 150, "flood": 10000 if os.environ.get("CHECK_ALL") else 1000}
    os.makedirs(f"{tmp}/program")
    with open(f"{tmp}/program/plan.json", "w", encoding="utf-8") as f:
        json.dump(plan, f)
    with open(f"{os.environ['SRC']}/tests/guest/egress_attempts.py", encoding="utf-8") as f, \
            open(f"{tmp}/program/main.py", "w", encoding="utf-8") as to:
        to.write(f.read())
    rules = [word for r in RULES for word in ("--net", r)]
    result, log = capsid("-v", "-t", "300", *rules, "-f", f"{tmp}/program")
    if result["exit_code"] != 0:
        print("FAILED: the program:", result["stderr"][-2000:])
        sys.exit(1)
    outcomes = json.loads(result["stdout"])
    logged = [line for line in log.splitlines() if " event=connection " in line]
    print(f"{result['exec_time']}, {len(logged)} connections logged, {len(result['network'])} in the result")
    check_refused(outcomes, result, logged, plan)
    check_allowed(outcomes, result)


def check_refused(outcomes, result, logged, plan):
    for name, outcome in outcomes.items():
        kind = name.split()[0]
        if kind == "connect":
            expect(name, outcome[:12] in ("HTTP/1.1 403", "HTTP/1.1 502" if "mapped" in name else ""), True)
        elif kind == "get":
            expect(name, outcome[:10], "HTTP/1.1 4")
        elif kind == "socks":
            expect(name, outcome, "socks 5 7" if name == "socks bind" else "socks 5 2")
    for i in range(plan["rebind"]):
        expect(f"a name that changes its address, {i}", outcomes[f"rebind {i}"][:12] in ("HTTP/1.1 200", "HTTP/1.1 403"), True)
    expect("a redirect to what is not allowed", outcomes["redirect"][:8], "HTTP 403")
    expect("a huge header", outcomes["huge header"][:14] in ("b'HTTP/1.1 431", "b'reset'"), True)
    expect("no proxy's request", outcomes["not a proxy's request"][:12], "HTTP/1.1 400")
    expect("TCP past the relay", outcomes["direct TCP"], "ENETUNREACH")
    expect("IPv6 past the relay", outcomes["direct TCP 6"] in ("ENETUNREACH", "EADDRNOTAVAIL"), True)
    expect("UDP past the relay", outcomes["direct UDP"], "ENETUNREACH")
    expect("names past the relay", outcomes["direct name"], "gaierror")
    expect("nobody was reached that may not be", sorted({r for r in reached if r[0] != PUBLIC or r[1] not in (80, 443)}), [])
    expect("no name was looked up that no rule has",
           sorted({n for n in asked if "notallowed" in n or "evil" in n or n in ("localhost", "xpublic.test", "wild.test")}), [])
    told = {(n["host"], n["port"]): n for n in result["network"]}
    for target in plan["connect"]:
        host, port = target.strip("[").replace("]", "").rsplit(":", 1)
        entry = told.get((host, int(port)))
        expect(f"{target} is in the result", entry and entry["decision"] not in ("allowed", "failed"), True)
        expect(f"{target} is in the log", any(f"host={host} port={port} " in line for line in logged), True)
    expect("who named no host is in the result", told[("", 0)]["decision"], "malformed")


def check_allowed(outcomes, result):
    expect("half-open connections do not stop others", outcomes["half open"], "HTTP/1.1 200 OK")
    expect("nor do thousands", outcomes["flood"], "HTTP/1.1 200 OK")
    expect("what is allowed, by the variables", outcomes["by variables"], "hello")
    expect("a tunnel with both its ends", outcomes["tunnel"], 400006)
    expect("the variables", outcomes["variables"],
           sorted(["http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
                   "NODE_USE_ENV_PROXY"]))
    entry = next(n for n in result["network"] if n["host"] == "echo.wild.test" and n["port"] == 443)
    expect("its row", {k: entry[k] for k in ("address", "decision", "connections", "bytes_in", "bytes_out")},
           {"address": PUBLIC, "decision": "allowed", "connections": 1, "bytes_in": 400006, "bytes_out": 400006})


FETCH = "import sys, urllib.request, urllib.error\nfor u in sys.argv[1:]:\n try: print(urllib.request.urlopen(u, timeout=50).read().decode())\n except urllib.error.HTTPError as e: print(e.code, e.reason)\n"


T = ("-t", "120")  # seconds, on a busy machine


def check_named():
    """Private addresses by their number; and a name with two addresses, of which one may be reached."""
    reached.clear()
    result, _ = capsid(*T, "--net", "127.0.0.1:8080", "--net", "10.0.0.0/8:80", "--net", "mixed.test", "-e", "no_proxy=", "-c", FETCH,
                       "--", "http://127.0.0.1:8080/", "http://10.1.2.3/", "http://127.0.0.1/", "http://mixed.test/")
    expect("what is named by its number", result["stdout"].split("\n")[:2], ["hello", "hello"])
    expect("but for other ports", result["stdout"].split("\n")[2][:30], "403 not_allowed: no rule allow")
    expect("reached", sorted({r for r in reached}), sorted({("127.0.0.1", 8080), ("10.1.2.3", 80)}))
    reached.clear()
    result, _ = capsid(*T, "--net", "mixed.test", "-c", FETCH, "--", "http://mixed.test/")
    expect("of two addresses the one that is allowed", (result["stdout"].strip(), reached), ("hello", [(PUBLIC, 80)]))


def check_upstream():
    env = {"http_proxy": "http://us%65r:secret@127.0.0.1:3129", "https_proxy": "http://127.0.0.1:3129", "no_proxy": "public.test"}
    reached.clear()
    result, _ = capsid(*T, "--net", "*", "-c", FETCH, "--", "http://unknown-here.test/", "http://public.test/", "http://private.test/",
                       env=env)
    expect("by the machine's own proxy, directly, and not at all", result["stdout"].split("\n")[:2],
           ["by proxy unknown-here.test 80", "hello"])
    expect("an address that is private", result["stdout"].split("\n")[2][:20], "403 special_address:")
    expect("the proxy was asked once", [p.split("\r\n")[0] for p in proxied], ["CONNECT unknown-here.test:80 HTTP/1.1"])
    expect("with its password", "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" in proxied[0], True)


def check_usage():
    done = subprocess.run([os.environ["CAPSID"], "run", "-l", "python", "-c", "1", "--net", "http://x/"], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)
    expect("a rule that is none", (done.returncode, done.stderr[:24]), (1, "Error: http://x/: its po"))
    result, _ = capsid(*T, "-c", "import os, socket\nprint([k for k in os.environ if 'proxy' in k.lower()])\n"
                             "try: socket.create_connection(('127.0.0.1', 3128))\nexcept OSError as e: print(type(e).__name__)")
    expect("without --net there is nothing", result["stdout"], "[]\nConnectionRefusedError\n")
    expect("nor in the result", "network" in result, False)


SAY = """import socket, sys
for port in (8080, 22):
    with socket.create_connection(("127.0.0.1", 3128)) as s:
        s.sendall(b"GET http://10.1.2.3:%d/ HTTP/1.1\\r\\n\\r\\n" % port)
        print(s.recv(100).split(b"\\r\\n")[0].decode()[:20])
"""


def check_server():
    """A token's own rules bound those of a request; the connections are made by the part of the server that has the rights."""
    tokens = {}
    with open(f"{tmp}/tokens", "w", encoding="utf-8") as f:
        for name in ("alice", "bob"):
            made = subprocess.run([os.environ["CAPSID"], "api", "--new-token", name], capture_output=True, text=True, check=True).stdout
            tokens[name], line = (part.split(":", 1)[1].strip() for part in made.strip().splitlines())
            f.write(line + "\n")
    with open(f"{tmp}/policy", "w", encoding="utf-8") as f:
        f.write("# who may reach what\nalice 10.0.0.0/8:8080\n")
    server = subprocess.Popen([os.environ["CAPSID"], "api", "-v", "--port", "8089", "--pool", "off", "--tokens", f"{tmp}/tokens", "--net-policy",
                               f"{tmp}/policy"], stdout=subprocess.PIPE, stderr=open(f"{tmp}/api.log", "w", encoding="utf-8"), text=True)
    for line in server.stdout:
        if line.startswith("ready"):
            break
    else:
        with open(f"{tmp}/api.log", encoding="utf-8") as f:
            print("FAILED: no server:", f.read()[-2000:])
        sys.exit(1)

    def post(name, path, **body):
        request = urllib.request.Request(f"http://127.0.0.1:8089/api/v1/{path}", json.dumps(body).encode(),
                                         {"Authorization": f"Bearer {tokens[name]}", "Content-Type": "application/json"})
        try:
            return json.load(urllib.request.urlopen(request, timeout=300))
        except urllib.error.HTTPError as e:
            return json.load(e)

    both = ["10.1.2.3:22,8080"]
    run = post("alice", "execute", language="python", code=SAY, net=both, timeout=120)
    expect("a run over HTTP", run["stdout"].split("\n")[:2], ["HTTP/1.1 200 OK", "HTTP/1.1 403 not_all"])
    expect("its connections", [(n["port"], n["decision"]) for n in run["network"]], [(8080, "allowed"), (22, "not_allowed")])
    refused = post("bob", "execute", language="python", code=SAY, net=both)
    expect("a token without rules", refused["message"][:47], "this server allows your programs no network (ca")
    session = post("alice", "sessions", language="python", net=both)
    for turn in ("first", "second"):
        run = post("alice", f"sessions/{session['id']}/execute", code=SAY, timeout=120)
        expect(f"a session's {turn} program", run["stdout"].split("\n")[:2], ["HTTP/1.1 200 OK", "HTTP/1.1 403 not_all"])
    server.terminate()
    expect("the server's end", server.wait(120), 0)
    server.stdout.close()
    with open(f"{tmp}/api.log", encoding="utf-8") as f:
        log = f.read()
    expect("who decides tells of it", log.count("event=dial "), 6)
    expect("and so does who asks", log.count("event=connection "), 6)


make_world()
check_attempts()
check_named()
check_upstream()
check_usage()
check_server()
sys.exit(failures > 0)
