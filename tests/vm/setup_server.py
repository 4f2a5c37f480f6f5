"""An HTTP server on loopback that serves the files of a directory, well and badly.

    setup_server.py DIRECTORY PORT-FILE

/FILE            the file
/short/FILE      half of it, although the header promised all
/cut/FILE        half of it, without a length
/slow/FILE       a byte, then nothing more
/moved/FILE      redirects to /FILE
/round/FILE      redirects to itself
/away/FILE       redirects to a file of this machine
"""

import http.server
import os
import sys
import time

directory, port_file = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def redirect(self, target):
        self.send_response(302)
        self.send_header("Location", target)
        self.end_headers()

    def do_GET(self):
        how, _, name = self.path[1:].rpartition("/")
        path = os.path.join(directory, name)
        if how in ("moved", "round", "away"):
            self.redirect({"moved": f"/{name}", "round": self.path, "away": f"file://{path}"}[how])
            return
        if not os.path.isfile(path):
            self.send_error(404)
            return
        with open(path, "rb") as f:
            data = f.read()
        self.send_response(200)
        if how != "cut":
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if how == "slow":
            self.wfile.write(data[:1])
            self.wfile.flush()
            time.sleep(300)
        else:
            self.wfile.write(data[: len(data) // 2] if how in ("short", "cut") else data)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(port_file + ".new", "w", encoding="ascii") as f:
    f.write(str(server.server_address[1]))
os.rename(port_file + ".new", port_file)
server.serve_forever()
