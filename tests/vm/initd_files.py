"""File operations of the protocol on a real overlay: every field, every kind of file, and what must not block."""

from guest import C, Reading, Refused, Writing, expect, pattern, run_scenarios, scenario, time

USER = dict(uid=1000, gid=1000)
NS = 10 ** 9


def info(guest, path, **fields):
    return guest.c.request("STAT", path=path, **fields)


def names(guest, path):
    return sorted(name for page in guest.c.list_pages(path) for name, *_ in page)


@scenario
def content_of_every_size(guest):
    for size in (0, 1, 4095, 4096, 59999, 60000, 60001, 300000, 3_000_000):
        data = pattern(size % 251, size)
        for flags in (0, C.WRITE_ATOMIC):
            guest.c.write_file("/tmp/f", data, flags=flags)
            expect(info(guest, "/tmp/f").size, size)
            assert guest.c.read_file("/tmp/f") == data, size
    guest.c.request("REMOVE", path="/tmp/f")


@scenario
def mode_owner_and_time(guest):
    guest.c.write_file("/tmp/f", b"x", mode=0o104751, uid=12, gid=34, mtime_ns=1234567890 * NS + 987654321)
    got = info(guest, "/tmp/f")
    expect((got.mode, got.uid, got.gid, got.mtime_ns, got.size, got.target),
           (0o104751, 12, 34, 1234567890 * NS + 987654321, 1, ""))
    guest.c.write_file("/tmp/f", b"yy", mode=0o100600, flags=C.WRITE_ATOMIC)
    got = info(guest, "/tmp/f")
    expect((got.mode, got.uid, got.gid, got.size), (0o100600, 0, 0, 2))
    assert abs(got.mtime_ns - time.time_ns()) < 3600 * NS, "mtime 0 is now"
    guest.c.request("REMOVE", path="/tmp/f")


@scenario
def parents(guest):
    expect(guest.c.refused("WRITE_FILE", C.ERR_OS, path="/tmp/a/b/c", data=b"x"), 2)
    guest.c.write_file("/tmp/a/b/c", b"x", flags=C.WRITE_PARENTS | C.WRITE_ATOMIC, uid=5, gid=6)
    for path in ("/tmp/a", "/tmp/a/b"):
        got = info(guest, path)
        expect((got.mode, got.uid, got.gid), (0o40755, 5, 6))
    expect(guest.c.refused("WRITE_FILE", C.ERR_OS, path="/tmp/a/b/c/d", data=b"x", flags=C.WRITE_PARENTS), 20)
    expect(guest.c.refused("REMOVE", C.ERR_OS, path="/tmp/a"), 39)
    guest.c.request("REMOVE", path="/tmp/a", flags=C.REMOVE_TREE)
    expect(guest.c.refused("STAT", C.ERR_OS, path="/tmp/a"), 2)


@scenario
def ranges(guest):
    guest.c.write_file("/tmp/f", b"0123456789")
    guest.c.write_file("/tmp/f", b"abc", offset=3, flags=C.WRITE_KEEP)
    expect(guest.c.read_file("/tmp/f"), b"012abc6789")
    guest.c.write_file("/tmp/f", b"z", offset=20, flags=C.WRITE_KEEP)
    expect(guest.c.read_file("/tmp/f"), b"012abc6789" + bytes(10) + b"z")
    guest.c.write_file("/tmp/f", b"new", offset=2)
    expect(guest.c.read_file("/tmp/f"), b"\0\0new")
    guest.c.refused("WRITE_FILE", C.ERR_INVALID, path="/tmp/f", data=b"x", offset=1, flags=C.WRITE_ATOMIC)
    guest.c.refused("WRITE_FILE", C.ERR_INVALID, path="/tmp/f", data=b"x", flags=C.WRITE_ATOMIC | C.WRITE_KEEP)
    guest.c.refused("WRITE_FILE", C.ERR_UNSUPPORTED, path="/tmp/f", data=b"x", flags=1 << 14)
    data = pattern(1, 200000)
    guest.c.write_file("/tmp/f", data)
    for offset, length in ((0, 10), (199990, 100), (200000, 1), (10 ** 12, 1), (4000, 190000), (5, 0)):
        assert guest.c.read_file("/tmp/f", offset=offset, length=length) == data[offset:offset + length], (offset, length)
    guest.c.refused("READ_FILE", C.ERR_INVALID, path="/tmp/f", offset=1 << 63)
    guest.c.request("REMOVE", path="/tmp/f")


