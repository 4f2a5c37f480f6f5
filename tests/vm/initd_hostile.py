"""What a job without and with privileges does to break its guest: processes, signals, memory, disk."""

import errno

from guest import C, OPEN, Refused, expect, in_full, os, run_scenarios, scenario, subprocess, time

USER = dict(uid=1000, gid=1000)


@scenario
def fork_bomb_inside_a_pid_limit(guest):
    job = guest.hostile("bomb", pids=30, wall_ms=1500, **USER)
    job.wait_started()
    guest.c.ping()
    guest.run_hostile("true")
    expect(job.wait().cause, C.CAUSE_TIMEOUT)


@scenario
def fork_bomb_without_a_limit(guest):
    job = guest.hostile("bomb", wall_ms=3000, **USER)
    job.wait_started()
    guest.c.ping()
    # There are processes left for PID 1; no other limit of the guest is as low as that of the jobs.
    helper = guest.c.request("MOUNT", source="x", target="/run/x", fstype="tmpfs")
    expect(helper.kind, "OK")
    guest.c.request("UNMOUNT", target="/run/x")
    expect(job.wait().cause, C.CAUSE_TIMEOUT)


@scenario
def the_pid_limit_counts(guest):
    job = guest.run_hostile("forks", pids=20, **USER)
    expect(job.out, b"made 19\nerrno 11\n")
    expect((job.exit.cause, job.exit.status), (C.CAUSE_EXITED, 0))


@scenario
def what_a_bomb_left_is_gone_at_its_end(guest):
    """Otherwise the next job gets no process. The one that is left is initd's spare process."""
    limit = int(guest.c.read_file("/sys/fs/cgroup/jobs/pids.max"))
    for _ in range(2):
        job = guest.hostile("bomb", wall_ms=2000, **USER)
        job.wait_started()
        expect(job.wait().cause, C.CAUSE_TIMEOUT)
        left = int(guest.c.read_file("/sys/fs/cgroup/jobs/pids.current"))
        assert left <= 1, f"{left} of at most {limit} processes are there after EXIT"
        expect(guest.c.shell("/bin/true | /bin/true | /bin/true").exit.status, 0)


@scenario(own=dict(memory=256, append="sysctl.kernel.pid_max=800"))
def fewer_process_ids_than_threads(guest):
    """As in a guest of 8 GiB, where the kernel would allow more threads than there are process ids. The limit of all jobs
    together is what stops a bomb, so that ids are left for initd's own children."""
    limit = int(guest.c.read_file("/sys/fs/cgroup/jobs/pids.max"))
    assert limit <= 500, f"jobs may have {limit} processes, and ids from 300 to 799 are used again"
    job = guest.hostile("bomb", wall_ms=120000, **USER)
    job.wait_started()
    deadline = time.monotonic() + 60
    while int(guest.c.read_file("/sys/fs/cgroup/jobs/pids.current")) < limit:
        assert time.monotonic() < deadline, "the bomb does not get to its limit"
        guest.c.pump_for(0.2)
    expect(guest.c.request("MOUNT", source="x", target="/run/x", fstype="tmpfs").kind, "OK")
    guest.c.request("UNMOUNT", target="/run/x")
    expect(guest.c.jobs()[job.job], C.JOB_RUNNING)
    job.control("KILL")
    expect(job.wait().cause, C.CAUSE_CANCELLED)


@scenario
def a_helper_when_there_is_no_process_to_be_had(guest):
    """With the limits of the job group taken away by root, what needs a process is done without one, or refused."""
    guest.c.shell("cat /sys/fs/cgroup/jobs/pids.max > /tmp/pids; echo max > /sys/fs/cgroup/jobs/pids.max")
    job = guest.hostile("bomb", wall_ms=4000)
    job.wait_started()
    guest.c.pump_for(1)
    expect(guest.c.request("MOUNT", source="x", target="/run/x", fstype="tmpfs").kind, "OK")
    guest.c.request("UNMOUNT", target="/run/x")
    try:
        guest.run_hostile("true")
    except Refused as e:
        expect((e.code, e.os_errno), (C.ERR_OS, 11))
    guest.c.ping()
    expect(job.wait().cause, C.CAUSE_TIMEOUT)
    expect(guest.c.shell("cat /tmp/pids > /sys/fs/cgroup/jobs/pids.max; rm /tmp/pids").exit.status, 0)


