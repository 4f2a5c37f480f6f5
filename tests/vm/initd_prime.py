"""PRIME, FEED, QUIESCE, RESUME and SHUTDOWN."""

from guest import C, Job, OPEN, Refused, Writing, expect, pattern, run_scenarios, scenario, time

USER = dict(uid=1000, gid=1000)
SCRIPT = "/tmp/script"
SHELL = ["/bin/sh", SCRIPT]


def write_source(guest, text, path="/tmp/source"):
    guest.c.write_file(path, text)
    return path


def prime(guest, **fields):
    return guest.c.prime(SHELL, SCRIPT, **{**USER, **fields})


def clean(guest):
    for path in (SCRIPT, "/tmp/source"):
        try:
            guest.c.request("REMOVE", path=path)
        except Refused as e:
            expect((e.code, e.os_errno), (C.ERR_OS, 2))


@scenario
def a_primed_interpreter(guest):
    job = prime(guest)
    expect(guest.c.jobs()[job], C.JOB_PRIMED)
    fed = guest.c.feed(job, write_source(guest, "echo fed; echo $0; cat; exit 4"), stdin=b"input\n")
    fed.wait()
    expect((fed.out, fed.exit.cause, fed.exit.status), (b"fed\n/tmp/script\ninput\n", C.CAUSE_EXITED, 4))
    expect(guest.c.read_file(SCRIPT), b"echo fed; echo $0; cat; exit 4", "what the interpreter would read again")
    expect(guest.c.refused("STAT", C.ERR_OS, path="/tmp/source"), 2)
    clean(guest)


@scenario
def a_script_larger_than_a_pipe(guest):
    script = b"echo begin\n" + b"# comment of some length that is only read\n" * 8000 + b"echo end\n"
    job = prime(guest)
    fed = guest.c.feed(job, write_source(guest, script))
    fed.wait()
    expect((fed.out, fed.exit.status), (b"begin\nend\n", 0))
    clean(guest)


@scenario
def limits_count_from_feed(guest):
    job = prime(guest)
    time.sleep(5.2)
    fed = guest.c.feed(job, write_source(guest, "sleep 0.3; echo in time; sleep 60"), wall_ms=5000)
    fed.wait()
    expect((fed.out, fed.exit.cause), (b"in time\n", C.CAUSE_TIMEOUT))
    for fields, script, cause in ((dict(cpu_ms=200), "while :; do :; done", C.CAUSE_CPU), (dict(output=10), "echo 01234567890123", C.CAUSE_OUTPUT),
                                  (dict(memory=16 << 20), "exec /hostile hog 0", C.CAUSE_OOM)):
        fed = guest.c.feed(prime(guest), write_source(guest, script), wall_ms=30000, **fields)
        expect(fed.wait().cause, cause)
    fed = guest.c.feed(prime(guest), write_source(guest, "exec /hostile forks"), pids=5)
    fed.wait()
    expect(fed.out, b"made 4\nerrno 11\n")
    fed = guest.c.feed(prime(guest), write_source(guest, "exec /hostile open-files"), files=20)
    fed.wait()
    assert fed.out.endswith(b"errno 24\n") and int(fed.out.split()[1]) <= 17, fed.out
    clean(guest)


@scenario
def interpreters_that_do_not_get_there(guest):
    for argv, code in ((["/bin/false"], C.ERR_EXEC), (["/hostile", "true"], C.ERR_EXEC), (["/nothing"], C.ERR_EXEC)):
        guest.c.refused("PRIME", code, argv=argv, script=SCRIPT, settle_ms=20000)
    for argv in (["/hostile", "sleep", "60000"], ["/hostile", "spin"], ["/hostile", "deaf"]):
        began = time.monotonic()
        guest.c.refused("PRIME", C.ERR_TIMEOUT, argv=argv, script=SCRIPT, settle_ms=600)
        assert time.monotonic() - began > 0.5
    guest.c.refused("PRIME", C.ERR_TIMEOUT, argv=["/bin/sh", "-c", f"exec 3<{SCRIPT}; while :; do :; done"], script=SCRIPT, settle_ms=800)
    guest.c.refused("PRIME", C.ERR_INVALID, argv=SHELL, script="script")
    guest.c.refused("PRIME", C.ERR_LIMIT, argv=SHELL, script="/tmp/" + "x" * 300)
    expect(guest.c.refused("STAT", C.ERR_OS, path=SCRIPT), 2, "the FIFO of a PRIME that failed")
    guest.c.refused("PRIME", C.ERR_TIMEOUT, argv=SHELL, script=SCRIPT, settle_ms=0)