@scenario
def a_window_holds_a_reading_back(guest):
    data = pattern(2, 50000)
    guest.c.write_file("/tmp/f", data)
    reading = Reading(guest.c, path="/tmp/f", window=1000, automatic=False)
    guest.c.pump(lambda: len(reading.channels[1].data) == 1000, 20)
    guest.c.pump_for(0.2)
    expect(len(reading.channels[1].data), 1000)
    for step in (1, 999, 8000):
        before = len(reading.channels[1].data)
        reading.channels[1].grant(reading, step)
        guest.c.pump(lambda: len(reading.channels[1].data) == before + step, 20)
    reading.channels[1].automatic, reading.channels[1].window = True, 5000
    reading.channels[1].grant(reading)
    reading.wait_done()
    expect(bytes(reading.channels[1].data), data)
    guest.c.request("REMOVE", path="/tmp/f")


@scenario
def directories_and_symlinks(guest):
    guest.c.write_file("/tmp/d", b"", mode=0o41777, uid=7, gid=8, mtime_ns=5 * NS)
    got = info(guest, "/tmp/d")
    expect((got.mode, got.uid, got.gid, got.mtime_ns), (0o41777, 7, 8, 5 * NS))
    guest.c.write_file("/tmp/l", b"d/target", mode=0o120777, gid=8, mtime_ns=6 * NS)
    got = info(guest, "/tmp/l", flags=C.PATH_NOFOLLOW)
    expect((got.mode & 0o170000, got.target, got.gid, got.mtime_ns), (0o120000, "d/target", 8, 6 * NS))
    expect(guest.c.refused("STAT", C.ERR_OS, path="/tmp/l"), 2)
    expect(guest.c.refused("WRITE_FILE", C.ERR_OS, path="/tmp/l", data=b"elsewhere", mode=0o120777), 17)
    guest.c.write_file("/tmp/l", b"elsewhere", mode=0o120777, flags=C.WRITE_ATOMIC)
    expect(info(guest, "/tmp/l", flags=C.PATH_NOFOLLOW).target, "elsewhere")
    guest.c.write_file("/tmp/l", b"a file now", flags=C.WRITE_ATOMIC)
    expect(info(guest, "/tmp/l", flags=C.PATH_NOFOLLOW).mode, 0o100644)
    guest.c.refused("WRITE_FILE", C.ERR_INVALID, path="/tmp/d", data=b"x", mode=0o40755)
    guest.c.refused("WRITE_FILE", C.ERR_INVALID, path="/tmp/s", data=b"", mode=0o120777)
    guest.c.refused("WRITE_FILE", C.ERR_INVALID, path="/tmp/s", data=b"x" * 5000, mode=0o120777)
    for mode in (0o10644, 0o20644, 0o60644, 0o140644, 0o644):
        guest.c.refused("WRITE_FILE", C.ERR_INVALID, path="/tmp/s", data=b"", mode=mode)
    guest.c.refused("WRITE_FILE", C.ERR_INVALID, path="relative", data=b"x")
    guest.c.refused("WRITE_FILE", C.ERR_INVALID, path="/tmp/s", data=b"xx", size=1)
    guest.c.refused("WRITE_FILE", C.ERR_INVALID, path="/tmp/s", data=b"", size=1 << 63)
    expect(guest.c.refused("WRITE_FILE", C.ERR_OS, path="/tmp/" + "n" * 300, data=b""), 36)
    expect(guest.c.refused("WRITE_FILE", C.ERR_OS, path="/tmp/" + "n/" * 3000, data=b"", flags=C.WRITE_PARENTS), 36)
    for path in ("/tmp/d", "/tmp/l"):
        guest.c.request("REMOVE", path=path)
    expect(names(guest, "/tmp"), [])


@scenario
def an_end_before_all_of_the_content(guest):
    for flags in (0, C.WRITE_ATOMIC):
        writing = Writing(guest.c, "/tmp/f", b"x" * 200000, hold=True, flags=flags)
        guest.c.pump(lambda w=writing: w.limit > 60000, 20)
        guest.c.send("END", writing.id, channel=0, offset=60000)
        guest.c.pump(lambda w=writing: w.done, 20)
        expect(writing.error.code, C.ERR_INVALID)
    guest.c.request("REMOVE", path="/tmp/f")
    expect(names(guest, "/tmp"), [])


