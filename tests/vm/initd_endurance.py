"""Ten thousand jobs one after another: nothing grows, and the last is as fast as the first."""

from guest import C, expect, run_scenarios, scenario, statistics, time

EXECS = 10000
EXECS_AT_LEAST = 3000  # where emulation is so slow that all of them would take too long
SECONDS = 75
SAMPLE = 500


def measure(guest):
    """STATS without what the kernel keeps only until somebody needs the memory."""
    guest.assert_healthy()
    guest.c.write_file("/proc/sys/vm/drop_caches", b"3\n", mode=0o100200)
    return guest.assert_healthy()


@scenario
def ten_thousand_execs(guest):
    for _ in range(100):  # what is allocated once
        guest.run_hostile("true")
    before = measure(guest)
    began, took = time.monotonic(), []
    while len(took) < EXECS and (len(took) < EXECS_AT_LEAST or time.monotonic() - began < SECONDS):
        at = time.monotonic()
        job = guest.run_hostile("true")
        took.append(time.monotonic() - at)
        assert (job.exit.cause, job.exit.status) == (C.CAUSE_EXITED, 0), job
    after = measure(guest)
    first, last = statistics.median(took[:SAMPLE]), statistics.median(took[-SAMPLE:])
    print(f"    {len(took)} execs; median of the first {SAMPLE} {first * 1e3:.2f} ms, of the last {last * 1e3:.2f} ms; "
          f"initd_rss {before.initd_rss} and {after.initd_rss}; available {before.memory_available >> 10} and {after.memory_available >> 10} KiB")
    assert after.initd_rss <= before.initd_rss + (32 << 10), "initd has grown"
    assert after.memory_available >= before.memory_available - (8 << 20), "the guest has less memory than before"
    # A machine that became busy meanwhile makes the median worse, but not the best tenth.
    undisturbed = [sorted(sample)[SAMPLE // 10] for sample in (took[:SAMPLE], took[-SAMPLE:])]
    assert last < 2 * first or undisturbed[1] < 2 * undisturbed[0], "it has become slower"


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


@scenario
def a_thousand_jobs_of_every_kind(guest):
    """Terminals, input, failures and killed ones leave nothing either."""
    one_of_each(guest, 20)
    before = measure(guest)
    one_of_each(guest, 150)
    after = measure(guest)
    assert after.initd_rss <= before.initd_rss + (64 << 10), (before.initd_rss, after.initd_rss)


run_scenarios()
