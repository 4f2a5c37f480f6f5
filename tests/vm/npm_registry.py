#!/usr/bin/env python3
"""A small npm registry on loopback, with good packages and hostile ones. Prints its port.

Every package is NAME/1.0.0; what is special about it is in PACKAGES. Ends when its standard input ends."""
import base64, hashlib, http.server, io, json, sys, tarfile, threading


def tarball(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            name, content, kind = (*entry, tarfile.REGTYPE)[:3]
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.mtime = kind, 0o4600, 1234, 99
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname, content = content, ""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))
    return out.getvalue()


PLAIN = ("package/package.json", "{}")
LONG = "package/" + "d" * 90 + "/" + "f" * 90 + ".js"
PACKAGES = {
    "good": tarball(PLAIN, ("package/bin/tool.sh", "#!/bin/sh\necho tool\n"), (LONG, "long")),
    "@scope/good": tarball(PLAIN),
    "wrong-hash": tarball(PLAIN),
    "no-hash": tarball(PLAIN),
    "other-name": tarball(PLAIN),
    "upwards": tarball(PLAIN, ("package/../../../../etc/passwd", "x")),
    "absolute": tarball(PLAIN, ("/etc/passwd", "x")),
    "symlink": tarball(PLAIN, ("package/etc", "/etc", tarfile.SYMTYPE)),
    "hardlink": tarball(PLAIN, ("package/p", "/etc/passwd", tarfile.LNKTYPE)),
    "device": tarball(PLAIN, ("package/d", "", tarfile.CHRTYPE)),
    "control": tarball(PLAIN, ("package/a\nb", "x")),
    "cut": tarball(PLAIN)[:-20],
    "noise": b"no tarball at all",
    "no-json": b"",
}


def metadata(name, port):
    data = PACKAGES[name]
    if name == "no-json":
        return b"<html>"
    digest = base64.b64encode(hashlib.sha512(b"" if name == "wrong-hash" else data).digest()).decode()
    dist = {"tarball": "http://127.0.0.1:%d/files/%s" % (port, name.replace("/", "-"))}
    if name != "no-hash":
        dist["integrity"] = "sha512-" + digest
    shown = "elsewhere" if name == "other-name" else name
    return json.dumps({"name": shown, "version": "1.0.0", "dist": dist, "bin": {"tool": "./bin/tool.sh"}}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.lstrip("/")
        files = {"files/" + name.replace("/", "-"): data for name, data in PACKAGES.items()}
        body = files.get(path)
        if body is None and path.endswith("/1.0.0") and path[:-6] in PACKAGES:
            body = metadata(path[:-6], self.server.server_address[1])
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
