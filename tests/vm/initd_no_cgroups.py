"""Guests without cgroup v2, or without its controllers: what is left of the limits, and what the log says."""

from appliance import Appliance
from guest import C, expect, run_scenarios, scenario

PROGRAMS = dict(programs=("hostile", "appliance"))
USER = dict(uid=1000, gid=1000)
HOSTILE = "/hostile"


def check_limits(a):
    """The limits that a process has of its own, of setrlimit(2), and those that initd's own clock keeps."""
    job = a.c.run([HOSTILE, "hog", "0"], memory=32 << 20)
    expect((job.exit.cause, job.exit.status), (C.CAUSE_EXITED, 1), "mmap(2) fails")
    job = a.c.run([HOSTILE, "hog", "8"], memory=32 << 20, wall_ms=1000)
    expect((job.exit.cause, job.out), (C.CAUSE_TIMEOUT, b"holds 8\n"))
    job = a.c.run([HOSTILE, "forks"], pids=5, **USER)
    assert job.out in (b"made 4\nerrno 11\n", b"made 5\nerrno 11\n"), job.out
    job = a.c.run([HOSTILE, "spin"], cpu_ms=1000, wall_ms=30000)
    expect(job.exit.cause, C.CAUSE_CPU)
    job = a.c.run([HOSTILE, "open-files"], files=20)
    assert job.out.endswith(b"errno 24\n"), job.out
    job = a.c.run([HOSTILE, "pattern", "1", "100"], output=50)
    expect((job.exit.cause, len(job.out)), (C.CAUSE_OUTPUT, 50))


def check_health(a):
    expect(a.c.request("STATS").jobs_memory, 0, "jobs_memory, which nobody counts")
    job = a.c.run([HOSTILE, "true"])
    expect((job.exit.cause, job.exit.status, job.exit.memory_peak), (C.CAUSE_EXITED, 0, 0))


def initd_lines(a):
    return [line for line in a.lines("initd: ") if "initd: the main program" not in line]


def check_main_program(a):
    a.wait_text("stays")
    expect(len([line for line in a.lines("initd: the main program ended") if "is started again" in line]), 2)
    expect(a.lines("somebody is left"), [])


@scenario(own=PROGRAMS, healthy=False)
def controllers_missing(a):
    a.boot("cgroup_disable=memory,pids initd.main=/appliance,count,/tmp/count,3,5 initd.main_restart=always")
    a.connect()
    check_limits(a)
    check_health(a)
    check_main_program(a)
    # A cgroup is still there, so nothing leaves its job.
    job = a.c.run([HOSTILE, "daemon", "60000", "0"], wall_ms=20000)
    expect(job.exit.cause, C.CAUSE_EXITED)
    expect(initd_lines(a), [f"initd: no cgroup controller name=+{name} errno=22" for name in ("memory", "pids")])
    a.shut_down()


@scenario(own=PROGRAMS, healthy=False)
def every_controller_missing(a):
    a.boot("cgroup_disable=memory,pids,cpu").connect()
    check_limits(a)
    check_health(a)
    expect(len(initd_lines(a)), 3)
    a.shut_down()


@scenario(own=PROGRAMS, healthy=False)
def no_cgroups_at_all(a):
    a.boot("initd.main=/appliance,leave,/tmp/lock initd.main_restart=on-failure init=/appliance no-cgroups")
    a.connect()
    check_limits(a)
    check_health(a)
    a.wait_text("leaves a child", 3)
    expect(a.lines("somebody is left"), [], "its process group is killed")
    expect(a.c.refused("STAT", C.ERR_OS, path="/sys/fs/cgroup"), 2)
    expect(initd_lines(a), ["initd: boot step failed name=/sys/fs/cgroup errno=2",
                            "initd: no cgroups: limits are weaker, and daemons can outlive their job"])
    a.shut_down()


@scenario(own=dict(without=("sys",), **PROGRAMS), healthy=False)
def no_place_for_sysfs(a):
    """Nor for cgroups, then; and initd finds no serial port. The main program runs all the same."""
    a.boot("initd.main=/appliance,count,/tmp/count,3,5 initd.main_restart=on-failure")
    check_main_program(a)
    expect(len(a.lines("initd: no cgroups: limits are weaker")), 1)
    expect(len(a.lines("initd: the image has no /sys, so there is no serial port")), 1)
    a.boot("initd.main=/appliance,end,0 initd.main_end=poweroff")
    expect(a.wait_end(), 0)


run_scenarios(Appliance)
