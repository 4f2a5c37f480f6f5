"""A server that is no good: answers each connection with the next of the bodies below, and prints its port first.

  busy N        N times 503 with Retry-After: 1, then a result
  full          429 with Retry-After: 600
  refused       401 with E003, then 401 with E004
  html          a page
  broken        the beginning of a stream
  silent        nothing
"""

import http.server
import json
import sys

kind, left = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0


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
        self.close_connection = True


with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
