"""Whether the doubles refuse what Firecracker and its jailer refuse. Run by tests/vm/test_firecracker_double.sh, and with
the two real programs as arguments by tests/vm/test_firecracker_real.sh."""
import contextlib, json, os, re, shutil, socket, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
FIRECRACKER, JAILER = sys.argv[1:3] if len(sys.argv) > 1 else [os.path.join(HERE, n) for n in ("firecracker", "jailer")]
REAL = len(sys.argv) > 1
failures = 0


def run(*words):
    r = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    return r.returncode != 0, r.stdout + r.stderr


VERSION = re.search(r"v([0-9.]+)", run(FIRECRACKER, "--version")[1]).group(1)  # of what is tested
PAIR = tuple(int(n) for n in VERSION.split(".")[:2])


def expect(what, got, wanted):
    global failures
    good = wanted in got if isinstance(wanted, str) and isinstance(got, str) else got == wanted
    print("%s: %s%s" % ("ok" if good else "FAILED", what, "" if good else ": got %r, wanted %r" % (got, wanted)))
    failures += not good


class Api:
    """One double in a directory of its own."""

    def __init__(self, version=None, directory=None):
        self.directory = directory or tempfile.mkdtemp()
        for name in "image", "kernel":
            open(os.path.join(self.directory, name), "a").close()
        environment = {**os.environ, "FAKE_FIRECRACKER_VERSION": version or VERSION}
        environment.pop("FAKE_FIRECRACKER_FAULT", None)
        self.process = subprocess.Popen([FIRECRACKER, "--id", "test", "--api-sock", "api"], cwd=self.directory, env=environment)
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(os.path.join(self.directory, "api"))
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit("the double did not start")
                time.sleep(0.005)

    def send(self, method, path, body=None):
        """Status, and the fault message or the parsed body."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        head = "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (method, path, len(data))
        self.socket.sendall(head.encode() + data)
        reply = self.socket.makefile("rb")
        status, size = int(reply.readline().split()[1]), 0
        for line in iter(reply.readline, b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        answer = json.loads(reply.read(size), strict=False) if size else None  # one has a raw newline
        return status, answer.get("fault_message", answer) if isinstance(answer, dict) else answer

    def close(self):
        self.process.kill()
        self.process.wait()
        self.socket.close()
        shutil.rmtree(self.directory)


@contextlib.contextmanager
def api(*arguments):
    a = Api(*arguments)
    try:
        yield a
    finally:
        a.close()


MACHINE = {"vcpu_count": 1, "mem_size_mib": 128}
BOOT = {"kernel_image_path": "kernel"}
DRIVE = {"drive_id": "root", "path_on_host": "image", "is_root_device": True, "is_read_only": True}
VSOCK = {"guest_cid": 3, "uds_path": "vsock"}
UPPER = {"drive_id": "upper", "path_on_host": "disk", "is_root_device": False, "is_read_only": False, "cache_type": "Unsafe"}
LOAD = {"snapshot_path": "state", "mem_backend": {"backend_type": "File", "backend_path": "memory"}}
BODY = "An error occurred when deserializing the json body of a request: "


def in_debug(wanted):
    """The words of 1.7, whose API gives these errors as Rust prints them for a programmer. The double has those of later releases."""
    words = wanted.replace("Invalid block config", "InvalidBlockConfig")
    for start, name in ("Error manipulating the backing file: ", "BackingFile"), ("Error binding to the host-side Unix socket: ", "UnixBind"):
        words = re.sub("^" + start + r"(.*) \(os error (\d+)\)( \w+)?$", lambda m: '%s(Os { code: %s, ' % (name, m[2]), words)
    return words


def refused(a, method, path, body, wanted):
    if REAL and PAIR == (1, 7):
        wanted = in_debug(wanted)
    status, text = a.send(method, path, body)
    if REAL:
        text = str(text).replace("Address already in use", "Address in use")  # it may be built for glibc
    expect("%s %s %s" % (method, path, json.dumps(body) if not isinstance(body, bytes) else body), (status, wanted in str(text) or text), (400, True))


def test_bodies(a):
    cases = [
        ("/machine-config", {**MACHINE, "ht_enabled": True}, "unknown field `ht_enabled`, expected one of `vcpu_count`, `mem_size_mib`, `smt`"),
        ("/machine-config", {"vcpu_count": 1}, "missing field `mem_size_mib` at line 1 column 17."),
        ("/machine-config", {**MACHINE, "vcpu_count": "1"}, 'invalid type: string "1", expected u8'),
        ("/machine-config", {**MACHINE, "vcpu_count": 300}, "invalid value: integer `300`, expected u8"),
        ("/machine-config", {**MACHINE, "vcpu_count": -1}, "invalid value: integer `-1`, expected u8"),
        ("/machine-config", {**MACHINE, "mem_size_mib": 1.5}, "invalid type: floating point `1.5`, expected usize"),
        ("/machine-config", {**MACHINE, "smt": "no"}, 'invalid type: string "no", expected a boolean'),
        ("/machine-config", {**MACHINE, "smt": None}, "invalid type: null, expected a boolean"),
        ("/boot-source", {}, "missing field `kernel_image_path`"),
        ("/boot-source", {**BOOT, "boot_args": ["a"]}, "invalid type: sequence, expected a string"),
        ("/drives/root", {**DRIVE, "is_root_device": 1}, "invalid type: integer `1`, expected a boolean"),
        ("/drives/root", {**DRIVE, "cache_type": "Fast"}, "unknown variant `Fast`, expected `Unsafe` or `Writeback`"),
        ("/drives/root", {"drive_id": "root"}, "missing field `is_root_device`"),
        ("/drives/upper", {**UPPER, "is_read_only": "no"}, 'invalid type: string "no", expected a boolean'),
        ("/drives/upper", {**UPPER, "path_on_host": 3}, "invalid type: integer `3`, expected a string"),
        ("/drives/upper", {**UPPER, "io_engine": "sync"}, "unknown variant `sync`, expected `Async` or `Sync`"),
        ("/drives/upper", {**UPPER, "readonly": False}, "unknown field `readonly`, expected one of `drive_id`, `partuuid`"),
        ("/drives/upper", {**UPPER, "rate_limiter": {"bandwidth": {"size": 1}}}, "missing field `refill_time`"),
        ("/vsock", {"uds_path": "v"}, "missing field `guest_cid`"),
        ("/vsock", {**VSOCK, "guest_cid": 1 << 32}, "expected u32"),
        ("/actions", {"action_type": "Start"}, "unknown variant `Start`, expected one of `FlushMetrics`, `InstanceStart`, `SendCtrlAltDel`"),
        ("/snapshot/load", {"snapshot_path": "s"}, "missing field: either `mem_backend` or `mem_file_path` is required"),
        ("/snapshot/load", {**LOAD, "mem_file_path": "m"}, "too many fields"),
        ("/snapshot/load", {**LOAD, "mem_backend": {"backend_path": "m"}}, "missing field `backend_type`"),
        ("/snapshot/load", {**LOAD, "mem_backend": {"backend_type": "Disk", "backend_path": "m"}}, "unknown variant `Disk`, expected `File` or `Uffd`"),
        ("/snapshot/create", {"snapshot_path": "s"}, "missing field `mem_file_path`"),
    ]
    for path, body, wanted in cases:
        refused(a, "PUT", path, body, wanted)
    status, text = a.send("PUT", "/vsock", {**VSOCK, "cid": 3})
    expect("the whole text", text, BODY + "unknown field `cid`, expected one of `vsock_id`, `guest_cid`, `uds_path` at line 1 column 43.")
    refused(a, "PUT", "/vsock", b'{"guest_cid": 3, "guest_cid": 4, "uds_path": "v"}', "duplicate field `guest_cid`")
    refused(a, "PUT", "/vsock", b"", "Empty PUT request.")
    refused(a, "PUT", "/vsock", b"guest", "expected value at line 1 column 1")
    refused(a, "GET", "/version", {}, "GET request cannot have a body.")
    refused(a, "PUT", "/nothing", {}, "Invalid request method and/or path: PUT nothing.")
    refused(a, "PUT", "/drives/ro-ot", {**DRIVE, "drive_id": "ro-ot"}, "alphanumeric characters and underscores")
    refused(a, "PUT", "/drives/other", DRIVE, "The id from the path does not match the id from the body!")


def test_values(a):
    refused(a, "PUT", "/machine-config", {**MACHINE, "vcpu_count": 33}, "Machine config error: The number of vCPUs")
    refused(a, "PUT", "/machine-config", {**MACHINE, "mem_size_mib": 0}, "Machine config error: The memory size (MiB) is either 0")
    refused(a, "PUT", "/boot-source", {"kernel_image_path": "none"}, "Boot source error: The kernel file cannot be opened: No such file or directory (os error 2)")
    refused(a, "PUT", "/drives/root", {**DRIVE, "path_on_host": "none"}, "Error manipulating the backing file: No such file or directory (os error 2) none")
    refused(a, "PUT", "/drives/root", {"drive_id": "root", "is_root_device": True}, "Invalid block config")
    expect("a root drive", a.send("PUT", "/drives/root", DRIVE), (204, None))
    refused(a, "PUT", "/drives/second", {**DRIVE, "drive_id": "second"}, "A root block device already exists!")
    test_second_drive(a)
    expect("a vsock", a.send("PUT", "/vsock", VSOCK), (204, None))
    expect("its socket is there at once", os.path.exists(os.path.join(a.directory, "vsock")), True)
    expect("another in its place", a.send("PUT", "/vsock", {**VSOCK, "uds_path": "vsock2"}), (204, None))
    expect("its socket is gone", os.path.exists(os.path.join(a.directory, "vsock")), False)
    for cid in 0, 2:
        expect("guest_cid %d" % cid, a.send("PUT", "/vsock", {**VSOCK, "guest_cid": cid, "uds_path": "cid%d" % cid}), (204, None))
    refused(a, "PUT", "/vsock", {**VSOCK, "uds_path": "x" * 120}, "path must be shorter than SUN_LEN")
    refused(a, "PUT", "/boot-source", {**BOOT, "boot_args": "x" * 2048}, "The kernel command line is invalid: Invalid cmdline capacity provided.")
    expect("the longest command line", a.send("PUT", "/boot-source", {**BOOT, "boot_args": "x" * 2047}), (204, None))
    refused(a, "PUT", "/vsock", {**VSOCK, "uds_path": "image"}, "Error binding to the host-side Unix socket: Address in use (os error 98)")


def test_second_drive(a):
    missing = "Error manipulating the backing file: No such file or directory (os error 2) disk"
    refused(a, "PUT", "/drives/upper", UPPER, missing)
    disk = os.path.join(a.directory, "disk")
    os.mkdir(disk)
    refused(a, "PUT", "/drives/upper", UPPER, "Error manipulating the backing file: Is a directory (os error 21) disk")
    os.rmdir(disk)
    open(disk, "w").close()
    refused(a, "PUT", "/drives/upper", {**UPPER, "socket": "s"}, "Invalid block config")
    refused(a, "PUT", "/drives/upper", {**UPPER, "is_root_device": True}, "A root block device already exists!")
    expect("a second drive", a.send("PUT", "/drives/upper", UPPER), (204, None))
    expect("the same again", a.send("PUT", "/drives/upper", {k: v for k, v in UPPER.items() if k != "is_read_only"}), (204, None))
    expect("to be written unless told otherwise", [d["is_read_only"] for d in a.send("GET", "/vm/config")[1]["drives"]], [True, False])


def test_order(a):
    before = "The requested operation is not supported before starting the microVM."
    expect("version", a.send("GET", "/version"), (200, {"firecracker_version": VERSION}))
    expect("state", a.send("GET", "/")[1]["state"], "Not started")
    expect("default machine", a.send("GET", "/machine-config")[1]["mem_size_mib"], 128)
    refused(a, "PATCH", "/vm", {"state": "Paused"}, before)
    refused(a, "PUT", "/snapshot/create", {"snapshot_path": "s", "mem_file_path": "m"}, before)
    refused(a, "PUT", "/actions", {"action_type": "InstanceStart"}, "Start microvm error: Cannot start microvm without kernel configuration.")
    expect("machine", a.send("PUT", "/machine-config", MACHINE), (204, None))
    refused(a, "PUT", "/snapshot/load", LOAD, "Loading a microVM snapshot not allowed after configuring boot-specific resources.")


def test_versions():
    override = {**LOAD, "vsock_override": {"uds_path": "v"}}
    for version in "1.7.0", "1.10.1", "1.15.0":
        with api(version) as a:
            refused(a, "PUT", "/snapshot/load", override, "unknown field `vsock_override`, expected one of `snapshot_path`, `mem_file_path`, `mem_backend`")
    with api("1.12.0") as a:
        refused(a, "PUT", "/snapshot/load", {**LOAD, "track_dirty_pages": False}, "unknown field `track_dirty_pages`")
    with api("1.16.0") as a:
        refused(a, "PUT", "/snapshot/load", override, "Failed to open snapshot file: No such file or directory (os error 2)")


def test_drives_of_a_running_guest():
    """The guest finds no root filesystem and stands still."""
    with api() as a, api() as b:
        shutil.copy(os.path.join(os.environ["BUILD"], "share/capsid/vmlinux"), os.path.join(a.directory, "kernel"))
        for directory in a.directory, b.directory:
            with open(os.path.join(directory, "disk"), "wb") as f:
                f.truncate(1 << 20)
        for path, body in ("/boot-source", {**BOOT, "boot_args": "panic=0 reboot=k"}), ("/drives/upper", UPPER), ("/actions", {"action_type": "InstanceStart"}):
            expect("PUT " + path, a.send("PUT", path, body), (204, None))
        late = "PCI is not enabled" if PAIR >= (1, 16) else "The requested operation is not supported after starting the microVM."
        refused(a, "PUT", "/drives/upper", UPPER, late)
        os.unlink(os.path.join(a.directory, "disk"))  # it is open, and its name of no use any more
        expect("pause", a.send("PATCH", "/vm", {"state": "Paused"}), (204, None))
        expect("create", a.send("PUT", "/snapshot/create", {"snapshot_path": "state", "mem_file_path": "memory"}), (204, None))
        for name in "state", "memory":
            shutil.move(os.path.join(a.directory, name), b.directory)
        expect("load opens a drive by its name", b.send("PUT", "/snapshot/load", LOAD), (204, None))
        with api() as c:
            for name in "state", "memory":
                shutil.move(os.path.join(b.directory, name), c.directory)
            devices = "Failed to restore devices: Error restoring MMIO devices: Block: " if PAIR >= (1, 13) else "Failed to restore MMIO device: Cannot restore devices: Block: "
            refused(c, "PUT", "/snapshot/load", LOAD, devices + "Virtio backend error: Error manipulating the backing file: No such file or directory (os error 2) disk")
            expect("that is the end", c.process.wait(10), 1)


def test_snapshot_files(version):
    if tuple(int(n) for n in version.split(".")[:2]) >= (1, 15):
        cases = (b"", "IO Error: File too short to contain CRC"), (b"garbage" * 9, "An error occurred during bitcode serialization: bitcode error"), (bytes(10_000_001), "Snapshot size exceeds limit of 10000000 bytes")
    else:
        cases = (b"", "Snapshot file is smaller than CRC length."), (b"garbage" * 9, "CRC64 validation failed")
    for content, wanted in cases:
        with api(version) as a:
            with open(os.path.join(a.directory, "state"), "wb") as f:
                f.write(content)
            refused(a, "PUT", "/snapshot/load", LOAD, "Failed to get snapshot state from file: Failed to load snapshot state from file: " + wanted)
            expect("a failed load is the end", a.process.wait(10), 1)


def test_malformed():
    """The HTTP layer's answers are no JSON: there is a raw newline in them."""
    too_much = json.dumps({**BOOT, "boot_args": ""}).encode()
    too_much = too_much[:-2] + b"x" * (51201 - len(too_much)) + too_much[-2:]
    for method, body, wanted in ("PUT", too_much, "size 51201 is larger than the limit of 51200"), ("POST", {}, "Unsupported HTTP method."):
        with api() as a:
            status, answer = a.send(method, "/boot-source", body)
            expect("%s of a malformed request" % method, (status, list(answer), wanted in answer["error"]), (400, ["error"], True))
            expect("its second line", answer["error"].split("\n")[1:], ["All previous unanswered requests will be dropped."])


