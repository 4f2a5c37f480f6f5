"""ConTree's public clients, unmodified, against capsid api: what each of them sends is answered as it expects.

    contree.py          with the Python of a venv that has them (test_contree.sh)
"""

import asyncio
import io
import json
import os
import subprocess
import sys
import tarfile
import time

from contree_client.exceptions import APIStatusError
from contree_client.models import ClosableStreamRepr, FileSpec
from contree_client.sync import ContreeClient
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

sys.path.insert(0, os.path.dirname(__file__))
import api  # noqa: E402
from api import Server, expect  # noqa: E402

BIN = os.path.dirname(sys.executable)
HOME = os.path.join(os.environ["TMPDIR"], "contree")
TAG = "tag:lang/sh"


def environment(url):
    return {**os.environ, "CONTREE_URL": url, "CONTREE_TOKEN": "any", "CONTREE_HOME": HOME, "HOME": HOME, "NO_COLOR": "1", "CONTREE_SESSION": "test"}


# ---- contree-client -----------------------------------------------------------------------------------------


def run(c, command, image, **more):
    more = {"shell": True, "timeout": 60, **more}
    return c.wait_operation(c.spawn_instance(command, image, **more).uuid, timeout=120)


def output(op):
    result = op.metadata.result
    return result.stdout.as_text(), result.stderr.as_text(), result.state.exit_code


def test_instances(c, image):
    op = run(c, "echo out; echo err >&2; exit 3", image, disposable=True)
    expect("a command", (op.status, op.kind, output(op)), ("SUCCESS", "instance", ("out\n", "err\n", 3)))
    expect("in that image", (op.image_uuid, op.result_image_uuid, op.metadata.image), (image, None, image))
    op = run(c, "/bin/echo", image, shell=False, args=["a b", "c"], disposable=True)
    expect("without a shell", (output(op)[0], op.metadata.command, op.metadata.args), ("a b c\n", "/bin/echo", ["a b", "c"]))
    op = run(c, 'echo "$MY_VAR $(pwd) $(id -u):$(id -g)"; cat', image, env={"MY_VAR": "hello"}, cwd="/made/here", uid=12, gid=34,
             stdin=ClosableStreamRepr(value="in"), disposable=True)
    expect("env, cwd, ids, stdin", output(op)[0], "hello /made/here 12:34\nin")
    op = run(c, "printf 'a\\377'; printf aaaaaaaa >&2", image, truncate_output_at=4, disposable=True)
    expect("bytes, and what is cut", (op.metadata.result.stdout.as_bytes(), output(op)[1], op.metadata.result.stderr.truncated),
           (b"a\xff", "aaaa", True))
    op = run(c, "sleep 60", image, timeout=1, disposable=True)
    expect("a timeout", (op.status, op.metadata.result.state.timed_out, op.metadata.result.state.exit_code), ("SUCCESS", True, -1))


def test_branches(c, image):
    op = run(c, "echo kept >/root/file", image)
    child = op.result_image_uuid
    expect("what is changed is kept", (op.status, child not in (None, image), op.result.image), ("SUCCESS", True, child))
    expect("in the image", output(run(c, "cat /root/file", child, disposable=True))[0], "kept\n")
    expect("and not in its parent", output(run(c, "cat /root/file", image, disposable=True))[2], 1)
    expect("nothing changed", run(c, "true", child).result_image_uuid, child)
    return child


def test_images(c, image, child):
    expect("a tag", c.update_image_tag(child, "team/kept:1").tag, "team/kept:1")
    expect("finds it", (c.resolve_image("tag:team/kept:1"), c.inspect_image(child).tag), (child, "team/kept:1"))
    rows = [(i.uuid, i.tag) for i in c.list_images(tag="team/").images]
    expect("in a list", rows, [(child, "team/kept:1")])
    expect("pages", [len(c.list_images(limit=1, offset=n).images) for n in (0, 1, 2)], [1, 1, 0])
    expect("by UUID, and time", ([i.uuid for i in c.list_images(uuid=child).images], c.list_images(until="2020-01-01").images), ([child], []))
    c.delete_image_tag(child)
    expect("no tag", c.inspect_image(child).tag, None)
    for what, call in {"no tag": lambda: c.resolve_image("tag:team/kept:1"), "no image": lambda: c.inspect_image("0" * 8 + "-0000" * 3 + "-" + "0" * 12)}.items():
        expect(what, status_of(call), 404)


