"""Everything that can go wrong on the wire: connections cut anywhere, garbage, hosts that do not read, ATTACH."""

import os
import struct
import time

from guest import Connection, Job, OPEN, Reading, Request, Writing, expect, pattern, run_scenarios, scenario
from wire import C, DEFAULTS, HEADER, Lost, Refused, protocol

USER = dict(uid=1000, gid=1000)
# One valid message of each kind that a host may send. None of them may have any effect unless it arrives whole.
SAMPLES = {
    "HELLO": {}, "PING": dict(token=7), "DATA": dict(channel=0, offset=0, data=b"data"), "END": dict(channel=0, offset=0),
    "WINDOW": dict(channel=1, consumed=0, limit=10), "EXEC": dict(argv=["/hostile", "kill-all"]), "RESIZE": dict(rows=1, cols=1),
    "SIGNAL": dict(signal=9), "KILL": {}, "ATTACH": dict(job=1), "RELEASE": dict(job=1), "JOBS": {},
    "WRITE_FILE": dict(path="/cut", size=3, data=b"abc"), "READ_FILE": dict(path="/etc/passwd"), "STAT": dict(path="/etc"),
    "LIST": dict(path="/etc"), "REMOVE": dict(path="/hostile"), "MOUNT": dict(source="x", target="/cut", fstype="tmpfs"),
    "UNMOUNT": dict(target="/proc"), "PRIME": dict(argv=["/hostile", "kill-all"], script="/cut"),
    "FEED": dict(job=1, source="/etc/passwd"), "QUIESCE": {}, "STATS": {}, "SHUTDOWN": {},
    "STRINGS": dict(argv_size=3, env_size=0, offset=0, data=b"ab\0"), "JOB": dict(job=1), "KILL_JOB": dict(job=1),
    "DISK": dict(path="/"), "UNPACK": dict(path="/cut", size=3, data=b"abc"), "ROOT": dict(layers=["erofs:vda"], upper=""), "CHANGES": {}, "SEAL": dict(fold=0),
    "RESUME": dict(entropy=bytes(64), wall_clock_ns=1, instance=bytes(16), hostname="cut"),
}


def sample(kind, stream=1):
    return protocol.encode(kind, stream, {**DEFAULTS.get(kind, {}), **SAMPLES[kind]})


