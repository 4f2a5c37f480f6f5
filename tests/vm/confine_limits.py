"""The limits of a VMM's cgroup where there are controllers for them: the guest is a machine with cgroup v2, and the
supervisor's own code confines a program in it that takes too much. Only the weight of input and output is not tried: the
guest's kernel has no controller for that."""

import os
import signal

from guest import BUILD, expect, run_scenarios, scenario

PARTS = ("own user id", "own files", "own processes", "no network", "own ipc", "own host name", "own cgroup", "memory limit",
         "cpu limit", "process limit")
LIMITS = {"memory.max": str((16 + 384) << 20), "pids.max": "64", "cpu.max": "200000 100000"}  # host/confine/cgroup.c


def run(guest, how):
    """What the supervisor says of a VMM that does this: the lines by their first word."""
    with open(os.path.join(BUILD, "test", "inside", "confine_limits"), "rb") as f:
        guest.c.write_file("/confine_limits", f.read(), mode=0o100755)
    job = guest.c.run(["/confine_limits", how])
    expect((job.exit.status, job.err), (0, b""))
    lines = job.out.decode().splitlines()
    missing = [line for line in lines if line.split(": ")[0] in PARTS and not line.endswith(": yes")]
    expect(missing, [], "what a guest as a host lacks")
    said = dict(line.split(" ", 1) for line in lines)
    expect({name: said.get(name) for name in LIMITS}, LIMITS, "limits")
    expect(said["cgroup"], "gone", "its cgroup afterwards")
    return said


@scenario
def a_vmm_that_takes_memory_is_killed(guest):
    said = run(guest, "memory")
    expect((said.get("signal"), said["memory.events"]), (str(int(signal.SIGKILL)), "oom_kill 1"))


@scenario
def a_vmm_that_forks_gets_no_further_than_its_limit(guest):
    said = run(guest, "pids")
    expect((said.get("exit"), said["forks"]), ("0", "63"))


@scenario
def a_vmm_that_computes_on_all_processors_is_slowed_down(guest):
    said = run(guest, "cpu")
    expect(int(said["cpu.stat"].split()[1]) > 0, True, "it was throttled")


@scenario
def what_a_vmm_leaves_behind_is_ended(guest):
    expect(run(guest, "leave").get("exit"), "0")


run_scenarios(memory=768, vcpus=4)
