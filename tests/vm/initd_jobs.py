"""What EXEC promises, in a real guest: how jobs end, their limits, input, output, terminals, many at once."""

import re

from guest import C, Job, OPEN, Refused, expect, pattern, run_scenarios, scenario, time

USER = dict(uid=1000, gid=1000)


def cause(job):
    return job.exit.cause, job.exit.signal, job.exit.status


def ended(job):
    job.wait()
    return cause(job)


# ---- how a job ends ------------------------------------------------------------------------------

@scenario
def a_daemon_that_keeps_the_output(guest):
    job = guest.run_hostile("daemon", 60000, 0, **USER)
    expect(cause(job), (C.CAUSE_EXITED, 0, 0))
    expect(job.exit.flags, C.EXIT_OUTPUT_HELD)
    pid = int(job.out.split()[1])
    assert job.exit.wall_ns < 20e9, job.exit
    for _ in range(100):
        if guest.c.shell(f"test -e /proc/{pid}").exit.status:
            return
        time.sleep(0.05)
    raise AssertionError("the daemon lives on")


@scenario
def a_daemon_that_goes_on_writing(guest):
    """Silence is what ends the wait; where there is none, the wall limit does."""
    job = guest.run_hostile("daemon", 60000, 20, wall_ms=2000, **USER)
    expect((cause(job), job.exit.flags), ((C.CAUSE_EXITED, 0, 0), C.EXIT_OUTPUT_HELD))
    assert job.exit.stdout_size > 20, job.exit
    short = guest.run_hostile("daemon", 600, 20, **USER)
    expect((cause(short), short.exit.flags), ((C.CAUSE_EXITED, 0, 0), 0))
    assert short.out.count(b".") >= 5, short.out


# ---- what a job leaves running ---------------------------------------------------------------------

KEEP = dict(flags=C.JOB_KEEP, **USER)
LEAVE = "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"


def lives(guest, pid):
    return guest.c.shell(f"kill -0 {pid} 2>/dev/null").exit.status == 0


def wait_until_gone(guest, pid):
    for _ in range(600):
        if not lives(guest, pid):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} lives on")


def group_of(guest, pid):
    return guest.c.shell(f"cat /proc/{pid}/cgroup").out


@scenario
def what_is_left_is_kept_when_asked(guest):
    left = guest.c.shell(LEAVE, **USER)
    expect((cause(left), left.exit.flags), ((C.CAUSE_EXITED, 0, 0), 0))
    wait_until_gone(guest, int(left.out))
    job = guest.c.shell(LEAVE + "; exit 3", memory=64 << 20, pids=7, **KEEP)
    expect((cause(job), job.exit.flags), ((C.CAUSE_EXITED, 0, 3), C.EXIT_KEPT))
    pid = int(job.out)
    # Nobody else gets its group, whose limits hold.
    group = group_of(guest, pid)
    for _ in range(40):
        expect(guest.c.shell("cat /proc/self/cgroup").out == group, False)
    directory = "/sys/fs/cgroup" + group.decode().strip().split(":")[2]
    expect(guest.c.shell(f"cat {directory}/memory.max {directory}/pids.max").out, b"67108864\n7\n")
    expect(guest.c.jobs()[job.job], C.JOB_ENDED)
    # Nor does it end with the connection, or when the guest is made ready for a snapshot.
    guest.disconnect()
    guest.connect()
    expect(lives(guest, pid), True)
    guest.c.request("QUIESCE")
    guest.c.resume()
    expect(lives(guest, pid), True)
    guest.c.request("KILL_JOB", job=job.job)
    wait_until_gone(guest, pid)
    # Nothing to keep is nothing kept.
    expect(guest.c.shell("true", **KEEP).exit.flags, 0)


@scenario
def what_is_kept_holds_the_output(guest):
    job = guest.c.shell("sleep 1000 & echo $!", **KEEP)
    expect((cause(job), job.exit.flags), ((C.CAUSE_EXITED, 0, 0), C.EXIT_OUTPUT_HELD | C.EXIT_KEPT))
    expect(lives(guest, int(job.out)), True)
    guest.c.request("RELEASE", job=job.job)
    wait_until_gone(guest, int(job.out))
    # One that goes on writing is waited for as long as the job may run, and ends when it writes for nobody.
    job = guest.c.shell("(while echo x; do :; done; sleep 1000) & echo $!", wall_ms=1000, **KEEP)
    expect((cause(job), job.exit.flags), ((C.CAUSE_EXITED, 0, 0), C.EXIT_OUTPUT_HELD | C.EXIT_KEPT))
    wait_until_gone(guest, int(next(word for word in job.out.split() if word != b"x")))  # either may write first


