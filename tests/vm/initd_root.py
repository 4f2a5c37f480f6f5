"""What root can do in a guest that it shares with initd. Everything here is root's right; the question is what of initd is
left. Each scenario has a guest of its own, because root does not clean up.

What nobody can keep from root in its own guest, where jobs and initd share one kernel, one mount namespace and one cgroup
tree, is at the end: there the guest must end, or the host must be able to see that it no longer answers."""

from guest import C, Lost, Refused, Request, expect, pattern, run_scenarios, scenario, time

ALONE = {}
USABLE = C.RESUMED_ENTROPY | C.RESUMED_RESEEDED | C.RESUMED_CLOCK  # without these a host must not use a guest


def answers(guest):
    """PING, and STATS in whatever way is left to it."""
    guest.c.ping(3)
    return guest.c.request("STATS")


def still_executes(guest):
    job = guest.run_hostile("true")
    expect((job.exit.cause, job.exit.status), (C.CAUSE_EXITED, 0))


# ---- mounts --------------------------------------------------------------------------------------

def use_the_spare_process(guest):
    """The process that initd has made beforehand is still good for one job when nothing new can be made."""
    try:
        guest.run_hostile("true")
    except Refused:
        pass


@scenario(own=ALONE, healthy=False)
def every_mount_detached(guest):
    job = guest.run_hostile("detach-all")
    assert job.out.startswith(b"detached "), job.out
    answers(guest)
    # Whether there is a path left to the program depends on what of the root could be detached.
    for _ in range(3):
        try:
            still_executes(guest)
        except Refused as e:
            expect((e.code, e.os_errno), (C.ERR_EXEC, 2))
    job = guest.hostile("sleep", 60000, wall_ms=700)
    try:
        expect(job.wait().cause, C.CAUSE_TIMEOUT)
    except Refused as e:
        expect(e.code, C.ERR_EXEC)
    resumed = guest.c.resume()
    expect(resumed.done & USABLE, USABLE, "RESUMED without a /dev")
    guest.c.request("SHUTDOWN")
    expect(guest.wait_end(30), 0)


@scenario(own=ALONE, healthy=False)
def everything_covered(guest):
    """FIFOs lie where initd opens files: it must not wait for them."""
    job = guest.run_hostile("cover")
    assert int(job.out.split()[1]) >= 10, job.out
    answers(guest)
    still_executes(guest)
    big = guest.run_hostile("pattern", 1, 300000)
    assert big.out == pattern(1, 300000)
    echo = guest.c.run(["cat"], stdin=b"x" * 100000)
    expect(len(echo.out), 100000)
    terminal = guest.run_hostile("terminal", flags=C.JOB_TTY, rows=7, cols=70, stdin=b"line\n")
    assert b"[size 7 70]" in terminal.out and b"[line line]" in terminal.out, terminal.out
    job = guest.run_hostile("hog", 0, memory=16 << 20)
    expect(job.exit.cause, C.CAUSE_OOM, "limits are enforced without a path to the cgroups")
    resumed = guest.c.resume()
    expect(resumed.done & USABLE, USABLE, "RESUMED with a FIFO for /dev/urandom")
    guest.c.request("QUIESCE")
    guest.c.resume()
    guest.c.write_file("/tmp/after", b"x")
    expect(guest.c.read_file("/tmp/after"), b"x")
    try:
        guest.c.prime(["/bin/sh", "/tmp/script"], "/tmp/script", settle_ms=1500)
    except Refused as e:
        expect(e.code, C.ERR_TIMEOUT)
    guest.c.request("SHUTDOWN")
    expect(guest.wait_end(30), 0)


@scenario(own=ALONE, healthy=False)
def another_root_for_everybody(guest):
    job = guest.run_hostile("pivot")
    expect(job.out, b"pivoted 0\n")
    answers(guest)
    for _ in range(3):
        expect(guest.c.refused("EXEC", C.ERR_EXEC, argv=[guest.HOSTILE, "true"]), 2)
    # The host can put a program into the new root.
    guest.install()
    still_executes(guest)
    guest.c.request("SHUTDOWN")
    expect(guest.wait_end(30), 0)


@scenario(own=ALONE, healthy=False)
def the_root_read_only(guest):
    guest.c.write_file("/remount", b"#!/bin/sh\nexec python3 -c 'import ctypes; print(ctypes.CDLL(None).mount(None, b\"/\", None, 33, None))'\n",
                       mode=0o100755)
    job = guest.c.run(["/remount"])
    print(f"    remount: {job.out!r}")
    answers(guest)
    still_executes(guest)
    if job.out == b"0\n":
        expect(guest.c.refused("WRITE_FILE", C.ERR_OS, path="/tmp/x", data=b"x"), 30)
        resumed = guest.c.resume()
        expect(resumed.done & USABLE, USABLE, resumed)