def status_of(call):
    try:
        call()
    except APIStatusError as e:
        return e.status if isinstance(e.error, str) else e
    return None


def test_operations(c, image):
    uuid = c.spawn_instance("echo first; sleep 60", image, shell=True, disposable=True).uuid
    seen = []
    for event in c.follow_operation_events(uuid, timeout=60):
        seen.append(event)
        if event.type == "stdout":
            c.cancel_operation(uuid)
    expect("events", ([e.type for e in seen if e.type != "exit"], seen[1].data.as_text(), seen[-1].data.status),
           (["spawn", "stdout", "completion"], "first\n", "CANCELLED"))
    later = list(c.iter_operation_events(uuid, last_event_id=seen[1].id))
    expect("those after one", [e.id for e in later], [e.id for e in seen[2:]])
    op = c.get_operation_status(uuid)
    expect("is cancelled", op.status, "CANCELLED")
    expect("once", status_of(lambda: c.cancel_operation(uuid)), 409)
    mine = [o for o in c.list_operations(status="CANCELLED", kind="instance")]
    expect("in a list", [(o.uuid, o.image_uuid) for o in mine], [(uuid, image)])
    expect("which ends", (len(c.list_operations(limit=2)), c.list_operations(until="2020-01-01")), (2, []))
    expect("no such one", status_of(lambda: c.get_operation_status("0" * 8 + "-0000" * 3 + "-" + "0" * 12)), 404)


def test_files(c, image):
    content = b"echo from a file; cat /data/other\n"
    first = c.upload_file(content)
    expect("once", c.upload_file(content).uuid, first.uuid)
    expect("is known", (c.check_file_exists(first.sha256), c.check_file_exists("0" * 64), c.get_file(first.sha256).size), (True, False, first.size))
    expect("in the list", first.uuid in [f.uuid for f in c.list_files().files], True)
    files = {"/app/script.sh": FileSpec(uuid=first.uuid, mode="0755"), "/data/other": FileSpec(uuid=first.uuid, uid=7, gid=8, mode=0o600)}
    op = run(c, "sh /app/script.sh; ls -ln /app/script.sh /data/other", image, files=files, disposable=True)
    expect("one upload at two paths", output(op)[0].count("from a file"), 2)
    expect("as it was asked for", [" ".join(line.split()[n] for n in (0, 2, 3)) for line in output(op)[0].splitlines()[-2:]],
           ["-rwxr-xr-x 0 0", "-rw------- 7 8"])


def test_looks(c, child):
    files = {f.path: f for f in c.inspect_image_list(child, "/root").files}
    expect("a directory", (files["file"].size, files["file"].is_regular, files["file"].mode & 0o777), (5, True, 0o644))
    expect("a file", (c.inspect_image_download(child, "/root/file"), c.check_image_file(child, "/root/file"), c.check_image_file(child, "/none")),
           (b"kept\n", True, False))
    found = c.inspect_image_grep(child, "KE.t", path="/root", case="insensitive")
    expect("lines", [(m.path, m.line_number, m.line_text) for m in found.matches], [("/root/file", 1, "kept\n")])
    with tarfile.open(fileobj=io.BytesIO(b"".join(c.inspect_image_archive(child, "/root")))) as t:
        expect("an archive", t.extractfile("file").read(), b"kept\n")
    expect("no such directory", status_of(lambda: c.inspect_image_list(child, "/none")), 404)


def test_refusals(c, image):
    for what, more in {"an image": {"image": "nothing"}, "preserve_env": {"preserve_env": True}, "an open stdin": {"stdin": ClosableStreamRepr(value="", close=False)},
                       "a timeout": {"timeout": 10 ** 6}, "a file": {"files": {"relative": FileSpec(uuid="x")}}}.items():
        try:
            op = run(c, "true", more.pop("image", image), **more)
            expect(f"refused: {what}", (op.status, isinstance(op.error, str)), ("FAILED", True))
        except APIStatusError as e:
            expect(f"refused: {what}", (e.status, isinstance(e.error, str)), (400, True))
    who = c.whoami()
    expect("whoami", (who.permissions["spawn"], who.limits["instance_max_timeout"] > 0), (True, True))
    expect("no such path", status_of(lambda: c.get_file("a/b")), 404)


