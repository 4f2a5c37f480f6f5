"""initd alone in an image: initd.main= and what belongs to it, disks and layers, the exit status for the VMM."""

import os
import re
import shutil
import socket
import subprocess

from appliance import INITD, NEWER, Appliance
from guest import (BUILD, KERNEL, PATIENCE, SRC, C, Connection, Request, Writing, die_with_parent, expect, run_scenarios, scenario,
                   time)

ALONE = {}
EXIT_PORT = "isa-debug-exit,iobase=0xf4,iosize=0x4"


def check_disk(path):
    """Unmounted in order: no journal to replay, no error."""
    header = subprocess.run(["dumpe2fs", "-h", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True, timeout=60).stdout
    expect(re.search(r"^Filesystem state: +(.*)$", header, re.M).group(1), "clean")
    assert "needs_recovery" not in header, header
    check = subprocess.run(["e2fsck", "-fn", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
    expect((check.returncode, "recover" in check.stdout), (0, False), check.stdout)


@scenario(own=ALONE, healthy=False)
def as_the_readme_says(a):
    """The commands of initd/README.md, as they stand there, in an empty directory."""
    with open(os.path.join(SRC, "initd", "README.md"), encoding="utf-8") as f:
        text = f.read().split("## An appliance")[1]
    make, boot, port, client = re.findall(r"(?:^    .*\n)+", text, re.M)[:4]
    here = a.path_of("readme")
    for path, target in (("build/initd", INITD), ("build/share/capsid/vmlinux", KERNEL), ("build/test/tools", os.path.join(BUILD, "test", "tools"))):
        os.makedirs(os.path.dirname(os.path.join(here, path)), exist_ok=True)
        os.symlink(target, os.path.join(here, path))
    shutil.copy(os.path.join(BUILD, "test", "guest", "appliance"), os.path.join(here, "server"))
    subprocess.run(["/bin/sh", "-ec", make], cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=60)
    a.log = open(a.console, "wb")
    a.process = subprocess.Popen(["/bin/sh", "-c", "exec " + boot.strip() + " \\\n" + port], cwd=here, stdin=subprocess.DEVNULL, stdout=a.log,
                                 stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
    a.wait_text("stays")
    expect(len(a.lines("uid 0 gid 0 --port 80")), 1)
    run = subprocess.run(["/bin/sh", "-c", client.strip().replace("--version", "end 4")], cwd=here, check=False, timeout=60)
    expect(run.returncode, 4)
    time.sleep(0.2)
    a.path = os.path.join(here, "port")
    a.shut_down()


@scenario(own=ALONE, healthy=False)
def a_program_beside_the_protocol(a):
    a.boot("initd.hostname=box initd.main=/appliance,say,first,--port=80 initd.main_user=1000:1001")
    a.wait_text("stays")
    expect(a.lines("uid 1000"), ["uid 1000 gid 1001 first --port=80"])
    a.connect()
    expect(a.c.jobs(), {}, "the main program is no job")
    job = a.c.run(["/appliance", "end", "4"])
    expect((job.exit.cause, job.exit.status), (C.CAUSE_EXITED, 4))
    expect(a.c.read_file("/proc/sys/kernel/hostname"), b"box\n")
    usage = a.c.request("STATS")
    assert 0 < usage.initd_rss <= a.RSS_MAX, usage
    expect(len(a.lines("stays")), 1, "it was not started again")
    a.shut_down()
    expect(len(a.lines("was asked to end")), 1, "SIGTERM before SIGKILL")


FURNITURE = {"/etc/hosts": b"127.0.0.1 localhost\n::1 localhost\n", "/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n",
             "/etc/group": b"root:x:0:\n"}


@scenario(own=ALONE, healthy=False)
def an_image_without_etc(a):
    """What a libc and RESUME need of /etc is made, in the layer of changes; what an image has stays as it is."""
    a.boot().connect()
    for who in ({}, dict(uid=1000, gid=1000)):
        job = a.c.run(["/appliance", "resolve", "localhost"], **who)
        expect((job.exit.status, sorted(job.out.split())), (0, [b"127.0.0.1", b"::1"]))
    for path, text in FURNITURE.items():
        expect(a.c.read_file(path), text, path)
        expect(a.c.request("STAT", path=path).mode, 0o100644, path)
    expect(a.c.request("STAT", path="/etc").mode, 0o40755)
    all_done = C.RESUMED_ENTROPY | C.RESUMED_RESEEDED | C.RESUMED_CLOCK | C.RESUMED_HOSTNAME | C.RESUMED_MACHINE_ID
    expect(a.c.resume(instance=bytes(range(16)), hostname="plain").done, all_done)
    expect(a.c.read_file("/etc/machine-id"), bytes(range(16)).hex().encode() + b"\n")
    expect([line for line in a.lines("initd: ") if "/etc" in line], [])
    a.shut_down()
    # One that has some of it, in a layer: a file, and a link to nowhere.
    os.makedirs(a.path_of("some/etc"))
    os.symlink("/nowhere", a.path_of("some/etc/passwd"))
    some = a.layer("some", **{"etc/hosts": "127.0.0.1 mine\n"})
    a.boot("initd.layers=vdb", [(some, "on")]).connect()
    expect(a.c.read_file("/etc/hosts"), b"127.0.0.1 mine\n")
    expect(a.c.request("STAT", path="/etc/passwd", flags=C.PATH_NOFOLLOW).mode & 0o170000, 0o120000)
    expect(a.c.read_file("/etc/group"), FURNITURE["/etc/group"])
    expect(a.c.resume(hostname="").done & C.RESUMED_MACHINE_ID, C.RESUMED_MACHINE_ID)
    a.shut_down()


@scenario(own=ALONE, healthy=False)
def started_again_after_failure(a):
    a.boot("initd.main=/appliance,count,/tmp/count,3,5 initd.main_restart=on-failure")
    a.wait_text("stays")
    expect([line[-1] for line in a.lines("start ") if line.startswith("start ")], ["1", "2", "3"])
    expect(len(a.lines("initd: the main program ended with status 5, and is started again name=/appliance")), 2)
    a.connect()
    expect(a.c.read_file("/tmp/count"), b"xxx")
    a.shut_down()


@scenario(own=ALONE, healthy=False)
def what_it_left_goes_with_it(a):
    a.boot("initd.main=/appliance,leave,/tmp/lock initd.main_restart=on-failure")
    a.wait_text("leaves a child", 3)
    expect(a.lines("somebody is left"), [])
    a.connect()
    a.shut_down()


@scenario(own=ALONE, healthy=False)
def a_program_that_is_not_there(a):
    a.boot("initd.main=/nothing")
    a.wait_text("initd: the main program ended")
    expect(len(a.lines("initd: the main program cannot be executed name=execve errno=2")), 1)
    a.connect()
    a.c.ping()
    a.shut_down()


@scenario(own=ALONE, healthy=False)
def deaf_to_sigterm(a):
    for words in ("initd.main_stop=0", "initd.main_stop=2"):
        a.boot(f"initd.main=/appliance,deaf {words}")
        a.wait_text("deaf")
        a.connect()
        a.shut_down()


@scenario(own=ALONE, healthy=False)
def a_disk_behind_many_mounts(a):
    """The kernel lists them a page at a time."""
    disk = a.disk()
    a.boot("initd.main=/appliance,say", [(disk, "off")])
    a.wait_text("stays")
    a.connect()
    for i in range(200):
        target = f"/tmp/mount-{i}"
        a.c.request("WRITE_FILE", path=target, mode=0o40755, size=0, data=b"")
        expect(a.c.request("MOUNT", source="none", target=target, fstype="tmpfs").kind, "OK")
    a.c.request("WRITE_FILE", path="/tmp/disk", mode=0o40755, size=0, data=b"")
    expect(a.c.request("MOUNT", source="/dev/vdb", target="/tmp/disk", fstype="ext4").kind, "OK")
    a.c.write_file("/tmp/disk/file", b"content")
    a.shut_down()
    check_disk(disk)


@scenario(own=ALONE, healthy=False)
def the_end_of_the_program_is_the_end_of_the_guest(a):
    disk = a.disk()
    for boot in (1, 2, 3):
        a.boot("initd.upper=vdb initd.main=/appliance,count,/kept,9,0 initd.main_end=poweroff", [(disk, "off")])
        expect(a.wait_end(), 0)
        expect([line for line in a.lines("start ") if line.startswith("start ")], [f"start {boot}"], "changes stay on the disk")
        check_disk(disk)
    a.boot("initd.upper=vdb initd.main=/appliance,end,3 initd.main_end=reboot", [(disk, "off")])
    expect(a.wait_end(), 0, "a reset is the end, too, with -no-reboot")
    check_disk(disk)
    # Programs that write until the last moment, and a host that asks for the end.
    a.boot("initd.upper=vdb initd.main=/appliance,count,/kept,1,0", [(disk, "off")])
    a.wait_text("stays")
    a.connect()
    a.c.write_file("/new", b"n" * 3_000_000)
    a.c.start(["/appliance", "deaf"]).wait_started()
    a.shut_down()
    check_disk(disk)
    a.boot("initd.upper=vdb", [(disk, "off")]).connect()
    expect((a.c.read_file("/kept"), a.c.request("STAT", path="/new").size), (b"xxxx", 3_000_000))
    a.shut_down()


@scenario(own=ALONE, healthy=False)
def layers(a):
    one = a.layer("one", file="one", of_one="one", of_both="one")
    two = a.layer("two", file="two", of_both="two")
    disk = a.disk()
    paths = ["/file", "/of-root", "/of-one", "/of-both"]
    drives = [(one, "on"), (two, "on"), (disk, "off")]
    a.boot("initd.layers=vdb,vdc initd.upper=vdd initd.main=/appliance,show," + ",".join(paths), drives)
    a.wait_text("stays")
    expect([line for line in a.lines("of-") + a.lines("/file") if line.startswith("/")],
           ["/of-root: root", "/of-one: one", "/of-both: two", "/file: two"])
    a.connect()
    a.c.write_file("/file", b"changed")
    a.c.request("REMOVE", path="/of-one")
    a.shut_down()
    check_disk(disk)
    a.boot("initd.layers=vdb,vdc initd.upper=vdd initd.main=/appliance,show," + ",".join(paths), drives)
    a.wait_text("stays")
    expect(a.lines("/file: ") + a.lines("/of-one: "), ["/file: changed", "/of-one: errno 2"])
    a.connect()
    a.shut_down()
    # The same two, the other way round, and no disk.
    a.boot("initd.layers=vdc,vdb initd.main=/appliance,show,/file,/of-both", drives[:2])
    a.wait_text("stays")
    expect(a.lines("/file: ") + a.lines("/of-both: "), ["/file: one", "/of-both: one"])


@scenario(own=ALONE, healthy=False)
def a_disk_that_is_not_there(a):
    """The root alone would be something else than what was asked for."""
    began = time.monotonic()
    a.boot("initd.upper=vdx")
    expect(a.wait_end(), 0)
    alone = time.monotonic() - began
    expect(len(a.lines("initd: cannot boot name=upper disk errno=2")), 1)
    # A host learns it too: what it has asked meanwhile is refused.
    began = time.monotonic()
    a.boot("initd.layers=vdx")
    a.c = Connection(a.open_socket(PATIENCE))
    a.c.send("HELLO")
    requests = [Request(a.c, "PING", token=1), Request(a.c, "QUIESCE"), Request(a.c, "STATS")]
    a.c.pump(lambda: all(r.answer for r in requests))
    for r in requests:
        expect((r.answer.kind, r.answer.code, r.answer.os_errno, r.answer.text), ("ERROR", C.ERR_SETUP, 2, "layer vdx"))
    assert a.c.welcome, "no WELCOME"
    expect(a.wait_end(), 0)
    assert time.monotonic() - began < alone, "where a host was told, nobody else is waited for"
    expect(len(a.lines("initd: cannot boot name=layer vdx errno=2")), 1)


@scenario(own=ALONE, healthy=False)
def asked_before_it_is_set_up(a):
    """The host has sent all this before there is a guest. It waits for a complete one, and is carried out in its order."""
    a.boot("initd.hostname=early")
    c = a.c = Connection(a.open_socket(PATIENCE))
    c.send("HELLO")
    written = Writing(c, "/tmp/early", b"early")
    job = c.start(["/appliance", "show", "/tmp/early", "/proc/self/cgroup", "/proc/sys/kernel/hostname", "/dev/shm/none"], pids=5)
    usage = Request(c, "STATS")
    job.wait_output("stays")
    for line in (b"/tmp/early: early", b"/jobs/", b"hostname: early", b"/dev/shm/none: errno 2"):
        assert line in job.out, (line, job.out)
    assert written.done and written.error is None, written.error
    c.pump(lambda: usage.answer)
    assert usage.answer.uptime_ns > c.welcome.ready_ns > c.welcome.init_ns > 0, (usage.answer, c.welcome)
    a.shut_down()
    # A snapshot is never of less than a whole guest.
    a.boot("initd.hostname=sealed")
    c = a.c = Connection(a.open_socket(PATIENCE))
    c.send("HELLO")
    expect(c.request("QUIESCE").kind, "OK")
    c.resume()
    expect(c.read_file("/proc/sys/kernel/hostname"), b"sealed\n")
    a.shut_down()


@scenario(own=ALONE, healthy=False)
def a_terminal(a):
    a.boot("initd.main=/appliance,terminal initd.main_tty=1 initd.main_restart=always", terminal=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        for _ in range(500):
            if os.path.exists(a.path_of("tty")):
                break
            time.sleep(0.02)
        sock.connect(a.path_of("tty"))
        for i in (1, 2):  # started again, it gets it again
            a.wait_text("terminal 1, leader 1", i)
            sock.sendall(b"hello\r")
            a.wait_text("line hello", i)
            sock.sendall(b"\x03")
            a.wait_text("interrupted", i)
    a.connect()
    a.shut_down()


@scenario(own=ALONE, healthy=False)
def an_exit_status_that_nobody_can_take(a):
    """The product's kernel has no /dev/port."""
    a.boot("initd.exit_port=0xf4 initd.main=/appliance,end,7 initd.main_end=poweroff", devices=[EXIT_PORT])
    expect(a.wait_end(), 0)
    expect(len(a.lines("initd: initd.exit_port: no exit status for the VMM name=/dev/port errno=2")), 1)
    a.boot("initd.exit_port=80 initd.main_tty=maybe initd.main_stop=x")
    a.connect()
    expect(len(a.lines("initd: bad value on the kernel command line name=initd.")), 3)
    a.shut_down()


@scenario(own=ALONE, healthy=False)
def an_exit_status_for_the_vmm(a):
    """isa-debug-exit ends QEMU with (status << 1) | 1, of which a process has 8 bits."""
    if not os.path.exists(NEWER):
        print(f"    not tested: {NEWER} is not there; its source could not be fetched")
        return
    disk = a.disk()
    word = "initd.exit_port=0xF4 initd.upper=vdb"
    for what, status in (("end,0", 0), ("end,7", 7), ("die,9", 128 + 9), ("nothing", 99)):
        a.boot(f"{word} initd.main=/appliance,{what} initd.main_end=poweroff", [(disk, "off")], NEWER, [EXIT_PORT])
        expect(a.wait_end(), (status << 1 | 1) & 255, what)
        check_disk(disk)
    # SHUTDOWN has a status of its own, whatever the main program ended with.
    a.boot(f"{word} initd.main=/appliance,end,7", [(disk, "off")], NEWER, [EXIT_PORT])
    a.wait_text("initd: the main program ended")
    a.shut_down(5 << 1 | 1, status=5)
    # Without such a device the machine ends as ever; so it does with a reboot.
    a.boot(f"{word} initd.main=/appliance,end,7 initd.main_end=poweroff", [(disk, "off")], NEWER)
    expect(a.wait_end(), 0)
    a.boot(f"{word} initd.main=/appliance,end,7 initd.main_end=reboot", [(disk, "off")], NEWER, [EXIT_PORT])
    expect(a.wait_end(), 0)


run_scenarios(Appliance)
