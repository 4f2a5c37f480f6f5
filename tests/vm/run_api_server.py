"""A server that is no good: answers each connection with the next of the bodies below, and prints its port first.

  busy N        N times 503 with Retry-After: 1, then a result
  full          429 with Retry-After: 600
  refused       401 with E003, then 401 with E004
  html          a page
  broken        the beginning of a stream
  silent        nothing
  hang          takes the request and neither answers nor hangs up
  drip          a head, and then a blank every 0.2 s for ever
  stop          half an answer, then nothing
  heads         headers without end
  many          nine megabytes of small values
  deep          nine megabytes of arrays within each other
  line          a stream whose first line has no end
  status N      a result with exit_code N
  control       a result and a message with control characters of both sets
"""

import http.server
import json
import sys
import time

kind, left = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
number = left


def error(code, message):
    return json.dumps({"status": "error", "code": code, "message": message, "trace_id": "t"}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        global left
        self.rfile.read(int(self.headers["Content-Length"]))
        left -= 1
        if kind == "busy" and left >= 0:
            self.answer(503, error("E010", "too many\x1b[31m requests"), Retry_After="1")
        elif kind == "busy":
            self.answer(200, json.dumps({"status": "success", "stdout": "at last\n", "stderr": "", "exit_code": 7,
                                         "end": "exited", "stdin": "x"}).encode())
        elif kind == "full":
            self.answer(429, error("E002", "too many"), Retry_After="600")
        elif kind == "refused":
            self.answer(401, error("E003" if left else "E004", "who is it?"), WWW_Authenticate="Bearer")
        elif kind == "html":
            self.answer(200, b"<html>", "text/html")
        elif kind == "broken":
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ndjson")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            line = b'{"event":"stdout","data":"some"}\n'
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        else:
            self.be_hostile()
        self.close_connection = True

    def begin(self, kind, size=1 << 30):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def result(self, **fields):
        return json.dumps({"stdout": "", "stderr": "", "exit_code": 0, "end": "exited"} | fields, ensure_ascii=False).encode()

    def be_hostile(self):
        wants_stream = "ndjson" in self.headers["Accept"]
        media = "application/x-ndjson" if wants_stream else "application/json"
        try:
            if kind == "hang":
                self.rfile.read(1)  # until the client has had enough
            elif kind == "drip":
                self.begin(media)
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.2)
            elif kind == "stop":
                self.begin(media)
                self.wfile.write(b'{"stdout":')
                self.rfile.read(1)
            elif kind == "heads":
                self.send_response(200)
                self.flush_headers()
                for i in range(1 << 20):
                    self.wfile.write(b"X-%d: %s\r\n" % (i, b"x" * 1000))
            elif kind == "many":
                self.answer(200, b"[" + b"[]," * 3000000 + b"[]]", media)
            elif kind == "deep":
                self.answer(200, b"[" * 9000000, media)
            elif kind == "line":
                self.begin(media)
                while True:
                    self.wfile.write(b"x" * 65536)
            elif kind == "status":
                body = self.result(exit_code=number)
                self.answer(200, body[:-1] + b', "event": "end"}\n' if wants_stream else body, media)
            elif kind == "control":
                self.answer(200, self.result(stdout="a\x9b31mb\x7f\x1b[0mc\x80", end="timed_out", message="m\x9b31m"), media)
        except (BrokenPipeError, ConnectionResetError):
            pass


with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
