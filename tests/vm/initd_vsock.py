"""Several connections to one initd, over AF_VSOCK through vhost-device-vsock; see test_initd_vsock.sh."""

import os
import sys

from guest import (C, Connection, Guest, Job, Lost, OPEN, PATIENCE, Refused, Writing, expect, pattern, run_scenarios, scenario,
                   socket, time)

VHOST, VSOCK = sys.argv[1:3]
del sys.argv[1:3]
USER = dict(uid=1000, gid=1000)


class VsockGuest(Guest):
    """The connection that the harness uses is one of several."""

    def wait_driver(self, deadline):
        """vhost-device-vsock stops to work for good when a CONNECT comes at the moment in which the guest's driver starts."""
        while not (os.path.exists(self.console) and b"Run /sbin/initd" in open(self.console, "rb").read()):
            if time.monotonic() > deadline or not self.alive():
                raise TimeoutError("no initd is started")
            time.sleep(0.05)

    def open_socket(self, patience=PATIENCE):
        deadline = time.monotonic() + patience
        self.wait_driver(deadline)
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(5)
            try:
                sock.connect(VSOCK)
                sock.sendall(b"CONNECT 5000\n")
                answer = b""
                while not answer.endswith(b"\n"):
                    piece = sock.recv(1)
                    if not piece:
                        raise OSError("no listener")
                    answer += piece
                if answer.startswith(b"OK "):
                    return sock
            except OSError:
                pass
            sock.close()
            if time.monotonic() > deadline or not self.alive():
                raise TimeoutError("no connection")
            time.sleep(0.1)

    def another(self):
        c = Connection(self.open_socket())
        c.hello()
        return c


def closed_by_initd(connection, patience=20):
    try:
        connection.pump(lambda: False, patience)
    except Lost:
        connection.close()
        return True
    except TimeoutError:
        return False


@scenario
def a_host_that_does_not_read_keeps_nobody_waiting(guest):
    slow = guest.another()
    flood = Job(slow, argv=[guest.HOSTILE, "pattern", "1", "20000000"], window=1 << 30, **USER)
    slow.pump(lambda: len(flood.out) > 50000, 20)
    slow.paused = True
    for _ in range(20):
        guest.c.ping()
        guest.run_hostile("true")
    other = guest.run_hostile("pattern", 2, 500000, **USER)
    assert other.out == pattern(2, 500000)
    time.sleep(1)
    guest.c.ping()
    expect(guest.c.jobs()[flood.job], C.JOB_RUNNING)
    slow.paused = False
    flood.wait(120)
    assert flood.out == pattern(1, 20000000), "the flood's output is not what it wrote"
    slow.close()


@scenario
def attach_from_another_connection(guest):
    first = guest.another()
    job = Job(first, argv=["cat"], stdin=OPEN, **USER).wait_started()
    job.type(b"one\n")
    job.wait_output("one\n")
    first.ping()
    second = Job(guest.c, "ATTACH", job=job.job, stdout_offset=4).wait_started()
    first.pump(lambda: job.error, 20)
    expect(job.error.code, C.ERR_GONE)
    second.type(b"two\n")
    second.wait_output("two\n")
    first.close()
    guest.c.ping()
    second.end_input()
    expect((second.wait().stdout_size, second.out), (8, b"two\n"))


@scenario
def jobs_of_a_lost_connection(guest):
    first = guest.another()
    jobs = [Job(first, argv=[guest.HOSTILE, "pattern", str(seed), "300000"], **USER) for seed in range(12)]
    first.pump(lambda: all(len(j.out) > 5000 for j in jobs))
    first.close()
    again = [Job(guest.c, "ATTACH", job=j.job, stdout_offset=len(j.out)) for j in jobs]
    for seed, (old, new) in enumerate(zip(jobs, again)):
        new.wait()
        assert old.out + new.out == pattern(seed, 300000), f"job {seed}"


@scenario
def broken_connections_are_closed(guest):
    for data in (b"\xff" * 100, b"GET / HTTP/1.0\r\n\r\n"):
        c = guest.another()
        c.send_raw(data)
        assert closed_by_initd(c), data
        expect(c.strays[-1].code, C.ERR_MALFORMED)
    c = guest.another()
    c.send("HELLO")
    c.pump(lambda: c.strays, 20)
    expect(c.strays[0].code, C.ERR_STATE)
    c.close()
    guest.c.ping()


@scenario
def more_connections_than_there_is_room_for(guest):
    """Strangers that say nothing do not keep out who does."""
    silent = [Connection(guest.open_socket()) for _ in range(12)]
    c = guest.another()
    c.ping()
    greeted = [c]
    for _ in range(10):
        try:
            greeted.append(guest.another())
        except (Lost, TimeoutError):
            break
    assert 2 <= len(greeted) <= 10, len(greeted)
    for c in greeted:
        c.ping()
    guest.c.ping()
    for c in greeted + silent:
        c.close()
    time.sleep(0.3)
    guest.another().close()


@scenario
def a_stranger_is_dropped(guest):
    c = Connection(guest.open_socket())
    assert closed_by_initd(c, 30), "a connection without HELLO is still open"


@scenario
def an_unfinished_file_goes_with_its_connection(guest):
    c = guest.another()
    writing = Writing(c, "/tmp/unfinished", b"x" * 500000, hold=True, flags=C.WRITE_ATOMIC)
    c.pump(lambda: writing.limit > 60000, 20)
    c.close()
    for _ in range(100):
        if not [name for page in guest.c.list_pages("/tmp") for name, *_ in page if name.startswith(".initd")]:
            return
        time.sleep(0.1)
    raise AssertionError("the temporary file is still there")


@scenario
def a_helper_holds_nothing_of_others(guest):
    """While a helper of one connection is stopped, the end of a job's input on another reaches the job."""
    guest.c.shell("mkdir -p /tmp/tree; i=0; while [ $i -lt 3000 ]; do : > /tmp/tree/$i; i=$((i+1)); done")
    echo = guest.c.start(["cat"], stdin=OPEN, **USER).wait_started()
    stopper = guest.hostile("stop-helper", 8000, wall_ms=60000)
    stopper.wait_output("looking")
    other = guest.another()
    other.send("REMOVE", 5, path="/tmp/tree", flags=C.REMOVE_TREE)
    other.pump(lambda: not other.outgoing, 20)
    stopper.wait_output("stopped")
    echo.end_input()
    echo.wait()
    assert b"ticks" not in stopper.out, "the job's input ended only when the helper did"
    stopper.wait()
    other.pump(lambda: other.strays, 30)
    expect(other.strays[0].kind, "OK")
    other.close()


@scenario
def no_job_gets_in(guest):
    """Only the host's CID may talk to initd: a job's own connection is refused, whatever the kernel offers."""
    job = guest.c.run(["python3", "-c", """
import socket
for cid in (1, 3, 2, 0xffffffff):
    s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    s.settimeout(2)
    try:
        s.connect((cid, 5000))
        s.sendall(bytes.fromhex("10000000 0100 0000 00000000 43505344 0100 0100 0000000000000000"))
        print("answered" if s.recv(12) else "closed")
    except OSError as e:
        print("refused")
s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
try:
    s.bind((0xffffffff, 5000))
    print("bound")
except OSError:
    print("in use")
"""])
    assert b"answered" not in job.out and job.out.endswith(b"in use\n"), (job.out, job.err)
    guest.another().close()


run_scenarios(vsock=VHOST, loglevel=7, kind=VsockGuest)