@scenario
def kill_everything_as_root(guest):
    other = guest.hostile("sleep", 60000)
    other.wait_started()
    killer = guest.hostile("kill-all")
    expect((other.wait().cause, other.exit.signal), (C.CAUSE_SIGNALLED, 9))
    expect((killer.wait().cause, killer.exit.status), (C.CAUSE_EXITED, 0))
    guest.after_a_kill()
    # And initd's own helpers.
    killer = guest.hostile("kill-all", wall_ms=20000)
    for _ in range(10):
        try:
            guest.c.request("MOUNT", source="x", target="/run/x", fstype="tmpfs")
            guest.c.request("UNMOUNT", target="/run/x")
        except Refused as e:
            expect(e.code, C.ERR_OS)
    killer.wait()
    guest.after_a_kill()
    guest.c.shell("rmdir /run/x")


def wait_until_stopped(guest, job):
    """Or until it has ended."""
    deadline = time.monotonic() + 60
    while not job.done:
        try:
            if b") T " in guest.c.read_file(f"/proc/{job.pid}/stat"):
                return
        except Refused as e:
            expect(e.os_errno, errno.ENOENT)
        assert time.monotonic() < deadline, "the job is neither stopped nor at its end"
        guest.c.pump_for(0.01)


@scenario
def stop_everything_as_root(guest):
    other = guest.hostile("sleep", 60000, wall_ms=8000)
    other.wait_started()
    stopper = guest.hostile("stop-all", wall_ms=5000)
    stopper.wait_output("stopping")
    # What runs when it stops everybody stays stopped; only what is not yet a program goes on.
    wait_until_stopped(guest, stopper)
    guest.c.ping()
    guest.run_hostile("true")
    expect(stopper.wait().cause, C.CAUSE_TIMEOUT)
    expect(other.wait().cause, C.CAUSE_TIMEOUT)


@scenario
def every_signal_to_process_1(guest):
    expect(guest.run_hostile("signal-init").out, b"sent 64\n")
    job = guest.run_hostile("signal-init", **USER)
    expect(job.exit.status, 0)


@scenario
def queued_signals_to_process_1_take_nothing_from_others(guest):
    guest.run_hostile("queue-init", 20000)
    expect(guest.run_hostile("timer").exit.status, 0, "timer_create(2) of another job of root, its errno")


@scenario
def zombies_without_end(guest):
    """As many as the guest has process ids, and in the long form three times as many."""
    flood = guest.hostile("zombies", 100000 if in_full() else 33000, **USER)
    flood.wait_started()
    slowest = 0
    while not flood.done:
        began = time.monotonic()
        guest.c.ping()
        guest.run_hostile("true")
        slowest = max(slowest, time.monotonic() - began)
        guest.c.pump_for(0.2)
    expect((flood.exit.cause, flood.exit.status), (C.CAUSE_EXITED, 0))
    assert slowest < 5, f"another job took {slowest:.1f} s meanwhile"


@scenario
def zombies_of_many_jobs_at_once(guest):
    jobs = [guest.hostile("zombies", 1000, **USER) for _ in range(8)]
    for job in jobs:
        expect(job.wait().status, 0)


# ---- a group that is used again ------------------------------------------------------------------

OWN_GROUP = "read line < /proc/self/cgroup; cd /sys/fs/cgroup${line#0::}; "


def groups(guest):
    """Those of some jobs that do next to nothing."""
    return {guest.c.shell(OWN_GROUP + "echo $line", **USER).out for _ in range(6)}


@scenario
def a_group_is_used_again(guest):
    groups(guest)  # pays for what is read the first time
    used = groups(guest)
    assert len(used) <= 3, f"small jobs get a new group each: {used}"