@scenario
def a_job_that_is_killed_keeps_nothing(guest):
    job = guest.c.start(["/bin/sh", "-c", LEAVE + "; sleep 1000"], **KEEP)
    job.wait_output("\n")
    job.control("KILL")
    job.wait()
    expect((job.exit.cause, job.exit.flags), (C.CAUSE_CANCELLED, 0))
    wait_until_gone(guest, int(job.out))
    job = guest.c.shell(LEAVE + "; sleep 1000", wall_ms=500, **KEEP)
    expect((job.exit.cause, job.exit.flags), (C.CAUSE_TIMEOUT, 0))
    wait_until_gone(guest, int(job.out))


@scenario
def nothing_is_kept_when_nobody_takes_the_output(guest):
    """More than a ring (JOB_RING) and less than a pipe has room for, so that the first process ends."""
    job = guest.c.start(["/bin/sh", "-c", LEAVE + "; head -c 60000 /dev/zero"], wall_ms=5000, window=1000, automatic=False, **KEEP)
    job.wait_output("\n")
    pid = int(job.out.split()[0])
    expect(lives(guest, pid), True)
    guest.c.pump_for(6.5)
    job.channels[1].grant(job, 1 << 20)
    job.wait()
    expect(job.exit.flags & C.EXIT_KEPT, 0)
    wait_until_gone(guest, pid)


@scenario
def what_is_kept_has_its_limit_of_memory(guest):
    job = guest.c.shell("(sleep 1; tail /dev/zero) </dev/null >/dev/null 2>&1 & echo $!", memory=32 << 20, **KEEP)
    expect(job.exit.flags, C.EXIT_KEPT)
    wait_until_gone(guest, int(job.out))
    job = guest.c.shell("(sleep 1; exec tail /dev/zero) </dev/null >/dev/null 2>&1 & echo $!", **KEEP)
    expect(job.exit.flags, C.EXIT_KEPT)
    wait_until_gone(guest, int(job.out))


@scenario
def as_many_are_kept_as_there_are_jobs(guest):
    jobs_max = guest.c.welcome.jobs_max
    jobs = [guest.c.shell(LEAVE, **KEEP) for _ in range(jobs_max)]
    expect([job.exit.flags for job in jobs], [C.EXIT_KEPT] * jobs_max)
    guest.c.refused("EXEC", C.ERR_LIMIT, argv=["/bin/true"])
    # One that is released, one that ends, and one that is killed make room again.
    guest.c.request("RELEASE", job=jobs[5].job)
    expect(guest.c.shell(f"kill {int(jobs[6].out)}", **USER).exit.status, 0)
    wait_until_gone(guest, int(jobs[6].out))
    guest.c.request("KILL_JOB", job=jobs[7].job)
    more = [guest.c.start(["/bin/sleep", "1000"]).wait_started() for _ in range(3)]
    expect([lives_on for lives_on in guest.c.jobs().values() if lives_on == C.JOB_RUNNING], [C.JOB_RUNNING] * 3)
    guest.c.refused("EXEC", C.ERR_LIMIT, argv=["/bin/true"])
    for job in more:
        job.control("KILL")
        job.wait()
    kept = [job for i, job in enumerate(jobs) if i not in (5, 6, 7)]
    expect([lives(guest, int(job.out)) for job in kept], [True] * len(kept))
    for job in kept:
        guest.c.request("RELEASE", job=job.job)


@scenario
def a_job_that_closes_its_output(guest):
    began = time.monotonic()
    job = guest.hostile("close-output", 1200, **USER)
    job.wait_output("closing")
    guest.c.pump(lambda: job.channels[1].end is not None, 30)
    assert not job.done, "EXIT when the output was closed"
    expect(ended(job), (C.CAUSE_EXITED, 0, 5))
    assert time.monotonic() - began > 1, "EXIT before the job ended"
    expect(job.exit.flags, 0)