@scenario
def every_message_cut_everywhere(guest):
    expect(set(SAMPLES), {kind for kind, sender in protocol.sender.items() if sender in ("HOST", "BOTH")})
    witness = guest.hostile("sleep", 600000, **USER).wait_started()
    cuts = again = 0
    for kind in SAMPLES:
        whole = sample(kind)
        for cut in sorted({1, HEADER.size - 1, min(HEADER.size, len(whole) - 1), (HEADER.size + len(whole)) // 2, len(whole) - 1}):
            if not 0 < cut < len(whole):
                continue
            guest.c.send_raw(whole[:cut])
            guest.c.pump(lambda: not guest.c.outgoing, 20)
            guest.connect(answer_within=2)
            cuts, again = cuts + 1, again + (guest.attempts > 1)
            assert again <= 3 + cuts // 10, f"after {again} of {cuts} cuts HELLO was not answered: what was cut was still read"
        expect(guest.c.jobs()[witness.job], C.JOB_RUNNING, kind)
    for path in ("/cut",):
        expect(guest.c.refused("STAT", C.ERR_OS, path=path), 2)
    expect(guest.c.request("STAT", path="/hostile").mode, 0o100755)
    attached = Job(guest.c, "ATTACH", job=witness.job).wait_started()
    attached.control("KILL")
    attached.wait()


@scenario
def cut_and_back_without_a_pause(guest):
    """The port is closed and opened again before the guest can look. Here initd may take the HELLO for the rest of the
    frame that was cut; the host, without an answer, tries again. It must get through. (Not with SHUTDOWN: of that the first
    bytes of HELLO make a whole one.)"""
    attempts = []
    for kind in ("PING", "EXEC", "WRITE_FILE", "RESUME"):
        whole = sample(kind)
        for cut in (5, len(whole) - 1):
            guest.c.send_raw(whole[:cut])
            guest.connect(answer_within=1.5, pause=0, patience=40)
            attempts.append(guest.attempts)
            guest.c.ping()
    print(f"    attempts: {attempts}")


@scenario
def half_a_frame_and_then_nothing(guest):
    guest.c.send_raw(sample("EXEC")[:40])
    guest.c.pump(lambda: guest.c.strays, 30)
    expect((guest.c.strays[0].kind, guest.c.strays[0].code), ("ERROR", C.ERR_MALFORMED))
    guest.connect()


# ---- garbage -------------------------------------------------------------------------------------

def broken_by(guest, data, code):
    """After this there is an ERROR, and nothing is taken any more until the port is opened anew."""
    guest.c.strays.clear()
    guest.c.send_raw(data)
    guest.c.pump(lambda: guest.c.strays, 20)
    expect((guest.c.strays[0].kind, guest.c.strays[0].code), ("ERROR", code), data[:60])
    guest.c.strays.clear()
    guest.c.send("PING", 0, token=1)
    guest.c.pump_for(0.05)
    expect(guest.c.strays, [], "after a malformed frame")
    guest.connect(answer_within=3, pause=0.03)


@scenario
def frames_that_are_none(guest):
    for data in (HEADER.pack(8, 3, 1, 1) + bytes(8), HEADER.pack(1 << 31, 3, 0, 1), HEADER.pack(65525, 3, 0, 1), b"\xff" * 64,
                 b"GET / HTTP/1.0\r\n\r\n", os.urandom(4) + b"\xff\xff\xff\xff" + os.urandom(100)):
        broken_by(guest, data, C.ERR_MALFORMED)
    # The largest frame is fine.
    data = b"x" * (65524 - len(sample("WRITE_FILE")) + HEADER.size + 3)
    guest.c.send("WRITE_FILE", 5, path="/cut", size=len(data), data=data)
    guest.c.pump(lambda: guest.c.strays, 20)
    expect((guest.c.strays[0].kind, guest.c.strays[0].stream), ("OK", 5))
    guest.c.strays.clear()
    guest.c.request("REMOVE", path="/cut")


@scenario
def payloads_that_are_too_short_or_too_long(guest):
    for kind in SAMPLES:
        whole = bytearray(sample(kind))
        longer = bytearray(whole + b"\0")
        longer[0:4] = struct.pack("<I", len(longer) - HEADER.size)
        broken_by(guest, bytes(longer), C.ERR_MALFORMED)
        if len(whole) > HEADER.size:
            shorter = bytearray(whole[:-1])
            shorter[0:4] = struct.pack("<I", len(shorter) - HEADER.size)
            broken_by(guest, bytes(shorter), C.ERR_MALFORMED)


@scenario
def lengths_inside_that_lie(guest):
    for size in (0, 0x7fffffff, 0xffffffff, 100):
        broken_by(guest, HEADER.pack(10, protocol.number["STAT"], 0, 1) + struct.pack("<I", size) + bytes(6), C.ERR_MALFORMED)
    broken_by(guest, protocol.encode("STAT", 1, dict(path="/a", flags=0)).replace(b"/a\0", b"/\0\0"), C.ERR_MALFORMED)
    broken_by(guest, protocol.encode("STAT", 1, dict(path="/a", flags=0)).replace(b"/a\0", b"/ab"), C.ERR_MALFORMED)


@scenario
def messages_that_a_host_does_not_send(guest):
    for number in sorted(set(range(0, 70)) | {0xffff}):
        kind = protocol.name.get(number)
        if kind is None or protocol.sender[kind] == "GUEST":
            guest.c.send_raw(HEADER.pack(5, number, 0, 9) + bytes(5))
            guest.c.pump(lambda: guest.c.strays, 20)
            expect((guest.c.strays[0].code, guest.c.strays[0].stream), (C.ERR_UNSUPPORTED, 9), number)
            guest.c.strays.clear()
    guest.c.ping()


@scenario
def before_and_instead_of_hello(guest):
    guest.disconnect()
    time.sleep(0.1)
    guest.c = Connection(guest.open_socket())
    for kind in SAMPLES:
        if kind != "HELLO":
            guest.c.send_raw(sample(kind))
    guest.c.pump(lambda: len(guest.c.strays) == len(SAMPLES) - 1, 20)
    expect({m.code for m in guest.c.strays}, {C.ERR_STATE})
    guest.c.strays.clear()
    guest.c.hello()
    for fields, code in ((dict(magic=1), C.ERR_MALFORMED), (dict(version_min=2, version_max=9), C.ERR_UNSUPPORTED)):
        broken_by(guest, protocol.encode("HELLO", 0, {**DEFAULTS["HELLO"], **fields}), code)
    # Nobody waits for WELCOME.
    guest.disconnect()
    time.sleep(0.1)
    guest.c = Connection(guest.open_socket())
    guest.c.send_raw(sample("HELLO") + sample("PING") + sample("STATS", 3))
    guest.c.pump(lambda: len(guest.c.strays) == 2, 20)
    expect([m.kind for m in guest.c.strays], ["PONG", "USAGE"])
    guest.c.strays.clear()


@scenario
def hello_again(guest):
    """On the serial port it begins a connection: the streams of the old one are forgotten, its jobs are not."""
    job = guest.c.start(["cat"], stdin=OPEN, **USER).wait_started()
    writing = Writing(guest.c, "/tmp/dropped", b"x" * 200000, hold=True, flags=C.WRITE_ATOMIC)
    guest.c.pump(lambda: writing.limit > 60000, 20)
    guest.c.streams.clear()
    guest.c.hello()
    expect(guest.c.jobs()[job.job], C.JOB_RUNNING)
    left = [name for page in guest.c.list_pages("/tmp") for name, *_ in page if "dropped" in name or name.startswith(".initd")]
    expect(left, [])
    attached = Job(guest.c, "ATTACH", job=job.job, stream=job.id).wait_started()
    attached.type(b"goes on\n")
    attached.wait_output("goes on\n")
    attached.control("KILL")
    attached.wait()


# ---- streams -------------------------------------------------------------------------------------

@scenario
def stream_ids(guest):
    job = guest.hostile("sleep", 60000).wait_started()
    for kind in ("EXEC", "STAT", "JOBS", "READ_FILE"):
        fields = {**DEFAULTS.get(kind, {}), **SAMPLES[kind]}
        guest.c.streams.pop(job.id, None)
        guest.c.send(kind, job.id, **fields)
        guest.c.pump(lambda: guest.c.strays, 20)
        expect((guest.c.strays[0].code, guest.c.strays[0].stream), (C.ERR_BUSY, job.id), kind)
        guest.c.strays.clear()
        guest.c.streams[job.id] = job
        guest.c.send(kind, 0, **fields)
        guest.c.pump(lambda: guest.c.strays, 20)
        expect((guest.c.strays[0].code, guest.c.strays[0].stream), (C.ERR_INVALID, 0), kind)
        guest.c.strays.clear()
    for kind in ("KILL", "SIGNAL", "RESIZE"):
        guest.c.refused(kind, C.ERR_NOT_FOUND, stream=77777, **SAMPLES[kind])
    for kind in ("DATA", "END", "WINDOW"):  # of a stream that has ended: not worth a word
        guest.c.send(kind, 77777, **SAMPLES[kind])
    guest.c.ping()
    expect(guest.c.strays, [])
    job.control("KILL")
    job.wait()


@scenario
def flow_that_is_not_allowed(guest):
    for kind, fields in (("DATA", dict(channel=0, offset=5, data=b"x")), ("DATA", dict(channel=0, offset=0, data=b"x" * 60000)),
                         ("END", dict(channel=0, offset=5)), ("WINDOW", dict(channel=1, consumed=1, limit=5)),
                         ("WINDOW", dict(channel=0, consumed=0, limit=5)), ("WINDOW", dict(channel=9, consumed=0, limit=5))):
        job = guest.c.start(["cat"], stdin=OPEN, wall_ms=4000, **USER).wait_started()
        guest.c.send(kind, job.id, **fields)
        guest.c.pump(lambda job=job: job.error, 20)
        expect(job.error.code, C.ERR_FLOW, (kind, fields.get("channel")))
        guest.connect(answer_within=3, pause=0.03)
    deadline = time.monotonic() + 30
    while C.JOB_RUNNING in guest.c.jobs().values() and time.monotonic() < deadline:
        time.sleep(0.1)


@scenario
def a_thousand_requests_before_the_first_answer_is_read(guest):
    guest.c.paused = True
    requests = [Request(guest.c, "PING", token=i) if i % 3 else Request(guest.c, "STAT", path="/etc/passwd", flags=0)
                for i in range(3000)]
    guest.c.pump_for(1)
    guest.c.paused = False
    guest.c.pump(lambda: all(r.done for r in requests))
    for i, request in enumerate(requests):
        expect(request.answer.kind, "PONG" if i % 3 else "FILE_INFO")
        if i % 3:
            expect(request.answer.token, i)


@scenario
def too_many_transfers(guest):
    readings = [Reading(guest.c, path="/hostile", window=10, automatic=False) for _ in range(8)]
    guest.c.pump(lambda: all(len(r.channels[1].data) == 10 for r in readings), 20)
    guest.c.refused("READ_FILE", C.ERR_LIMIT, path="/hostile")
    guest.c.refused("WRITE_FILE", C.ERR_LIMIT, path="/tmp/x", data=b"x")
    for r in readings:
        r.channels[1].automatic = True
        r.channels[1].window = 60000
        r.channels[1].grant(r)
    for r in readings:
        r.wait_done()
    expect(len({bytes(r.channels[1].data) for r in readings}), 1)


# ---- not reading, cutting, attaching -------------------------------------------------------------

@scenario
def a_host_that_does_not_read(guest):
    size = 3_000_000
    flood = guest.hostile("pattern", 1, size, **USER)
    jobs = [guest.hostile("pattern", seed, 50000, **USER) for seed in range(2, 8)]
    marker = guest.c.start(["/bin/sh", "-c", "sleep 0.5; echo done > /tmp/marker"])
    guest.c.pump(lambda: len(flood.out) > 20000, 20)
    guest.c.paused = True
    guest.c.pump_for(2)
    guest.c.paused = False
    flood.wait()
    assert flood.out == pattern(1, size), "the flood's output is not what it wrote"
    for seed, job in zip(range(2, 8), jobs):
        job.wait()
        assert job.out == pattern(seed, 50000), f"job {seed}"
    expect(marker.wait().status, 0)
    expect(guest.c.read_file("/tmp/marker"), b"done\n")
    guest.c.request("REMOVE", path="/tmp/marker")


@scenario
def cut_again_and_again_while_jobs_write(guest):
    """Eight jobs, five cuts, each at another place. After an ATTACH with what the host has, the rest comes: all of it."""
    size = 400_000
    data = [b""] * 8
    jobs = [guest.hostile("pattern", seed, size, **USER) for seed in range(8)]
    for cut in range(5):
        guest.c.pump(lambda enough=10000 * (cut + 1): all(j.started for j in jobs) and (jobs[cut].done or len(jobs[cut].out) >= enough))
        guest.connect(pause=0.05)
        for seed, job in enumerate(jobs):
            data[seed] += job.out
            # The last WINDOW may not have got through, so an offset may be higher than what initd holds from, never lower.
            jobs[seed] = job if job.done else Job(guest.c, "ATTACH", job=job.job, stdout_offset=len(data[seed]))
            if job.done:
                job.channels[1].data.clear()  # it is in data already
    for seed, job in enumerate(jobs):
        job.wait()
        assert data[seed] + job.out == pattern(seed, size), f"job {seed}: its output is not what it wrote"
        expect(job.exit.stdout_size, size)


@scenario
def a_job_that_ends_while_nobody_is_there(guest):
    guest.forget_ended()
    job = guest.c.start(["/bin/sh", "-c", "echo out; echo err >&2; sleep 0.4; echo more; exit 5"], automatic=False, **USER).wait_started()
    guest.disconnect()
    time.sleep(1.2)
    guest.connect()
    deadline = time.monotonic() + 30
    while guest.c.jobs() != {job.job: C.JOB_ENDED} and time.monotonic() < deadline:
        time.sleep(0.1)
    expect(guest.c.jobs(), {job.job: C.JOB_ENDED})
    attached = Job(guest.c, "ATTACH", job=job.job)
    attached.wait()
    expect((attached.out, attached.err, attached.exit.status), (b"out\nmore\n", b"err\n", 5))
    guest.c.request("RELEASE", job=job.job)
    guest.c.refused("RELEASE", C.ERR_NOT_FOUND, job=job.job)
    guest.c.refused("ATTACH", C.ERR_NOT_FOUND, job=job.job)


@scenario
def attach_with_offsets(guest):
    job = guest.c.start(["/bin/sh", "-c", f"{guest.HOSTILE} pattern 3 4000; sleep 1.5"], automatic=False, **USER)
    guest.c.pump(lambda: len(job.out) == 4000, 20)
    job.channels[1].grant(job)
    guest.c.ping()
    guest.connect()
    guest.c.refused("ATTACH", C.ERR_GONE, job=job.job, stdout_offset=3999)
    guest.c.refused("ATTACH", C.ERR_INVALID, job=job.job, stdout_offset=4001)
    guest.c.refused("ATTACH", C.ERR_NOT_FOUND, job=0)
    attached = Job(guest.c, "ATTACH", job=job.job, stdout_offset=4000)
    attached.wait()
    expect((attached.out, attached.exit.stdout_size), (b"", 4000))


@scenario
def attach_takes_from_who_has_it(guest):
    job = guest.c.start(["cat"], stdin=OPEN, **USER).wait_started()
    job.type(b"one\n")
    job.wait_output("one\n")
    guest.c.ping()
    second = Job(guest.c, "ATTACH", job=job.job, stdout_offset=4).wait_started()
    guest.c.pump(lambda: job.error, 20)
    expect(job.error.code, C.ERR_GONE)
    expect(second.started.stdin_offset, 4)
    second.type(b"two\n")
    second.wait_output("two\n")
    guest.c.refused("RELEASE", C.ERR_BUSY, job=job.job)
    second.end_input()
    second.wait()
    expect((second.out, second.exit.stdout_size), (b"two\n", 8))


@scenario
def many_attaches_in_one_write(guest):
    jobs = [guest.hostile("sleep", 60000).wait_started() for _ in range(20)]
    guest.c.paused = True
    second = [Job(guest.c, "ATTACH", job=job.job) for job in jobs]
    guest.c.paused = False
    guest.c.pump(lambda: all(j.done for j in jobs) and all(s.started for s in second), 15, (jobs[-1], second[-1]))
    expect({job.error.code for job in jobs}, {C.ERR_GONE})
    for s in second:
        s.control("KILL")
        s.wait()


@scenario
def file_transfers_that_are_cut(guest):
    for flags, left in ((C.WRITE_ATOMIC, False), (0, True)):
        writing = Writing(guest.c, "/tmp/cut", b"x" * 300000, hold=True, flags=flags)
        guest.c.pump(lambda w=writing: w.limit > 60000, 20)
        guest.connect()
        names = [name for page in guest.c.list_pages("/tmp") for name, *_ in page]
        expect(("cut" in names, any(n.startswith(".initd") for n in names)), (left, False))
    reading = Reading(guest.c, path="/hostile", window=100, automatic=False)
    guest.c.pump(lambda: len(reading.channels[1].data) == 100, 20)
    guest.connect()
    guest.c.request("REMOVE", path="/tmp/cut")


@scenario
def a_helper_whose_host_is_gone(guest):
    guest.c.shell("mkdir -p /tmp/tree; i=0; while [ $i -lt 1500 ]; do : > /tmp/tree/$i; i=$((i+1)); done")
    guest.c.send("REMOVE", 900, path="/tmp/tree", flags=C.REMOVE_TREE)
    guest.c.pump_for(0.1)
    guest.connect()
    guest.c.ping()
    for _ in range(300):
        if "tree" not in [name for page in guest.c.list_pages("/tmp") for name, *_ in page]:
            return
        time.sleep(0.1)
    left = sum(len(page) for page in guest.c.list_pages("/tmp/tree"))
    assert left == 1500, f"{left} of 1500 files are left: it began and did not end"


@scenario
def connections_one_after_another(guest):
    rss = guest.c.request("STATS").initd_rss
    for i in range(100):
        guest.connect(pause=0.01)
        guest.c.ping(i)
    after = guest.c.request("STATS").initd_rss
    assert after <= rss + (128 << 10), f"{rss} bytes resident before, {after} after"


run_scenarios()