@scenario
def a_limit_is_not_left_to_the_next_job(guest):
    groups(guest)
    for _ in range(4):
        expect(guest.c.shell("exit 3", memory=8 << 20, pids=5, **USER).exit.status, 3)
    for _ in range(4):
        job = guest.c.shell(OWN_GROUP + "read m < memory.max; read p < pids.max; echo $m $p", **USER)
        expect(job.out, b"max max\n")


@scenario
def processor_time_of_another_job_is_not_counted(guest):
    for _ in range(4):
        job = guest.run_hostile("spin", cpu_ms=200, **USER)
        expect(job.exit.cause, C.CAUSE_CPU)
        assert job.exit.user_ns + job.exit.system_ns >= 0.2e9, job.exit


@scenario
def memory_of_another_job_is_not_counted(guest):
    for _ in range(3):
        expect(guest.run_hostile("hog", 0, memory=24 << 20, **USER).exit.cause, C.CAUSE_OOM)
        peak = guest.run_hostile("true", **USER).exit.memory_peak
        assert 0 < peak < 2 << 20, peak


@scenario
def a_kill_for_memory_is_not_counted_twice(guest):
    """With so little memory the group's peak is as low as that of a small job."""
    for _ in range(4):
        small = guest.run_hostile("hog", 0, memory=400 << 10, **USER)
        expect(small.exit.cause, C.CAUSE_OOM)
        killed = guest.c.shell("kill -9 $$", **USER)
        expect((killed.exit.cause, killed.exit.signal), (C.CAUSE_SIGNALLED, 9))


@scenario
def a_group_that_root_has_divided_is_not_used_again(guest):
    for _ in range(3):  # the first ones pay for what is read from the disk
        divided = guest.c.shell(OWN_GROUP + "mkdir inner && echo $line")
        expect(divided.err, b"")
        assert divided.out not in groups(guest), divided
        # Without the inner group this one looks as before, but it takes no process.
        closed = guest.c.shell(OWN_GROUP + "mkdir inner && echo 0 > inner/cgroup.procs && echo +pids > cgroup.subtree_control && "
                               "echo 0 > /sys/fs/cgroup/cgroup.procs && rmdir inner; echo $line")
        expect(closed.err, b"")
        assert closed.out not in groups(guest), closed


# ---- memory --------------------------------------------------------------------------------------

def lives_on(bystander):
    """A cat."""
    bystander.type(b"still here\n")
    bystander.wait_output("still here\n")
    bystander.end_input()
    expect((bystander.wait().cause, bystander.exit.status), (C.CAUSE_EXITED, 0))


@scenario
def more_memory_than_the_job_may_have(guest):
    bystander = guest.c.start(["cat"], stdin=OPEN, memory=16 << 20, **USER).wait_started()
    job = guest.run_hostile("hog", 0, memory=16 << 20, **USER)
    expect((job.exit.cause, job.exit.signal), (C.CAUSE_OOM, 9))
    assert 12 << 20 <= job.exit.memory_peak <= 16 << 20, job.exit.memory_peak
    lives_on(bystander)


@scenario
def more_memory_than_there_is(guest):
    bystander = guest.c.start(["cat"], stdin=OPEN)
    bystander.wait_started()
    for _ in range(3 if in_full() else 1):  # the next scenario does it again, and more
        job = guest.run_hostile("hog", 0, patience=240, **USER)  # vm/initd_memory says how soon, on a machine of any speed
        expect(job.exit.cause, C.CAUSE_OOM)
        guest.c.ping()
    lives_on(bystander)


@scenario
def many_hogs_at_once(guest):
    hogs = [guest.hostile("hog", 0, wall_ms=20000, **USER) for _ in range(6)]
    for hog in hogs:
        expect(hog.wait().cause, C.CAUSE_OOM)


@scenario
def a_child_that_is_killed_for_memory_takes_the_job_with_it(guest):
    job = guest.c.shell(f"{guest.HOSTILE} hog 0; echo survived", memory=24 << 20, **USER)
    expect((job.exit.cause, job.out), (C.CAUSE_OOM, b""))


