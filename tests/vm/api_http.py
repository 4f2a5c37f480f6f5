"""What the HTTP API of a live server makes of requests as such: those that HTTP forbids (RFC 9112), those that name all of a URI, and
those of other origins' pages. Prints "ok: ..." or "FAILED: ..." lines; exit status 1 when one failed."""

import http.client
import json
import socket
import sys

import api
from api import Server, expect, metric, wait_for

RUN = "/api/v1/execute"
BODY = b'{"language": "klingon", "code": "1"}'  # whoever reads this far says 400 E011
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(*lines, body=BODY, version=b"HTTP/1.1"):
    return b"\r\n".join((b"POST /api/v1/execute " + version, b"Host: localhost", b"Content-Type: application/json", *lines, b"", body))


def send(s, data):
    """The status of each answer until the server closes, and whether it does, and the code of the last refusal of ours."""
    got, closes = b"", False
    with socket.create_connection(("127.0.0.1", s.port), timeout=10) as c:
        try:
            c.sendall(data)
            while chunk := c.recv(65536):
                got += chunk
            closes = True
        except ConnectionResetError:
            closes = True
        except TimeoutError:
            pass
    parts = got.split(b"HTTP/1.1 ")[1:]
    code = None
    if parts and b"application/json" in parts[-1]:
        code = json.loads(parts[-1].partition(b"\r\n\r\n")[2]).get("code")
    return [int(part[:3]) for part in parts], closes, code


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

FORBIDDEN = {
    "a length and chunks": post(LENGTH, CHUNKED, body=CHUNKS),
    "chunks and a length": post(CHUNKED, LENGTH, body=CHUNKS),
    "two lengths": post(LENGTH, b"Content-Length: 3"),
    "the same length twice": post(LENGTH, LENGTH),
    "a list of lengths": post(LENGTH + b", %d" % len(BODY)),
    "a length with a sign": post(LENGTH.replace(b": ", b": +")),
    "a length of hexadecimal digits": post(b"Content-Length: 0x24"),
    "no length": post(b"Content-Length:"),
    "a length before a NUL": post(LENGTH + b"\0 1"),
    "a name after a blank": post(b" X: 1", LENGTH),
    "a blank before the colon": post(LENGTH.replace(b":", b" :")),
    "a tab before the colon": post(CHUNKED.replace(b":", b"\t:"), body=CHUNKS),
    "a header without a name": post(LENGTH, b": 1"),
    "a header without a colon": post(LENGTH, b"X"),
    "a name with a NUL": post(LENGTH, b"X\0: 1"),
    "a value with a NUL": post(LENGTH, b"X: 1\0Y: 2"),
    "a value with a carriage return": post(LENGTH, b"X: 1\rY: 2"),
    "a line that begins with a NUL": post(LENGTH, b"\0X: 1"),
    "a value on two lines": post(LENGTH, b"X: 1", b" 2"),
    "a name of two lines": post(b"Content-Lengt: %d" % len(BODY), b" h"),
    "an unknown coding": post(b"Transfer-Encoding: gzip"),
    "a coding besides chunks": post(b"Transfer-Encoding: gzip, chunked", body=CHUNKS),
    "chunks after a blank character": post(b"Transfer-Encoding: \x0bchunked", body=CHUNKS),
    "chunks twice": post(CHUNKED, CHUNKED, body=CHUNKS),
    "chunks in quotes": post(b'Transfer-Encoding: "chunked"', body=CHUNKS),
    "chunks with HTTP/1.0": post(CHUNKED, body=CHUNKS, version=b"HTTP/1.0"),
    "a NUL in the path": HEALTH.replace(b"/health", b"/health\0x"),
    "a NUL at the end of the path": HEALTH.replace(b"/health", b"/health\0"),
    "a NUL in the query": HEALTH.replace(b"/health", b"/health?a\0x"),
    "a NUL in the method": HEALTH.replace(b"GET", b"GET\0X"),
    "two blanks before the path": HEALTH.replace(b"GET ", b"GET  "),
    "two blanks after the path": HEALTH.replace(b" HTTP", b"  HTTP"),
    "a blank in the path": HEALTH.replace(b"/health", b"/health x"),
    "a path that is none": HEALTH.replace(b"/health", b"health"),
    "no host": HEALTH.replace(b"Host: localhost\r\n", b""),
    "two hosts": HEALTH.replace(b"Host: localhost\r\n", b"Host: localhost\r\nHost: localhost\r\n"),
    "a host with a user": HEALTH.replace(b"localhost", b"x@localhost"),
    "a URI with a user": HEALTH.replace(b"/health", b"http://x@localhost/health"),
    "a URI without a host": HEALTH.replace(b"/health", b"http:///health"),
    "a URI whose host is encoded": HEALTH.replace(b"/health", b"http://localhost%2fx/health"),
}


