"""The two processes of a server: what the one that reads requests can reach, and what becomes of one without the other."""

import json
import os
import signal
import subprocess
import sys

import api
from api import Running, Server, expect, metric, vmms, wait_for

DATA = os.environ.get("CAPSID_DATA") or os.path.join(os.path.dirname(os.path.realpath(os.environ["CAPSID"])), "share/capsid")
NAMESPACES = ("mnt", "pid", "net", "ipc", "uts")


def front_of(s):
    """The pid of the front below the server."""
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == s.process.pid and b"--front" in words:
            return int(pid)
    raise SystemExit("FAILED: the server has no front")


def status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def test_cage():
    with Server("--pool", "sh=1") as s:
        front = front_of(s)
        mine, its = status(s.process.pid), status(front)
        expect("it has no capabilities", [int(its[k], 16) for k in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")], [0] * 5)
        expect("and no way to new ones", its["NoNewPrivs"], "1")
        expect("a list of system calls", its["Seccomp"], "2")
        expect("a file that may not grow does not end it", int(its["SigIgn"], 16) >> (signal.SIGXFSZ - 1) & 1, 1)
        if os.geteuid() == 0:
            expect("a user of its own", its["Uid"] != mine["Uid"] and "\t0" not in its["Uid"], True)
        expect("namespaces of its own", [n for n in NAMESPACES
                                         if os.readlink(f"/proc/{front}/ns/{n}") == os.readlink(f"/proc/{s.process.pid}/ns/{n}")], [])
        root, home = f"/proc/{front}/root", os.path.realpath(os.environ["CAPSID_HOME"])
        expect("of the state directory it sees its own part", os.listdir(root + home), ["service"])
        expect("nothing else of the host", [d for d in ("/root/.ssh", "/etc", "/var", "/home", "/run", "/sys", "/dev/kvm", "/proc/1")
                                            if os.path.exists(root + d)], [])
        expect("definitions of languages, to read", (os.path.exists(f"{root}{os.path.realpath(DATA)}/languages/sh.ini"),
                                                     os.path.exists(f"{root}{os.path.realpath(DATA)}/vmlinux")), (True, False))
        links = [os.readlink(f"/proc/{front}/fd/{fd}") for fd in os.listdir(f"/proc/{front}/fd")]
        expect("no file of the host is open in it", [x for x in links if x.startswith(home) and not x.startswith(home + "/service")], [])
        expect("and it serves", s.execute("echo 1", "sh")[2]["stdout"], "1\n")
        expect("no VMM is below it", [p for p in vmms(s) if status(p)["PPid"] == str(front)], [])


# In the builder's place: what is refused, and then the builder.
BUILDER = f"""#!/usr/bin/python3
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def refused(name, *arguments):
    if getattr(libc, name)(*arguments) >= 0:
        return "done"
    return errno.errorcode[ctypes.get_errno()]
with open("/proc/self/status") as status, open(os.environ["TMPDIR"] + "/seen", "w") as seen:
    print(*(line.split()[1] for line in status if line.startswith(("CapEff", "Seccomp:", "NoNewPrivs"))), file=seen)
    print(*(refused(*call) for call in (("acct", 0), ("adjtimex", 0), ("ptrace", 0, 0, 0, 0), ("klogctl", 10, 0, 0),
                                        ("syscall", 425, 1, 0), ("syscall", 321, 0, 0, 0), ("sethostname", b"mine", 4))), file=seen)
os.execv("{DATA}/build-image", sys.argv)
"""
SMALL = "[language]\nname = small\nextension = small\nsource = main.small\nrun = /bin/busybox sh {source}\n" \
        "[image]\nsuite = bookworm\nmethod = extract\npackages = busybox-static\npost = /bin/busybox --install -s /usr/bin\n"
# Of modules, of the clock, of the network.
USELESS = 1 << 16 | 1 << 25 | 1 << 12


def test_rights():
    """What the server itself has given up, with all that it starts; an image can be built all the same."""
    data = os.path.join(os.environ["TMPDIR"], "data")
    os.makedirs(data + "/languages")
    for name in os.listdir(DATA):
        if name not in ("build-image", "languages"):
            os.symlink(os.path.realpath(os.path.join(DATA, name)), os.path.join(data, name))
    for path, text in (("build-image", BUILDER), ("languages/small.ini", SMALL)):
        with open(os.path.join(data, path), "w", encoding="ascii") as f:
            f.write(text)
    os.chmod(data + "/build-image", 0o755)
    host = os.uname().nodename
    os.environ["CAPSID_DATA"] = data
    with Server("--pool", "off") as s:
        place = s.call("POST", "/api/v1/rootfs", {"language": "small"})[1]["Location"]
        wait_for("an image is built", lambda: s.call("GET", place)[2]["finished"])
        built = s.call("GET", place)[2]
        mine = status(s.process.pid)
        shared = [n for n in ("mnt", "ipc", "uts") if os.readlink(f"/proc/self/ns/{n}") == os.readlink(f"/proc/{s.process.pid}/ns/{n}")]
        filtered = {status(f"{s.process.pid}/task/{task}")["Seccomp"] for task in os.listdir(f"/proc/{s.process.pid}/task")}
    del os.environ["CAPSID_DATA"]
    expect("without an error", built["error"], None)
    with open(os.environ["TMPDIR"] + "/seen", encoding="ascii") as f:
        has, calls = f.read().splitlines()
    if os.geteuid() == 0:
        expect("the server has namespaces of its own", shared, [])
        expect("and no capability for the kernel", int(mine["CapEff"], 16) & USELESS | int(mine["CapBnd"], 16) & USELESS, 0)
        expect("a filter, in each thread", filtered, {"2"})
        effective, privileges, seccomp = has.split()
        expect("what it starts has no more", (int(effective, 16) & USELESS, privileges, seccomp), (0, "0", "2"))
        expect("and may not ask the kernel for more", calls, "EPERM EPERM EPERM EPERM ENOSYS EPERM done")
    expect("the host's name is not theirs", os.uname().nodename, host)


def test_front_dies():
    with Server("--pool", "sh=1") as s:
        wait_for("the pool fills", lambda: s.call("GET", "/health")[2]["pool"].get("sh") == 1)
        left = vmms(s)
        os.kill(front_of(s), signal.SIGKILL)
        expect("a server whose front was killed ends and says so", s.process.wait(60), 1)
        with open(s.log.name, "rb") as f:
            expect("with the signal", b"the part that reads requests ended with signal 9" in f.read(), True)
        expect("and has no VM left", left and [p for p in left if os.path.exists(f"/proc/{p}")], [])


def test_broker_dies():
    with Server("--pool", "sh=1") as s:
        front = front_of(s)
        s.process.kill()
        s.process.wait(60)
        wait_for("no front outlives its server", lambda: not os.path.exists(f"/proc/{front}"))


def ask_status(*options):
    done = subprocess.run([os.environ["CAPSID"], "status", *options], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout


def test_status():
    expect("no server", ask_status(), (0, "No server uses this state directory (capsid api starts one)\n"))
    with Server("--pool", "sh=1") as s:
        wait_for("the pool fills", lambda: s.call("GET", "/health")[2]["pool"].get("sh") == 1)
        with Running(s, "sh"):
            wait_for("it runs", lambda: metric(s, 'capsid_vms{kind="pooled"}') == 1)
            result, text = ask_status()
            one = json.loads(ask_status("--json")[1])["servers"][0]
        expect("capsid status for people", (result, "SERVED" in text, f"Server {s.process.pid}, up" in text), (0, True, True))
        expect("for programs: the server", (one["pid"], one["listening"]), (s.process.pid, s.where))
        expect("its VMs", [(v["language"], v["kind"], v["owner"]) for v in one["vms"]], [("sh", "pooled", "anonymous")])
        expect("who has what", [(o["owner"], o["vms"]["pooled"]) for o in one["owners"]], [("anonymous", 1)])
        expect("what the front says", one["front"]["programs"]["running"], 1)
        lanes = [(lane["lane"], o["owner"], o["busy"], o["waiting"]) for lane in one["front"]["lanes"] for o in lane["owners"]]
        expect("for whom it works", (lanes, "REQUESTS" in text), ([("run", "anonymous", 1, 0)], True))
        os.kill(front_of(s), signal.SIGSTOP)
        silent = json.loads(ask_status("--json")[1])["servers"][0]
        os.kill(front_of(s), signal.SIGCONT)
        expect("a front that does not answer holds nobody up", (silent["pid"], silent["front"]), (s.process.pid, None))
        wait_for("and is asked again", lambda: json.loads(ask_status("--json")[1])["servers"][0]["front"])


def test_without_server():
    program = os.path.join(DATA, "capsid-api")
    done = subprocess.run([program, "--front"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    expect("a front alone says what it is", (done.returncode, "is for capsid api to use" in done.stderr or "Socket operation" in done.stderr),
           (1, True))


def test_nothing_leaks():
    """What clients make the two say to each other leaves nothing open in either."""
    with Server("--pool", "sh=1") as s:
        wait_for("the pool fills", lambda: s.call("GET", "/health")[2]["pool"].get("sh") == 1)

        def count():
            return sum(len(os.listdir(f"/proc/{p}/fd")) for p in (s.process.pid, front_of(s)))

        for _ in range(5):
            s.execute("echo 1", "sh")
        wait_for("the pool fills again", lambda: s.call("GET", "/health")[2]["pool"].get("sh") == 1)
        before = count()
        for _ in range(10):
            s.execute("echo 1", "sh")
            s.call("GET", "/api/v1/languages")
            s.execute("echo 1", "no such language")
        wait_for("nothing stays open", lambda: count() <= before + 2)
        expect("all is told", metric(s, "process_open_fds") > 20, True)


def main():
    test_cage()
    test_rights()
    test_front_dies()
    test_broker_dies()
    test_status()
    test_without_server()
    test_nothing_leaks()
    sys.exit(api.failures > 0)


if __name__ == "__main__":
    main()