# ---- time ----------------------------------------------------------------------------------------

@scenario
def the_clock_set_back(guest):
    began = time.monotonic()
    sleeper = guest.hostile("sleep", 60000, wall_ms=2500).wait_started()
    expect(guest.run_hostile("set-clock", 1000).exit.status, 0)
    expect(guest.run_hostile("set-clock", 3_000_000_000).exit.status, 0)
    expect(sleeper.wait().cause, C.CAUSE_TIMEOUT)
    took = time.monotonic() - began
    assert 2.4 < took < 30, took
    assert 2.5e9 <= sleeper.exit.wall_ns < 30e9, sleeper.exit
    guest.run_hostile("set-clock", 1000)
    before = time.time_ns()
    resumed = guest.c.resume(before)
    assert resumed.done & C.RESUMED_CLOCK and resumed.clock_before_ns < 100_000 * 10 ** 9, resumed
    got = int(guest.c.shell("date +%s").out)
    assert abs(got - time.time()) < 120, got


# ---- cgroups -------------------------------------------------------------------------------------

@scenario
def a_job_that_leaves_its_cgroup(guest):
    """Its first process is found by its id; what it left in the root group is beyond initd's reach, until SHUTDOWN."""
    job = guest.c.start(["/bin/sh", "-c", "echo $$ > /sys/fs/cgroup/cgroup.procs; cat /proc/self/cgroup; exec sleep 60"], wall_ms=5000)
    expect(job.wait().cause, C.CAUSE_TIMEOUT)
    expect(job.out, b"0::/\n")


@scenario
def cgroups_inside_of_the_job(guest):
    """As a container runtime makes them. They go with the job."""
    job = guest.c.shell("own=/sys/fs/cgroup$(cut -d : -f 3 /proc/self/cgroup); mkdir -p $own/a/b $own/c; echo $$ > $own/a/b/cgroup.procs; "
                        "(sleep 60 &) ; echo 0 > $own/c/cgroup.procs; cat /proc/self/cgroup")
    assert job.out.endswith(b"/c\n"), job.out
    expect(job.exit.cause, C.CAUSE_EXITED)
    for i in range(70):
        guest.c.shell("mkdir /sys/fs/cgroup$(cut -d : -f 3 /proc/self/cgroup)/x")
    guest.forget_ended()
    for _ in range(50):
        left = [n for page in guest.c.list_pages("/sys/fs/cgroup/jobs") for n, mode, *_ in page if mode & 0o40000]
        if len(left) <= 2:
            return
        time.sleep(0.1)
    raise AssertionError(f"{len(left)} cgroups stay behind")


@scenario(own=ALONE)
def the_next_jobs_cgroup_removed(guest):
    """initd keeps one ready, and some that were used. Root removes them; the next EXEC must not fail for that."""
    def several_at_once():
        for job in [guest.hostile("sleep", 100) for _ in range(4)]:
            expect(job.wait().status, 0)

    several_at_once()
    guest.c.shell("sleep 0.3; rmdir /sys/fs/cgroup/jobs/*; true")
    several_at_once()
    still_executes(guest)