@scenario
def a_job_that_ignores_signals(guest):
    job = guest.hostile("deaf", **USER)
    job.wait_output("deaf")
    for signal in (15, 2, 1, 3, 36, 64):
        job.control("SIGNAL", signal=signal)
        job.control("SIGNAL", signal=signal, scope=C.SCOPE_JOB)
    guest.c.pump_for(0.3)
    assert not job.done
    job.control("KILL")
    expect(ended(job), (C.CAUSE_CANCELLED, 9, 0))


@scenario
def signals_that_a_job_does_not_ignore(guest):
    for signal in (1, 15, 9, 11):
        job = guest.hostile("sleep", 60000, **USER)
        job.wait_started()
        job.control("SIGNAL", signal=signal)
        job.wait()
        expect((job.exit.cause, job.exit.signal), (C.CAUSE_SIGNALLED, signal))
    job = guest.c.start(["/bin/sh", "-c", "sleep 60 & sleep 60 & wait; wait; echo both"], **USER)
    job.wait_started()
    time.sleep(0.3)
    for bad in (dict(signal=0), dict(signal=65), dict(signal=9, scope=2)):
        try:
            job.control("SIGNAL", **bad)
        except Refused as e:
            expect(e.code, C.ERR_INVALID)
        else:
            raise AssertionError(f"{bad} was taken")
    job.control("SIGNAL", signal=9, scope=C.SCOPE_JOB)
    expect(ended(job), (C.CAUSE_SIGNALLED, 9, 0))


@scenario
def a_stopped_job(guest):
    job = guest.c.start(["cat"], stdin=OPEN, **USER)
    job.wait_started()
    job.control("SIGNAL", signal=19)
    job.type(b"one\n")
    guest.c.pump_for(0.3)
    expect(job.out, b"")
    job.control("SIGNAL", signal=18)
    job.wait_output("one\n")
    job.end_input()
    expect(ended(job), (C.CAUSE_EXITED, 0, 0))
    stopped = guest.c.start(["cat"], stdin=OPEN, wall_ms=1000)
    stopped.wait_started()
    stopped.control("SIGNAL", signal=19)
    expect(stopped.wait().cause, C.CAUSE_TIMEOUT)


@scenario
def programs_that_cannot_be_started(guest):
    for argv, errno, more in ((["/nothing"], 2, {}), (["nothing"], 2, {}), (["/etc/passwd"], 13, {}), (["/tmp"], 13, {}),
                              (["true"], 2, dict(cwd="/nothing")), ([""], 2, {})):
        expect(guest.c.refused("EXEC", C.ERR_EXEC, argv=argv, **more), errno, argv)
    guest.c.write_file("/tmp/noformat", b"no program\n", mode=0o100755)
    expect(guest.c.refused("EXEC", C.ERR_EXEC, argv=["/tmp/noformat"]), 8)
    guest.c.refused("EXEC", C.ERR_INVALID, argv=[])
    guest.c.refused("EXEC", C.ERR_INVALID, argv=["true"], cwd="tmp")
    guest.c.refused("EXEC", C.ERR_UNSUPPORTED, argv=["true"], flags=1 << 15)
    guest.c.refused("EXEC", C.ERR_LIMIT, argv=["true"] + ["x"] * 5000)
    guest.c.refused("EXEC", C.ERR_LIMIT, argv=["true"], groups=list(range(1000)))
    guest.c.request("REMOVE", path="/tmp/noformat")


# ---- limits --------------------------------------------------------------------------------------

@scenario
def each_limit_has_its_cause(guest):
    job = guest.run_hostile("sleep", 60000, wall_ms=500, **USER)
    expect(cause(job), (C.CAUSE_TIMEOUT, 9, 0))
    assert 0.5e9 <= job.exit.wall_ns < 20e9, job.exit
    job = guest.run_hostile("spin", cpu_ms=300, wall_ms=60000, **USER)
    expect(cause(job), (C.CAUSE_CPU, 9, 0))
    assert 0.25e9 <= job.exit.user_ns + job.exit.system_ns < 20e9, job.exit
    job = guest.run_hostile("sleep", 900, cpu_ms=300, **USER)
    expect(cause(job), (C.CAUSE_EXITED, 0, 0), "sleeping is not computing")
    job = guest.run_hostile("open-files", files=32, **USER)
    expect(job.out, b"opened 29\nerrno 24\n")
    job = guest.run_hostile("forks", pids=10, **USER)
    expect(job.out, b"made 9\nerrno 11\n")
    job = guest.c.shell("while :; do :; done & while :; do :; done", cpu_ms=500, **USER)
    expect(job.exit.cause, C.CAUSE_CPU, "all processes count")


