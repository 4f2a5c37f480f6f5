"""Thousands of jobs in one guest: nothing grows, and the last is as fast as the first. In the long form ten thousand."""

from guest import C, collections, expect, in_full, processor_time, run_scenarios, scenario

EXECS = 10000 if in_full() else 2500
OF_EACH_KIND = 150 if in_full() else 40
AT_ONCE = 8
SAMPLE = 500


def measure(guest):
    """STATS without what the kernel keeps only until somebody needs the memory."""
    guest.assert_healthy()
    guest.c.write_file("/proc/sys/vm/drop_caches", b"3\n", mode=0o100200)
    return guest.assert_healthy()


def timed(guest):
    """One after another: seconds of a processor for each."""
    began = processor_time(guest)
    for _ in range(SAMPLE):
        job = guest.run_hostile("true")
        assert (job.exit.cause, job.exit.status) == (C.CAUSE_EXITED, 0), job
    return (processor_time(guest) - began) / SAMPLE


def several_at_once(guest, times):
    """The host does not wait for one to start the next, which saves time."""
    jobs = collections.deque()
    for i in range(times + AT_ONCE):
        if i < times:
            jobs.append(guest.hostile("true"))
        if i >= AT_ONCE:
            job = jobs.popleft()
            job.wait()
            assert (job.exit.cause, job.exit.status) == (C.CAUSE_EXITED, 0), job


@scenario
def thousands_of_execs(guest):
    for _ in range(100):  # what is allocated once
        guest.run_hostile("true")
    several_at_once(guest, 100)
    before = measure(guest)
    first = timed(guest)
    several_at_once(guest, EXECS - 2 * SAMPLE)
    last = timed(guest)
    after = measure(guest)
    print(f"    {EXECS} execs; each of the first {SAMPLE} {first * 1e3:.2f} ms, of the last {last * 1e3:.2f} ms; "
          f"initd_rss {before.initd_rss} and {after.initd_rss}; available {before.memory_available >> 10} and {after.memory_available >> 10} KiB")
    assert after.initd_rss <= before.initd_rss + (32 << 10), "initd has grown"
    assert after.memory_available >= before.memory_available - (8 << 20), "the guest has less memory than before"
    assert last < 2 * first, "it has become slower"


def one_of_each(guest, times):
    for _ in range(times):
        tty = guest.hostile("terminal", flags=C.JOB_TTY, rows=1, cols=1, stdin=b"x\n")
        echo = guest.c.start(["cat"], stdin=b"input")
        killed = guest.hostile("sleep", 60000).wait_started()
        killed.control("KILL")
        guest.c.refused("EXEC", C.ERR_EXEC, argv=["/nothing"])
        guest.c.refused("EXEC", C.ERR_INVALID, argv=["true"], cwd="x")
        guest.c.refused("PRIME", C.ERR_EXEC, argv=["/nothing"], script="/tmp/script")
        guest.c.write_file("/tmp/f", b"x" * 1000, flags=C.WRITE_ATOMIC)
        expect((tty.wait().status, echo.wait().status, killed.wait().cause), (7, 0, C.CAUSE_CANCELLED))


def use_every_buffer(guest):
    """initd has them from the beginning, but no memory for one that was not used yet."""
    jobs = [guest.c.start(["/bin/sh", "-c", "echo out; echo err >&2; exec sleep 600"], stdin=b"x" * 80000, window=1, automatic=False)
            for _ in range(guest.c.welcome.jobs_max)]
    for job in jobs:  # a pipe, which nobody reads, and a page in initd
        guest.c.pump(lambda j=job: j.input_offset == 65536 + 4096 and j.out and j.err)
    for job in jobs:
        job.control("KILL")
        for channel in job.channels.values():
            channel.grant(job, 10)
        expect(job.wait().cause, C.CAUSE_CANCELLED)


@scenario
def hundreds_of_jobs_of_every_kind(guest):
    """Terminals, input, failures and killed ones leave nothing either."""
    use_every_buffer(guest)
    one_of_each(guest, 20)
    before = measure(guest)
    one_of_each(guest, OF_EACH_KIND)
    after = measure(guest)
    print(f"    initd_rss {before.initd_rss} and {after.initd_rss}")
    assert after.initd_rss <= before.initd_rss + (32 << 10), "initd has grown"


run_scenarios()
