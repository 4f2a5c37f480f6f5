"""What the tests make OCI images with: layers, and a layout of them."""
import gzip, hashlib, io, json, os, tarfile


class Layer:
    def __init__(self):
        self.data = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.data, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name, content=b"", type=tarfile.REGTYPE, mode=0o644, owner=(0, 0), link="", xattr=None):
        info = tarfile.TarInfo(name)
        info.size = len(content) if type == tarfile.REGTYPE else 0
        info.type, info.mode, info.linkname = type, mode, link
        info.uid, info.gid = owner
        if xattr:
            info.pax_headers = {"SCHILY.xattr." + xattr[0]: xattr[1]}
        self.tar.addfile(info, io.BytesIO(content))

    def directory(self, name, mode=0o755, owner=(0, 0)):
        self.add(name, type=tarfile.DIRTYPE, mode=mode, owner=owner)

    def finish(self):
        self.tar.close()
        return self.data.getvalue()

    def tree(self, path, name):
        """A file or directory of this machine, without what Python keeps of it."""
        self.tar.add(path, name, filter=lambda i: None if "__pycache__" in i.name else i)


class Layout:
    def __init__(self, directory):
        self.directory, self.manifests = directory, []
        os.makedirs(directory + "/blobs/sha256")

    def path(self, blob):
        return f"{self.directory}/blobs/sha256/{blob['digest'][7:]}"

    def blob(self, data):
        blob = {"digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}
        with open(self.path(blob), "wb") as f:
            f.write(data)
        return blob

    def add(self, tag, layers, config, architecture="amd64"):
        """layers: bytes of tar archives, the lowest first. Returns their blobs."""
        compressed = [self.blob(gzip.compress(data, mtime=0)) for data in layers]
        description = {
            "architecture": architecture, "os": "linux", "created": "2024-05-06T07:08:09.123Z", "config": config,
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(d).hexdigest() for d in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **self.blob(json.dumps(description).encode())},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **c} for c in compressed],
        }
        self.manifests.append({"mediaType": "application/vnd.oci.image.manifest.v1+json", **self.blob(json.dumps(manifest).encode()),
                               "annotations": {"org.opencontainers.image.ref.name": tag}})
        return compressed

    def finish(self):
        with open(self.directory + "/index.json", "w") as f:
            json.dump({"schemaVersion": 2, "manifests": self.manifests}, f)
        with open(self.directory + "/oci-layout", "w") as f:
            f.write('{"imageLayoutVersion": "1.0.0"}')