@scenario
def a_primed_interpreter_that_dies(guest):
    job = prime(guest)
    killer = guest.run_hostile("kill-all")
    expect(killer.exit.status, 0)
    guest.after_a_kill()
    for _ in range(100):
        if guest.c.jobs().get(job) == C.JOB_ENDED:
            break
        time.sleep(0.05)
    guest.c.refused("FEED", C.ERR_STATE, job=job, source=write_source(guest, "echo never"))
    expect(guest.c.refused("STAT", C.ERR_OS, path=SCRIPT), 2, "the FIFO of an interpreter that is gone")
    attached = Job(guest.c, "ATTACH", job=job)
    expect(attached.wait().cause, C.CAUSE_SIGNALLED)
    clean(guest)


@scenario
def feeding_twice_and_wrongly(guest):
    job = prime(guest)
    source = write_source(guest, "sleep 0.5; echo once")
    guest.c.refused("FEED", C.ERR_NOT_FOUND, job=job + 1000, source=source)
    guest.c.refused("FEED", C.ERR_INVALID, job=job, source="source")
    guest.c.refused("FEED", C.ERR_UNSUPPORTED, job=job, source=source, flags=C.JOB_TTY)
    fed = guest.c.feed(job, source)
    guest.c.refused("FEED", C.ERR_STATE, job=job, source=source)
    fed.wait()
    expect(fed.out, b"once\n")
    guest.c.refused("FEED", C.ERR_STATE, job=job, source=source)
    clean(guest)


@scenario
def a_feed_that_fails_changes_nothing(guest):
    """The job stays primed: no limit of the FEED that failed counts for it."""
    job = prime(guest)
    expect(guest.c.refused("FEED", C.ERR_OS, job=job, source="/tmp/none", wall_ms=300, memory=1 << 20, pids=1, files=3), 2)
    expect(guest.c.refused("FEED", C.ERR_OS, job=job, source="/tmp", wall_ms=300), 22)
    time.sleep(1)
    expect(guest.c.jobs()[job], C.JOB_PRIMED)
    fed = guest.c.feed(job, write_source(guest, "/bin/echo fed | /bin/cat; sleep 0.5; echo end"))
    fed.wait()
    expect((fed.out, fed.err, fed.exit.cause), (b"fed\nend\n", b"", C.CAUSE_EXITED))
    clean(guest)


@scenario
def primed_and_killed(guest):
    job = prime(guest)
    attached = Job(guest.c, "ATTACH", job=job).wait_started()
    attached.control("KILL")
    expect(attached.wait().cause, C.CAUSE_CANCELLED)
    many = [guest.c.prime(["/bin/sh", f"/tmp/script{i}"], f"/tmp/script{i}", **USER) for i in range(8)]
    for i, job in enumerate(many):
        guest.c.write_file("/tmp/source", f"echo {i}")
        fed = guest.c.feed(job, "/tmp/source")
        fed.wait()
        expect(fed.out, b"%d\n" % i)
        guest.c.request("REMOVE", path=f"/tmp/script{i}")
    clean(guest)


# ---- snapshots -----------------------------------------------------------------------------------

@scenario
def quiesced_until_resumed(guest):
    job = prime(guest)
    running = guest.c.start(["cat"], stdin=OPEN, **USER).wait_started()
    guest.c.request("QUIESCE")
    for kind, fields in (("EXEC", dict(argv=["true"])), ("FEED", dict(job=job, source="/tmp/x")), ("PRIME", dict(argv=SHELL, script="/tmp/y")),
                         ("STAT", dict(path="/")), ("QUIESCE", {}), ("JOBS", {}), ("WRITE_FILE", dict(path="/tmp/x", data=b"x"))):
        guest.c.refused(kind, C.ERR_STATE, **fields)
    guest.c.ping()
    guest.c.refused("RESUME", C.ERR_INVALID, entropy=bytes(31), wall_clock_ns=1, instance=bytes(16), hostname="")
    guest.c.refused("RESUME", C.ERR_INVALID, entropy=bytes(513), wall_clock_ns=1, instance=bytes(16), hostname="")
    guest.c.refused("EXEC", C.ERR_STATE, argv=["true"])
    guest.connect()
    expect(guest.c.welcome.state, C.STATE_QUIESCED)
    guest.c.refused("EXEC", C.ERR_STATE, argv=["true"])
    instance, clock = bytes(range(16)), 2_000_000_000 * 10 ** 9
    resumed = guest.c.resume(clock, instance=instance, hostname="restored")
    expect(resumed.done, C.RESUMED_ENTROPY | C.RESUMED_RESEEDED | C.RESUMED_CLOCK | C.RESUMED_HOSTNAME | C.RESUMED_MACHINE_ID)
    job_out = guest.c.shell("cat /proc/sys/kernel/hostname /etc/machine-id; date +%s").out.split()
    expect(job_out[:2], [b"restored", instance.hex().encode()])
    assert 2_000_000_000 <= int(job_out[2]) < 2_000_000_600, job_out
    guest.c.resume(hostname="capsid")
    expect(guest.c.welcome.state, C.STATE_QUIESCED)
    guest.connect()
    expect(guest.c.welcome.state, C.STATE_READY)
    fed = guest.c.feed(job, write_source(guest, "echo after"))
    fed.wait()
    expect(fed.out, b"after\n")
    attached = Job(guest.c, "ATTACH", job=running.job).wait_started()
    attached.type(b"still\n")
    attached.wait_output("still\n")
    attached.end_input()
    attached.wait()
    clean(guest)