@scenario(own=ALONE)
def without_cgroup_kill(guest):
    """Then a job is frozen and its processes are killed one by one, as on kernels before 5.14."""
    def group_of(job):
        return int(guest.c.read_file(f"/proc/{job.wait_started().pid}/cgroup").rsplit(b"/", 1)[1])

    def hold_until(number):
        """Groups that wait for a job, and then new ones, are taken by jobs, up to that one."""
        while not holders or group_of(holders[-1]) < number:
            holders.append(guest.hostile("sleep", 600000))

    def in_one_without(start):
        """A job in one of these groups. On a busy machine a group may come back late from a job that has ended, and be the next
        one that is taken; what runs there runs on meanwhile."""
        while True:
            job = start()
            if first <= group_of(job) < first + count:
                return job
            others.append(job)
            assert len(others) < 10, f"jobs get groups {[group_of(o) for o in others]}, not from {first} on"

    holders, others, count = [], [], 6
    hold_until(0)
    first = group_of(holders[0]) + 4  # some that come before may be there already
    expect(guest.run_hostile("no-cgroup-kill", first, count).out, b"without %d\n" % count)
    hold_until(first - 1)
    # What the job leaves has left its session, and does not hold its output.
    job = in_one_without(lambda: guest.c.start(["/bin/sh", "-c", f"{guest.HOSTILE} daemon 60000 0 > /run/daemon; sleep 60"],
                                               wall_ms=3000))
    bomb = in_one_without(lambda: guest.hostile("bomb", wall_ms=3000, pids=300, uid=1000, gid=1000))
    cancelled = in_one_without(lambda: guest.hostile("bomb", wall_ms=30000, pids=300, uid=1000, gid=1000))
    mounts = guest.c.read_file("/proc/1/mountinfo")
    for group in range(first, first + count):
        assert b" /sys/fs/cgroup/jobs/%d/cgroup.kill " % group in mounts, mounts
    expect(job.wait().cause, C.CAUSE_TIMEOUT)
    expect(bomb.wait().cause, C.CAUSE_TIMEOUT)
    cancelled.control("KILL")
    expect(cancelled.wait().cause, C.CAUSE_CANCELLED)
    pid = int(guest.c.read_file("/run/daemon").split()[1])
    deadline = time.monotonic() + 30
    while guest.c.shell(f"test -e /proc/{pid}").exit.status == 0:
        assert time.monotonic() < deadline, "the daemon lives on"
    hold_until(first + count)
    for other in others:
        other.wait()
    for holder in holders:
        holder.control("KILL")
        expect(holder.wait().cause, C.CAUSE_CANCELLED)


@scenario(own=ALONE, healthy=False)
def jobs_frozen(guest):
    freezer = guest.c.start(["/bin/sh", "-c", "echo 1 > /sys/fs/cgroup/jobs/cgroup.freeze"], wall_ms=1500)
    expect(freezer.wait().cause, C.CAUSE_TIMEOUT)
    answers(guest)
    # What is started now is frozen before it has begun; its wall limit ends it all the same.
    job = guest.hostile("true", wall_ms=1500)
    expect(job.wait().cause, C.CAUSE_TIMEOUT)
    job = guest.hostile("true")
    guest.c.pump_for(0.3)
    assert not job.done
    job.control("KILL")
    expect(job.wait().cause, C.CAUSE_CANCELLED)
    guest.c.write_file("/sys/fs/cgroup/jobs/cgroup.freeze", b"0")
    still_executes(guest)


@scenario(own=ALONE, healthy=False)
def jobs_killed_and_limited_to_nothing(guest):
    others = [guest.hostile("sleep", 60000).wait_started() for _ in range(3)]
    killer = guest.c.start(["/bin/sh", "-c", "echo 1 > /sys/fs/cgroup/jobs/cgroup.kill"])
    for job in [*others, killer]:
        expect((job.wait().cause, job.exit.signal), (C.CAUSE_SIGNALLED, 9))
    still_executes(guest)
    guest.c.shell("echo 0 > /sys/fs/cgroup/jobs/pids.max")
    use_the_spare_process(guest)
    expect(guest.c.refused("EXEC", C.ERR_OS, argv=["true"]), 11)
    answers(guest)
    guest.c.write_file("/sys/fs/cgroup/jobs/pids.max", b"max")
    still_executes(guest)
    guest.c.shell("echo 100000 > /sys/fs/cgroup/jobs/memory.max")
    job = guest.hostile("true", wall_ms=5000)
    job.wait()
    answers(guest)
    guest.c.write_file("/sys/fs/cgroup/jobs/memory.max", b"max")
    still_executes(guest)


@scenario(own=ALONE, healthy=False)
def process_1_in_the_cgroup_of_a_job(guest):
    """The job ends and its cgroup is killed, with initd in it: the kernel spares process 1."""
    job = guest.c.shell("echo 1 > /sys/fs/cgroup$(cut -d : -f 3 /proc/self/cgroup)/cgroup.procs; cat /proc/1/cgroup", memory=32 << 20)
    assert job.out.startswith(b"0::/jobs/"), job.out
    answers(guest)
    for _ in range(5):
        still_executes(guest)
    expect(guest.run_hostile("hog", 0, memory=16 << 20).exit.cause, C.CAUSE_OOM)
    answers(guest)


# ---- priorities, limits, devices -----------------------------------------------------------------

@scenario
def a_job_before_everything_else(guest):
    """SCHED_FIFO on the only processor. The kernel keeps 5 % of it for others, which is enough to enforce the limit."""
    job = guest.hostile("spin-realtime", wall_ms=4000)
    expect(job.wait().cause, C.CAUSE_TIMEOUT)
    expect(job.out, b"realtime 99\n")


