"""Images over HTTP: lists, one by UUID and by tag, tags that move, removal. No guest is started."""

import os
import sys

import api
from api import Server, expect

IMAGES = "/api/v1/images"


def uuids(s, query=""):
    status, _, value = s.call("GET", IMAGES + query)
    expect(f"a list{query}", (status, value["count"]), (200, len(value["images"])))
    return [i["uuid"] for i in value["images"]]


def test_lists(s, python, sh):
    expect("all, the newest first", set(uuids(s)), {python, sh})
    expect("a page", uuids(s, "?limit=1&offset=1"), uuids(s)[1:2])
    expect("by time", (uuids(s, "?since=1h") == uuids(s), uuids(s, "?until=2020-01-01T00:00:00Z")), (True, []))
    for query in "limit=0", "limit=1001", "offset=-1", "since=yesterday", "tagged=", "tagged=yes", "tag=a&prefix=a", "until=", "prefix=" + "x" * 257:
        s.error(f"a list with {query[:20]}", 400, "E001", "GET", f"{IMAGES}?{query}")
    value = s.call("GET", f"{IMAGES}/{python}")[2]
    expect("one", (value["names"], value["origin"], value["origin_of"], value["workdir"], value["user"], value["parent"]),
           (["python"], "imported", "docker://docker.io/library/python:3", "/app", "1000", None))
    expect("no paths", os.environ["CAPSID_HOME"] in str(value), False)


def test_tags(s, python, sh):
    tag = "team/base:3.13"
    expect("a tag", s.call("PATCH", f"{IMAGES}/{python}/tag", {"tag": tag})[2]["tags"], [tag])
    expect("an image by its tag", (uuids(s, f"?tag={tag}"), uuids(s, "?tag=team/base")), ([python], []))
    s.call("PATCH", f"{IMAGES}/{python}/tag", {"tag": "plain:1"})
    expect("by one in the path", s.call("GET", f"{IMAGES}/tag:plain:1")[2]["uuid"], python)
    expect("which goes", s.call("DELETE", f"{IMAGES}/tag:plain:1/tag?tag=plain:1")[2]["tags"], [tag])
    expect("lists of tags", [uuids(s, q) for q in ("?tagged=true", "?prefix=team/", "?prefix=eam/")], [[python], [python], []])
    expect("which moves", s.call("PATCH", f"{IMAGES}/{sh}/tag", {"tag": tag})[2]["tags"], [tag])
    s.error("from another image", 404, "E007", "DELETE", f"{IMAGES}/{python}/tag?tag={tag}")
    s.call("PATCH", f"{IMAGES}/{sh}/tag", {"tag": "second"})
    expect("one goes", s.call("DELETE", f"{IMAGES}/{sh}/tag?tag=second")[2]["tags"], [tag])
    expect("all go", s.call("DELETE", f"{IMAGES}/{sh}/tag")[2]["tags"], [])
    for what, body in {"no tag": {}, "no text": {"tag": 1}, "an empty one": {"tag": ""}, "a long one": {"tag": "x" * 257},
                       "one that leads out": {"tag": "a/../b"}, "a language's": {"tag": "lang/python"}, "more": {"tag": "a", "x": 1}}.items():
        s.error(f"a tag: {what}", 400, "E001", "PATCH", f"{IMAGES}/{sh}/tag", body)


def test_removal(s, python, sh):
    s.error("a language's image stays", 409, "E023", "DELETE", f"{IMAGES}/{sh}")
    s.call("PATCH", f"{IMAGES}/{python}/tag", {"tag": "mine"})
    os.remove(os.path.join(os.environ["CAPSID_HOME"], "images/names/python.json"))
    expect("an image goes", s.call("DELETE", f"{IMAGES}/{python}")[2]["tags"], ["mine"])
    for path in f"{IMAGES}/{python}", f"{IMAGES}/tag:mine":
        s.error("and is gone", 404, "E007", "GET", path)
    for reference, status, code in (("x", 400, "E001"), ("tag:..", 400, "E001"), ("tag:" + "y" * 400, 404, "E007")):
        s.error(f"an image {reference[:12]}", status, code, "GET", f"{IMAGES}/{reference}")


def main():
    with Server("--pool", "off") as s:
        api.KEPT.update(s.call("GET", "/api/v1/openapi.json")[2])
        for test in test_lists, test_tags, test_removal:
            test(s, *sys.argv[1:])
    sys.exit(api.failures > 0)


if __name__ == "__main__":
    main()