@scenario
def no_quiesce_in_the_middle(guest):
    writing = Writing(guest.c, "/tmp/f", b"x" * 100000, hold=True)
    guest.c.pump(lambda: writing.limit > 60000, 20)
    guest.c.refused("QUIESCE", C.ERR_BUSY)
    writing.send_more()
    writing.wait_done()
    settling = Job(guest.c, "PRIME", argv=["/hostile", "sleep", "60000"], script=SCRIPT, settle_ms=1500)
    guest.c.refused("QUIESCE", C.ERR_BUSY)
    try:
        settling.wait()
    except Refused as e:
        expect(e.code, C.ERR_TIMEOUT)
    guest.c.request("QUIESCE")
    guest.c.resume()
    guest.c.request("REMOVE", path="/tmp/f")


@scenario
def a_quiesce_that_fails_changes_nothing(guest):
    """A job of root kills the process that syncs."""
    deadline, failed = time.monotonic() + 30, 0
    while not failed:
        assert time.monotonic() < deadline, "no QUIESCE has failed"
        killer = guest.hostile("kill-without-pause", 300)
        killer.wait_output("killing")
        try:
            guest.c.request("QUIESCE")
            guest.c.resume()
        except Refused as e:
            expect((e.code, e.os_errno), (C.ERR_OS, 4))
            failed += 1
        killer.wait()
        guest.after_a_kill()
    expect(guest.run_hostile("true").exit.status, 0)
    guest.c.refused("FEED", C.ERR_NOT_FOUND, job=999999, source="/tmp/x")
    guest.c.request("QUIESCE")
    guest.c.refused("EXEC", C.ERR_STATE, argv=["true"])
    guest.c.resume()


@scenario
def quiesced_while_jobs_write(guest):
    flood = guest.hostile("pattern", 4, 2_000_000, **USER)
    guest.c.pump(lambda: len(flood.out) > 50000, 20)
    flood.channels[1].automatic = False
    guest.c.request("QUIESCE")
    guest.c.resume()
    flood.channels[1].automatic = True
    flood.channels[1].grant(flood)
    flood.wait()
    assert flood.out == pattern(4, 2_000_000)


# ---- the end -------------------------------------------------------------------------------------

def shut_down(guest, **fields):
    guest.c.request("SHUTDOWN", **fields)
    expect(guest.wait_end(30), 0, "QEMU's exit status")


@scenario(own={}, healthy=False)
def shutdown(guest):
    guest.c.refused("SHUTDOWN", C.ERR_INVALID, action=7)
    guest.hostile("deaf").wait_started()
    guest.hostile("bomb", pids=50, **USER).wait_started()
    guest.c.start(["cat"], stdin=OPEN).wait_started()
    shut_down(guest)


@scenario(own={}, healthy=False)
def reboot_while_quiesced(guest):
    guest.c.request("QUIESCE")
    shut_down(guest, action=C.SHUTDOWN_REBOOT)


@scenario(own={}, healthy=False)
def shutdown_while_the_host_does_not_read(guest):
    flood = guest.hostile("pattern", 1, 1 << 40)
    guest.c.pump(lambda: len(flood.out) > 20000, 20)
    guest.c.send("SHUTDOWN", 999)
    guest.c.pump(lambda: not guest.c.outgoing, 20)
    guest.c.paused = True
    expect(guest.wait_end(30), 0, "QEMU's exit status")


run_scenarios()