@scenario(own={})
def oom_score_games_as_root(guest):
    """A process that the OOM killer must not take, in a job that has no limit of its own. (In a guest that has done nothing
    else: where the kernel has come to need more than was set aside for it, it has to panic.)"""
    job = guest.hostile("hog", 0, "-1000", wall_ms=5000)
    job.wait_started()
    guest.c.pump_for(1.5)
    guest.c.ping()
    cause = job.wait().cause
    assert cause in (C.CAUSE_OOM, C.CAUSE_TIMEOUT), job.exit
    bounded = guest.run_hostile("hog", 0, "-1000", memory=16 << 20, wall_ms=2000)
    assert bounded.exit.cause in (C.CAUSE_OOM, C.CAUSE_TIMEOUT), bounded.exit


@scenario
def memory_that_outlives_its_jobs(guest):
    """Files in memory stay when their job is killed. Filled to the last page by a user, they must leave enough for
    initd, for the host's files, and for the next job."""
    for directory in ("/tmp", "/dev/shm"):
        for _ in range(2):
            guest.run_hostile("fill", directory, wall_ms=30000, **USER)
    guest.c.ping()
    usage = guest.c.request("STATS")
    print(f"    available: {usage.memory_available >> 20} of {usage.memory_total >> 20} MiB, jobs: {usage.jobs_memory >> 20} MiB")
    job = guest.run_hostile("true")
    first = job.exit.cause
    try:
        guest.c.write_file("/run/host", b"x" * (24 << 20))
    except Refused as e:
        expect(e.code, C.ERR_OS)
    guest.c.ping()
    for path in ("/run/host", "/tmp/full", "/dev/shm/full"):
        try:
            guest.c.request("REMOVE", path=path)
        except Refused as e:
            expect((e.code, e.os_errno), (C.ERR_OS, 2))
    expect(first, C.CAUSE_EXITED, "the next job's cause")


@scenario
def shared_memory_that_outlives_its_job(guest):
    before = guest.c.request("STATS").memory_available
    guest.run_hostile("shared-memory", 64, **USER)
    guest.forget_ended()
    after = guest.c.request("STATS").memory_available
    assert after > before - (16 << 20), f"{(before - after) >> 20} MiB are gone with a job that has ended"


# ---- disk ----------------------------------------------------------------------------------------

def filled_up(guest, directory):
    job = guest.run_hostile("fill", directory)
    expect(job.out.split(b"\n")[0], b"errno 28", directory)
    guest.run_hostile("true")
    for flags in (0, C.WRITE_ATOMIC):
        expect(guest.c.refused("WRITE_FILE", C.ERR_OS, path=f"{directory}/more", data=b"x" * 500000, flags=flags), 28)
    left = [name for page in guest.c.list_pages(directory) for name, *_ in page if name.startswith(".initd")]
    expect(left, [], "temporary files of WRITE_ATOMIC")
    usable = C.RESUMED_ENTROPY | C.RESUMED_RESEEDED | C.RESUMED_CLOCK
    expect(guest.c.resume().done & usable, usable, "RESUMED")
    for name in ("full", "more"):
        guest.c.request("REMOVE", path=f"{directory}/{name}")
    guest.c.write_file(f"{directory}/again", b"x" * 500000)
    guest.c.request("REMOVE", path=f"{directory}/again")


@scenario
def a_full_tmpfs(guest):
    filled_up(guest, "/dev/shm")


@scenario
def a_full_disk(guest):
    """The one that holds the changes to the root, initd's own included. In memory, as without a disk of its own."""
    filled_up(guest, "/tmp")


DISK = os.path.join(os.environ["TMPDIR"], "disk")


@scenario(own=dict(drives=[DISK], append="initd.upper=vdb"))
def a_full_disk_of_its_own(guest):
    filled_up(guest, "/tmp")
    usage = guest.c.request("STATS")
    assert usage.disk_total < 32 << 20, f"the writable layer has {usage.disk_total} bytes: it is not the disk"


