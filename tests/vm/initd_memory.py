"""Jobs without a limit of their own that take all the memory: initd answers all the while, and the one that has the most
goes, soon.

Both are measured in processor time of QEMU, which is the time of an emulated guest on a machine that does nothing else: so a
busy one does not matter, and a guest that computes without end instead of answering is seen. What the client and QEMU's own
thread, which carries the bytes, waited for a processor meanwhile is not the guest's. Processors differ, and share their caches
with what else runs, so the bounds are those of a machine on which a small job takes JOB_S, and in proportion on a slower one.
"""

from guest import C, expect, processor_time, run_scenarios, scenario, scheduling, time

USER = dict(uid=1000, gid=1000)
ANSWER_S = 0.1  # 0.003 to 0.06 were seen; with random addresses of programs (norandmaps) 2, without the watch 19
KERNEL_ANSWER_S = 0.25  # the same for memory that the kernel holds for a process: 0.01 to 0.14 were seen
JOB_S = 0.020  # of many_small_jobs(), where the times here were seen
KILL_S = 5  # 0.1 to 0.2 were seen; without the watch more than 100
NEAR_THE_END = 16 << 20  # bytes left of what jobs may have: from here on the kill is due


def waited(guest):
    return scheduling("/proc/self")[1] + scheduling(f"/proc/{guest.process.pid}")[1]


def slowness(guest):
    """Seconds of the guest until an answer."""
    before, waited_before = processor_time(guest), waited(guest)
    guest.c.ping(7)
    return processor_time(guest) - before - (waited(guest) - waited_before)


def many_small_jobs(guest):
    """Each leaves a group behind, which the kernel keeps for as long as it has pages of files that were read there."""
    began = processor_time(guest)
    for _ in range(42):
        expect(guest.c.shell("ls / >/dev/null; cat /etc/passwd >/dev/null", **USER).exit.status, 0)
    each = (processor_time(guest) - began) / 42
    guest.pace = max(1, each / JOB_S)
    print(f"    a small job takes {each * 1000:.1f} ms of a processor")
    guest.forget_ended()


def watch(guest, job):
    """Until the job's end. Asks all the while; returns the slowest answer, and the time from shortness to the end."""
    limit = int(guest.c.read_file("/sys/fs/cgroup/jobs/memory.max"))
    slowest, short_since, began = 0, None, time.monotonic()
    while not job.done:
        assert time.monotonic() - began < 240, f"the job goes on; slowest PING {slowest:.3f} s"
        slowest = max(slowest, slowness(guest))
        if short_since is None and guest.c.request("STATS").jobs_memory > limit - NEAR_THE_END:
            short_since = processor_time(guest)
        guest.c.pump_for(0.05)
    return slowest, processor_time(guest) - (short_since or processor_time(guest))


def takes_all(guest, name, argv, answer_s=ANSWER_S):
    job = guest.c.start(argv, **USER)
    slowest, late = watch(guest, job)
    print(f"    {name}: cause {job.exit.cause}, {job.exit.memory_peak >> 10} KiB, slowest PING {slowest * 1000:.0f} ms, end after {late:.1f} s")
    expect(job.exit.cause, C.CAUSE_OOM, name)
    assert slowest < answer_s * guest.pace, f"{name}: PING took {slowest:.3f} s of processor time"
    assert late < KILL_S * guest.pace, f"{name}: {late:.1f} s of processor time until the kill"
    return job


def shell_loop(guest, times, command):
    return ["/bin/sh", "-c", f"i=0; while [ $i -lt {times} ]; do {guest.HOSTILE} {command} & i=$((i+1)); done; wait"]


# Memory that is no process's own.
FILES = """
for path in "/tmp/full", "/dev/shm/full":
    try:
        with open(path, "wb", 0) as f:
            while f.write(bytes(65536)) == 65536: pass
    except OSError: pass
held = []
while True: held.append(bytearray(65536))
"""
PIPES = """
import fcntl, os
while True:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try: fcntl.fcntl(writer, 1031, 1 << 20)  # F_SETPIPE_SZ
    except OSError: pass
    try:
        while True: os.write(writer, bytes(65536))
    except OSError: pass
"""
SOCKETS = """
import socket
held = []
while True:
    held.append(socket.socketpair())
    held[-1][0].setblocking(False)
    try:
        while True: held[-1][0].send(bytes(65536))
    except OSError: pass
"""


@scenario(own=dict(memory=128))
def in_a_small_guest(guest):
    many_small_jobs(guest)
    usable = takes_all(guest, "one process", [guest.HOSTILE, "hog", "0"]).exit.memory_peak
    limit = int(guest.c.read_file("/sys/fs/cgroup/jobs/memory.max"))
    assert usable > limit * 9 // 10, f"a job gets {usable} bytes of the {limit} of all"
    for _ in range(3):
        takes_all(guest, "many processes", shell_loop(guest, 12, "hog 0"))
    for name, script in (("pipes", PIPES), ("sockets", SOCKETS), ("files and then memory", FILES)):
        takes_all(guest, name, ["python3", "-c", script], KERNEL_ANSWER_S)


@scenario(own=dict(memory=512))
def in_a_larger_guest(guest):
    many_small_jobs(guest)
    for _ in range(2):
        takes_all(guest, "many processes", shell_loop(guest, 40, "hog 0"))


run_scenarios()