@scenario
def the_output_limit_to_the_byte(guest):
    for size in (1, 4096, 100000):
        job = guest.run_hostile("pattern", 5, size, output=size, **USER)
        expect((cause(job), job.out == pattern(5, size)), ((C.CAUSE_EXITED, 0, 0), True), size)
        job = guest.run_hostile("pattern", 5, size + 1, output=size, **USER)
        expect((job.exit.cause, job.out == pattern(5, size)), (C.CAUSE_OUTPUT, True), size + 1)
    job = guest.run_hostile("pattern", 5, 1 << 40, output=300000, **USER)
    expect((job.exit.cause, job.out == pattern(5, 300000)), (C.CAUSE_OUTPUT, True))
    job = guest.c.shell(f"{guest.HOSTILE} pattern 1 3000; {guest.HOSTILE} pattern 1 3000 >&2; sleep 60", output=5000, **USER)
    expect((job.exit.cause, len(job.out) + len(job.err)), (C.CAUSE_OUTPUT, 5000))


# ---- many at once --------------------------------------------------------------------------------

@scenario
def thirty_two_jobs_write_at_once(guest):
    jobs_max = guest.c.welcome.jobs_max
    jobs = [guest.hostile("pattern", seed, 60000 + 1000 * seed, **USER) for seed in range(jobs_max)]
    for seed, job in enumerate(jobs):
        job.wait()
        expect(cause(job), (C.CAUSE_EXITED, 0, 0))
        assert job.out == pattern(seed, 60000 + 1000 * seed), f"job {seed}: its output is not what it wrote"


@scenario
def one_job_too_many(guest):
    jobs_max = guest.c.welcome.jobs_max
    jobs = [guest.hostile("sleep", 60000, **USER).wait_started() for _ in range(jobs_max)]
    for _ in range(3):
        guest.c.refused("EXEC", C.ERR_LIMIT, argv=["true"])
    guest.c.refused("PRIME", C.ERR_LIMIT, argv=["true"], script="/tmp/script")
    expect(len(guest.c.jobs()), jobs_max)
    jobs[7].control("KILL")
    jobs[7].wait()
    guest.run_hostile("true")
    for i, job in enumerate(jobs):
        if i != 7:
            job.control("KILL")
            expect(job.wait().cause, C.CAUSE_CANCELLED)


@scenario
def all_rings_full(guest):
    """Nobody takes the output: it stays, byte for byte, and initd stays small."""
    jobs = [guest.hostile("pattern", seed, 100000, window=0, automatic=False, **USER).wait_started() for seed in range(32)]
    guest.c.pump_for(0.5)
    usage = guest.c.request("STATS")
    assert usage.initd_rss <= guest.RSS_MAX, usage
    for seed, job in enumerate(jobs):
        expect((job.done, job.out), (False, b""))
        job.channels[1].automatic = True
        job.channels[1].grant(job, 5000)
        job.channels[1].window = 5000
    for seed, job in enumerate(jobs):
        job.wait()
        assert job.out == pattern(seed, 100000), f"job {seed}: its output is not what it wrote"


@scenario
def a_window_of_one_byte(guest):
    job = guest.hostile("pattern", 9, 300, window=1, **USER)
    job.wait()
    expect(job.out, pattern(9, 300))


# ---- input ---------------------------------------------------------------------------------------

@scenario
def five_megabytes_through_cat(guest):
    data = pattern(17, 5_000_000)
    job = guest.c.run(["cat"], stdin=data, **USER)
    expect((cause(job), job.out == data), ((C.CAUSE_EXITED, 0, 0), True))


@scenario
def input_that_nobody_reads(guest):
    data = b"x" * 1_000_000
    job = guest.hostile("sleep", 800, stdin=data, **USER)
    expect(ended(job), (C.CAUSE_EXITED, 0, 0))
    guest.c.ping()
    job = guest.c.shell("exec <&-; sleep 0.5; echo end", stdin=data, **USER)
    expect((cause(job), job.out), ((C.CAUSE_EXITED, 0, 0), b"end\n"))
    job = guest.c.run(["head", "-c", "10"], stdin=data, **USER)
    expect(job.out, b"x" * 10)
    job = guest.hostile("true", stdin=OPEN, **USER)
    job.wait_started()
    for _ in range(20):  # also after the end, until EXIT is here
        if not job.done and job.input_offset + 100 <= job.input_limit:
            job.type(b"y" * 100)
        guest.c.pump_for(0.01)
    job.wait()