@scenario
def nothing_blocks(guest):
    """FIFOs without a reader or writer, devices, sockets, endless and waiting files of the kernel."""
    guest.c.shell("mkfifo /tmp/fifo; mknod /tmp/zero c 1 5; mknod /tmp/tty c 5 0; ln -s fifo /tmp/link; ln -s loop /tmp/loop")
    port = guest.port()
    began = time.monotonic()
    for path in ("/tmp/fifo", "/tmp/zero", "/tmp/link", "/tmp", "/dev/zero", "/dev/console", "/dev/ptmx", port):
        expect(info(guest, path).mode & 0o170000 in (0o10000, 0o20000, 0o40000), True, path)
        for request in (lambda p: Reading(guest.c, path=p), lambda p: Writing(guest.c, p, b"x"),
                        lambda p: Writing(guest.c, p, b"x", flags=C.WRITE_KEEP)):
            try:
                request(path).wait_done(20)
            except Refused as e:
                assert e.code in (C.ERR_INVALID, C.ERR_OS), (path, e)
            else:
                raise AssertionError(f"{path} was taken for a file")
    expect(guest.c.refused("READ_FILE", C.ERR_OS, path="/tmp/loop"), 40)
    expect(guest.c.refused("READ_FILE", C.ERR_OS, path="/tmp/tty"), 6)
    kernel_log = Reading(guest.c, path="/proc/kmsg", length=1 << 40)
    guest.c.pump_for(0.3)
    guest.c.ping()
    if not kernel_log.done:
        raise AssertionError("READ_FILE of /proc/kmsg has no end")
    expect(info(guest, "/tmp/fifo").mode & 0o170000, 0o10000)
    expect(info(guest, "/tmp/zero").mode & 0o170000, 0o20000)
    guest.c.refused("LIST", C.ERR_OS, path="/tmp/fifo")
    expect(names(guest, "/tmp"), ["fifo", "link", "loop", "tty", "zero"])
    # By rename it goes over anything.
    guest.c.write_file("/tmp/fifo", b"a file", flags=C.WRITE_ATOMIC)
    expect(guest.c.read_file("/tmp/link"), b"a file")
    for name in names(guest, "/tmp"):
        guest.c.request("REMOVE", path=f"/tmp/{name}")
    assert time.monotonic() - began < 30


@scenario
def files_of_the_kernel(guest):
    assert guest.c.read_file("/proc/meminfo").startswith(b"MemTotal:")
    assert b"initd" in guest.c.read_file("/proc/1/stat")
    guest.c.write_file("/proc/sys/vm/overcommit_memory", b"1\n")
    expect(guest.c.read_file("/proc/sys/vm/overcommit_memory"), b"1\n")
    guest.c.write_file("/proc/sys/vm/overcommit_memory", b"0\n")
    expect(guest.c.refused("WRITE_FILE", C.ERR_OS, path="/proc/sys/vm/overcommit_memory", data=b"9\n"), 22)
    assert guest.c.refused("READ_FILE", C.ERR_OS, path="/proc/1/mem") in (5,)


@scenario
def two_thousand_entries(guest):
    guest.c.shell("mkdir /tmp/many; cd /tmp/many; i=0; while [ $i -lt 2000 ]; do : > name-of-a-file-$i; i=$((i+1)); done")
    pages = guest.c.list_pages("/tmp/many")
    entries = [name for page in pages for name, *_ in page]
    expect((len(entries), set(entries)), (2000, {f"name-of-a-file-{i}" for i in range(2000)}))
    assert len(pages) > 5, len(pages)
    expect(guest.c.list_pages("/tmp/many")[0], pages[0], "the first page again")
    # Entries that come and go between two pages: the listing still ends. What it says depends on the filesystem, whose
    # positions can move (tmpfs before Linux 6.6).
    first = guest.c.request("LIST", path="/tmp/many")
    guest.c.shell("cd /tmp/many; rm name-of-a-file-1?; for i in 1 2 3 4 5; do : > new-$i; done")
    seen, cursor = [name for name, *_ in pages[0]], first.cursor
    while cursor:
        page = guest.c.request("LIST", path="/tmp/many", cursor=cursor)
        cursor = page.cursor
        at = 0
        while at < len(page.entries):
            size = int.from_bytes(page.entries[at + 20:at + 24], "little")
            seen.append(page.entries[at + 24:at + 23 + size].decode())
            at += 24 + size
    assert 1900 <= len(set(seen)) <= len(seen) <= 2100, (len(set(seen)), len(seen))
    expect(guest.c.list_pages("/tmp/many/..")[0] != [], True)
    expect(guest.c.refused("LIST", C.ERR_OS, path="/tmp/none"), 2)
    guest.c.request("REMOVE", path="/tmp/many", flags=C.REMOVE_TREE)


@scenario
def names_that_are_long_or_odd(guest):
    odd = ["n" * 255, "with space", "new\nline", "\u00fcml\u00e4ut", "-", "...", "\udcff\udcfe"]
    guest.c.write_file("/tmp/odd", b"", mode=0o40755)
    for name in odd:
        guest.c.write_file(f"/tmp/odd/{name}", name.encode(errors="surrogateescape"))
    expect(names(guest, "/tmp/odd"), sorted(odd))
    for name in odd:
        expect(guest.c.read_file(f"/tmp/odd/{name}"), name.encode(errors="surrogateescape"))
    guest.c.request("REMOVE", path="/tmp/odd", flags=C.REMOVE_TREE)


