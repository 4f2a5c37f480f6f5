"""Runs in a guest: tries to get where it may not, and prints what came of each try as JSON."""
import errno
import json
import os
import socket
import sys
import urllib.request

PROXY = ("127.0.0.1", 3128)
outcomes = {}


def exchange(data, end=b"\r\n\r\n", then=b""):
    """What the relay answers, up to end."""
    with socket.create_connection(PROXY, timeout=60) as s:
        try:
            s.sendall(data)
            got = b""
            while end not in got and len(got) < 4096:
                more = s.recv(4096)
                if not more:
                    break
                got += more
                if then and end in got:
                    s.sendall(then)
                    return got + s.recv(4096)
            return got
        except ConnectionError:
            return b"reset"


def connect(target):
    return exchange(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()).split(b"\r\n")[0].decode()


def get(url):
    return exchange(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).split(b"\r\n")[0].decode()


def socks(request):
    greeting = exchange(b"\5\1\0", b"\5\0", request)
    return "socks " + " ".join(str(b) for b in greeting[2:4])


def attempt(name, function, *args):
    try:
        outcomes[name] = function(*args)
    except Exception as e:
        outcomes[name] = f"{type(e).__name__}: {e}"


def direct(family, kind, address):
    with socket.socket(family, kind) as s:
        s.settimeout(5)
        try:
            s.connect(address)
            s.send(b"x")
            return "sent"
        except OSError as e:
            return errno.errorcode.get(e.errno, str(e))


def follow(url):
    try:
        return urllib.request.urlopen(url, timeout=60).read().decode()
    except urllib.error.HTTPError as e:
        return f"HTTP {e.code} {e.reason}"


def half_open(count):
    """Connections that say nothing, or half of something, and one that works beside them."""
    held = []
    for i in range(count):
        s = socket.create_connection(PROXY, timeout=60)
        if i % 2:
            s.send(b"CONNECT 127.0.0.1:80 HT")
        held.append(s)
    answer = get("http://public.test/")
    for s in held:
        s.close()
    return answer


def flood(count):
    for _ in range(count):
        s = socket.socket()
        s.settimeout(60)
        s.connect(PROXY)
        s.close()
    return get("http://public.test/")


def main():
    plan = json.load(open("plan.json", encoding="utf-8"))
    for target in plan["connect"]:
        attempt("connect " + target, connect, target)
    for url in plan["get"]:
        attempt("get " + url, get, url)
    for name, data in plan["socks"].items():
        attempt("socks " + name, socks, bytes.fromhex(data))
    for i in range(plan["rebind"]):
        attempt(f"rebind {i}", get, f"http://rebind{i}.wild.test/")
    attempt("redirect", follow, "http://public.test/redirect")
    attempt("huge header", exchange, b"GET http://public.test/ HTTP/1.1\r\nX: " + b"a" * 200000)
    outcomes["huge header"] = repr(outcomes["huge header"][:20])
    attempt("not a proxy's request", get, "/")
    attempt("half open", half_open, plan["half_open"])
    attempt("flood", flood, plan["flood"])
    attempt("direct TCP", direct, socket.AF_INET, socket.SOCK_STREAM, ("93.184.216.34", 80))
    attempt("direct TCP 6", direct, socket.AF_INET6, socket.SOCK_STREAM, ("2606:4700::1111", 80))
    attempt("direct UDP", direct, socket.AF_INET, socket.SOCK_DGRAM, ("93.184.216.34", 53))
    try:
        outcomes["direct name"] = socket.gethostbyname("public.test")
    except OSError as e:
        outcomes["direct name"] = type(e).__name__
    attempt("by variables", follow, "http://public.test/")
    attempt("tunnel", tunnel)
    outcomes["variables"] = sorted(k for k in os.environ if "proxy" in k.lower())
    json.dump(outcomes, sys.stdout)


def tunnel():
    """Through CONNECT, and the end of each direction by itself."""
    with socket.create_connection(PROXY, timeout=60) as s:
        s.sendall(b"CONNECT echo.wild.test:443 HTTP/1.1\r\n\r\nearly ")
        got = b""
        while b"\r\n\r\n" not in got:
            got += s.recv(1000)
        for _ in range(40):
            s.sendall(b"x" * 10000)
        s.shutdown(socket.SHUT_WR)
        total = len(got.split(b"\r\n\r\n", 1)[1])
        while more := s.recv(65536):
            total += len(more)
        return total


main()