@scenario
def no_names_left_on_the_disk(guest):
    guest.c.shell("mkdir -m 777 /run/names")
    guest.c.request("MOUNT", source="names", target="/run/names", fstype="tmpfs", options="nr_inodes=2000,mode=777")
    expect(guest.run_hostile("fill-names", "/run/names", **USER).out.split(b"\n")[0], b"errno 28")
    expect(guest.c.refused("WRITE_FILE", C.ERR_OS, path="/run/names/one", data=b"x"), 28)
    guest.c.request("UNMOUNT", target="/run/names")
    guest.c.request("REMOVE", path="/run/names")


@scenario
def no_files_left_for_the_job(guest):
    job = guest.run_hostile("open-files", files=64, **USER)
    expect(job.out, b"opened 61\nerrno 24\n")
    several = [guest.hostile("open-files", **USER) for _ in range(4)]
    for job in several:
        expect(job.wait().status, 0)


@scenario
def a_lease_on_a_file_that_the_host_wants(guest):
    """Opening it would wait for 45 s; initd must not."""
    guest.c.write_file("/tmp/leased", b"content", mode=0o100666, uid=1000, gid=1000)
    holder = guest.hostile("lease", "/tmp/leased", wall_ms=60000, **USER)
    holder.wait_output("leased")
    began = time.monotonic()
    for kind, fields in (("READ_FILE", {}), ("WRITE_FILE", dict(data=b"new"))):
        expect(guest.c.refused(kind, C.ERR_OS, path="/tmp/leased", **fields), 11, kind)
    guest.c.write_file("/tmp/leased", b"replaced", flags=C.WRITE_ATOMIC)
    expect(guest.c.read_file("/tmp/leased"), b"replaced")
    assert time.monotonic() - began < 20, "initd has waited for the lease"
    holder.control("KILL")
    expect(holder.wait().cause, C.CAUSE_CANCELLED)
    guest.c.request("REMOVE", path="/tmp/leased")


# ---- one job against another ---------------------------------------------------------------------

@scenario
def a_job_that_traces_another(guest):
    """Who traces a process hears of its end first, and can keep it from initd."""
    victim = guest.hostile("sleep", 60000, wall_ms=8000, **USER)
    victim.wait_started()
    tracer = guest.hostile("seize", victim.pid, wall_ms=30000)
    tracer.wait_output("seized")
    victim.wait(60)
    expect(victim.exit.cause, C.CAUSE_TIMEOUT)
    tracer.control("KILL")
    tracer.wait()


@scenario
def only_root_traces_what_is_not_its_own(guest):
    victim = guest.hostile("sleep", 60000, **USER)
    victim.wait_started()
    tracer = guest.run_hostile("seize", victim.pid, wall_ms=30000, **USER)
    expect((tracer.exit.cause, tracer.exit.status), (C.CAUSE_EXITED, errno.EPERM))
    victim.control("KILL")
    victim.wait()


@scenario
def a_helper_that_is_stopped(guest):
    """A root job stops the process that removes a tree. initd goes on, and does not compute while it waits. What is
    stopped by a signal alone it lets go on."""
    guest.c.shell("mkdir -p /tmp/tree/a/b/c; i=0; while [ $i -lt 4000 ]; do : > /tmp/tree/a/$i; i=$((i+1)); done")
    stopper = guest.hostile("stop-helper", 2000, wall_ms=60000)
    stopper.wait_output("looking")
    ends_meanwhile = guest.hostile("sleep", 700)
    ends_meanwhile.wait_started()
    expect(guest.c.request("REMOVE", path="/tmp/tree", flags=C.REMOVE_TREE).kind, "OK")
    ends_meanwhile.wait()
    stopper.wait()
    assert b"stopped" in stopper.out, "there was no helper to be seen"
    ticks = int(stopper.out.split(b"ticks ")[1])
    assert ticks < 30, f"initd has computed for {ticks * 10} ms of a second in which it had nothing to do"


with open(DISK, "wb") as disk:
    disk.truncate(24 << 20)
subprocess.run(["mkfs.ext4", "-q", DISK], check=True)
run_scenarios(memory=192)