@scenario
def removal_of_trees(guest):
    guest.c.shell("mkdir -p /tmp/t/a/b /tmp/keep; : > /tmp/keep/file; ln -s /tmp/keep /tmp/t/a/link; mkfifo /tmp/t/fifo; "
                  "mknod /tmp/t/zero c 1 5; mkdir -p /tmp/t/" + "d/" * 200)
    guest.c.request("REMOVE", path="/tmp/t", flags=C.REMOVE_TREE)
    expect(names(guest, "/tmp"), ["keep"])
    expect(names(guest, "/tmp/keep"), ["file"], "what a symlink points to")
    guest.c.write_file("/tmp/link", b"keep", mode=0o120777)
    guest.c.request("REMOVE", path="/tmp/link", flags=C.REMOVE_TREE)
    expect(names(guest, "/tmp/keep"), ["file"], "what a symlink points to")
    guest.c.run(["mkdir", "-p", "/tmp/deep/" + "d/" * 600])
    expect(guest.c.refused("REMOVE", C.ERR_OS, path="/tmp/deep", flags=C.REMOVE_TREE), 40)
    guest.c.run(["rm", "-rf", "/tmp/deep"])
    for path, errno in (("/tmp/none", 2), ("/proc", 16), ("/proc/1/stat", 1)):
        got = guest.c.refused("REMOVE", C.ERR_OS, path=path)
        assert got in (errno, 13, 1, 20), (path, got)
    guest.c.refused("REMOVE", C.ERR_UNSUPPORTED, path="/tmp/none", flags=4)
    guest.c.request("REMOVE", path="/tmp/keep", flags=C.REMOVE_TREE)


@scenario
def a_job_plays_with_links_while_the_host_writes(guest):
    """The host writes below a directory that a user can change. Without a race that is lost, nothing outside changes."""
    guest.c.write_file("/tmp/user", b"", mode=0o40777, uid=1000, gid=1000)
    guest.c.write_file("/etc/precious", b"precious")
    game = guest.c.start(["/bin/sh", "-c", "cd /tmp/user; while :; do ln -s /etc/precious f 2>/dev/null; rm -f f; done"], wall_ms=30000, **USER)
    game.wait_started()
    for i in range(60):
        guest.c.write_file("/tmp/user/f", b"new" * i, flags=C.WRITE_ATOMIC)
    expect(guest.c.read_file("/etc/precious"), b"precious")
    game.control("KILL")
    game.wait()
    guest.c.request("REMOVE", path="/tmp/user", flags=C.REMOVE_TREE)
    guest.c.request("REMOVE", path="/etc/precious")


@scenario
def mounts(guest):
    guest.c.request("MOUNT", source="disk", target="/tmp/m/n", fstype="tmpfs", flags=6, options="size=1m,mode=700")
    expect(info(guest, "/tmp/m/n").mode, 0o40700)
    guest.c.write_file("/tmp/m/n/f", b"x" * 500000)
    expect(guest.c.refused("WRITE_FILE", C.ERR_OS, path="/tmp/m/n/g", data=b"x" * 900000), 28)
    expect(guest.c.refused("REMOVE", C.ERR_OS, path="/tmp/m/n"), 16)
    holder = guest.c.start(["/bin/sh", "-c", "cd /tmp/m/n; echo in; sleep 60"])
    holder.wait_output("in\n")
    expect(guest.c.refused("UNMOUNT", C.ERR_OS, target="/tmp/m/n"), 16)
    guest.c.request("UNMOUNT", target="/tmp/m/n", flags=2)
    holder.control("KILL")
    holder.wait()
    expect(names(guest, "/tmp/m/n"), [])
    for fields, errno in ((dict(fstype="nothing"), 19), (dict(fstype="ext4", source="/dev/none"), 2), (dict(fstype="tmpfs", options="no=thing"), 22)):
        fields = {"source": "x", "target": "/tmp/m", **fields}
        expect(guest.c.refused("MOUNT", C.ERR_OS, **fields), errno, fields)
    expect(guest.c.refused("UNMOUNT", C.ERR_OS, target="/tmp/m"), 22)
    guest.c.refused("MOUNT", C.ERR_INVALID, source="x", target="m", fstype="tmpfs")
    guest.c.refused("UNMOUNT", C.ERR_INVALID, target="m")
    for path, flags in (("/", 0), ("/", 2), ("//", 2), ("/tmp/..", 2)):
        expect(guest.c.refused("UNMOUNT", C.ERR_OS, target=path, flags=flags), 16, path)
    guest.c.request("REMOVE", path="/tmp/m", flags=C.REMOVE_TREE)


run_scenarios()