@scenario
def input_beyond_the_window(guest):
    job = guest.c.start(["cat"], stdin=OPEN, **USER)
    job.wait_started()
    guest.c.send("DATA", job.id, channel=0, offset=0, data=b"x" * (job.input_limit + 1))
    guest.c.pump(lambda: job.error, 20)
    expect(job.error.code, C.ERR_FLOW)
    guest.connect()
    running = [i for i, state in guest.c.jobs().items() if state == C.JOB_RUNNING]
    expect(running, [job.job], "the job outlives its connection")
    attached = Job(guest.c, "ATTACH", job=job.job)
    attached.wait_started()
    attached.control("KILL")
    expect(attached.wait().cause, C.CAUSE_CANCELLED)


# ---- terminals -----------------------------------------------------------------------------------

def terminal(guest, *words, **fields):
    fields = {"flags": C.JOB_TTY, "rows": 24, "cols": 80, "stdin": OPEN, **USER, **fields}
    return guest.hostile(*words, **fields)


@scenario
def a_terminal_session(guest):
    job = terminal(guest, "terminal")
    job.wait_output("[tty 1 1 1 session 1]\r\n[size 24 80]\r\n")
    job.type(b"hello\n")
    job.wait_output("[line hello]\r\n")
    job.control("RESIZE", rows=50, cols=132)
    job.wait_output("[resized 50 132]")
    job.type(b"\x03")
    job.wait_output("[interrupted 50 132]")
    job.type(b"abc\x7fd\n")
    job.wait_output("[line abd]")
    job.type(b"\x04")
    job.wait_output("[eof 50 132]")
    expect(ended(job), (C.CAUSE_EXITED, 0, 7))
    expect(job.err, b"")


@scenario
def end_of_input_on_a_terminal(guest):
    job = terminal(guest, "terminal")
    job.wait_output("[size 24 80]")
    job.type(b"unfinished")
    job.end_input()
    job.wait_output("[line unfinished]")
    job.wait_output("[eof 24 80]")
    expect(ended(job), (C.CAUSE_EXITED, 0, 7))
    job = terminal(guest, "terminal", stdin=None)
    job.wait_output("[size 24 80]")
    job.control("KILL")
    expect(job.wait().cause, C.CAUSE_CANCELLED)


@scenario
def size_changes_under_load(guest):
    job = terminal(guest, "flood")
    job.wait_started()
    for size in range(1, 101):
        job.control("RESIZE", rows=size, cols=2 * size)
        guest.c.pump_for(0.002)
    # The last size always arrives; those before may merge, but none is ever wrong.
    job.wait_output("[resized 100 200]")
    for rows, columns in re.findall(rb"\[resized (\d+) (\d+)\]", job.out):
        expect(int(columns), 2 * int(rows))
    job.type(b"\x03")
    expect(ended(job), (C.CAUSE_EXITED, 0, 9))


@scenario
def a_terminal_that_is_hung_up(guest):
    job = guest.c.start(["/bin/sh", "-c", "trap '' HUP; (sleep 60)& echo begun; exit 3"], flags=C.JOB_TTY, rows=1, cols=1, **USER)
    expect(ended(job), (C.CAUSE_EXITED, 0, 3))
    expect(job.out, b"begun\r\n")
    not_a_terminal = guest.hostile("sleep", 60000)
    not_a_terminal.wait_started()
    try:
        not_a_terminal.control("RESIZE", rows=1, cols=1)
    except Refused as e:
        expect(e.code, C.ERR_INVALID)
    not_a_terminal.control("KILL")
    not_a_terminal.wait()


@scenario
def thirty_two_terminals(guest):
    jobs = [terminal(guest, "terminal", rows=n + 1, cols=n + 2) for n in range(32)]
    for n, job in enumerate(jobs):
        job.wait_output(f"[size {n + 1} {n + 2}]")
        job.type(b"\x04")
    for n, job in enumerate(jobs):
        expect(job.wait().status, 7)


run_scenarios()