@scenario(own=ALONE, healthy=False)
def processor_time_of_process_1_limited(guest):
    """RLIMIT_CPU ends in SIGKILL, which the kernel does not deliver to process 1 of the machine."""
    expect(guest.run_hostile("limit-init", "cpu").exit.status, 0)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        requests = [Request(guest.c, "STATS") for _ in range(500)]
        guest.c.pump(lambda r=requests: r[-1].done)
        fields = guest.c.read_file("/proc/1/stat").rsplit(b")", 1)[1].split()
        if int(fields[11]) + int(fields[12]) > 250:
            break
    else:
        raise AssertionError("initd has not computed for 2.5 s")
    still_executes(guest)


@scenario(own=ALONE, healthy=False)
def no_open_files_for_process_1(guest):
    expect(guest.run_hostile("limit-init", "nofile").exit.status, 0)
    answers(guest)
    use_the_spare_process(guest)
    guest.c.refused("EXEC", C.ERR_OS, argv=["true"])
    guest.c.refused("READ_FILE", C.ERR_OS, path="/etc/passwd")
    guest.c.ping()
    guest.connect()
    guest.c.request("SHUTDOWN")
    expect(guest.wait_end(30), 0)


@scenario
def the_serial_port_of_the_host(guest):
    """initd has it open, and the kernel gives it to one only."""
    port = guest.port()
    expect(guest.run_hostile("open", port).out, b"errno 16\n", port)
    refused = guest.run_hostile("open", port, uid=1000, gid=1000).out
    assert refused in (b"errno 13\n", b"errno 16\n"), (port, refused)
    expect(guest.run_hostile("open", "/proc/1/fd/3").exit.status, 0)
    guest.c.shell("for f in /proc/1/fd/*; do timeout 0.3 cat $f; done 2>/dev/null | wc -c; for f in /proc/1/fd/*; do echo x > $f; done 2>/dev/null; "
                  "echo end", wall_ms=30000)
    guest.c.ping()
    guest.run_hostile("true")  # whose pipes were there already, so that it has what was written to them


@scenario(own=ALONE, healthy=False)
def the_serial_ports_driver_removed(guest):
    """Then there is no way to talk: the host sees that nothing answers, and destroys the guest."""
    job = guest.c.start(["/bin/sh", "-c", "cd /sys/bus/virtio/drivers/virtio_console; for d in virtio*; do echo $d > unbind; done"])
    try:
        job.wait(3)
        guest.c.ping(1, 3)
    except (TimeoutError, Lost):
        return
    raise AssertionError("the port is still there")


# ---- what cannot be prevented: then the guest must end, or be seen not to answer -----------------

def ends_or_is_silent(guest, job):
    try:
        job.wait(10)
        guest.c.ping(1, 10)
    except (TimeoutError, Lost, Refused):
        pass
    else:
        return "survived"
    time.sleep(1)
    return "silent" if guest.alive() else "ended"


@scenario(own=ALONE, healthy=False)
def memory_beyond_every_limit(guest):
    """Out of the jobs' cgroup, and not to be killed."""
    job = guest.c.start(["/bin/sh", "-c", f"echo $$ > /sys/fs/cgroup/cgroup.procs; exec {guest.HOSTILE} hog 0 -1000"])
    print(f"    {ends_or_is_silent(guest, job)}")
    expect(guest.wait_end(60), 0, "QEMU's exit status after the panic")


@scenario(own=ALONE, healthy=False)
def process_1_frozen(guest):
    job = guest.c.start(["/bin/sh", "-c", "mkdir /sys/fs/cgroup/cold; echo 1 > /sys/fs/cgroup/cold/cgroup.procs; echo 1 > /sys/fs/cgroup/cold/cgroup.freeze"])
    print(f"    {ends_or_is_silent(guest, job)}")


@scenario
def only_initd_ends_the_machine(guest):
    """Restart, halt, power off: reboot(2). A halted machine is one whose VMM lives on."""
    program = "import ctypes, sys; c = ctypes.CDLL(None, use_errno=True); " \
              "print([(c.reboot(command), ctypes.get_errno()) for command in (0x01234567, 0xCDEF0123 - 2**32, 0x4321FEDC)])"
    expect(guest.c.run(["python3", "-c", program]).out, b"[(-1, 1), (-1, 1), (-1, 1)]\n")


@scenario(own=ALONE, healthy=False)
def root_asks_for_the_end(guest):
    job = guest.c.start(["/bin/sh", "-c", "kill -USR2 1; exec sleep 1000"])
    try:
        job.wait(30)
        raise AssertionError("the machine goes on")
    except Lost:
        expect(guest.wait_end(20), 0)


run_scenarios()