def test_forbidden(s):
    for what, request in FORBIDDEN.items():
        found, closes, code = send(s, request + HEALTH)
        # The library closes without a word where the first line is none; what it refuses itself may get two answers.
        expect(f"{what}: 400, and the end", (found, closes, code),
               lambda got: set(got[0]) <= {400} and got[1] and got[2] in ("E001", None))
    expect("none of them was heard of", metric(s, 'capsid_http_requests_total{method="POST",path="/api/v1/execute",status="400"}'), None)


def test_allowed(s):
    for what, request in {
        "a length": post(LENGTH), "chunks": post(CHUNKED, body=CHUNKS), "chunks in capitals": post(CHUNKED.upper(), body=CHUNKS),
        "blanks after the colon": post(LENGTH.replace(b": ", b": \t ")), "no blank": post(LENGTH.replace(b": ", b":")),
        "an empty value": post(LENGTH, b"X:", b"Y: "), "a long head": post(LENGTH, *(b"X-%d: %s" % (i, b"x" * 250) for i in range(100))),
        "a cookie": post(LENGTH, b"Cookie: a=b; c=d"), "a query": post(LENGTH).replace(b"execute ", b"execute?a=b&c=%20d&e "),
        "a value of any bytes": post(LENGTH, b"X: \xff\tx"), "an extension of a chunk": post(CHUNKED, body=CHUNKS.replace(b"\r\n", b";x=y\r\n", 1)),
    }.items():
        found, _, _ = send(s, request + HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        expect(f"{what} and the next request", found, [400, 200])
    expect("all were heard of", metric(s, 'capsid_http_requests_total{method="POST",path="/api/v1/execute",status="400"}'), 11)


def test_whole_uri(s):
    for what, line, host, status in (
        ("a URI", "http://localhost/health", "localhost", 200), ("with a port", "http://127.0.0.1:1/health", "localhost", 200),
        ("of another scheme", "HTTPS://[::1]/health", "localhost", 200), ("with a query", "http://localhost/health?a=b", "localhost", 200),
        ("its host is the one that counts", "http://localhost/health", "evil.example", 200),
        ("also a wrong one", "http://evil.example/health", "localhost", 421), ("of the page", "http://localhost", "localhost", 200),
        ("of the page, with a query", "http://localhost?x", "localhost", 200),
        ("decoded once", "http://localhost/%68ealth", "localhost", 200), ("nothing is there", "http://localhost/x", "localhost", 404),
    ):
        found, _, _ = send(s, f"GET {line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        expect(f"{what}: {line}", found, [status])


def asks(s, method, path, **headers):
    """The code of the refusal."""
    c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=60)
    headers = {name.replace("_", "-"): value.replace("PORT", str(s.port)) for name, value in headers.items()}
    c.request(method, path, BODY if method in ("POST", "PUT") else None, {"Content-Type": "application/json", **headers})
    value = json.loads(c.getresponse().read())
    c.close()
    return value.get("code")


OWN, OTHER = "http://127.0.0.1:PORT", "https://evil.example"


def test_origins():
    with Server() as s:
        for method, path, fine in (("POST", RUN, "E011"), ("DELETE", "/api/v1/operations/op-0", "E007"),
                                   ("POST", "/api/v1/snapshots", None), ("PUT", "/api/v1/sessions/s/files/x", "E007")):
            refused = {"another origin": {"Origin": OTHER}, "none that is told": {"Origin": "null"}, "another port": {"Origin": OWN + "1"},
                       "another site": {"Sec_Fetch_Site": "cross-site"}, "a neighbour": {"Sec_Fetch_Site": "same-site"},
                       "another site's origin": {"Origin": OTHER, "Sec_Fetch_Site": "cross-site"}}
            for what, headers in refused.items():
                expect(f"{method} {path}: {what}", asks(s, method, path, **headers), "E017")
            for what, headers in {"no browser": {}, "the page": {"Origin": OWN, "Sec_Fetch_Site": "same-origin"}, "its origin alone": {"Origin": OWN},
                                  "its user": {"Sec_Fetch_Site": "none"}}.items():
                if (method, path) != ("POST", "/api/v1/snapshots"):
                    expect(f"{method} {path}: {what}", asks(s, method, path, **headers), fine)
        expect("reading is not told to the page, so it is not refused", asks(s, "GET", "/health", Origin=OTHER, Sec_Fetch_Site="cross-site"), None)
    for allowed, headers, code in ((OTHER, {"Origin": OTHER, "Sec_Fetch_Site": "cross-site"}, "E011"), (OTHER, {"Origin": OTHER + "x"}, "E017"),
                                   ("*", {"Origin": "null", "Sec_Fetch_Site": "cross-site"}, "E011")):
        with Server("--cors-origin", allowed) as s:
            expect(f"--cors-origin {allowed}: {headers['Origin']}", asks(s, "POST", RUN, **headers), code)


HALF = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: "


def connect(s, address, data=HALF):
    """A connection from an address of this machine."""
    c = socket.create_connection(("127.0.0.1", s.port), timeout=60, source_address=(address, 0))
    c.sendall(data)
    return c


def has_ended(c):
    c.setblocking(False)
    try:
        return c.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_connections():
    with Server("--connections", "24", "--client-connections", "12") as s:
        others = [connect(s, "127.0.0.3") for _ in range(4)]
        half = [connect(s, "127.0.0.2") for _ in range(40)]
        expect("whose address has them all is served", s.call("GET", "/health")[0], 200)
        with connect(s, "127.0.0.2", HEALTH) as c:
            expect("also one of the address that has too many", c.recv(12), b"HTTP/1.1 200")
        wait_for("which keeps what it may have", lambda: sum(not has_ended(c) for c in half) <= 12)
        expect("the latest", [has_ended(c) for c in half[-4:]], [False] * 4)
        expect("others keep theirs", [has_ended(c) for c in others], [False] * 4)
        expect("it is counted", metric(s, 'capsid_http_connections_ended_total{why="crowded"}'), lambda n: n >= 28)
        expect("and told", metric(s, "capsid_http_client_connections_limit"), 12)
        wait_for("a full half waits less than --receive-seconds", lambda: all(has_ended(c) for c in half))
        expect("which others get", [has_ended(c) for c in others], [False] * 4)
        for c in half + others:
            c.close()


def test_few_files():
    with Server("--pool", "off", few_files=True) as s:
        half = [connect(s, "127.0.0.2") for _ in range(80)]
        expect("with few files there are few connections", metric(s, "capsid_http_connections_limit"), 16)
        expect("and everybody is served", [s.call("GET", "/health")[0] for _ in range(20)], [200] * 20)
        for c in half:
            c.close()


def main():
    with Server("--grace", "1") as s:
        for test in test_forbidden, test_allowed, test_whole_uri:
            test(s)
    test_origins()
    test_connections()
    test_few_files()
    sys.exit(api.failures > 0)


main()