def test_start():
    """What is added to the longest command line has no room."""
    with api() as a:
        shutil.copy(os.path.join(os.environ["BUILD"], "share/capsid/vmlinux"), os.path.join(a.directory, "kernel"))
        for path, body in ("/boot-source", {**BOOT, "boot_args": "x" * 2040}), ("/drives/root", DRIVE):
            expect("PUT " + path, a.send("PUT", path, body), (204, None))
        refused(a, "PUT", "/actions", {"action_type": "InstanceStart"}, "Invalid kernel command line: Inserting string would make command line too long.")


def test_command_lines():
    expect("--version", run(FIRECRACKER, "--version")[1], "Firecracker v%s\n\n20" % VERSION)
    expect("an unknown option", run(FIRECRACKER, "--api-socket", "x")[1], "Found argument 'api-socket' which wasn't expected")
    expect("no value", run(FIRECRACKER, "--id")[1], "The argument 'id' requires a value")
    expect("a bad id", run(FIRECRACKER, "--id", "a_b")[1], "Invalid instance ID")
    with tempfile.NamedTemporaryFile() as f:
        expect("a used API socket", run(FIRECRACKER, "--api-sock", f.name)[1], "Failed to open the API socket")
    good = ["--id", "a-1", "--exec-file", FIRECRACKER, "--uid", "1", "--gid", "1"]
    expect("jailer without uid", run(JAILER, *good[:4], "--gid", "1")[1], "Argument 'uid' required, but not found.")
    expect("jailer, unknown option", run(JAILER, *good, "--user", "1")[1], "Found argument 'user'")
    expect("jailer, bad id", run(JAILER, "--id", "a_1", *good[2:])[1], "Invalid instance ID: ")
    expect("jailer, a limit of what it does not know", run(JAILER, *good, "--chroot-base-dir", "/tmp", "--resource-limit", "cpu=1")[1], "Invalid resource argument: cpu")
    expect("jailer, the reason comes first", run(JAILER, *good, "--chroot-base-dir", "/none")[1], "No such file or directory (os error 2)\n" + ("note: " if REAL and PAIR == (1, 7) else "Error: "))
    expect("jailer, no base", run(JAILER, *good, "--chroot-base-dir", "/none")[1], "Failed to canonicalize path /none")
    if REAL:
        return
    os.environ["FAKE_FIRECRACKER_VERSION"] = "1.12.0"
    expect("an old jailer wants a name", run(JAILER, "--id", "a", "--exec-file", "/bin/true", *good[4:], "--chroot-base-dir", "/tmp")[1], "must contain")
    del os.environ["FAKE_FIRECRACKER_VERSION"]
    expect("jailer, no program", run(JAILER, "--id", "a", "--exec-file", "/none", *good[4:])[1], "Failed to canonicalize path /none")


for test in test_bodies, test_values, test_order:
    with api() as a:
        test(a)
for version in [VERSION] if REAL else ["1.7.0", VERSION]:
    test_snapshot_files(version)
if not REAL:  # which is of one version
    test_versions()
test_malformed()
test_start()
test_drives_of_a_running_guest()
test_command_lines()
sys.exit(failures > 0)
