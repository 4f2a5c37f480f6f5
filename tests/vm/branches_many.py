"""Many branches of one image, some at a time, and a server that is killed meanwhile: every image that was acknowledged is whole, none is
half there, and gc takes the disk back. CHECK_ALL makes 1,000 branches and kills 50 times. Prints "ok: ..." or "FAILED: ..." lines;
exit status 1 when one failed."""

import concurrent.futures
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import api
from api import Server, expect

LONG = bool(os.environ.get("CHECK_ALL"))
BRANCHES, KILLS = (1000, 50) if LONG else (16, 2)
AT_A_TIME = 8 if LONG else 4
SH = "tag:lang/sh"
IMAGES = os.path.join(os.environ["CAPSID_HOME"], "images")


def capsid(*arguments):
    return json.loads(subprocess.run([os.environ["CAPSID"], *arguments, "--json"], stdout=subprocess.PIPE, check=True).stdout)


def disk_use():
    return sum(os.lstat(os.path.join(d, name)).st_blocks * 512 for d, _, names in os.walk(IMAGES) for name in names if not name.startswith("records"))


def branch(s, number):
    """The image, or None when the server was killed."""
    body = {"image": SH, "shell": f"echo {number} >/number; head -c 100000 /dev/urandom >/more; sync", "keep": "success"}
    try:
        r = s.call("POST", "/api/v1/execute", body)
    except (OSError, http.client.HTTPException):
        return None
    return r[2]["result_image"] if r[0] == 200 else None


def is_whole(image, number):
    r = capsid("run", "--image", image, "--shell", "cat /number; wc -c </more")
    return r["stdout"].split() == [str(number), "100000"]


def test_many(s):
    before = disk_use()
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        made = list(pool.map(lambda n: branch(s, n), range(BRANCHES)))
    expect(f"{BRANCHES} branches, none lost, each another", (None in made, len(set(made))), (False, BRANCHES))
    expect("all are listed", set(made) <= {i["uuid"] for i in capsid("images", "list")["images"]}, True)
    chosen = random.sample(range(BRANCHES), 5)
    expect("what was written is in them", [is_whole(made[n], n) for n in chosen], [True] * 5)
    subprocess.run([os.environ["CAPSID"], "images", "gc"], stdout=subprocess.DEVNULL, check=True)
    expect("gc takes all of them back", disk_use() - before < 200000, True)


def test_kills():
    acknowledged = []
    for round_ in range(KILLS):
        with Server("--pool", "off", "--grace", "1") as s:
            stop = threading.Timer(random.uniform(0.5, 5), lambda: s.process.send_signal(signal.SIGKILL))
            stop.start()
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                numbers = range(round_ * 100, round_ * 100 + 12)
                acknowledged += [(i, n) for i, n in zip(pool.map(lambda n: branch(s, n), numbers), numbers) if i]
            stop.join()
            s.process.wait(60)
            time.sleep(0.2)
    known = {i["uuid"]: i for i in capsid("images", "list")["images"]}
    expect("what was acknowledged is there", [i for i, _ in acknowledged if i not in known], [])
    expect("and whole", [n for i, n in acknowledged[-6:] if not is_whole(i, n)], [])
    unfit = [u for u in known if subprocess.run([os.environ["CAPSID"], "run", "--image", u, "--", "/bin/true"], stdout=subprocess.DEVNULL).returncode]
    expect("none is half there", unfit if not LONG else unfit[:20], [])


def main():
    with Server("--pool", "off") as s:
        test_many(s)
    test_kills()
    return 1 if api.failures else 0


if __name__ == "__main__":
    sys.exit(main())