def test_client(url):
    c = ContreeClient("any", base_url=url)
    image = c.resolve_image(TAG)
    test_instances(c, image)
    child = test_branches(c, image)
    test_images(c, image, child)
    test_operations(c, image)
    test_files(c, image)
    test_looks(c, child)
    test_refusals(c, image)
    return image


# ---- contree-cli --------------------------------------------------------------------------------------------


def cli(url, *words):
    r = subprocess.run([os.path.join(BIN, "contree"), *words], env=environment(url), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    return r.returncode, r.stdout, r.stderr


def test_cli(url, image):
    code, out, err = cli(url, "images")
    expect("contree images", (code, image in out), (0, True))
    code, out, err = cli(url, "use", TAG)
    expect("contree use", (code, err if code else ""), (0, ""))
    code, out, err = cli(url, "run", "--", "/bin/sh", "-c", "echo from the CLI; exit 42")
    expect("contree run", (code, "from the CLI" in out), (42, True))
    print((out + err)[-600:] if code != 42 else "", end="")
    code, out, err = cli(url, "-o", "json", "op", "ls", "-a")
    expect("contree op ls", (code, "SUCCESS" in out), (0, True))


# ---- contree-mcp --------------------------------------------------------------------------------------------


class Tools:
    def __init__(self, session):
        self.session = session

    async def call(self, name, **arguments):
        r = await self.session.call_tool(name, arguments)
        text = r.content[0].text if r.content else ""
        if r.isError:
            return {"tool_error": text}
        value = r.structuredContent or json.loads(text)
        return value.get("result", value) if set(value) == {"result"} else value


async def check_run(t, image):
    r = await t.call("run", command="echo hi", image=TAG)
    expect("run", (r["status"], r["exit_code"], r["timed_out"], r["stdout"], r["image_uuid"]), ("SUCCESS", 0, False, "hi\n", image))
    r = await t.call("run", command="echo $MY_VAR", image=image, env={"MY_VAR": "hello"})
    expect("run: env", r["stdout"], "hello\n")
    kept = (await t.call("run", command="echo x >/root/x", image=image, disposable=False))["result_image_uuid"]
    expect("run: disposable false", ((await t.call("run", command="cat /root/x", image=kept))["stdout"], (await t.call("run", command="cat /root/x", image=image))["exit_code"]),
           ("x\n", 1))
    up = await t.call("upload", content="echo hello")
    r = await t.call("run", command="sh /app/script.sh; sh /again.sh", image=TAG, files={"/app/script.sh": up["uuid"], "/again.sh": up["uuid"]})
    expect("upload and run", r["stdout"], "hello\nhello\n")
    return kept


async def check_operations(t, image):
    ids = [(await t.call("run", command=f"sleep {s}; echo {s}", image=image, wait=False))["operation_id"] for s in (0, 60)]
    r = await t.call("wait_operations", operation_ids=ids, mode="any", timeout=60)
    expect("wait_operations any", (r["completed"], r["cancelled"], r["results"][ids[0]]["stdout"]), ([ids[0]], [ids[1]], "0\n"))
    r = await t.call("get_operation", operation_id=ids[0])
    expect("get_operation", (r["status"], r["stdout"]), ("SUCCESS", "0\n"))
    slow = (await t.call("run", command="sleep 60", image=image, wait=False))["operation_id"]
    expect("cancel_operation", (await t.call("cancel_operation", operation_id=slow))["cancelled"], True)
    expect("cancelled", (await t.call("wait_operations", operation_ids=[slow], timeout=60))["results"][slow]["status"], "CANCELLED")
    r = await t.call("list_operations", status="CANCELLED")
    expect("list_operations", slow in json.dumps(r), True)


async def check_images(t, image, kept):
    expect("set_tag", (await t.call("set_tag", image_uuid=kept, tag="team/x/sh:1"))["tag"], "team/x/sh:1")
    expect("get_image", (await t.call("get_image", image="tag:team/x/sh:1"))["uuid"], kept)
    r = await t.call("list_images", tag_prefix="team/")
    expect("list_images", [(i["uuid"], i["tag"]) for i in r["images"]], [(kept, "team/x/sh:1")])
    expect("set_tag: none", (await t.call("set_tag", image_uuid=kept))["tag"], None)
    expect("whoami", (await t.call("whoami"))["permissions"]["spawn"], True)
    expect("get_guide", "# " in (await t.call("get_guide", section="quickstart"))["content"], True)


async def check_looks(t, session, kept):
    r = await t.call("list_files", image=kept, path="/root")
    expect("list_files", [(f["name"], f["type"], f["size"]) for f in r["files"]], [("x", "file", 2)])
    r = await t.call("read_file", image=kept, path="/root/x")
    expect("read_file", (r["content"], r["encoding"], r["bytes_size"]), ("x\n", "utf-8", 2))
    to = os.path.join(os.environ["TMPDIR"], "downloaded")
    r = await t.call("download", image=kept, path="/root/x", destination=to, executable=True)
    expect("download", (r["success"], os.stat(to).st_size, os.access(to, os.X_OK)), (True, 2, True))
    r = await t.call("grep", image=kept, pattern="x", path="/root")
    expect("grep", [(m["path"], m["line_number"]) for m in r["matches"]], [("/root/x", 1)])
    for path, wanted in (f"image/{kept}/read/root/x", "x\n"), (f"image/{kept}/ls/root", "x"):
        expect(f"contree://{path[:6]}", wanted in (await session.read_resource(f"contree://{path}")).contents[0].text, True)
    r = await t.call("import_image", registry_url="docker://docker.io/library/busybox", i_accept_that_anonymous_access_might_be_rate_limited=True)
    expect("import_image says why not", "from-docker" in r["tool_error"], True)


async def check_rsync(t, image):
    source = os.path.join(os.environ["TMPDIR"], "project")
    os.makedirs(os.path.join(source, "sub"), exist_ok=True)
    for name in "a", "sub/b":
        with open(os.path.join(source, name), "w", encoding="ascii") as f:
            f.write(name)
    r = await t.call("rsync", source=source, destination="/app")
    state = r if isinstance(r, int) else r.get("directory_state_id", r)
    r = await t.call("run", command="cat /app/a /app/sub/b", image=image, directory_state_id=state)
    expect("rsync and run", r.get("stdout", r), "asub/b")


async def mcp(url, image):
    server = StdioServerParameters(command=os.path.join(BIN, "contree-mcp"), args=["--auth-type", "jwt"], env=environment(url))
    with open(os.path.join(os.environ["TMPDIR"], "mcp.log"), "w", encoding="utf-8") as log:
        async with stdio_client(server, errlog=log) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            t = Tools(session)
            expect("its tools", len((await session.list_tools()).tools), 19)
            kept = await check_run(t, image)
            await check_operations(t, image)
            await check_images(t, image, kept)
            await check_rsync(t, image)
            await check_looks(t, session, kept)
            expect("its prompts", len((await session.list_prompts()).prompts), 10)
            r = await session.read_resource(f"contree://image/{kept}/lineage")
            expect("lineage", image in r.contents[0].text, True)


def main():
    os.makedirs(HOME, exist_ok=True)
    with Server("--pool", "off") as s:
        url = f"http://127.0.0.1:{s.port}"
        with open(os.path.join(HOME, "auth.ini"), "w", encoding="ascii") as f:
            f.write(f"[DEFAULT]\nprofile = default\n[profile:default]\nurl = {url}\ntoken = any\ntype = jwt\n")
        begun = time.monotonic()
        image = test_client(url)
        print(f"contree-client: {time.monotonic() - begun:.1f} s")
        test_cli(url, image)
        print(f"contree-cli: {time.monotonic() - begun:.1f} s")
        asyncio.run(mcp(url, image))
        print(f"contree-mcp: {time.monotonic() - begun:.1f} s")
    sys.exit(api.failures > 0)


if __name__ == "__main__":
    main()
