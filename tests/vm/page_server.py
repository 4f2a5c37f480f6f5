#!/usr/bin/env python3
"""A double of capsid's HTTP server, for what the real one does only when something is wrong. Prints its port.

    page_server.py PAGE-DIRECTORY

The first word of a program says what happens: see RUNS. GET /test/log is what was asked for; POST /test/release lets
a program that waits go on; after POST /test/lock everything but the page itself wants the token "right". Ends when its standard input ends."""
import base64, http.server, json, os, select, sys, threading

CSP = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
       "form-action 'none'; frame-ancestors 'none'")  # as of host/api/http.c
FILES = {"/": ("index.html", "text/html; charset=utf-8"), "/app.js": ("app.js", "text/javascript; charset=utf-8"),
         "/style.css": ("style.css", "text/css; charset=utf-8"), "/icon.svg": ("icon.svg", "image/svg+xml")}
LANGUAGES = [
    {"name": "python", "title": "Python", "aliases": ["py"], "hello": 'print("hello", 6*7)\n', "installed": True},
    {"name": "sh", "title": "POSIX shell", "aliases": [], "hello": "echo hello $((6*7))\n", "installed": True},
    {"name": "bare", "title": "Without an example", "aliases": [], "hello": None, "installed": False},
]
END = {"status": "success", "exit_code": 0, "exec_time": "45ms", "end": "exited", "truncated": False, "load_time": "209ms", "phase": "run",
       "compile": None, "memory_peak": 16568320, "trace_id": "tr-1", "message": None}
log = []
release = threading.Event()
locked = threading.Event()


class Gone(Exception):
    pass


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), "Content-Security-Policy": CSP}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def error(self, status, code, message, retry_after=None):
        more = {"retry_after": retry_after} if retry_after else {}
        self.answer(status, {"status": "error", "error": {"code": code, "message": message, **more}, "trace_id": "tr-9"})

    def event(self, name, data):
        self.wfile.write(b"event: %s\ndata: %s\n\n" % (name.encode(), json.dumps(data).encode()))

    def text(self, channel, text):
        self.event(channel, {"data": text})

    def wait(self):
        """Until the test lets it go on; a client that goes away is noted."""
        while not release.wait(0.02):
            if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1):
                log[-1]["gone"] = True
                raise Gone
        release.clear()

    def refused(self):
        if self.headers.get("Authorization") == "Bearer right":
            return False
        self.error(401, "E003", "a token is missing or unknown")
        return True

    def do_GET(self):
        if locked.is_set() and self.path not in FILES and self.refused():
            return
        if self.path == "/health":
            self.answer(200, {"status": "ok", "version": "0.0.0", "uptime_seconds": 1, "pool": {"ready": 3, "in use": 1},
                              "queue": {"workers": 4, "busy": 1, "waiting": 0, "limit": 64}})
        elif self.path == "/api/v1/languages":
            self.answer(200, {"languages": LANGUAGES})
        elif self.path == "/test/log":
            self.answer(200, log)
        elif self.path in FILES:
            name, kind = FILES[self.path]
            with open(os.path.join(sys.argv[1], name), "rb") as file:
                self.answer(200, file.read(), kind)
        else:
            self.error(404, "E000", "no such path")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/test/release":
            release.set()
            return self.answer(200, {})
        if self.path == "/test/lock":
            locked.set()
            return self.answer(200, {})
        request = json.loads(body)
        log.append({"request": request, "token": self.headers.get("Authorization"), "gone": False})
        run = RUNS.get(request["code"].split()[0])
        if isinstance(run, tuple):
            return self.error(*run)
        if request["code"].startswith("token") and self.refused():
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        try:
            self.event("start", {"trace_id": "tr-1"})
            if run:
                run(self)
            else:
                self.text("stdout", request["code"])
                self.event("end", END)
        except (Gone, BrokenPipeError, ConnectionResetError):
            pass

    def log_message(self, *arguments):
        pass


def run_wait(h):
    h.text("stdout", "first\n")
    h.wait()
    h.text("stdout", "second\n")
    h.event("end", END)


def run_mixed(h):
    """Everything that output can be; the euro sign is split between two chunks, and so is CR LF."""
    h.wfile.write(b": a comment\n\n")
    h.text("stdout", "<b id=injected>bold</b>\n\x1b[31mred\x1b[0m\x07 \u202eback\n")
    h.text("stdout", "line\r")
    h.text("stdout", "\nnext ")
    for part in (b"\xe2\x82", b"\xac!\n"):
        h.event("stdout", {"data": base64.b64encode(part).decode(), "encoding": "base64"})
    h.text("stderr", "trouble\n")
    h.text("stdout", "after\n")
    h.event("end", {**END, "exit_code": 3})


def run_flood(h):
    for _ in range(40):
        h.text("stdout", "x" * 65536)
    h.event("end", END)


def run_flicker(h):
    for n in range(3000):
        h.text(("stdout", "stderr")[n % 2], "%d\n" % n)
    h.event("end", END)


def run_cut(h):
    h.text("stdout", "so far\n")


def run_silent(h):
    h.event("end", END)


def run_compiler(h):
    h.event("stderr", {"data": "expected ;\n", "phase": "compile"})
    h.event("end", {**END, "phase": "compile", "compile": {"time": "374ms"}, "exit_code": 1, "status": "error"})


def run_endless(h):
    h.event("end", {**END, "exit_code": 124, "end": "timed_out", "message": "Execution timeout exceeded (2s)"})


def run_fails(h):
    h.event("error", {"status": "error", "error": {"code": "E006", "message": "the guest does not answer"}, "trace_id": "tr-1"})


RUNS = {
    "silent": run_silent, "compiler": run_compiler, "endless": run_endless, "fails": run_fails,
    "wait": run_wait, "mixed": run_mixed, "flood": run_flood, "flicker": run_flicker, "cut": run_cut,
    "busy": (503, "E010", "all VMs are busy", 7),
    "large": (413, "E005", "the program is too large"),
}
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
