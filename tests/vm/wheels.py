#!/usr/bin/env python3
"""Writes an index of Python packages, good ones and hostile ones: DIRECTORY/NAME/index.html and the wheels beside it.

    wheels.py DIRECTORY
"""
import hashlib
import os
import stat
import sys
import warnings
import zipfile

LINK = (stat.S_IFLNK | 0o777) << 16
DEVICE = (stat.S_IFCHR | 0o644) << 16


def wheel(name, *entries, requires=(), metadata=None, info=None):
    """Entries are (path, content[, attributes])."""
    info = info or f"{name.replace('-', '_')}-1.0.dist-info"
    headers = "".join(f"Requires-Dist: {r}\n" for r in requires)
    return [(f"{info}/METADATA", metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{headers}"),
            (f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"), (f"{info}/RECORD", ""), *entries]


CODE = ("capsid_{}.py", "VALUE = 42\n\n\ndef main():\n    print(VALUE)\n")
PACKAGES = {
    "capsid-good": wheel(
        "capsid-good", ("capsid_good.py", CODE[1]), ("capsid_good-1.0.dist-info/entry_points.txt", "[console_scripts]\ncapsid-good = capsid_good:main\n"),
        ("capsid_good-1.0.data/scripts/capsid-tool", "#!python\nprint('tool')\n"), ("capsid_good-1.0.data/data/share/capsid/x", "data"),
        # What Python would run whenever it starts, also on the host: it would tell so.
        ("capsid_good.pth", "import os; os.path.exists('/opt') and open('/opt/ran', 'w').close()\n"),
        requires=['Capsid_Needed[more]>=1; python_version >= "3.13"', 'capsid-absent; python_version < "3.13"', 'capsid-absent; sys_platform == "win32"']),
    "capsid-needed": wheel("capsid-needed", ("capsid_needed.py", ""), requires=['capsid-extra==1.0; extra == "more"', 'capsid-absent; extra == "other"']),
    "capsid-extra": wheel("capsid-extra", ("capsid_extra.py", "")),
    "upwards": wheel("upwards", ("../../etc/passwd", "x")),
    "absolute": wheel("absolute", ("/etc/passwd", "x")),
    "backslash": wheel("backslash", ("a\\b", "x")),
    "control": wheel("control", ("a\nb", "x")),
    "symlink": wheel("symlink", ("etc", "/etc", LINK)),
    "device": wheel("device", ("null", "", DEVICE)),
    "twice": wheel("twice", ("a", "x"), ("a", "y")),
    "two-infos": wheel("two-infos", ("other-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")),
    "place": wheel("place", ("place-1.0.data/etc/passwd", "x")),
    "data-upwards": wheel("data-upwards", ("data_upwards-1.0.data/data/../../../etc/passwd", "x")),
    "command": wheel("command", ("command-1.0.dist-info/entry_points.txt", "[console_scripts]\n../../bin/sh = os:system\n")),
    "command-code": wheel("command-code", ("command_code-1.0.dist-info/entry_points.txt", "[console_scripts]\na = os:x();import os;(y\n")),
    "elsewhere": wheel("elsewhere", requires=["capsid-good @ git+https://127.0.0.1/x.git"]),
    "nonsense": wheel("nonsense", requires=[";;;"]),
    "needs-absent": wheel("needs-absent", requires=["capsid-absent"]),
    "wrong-hash": wheel("wrong-hash"),
    "damaged": wheel("damaged", ("a", "x" * 1000)),
    "bomb": wheel("bomb", ("a", 9 << 30)),
}


def write_wheel(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, content, attributes in ((*e, (stat.S_IFREG | 0o644) << 16)[:3] for e in entries):
            entry = zipfile.ZipInfo(name)
            entry.filename, entry.external_attr = name, attributes
            entry.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(entry, content if isinstance(content, str) else "")
            if not isinstance(content, str):
                entry.file_size = content  # in the directory at the end, which counts


def main():
    for name, entries in PACKAGES.items():
        directory = os.path.join(sys.argv[1], name)
        os.makedirs(directory)
        file = f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
        path = os.path.join(directory, file)
        write_wheel(path, entries)
        if name == "damaged":
            with open(path, "r+b") as f:
                f.seek(zipfile.ZipFile(path).getinfo("a").header_offset + 32)
                f.write(b"\xff" * 4)
        with open(path, "rb") as f:
            digest = hashlib.sha256(b"" if name == "wrong-hash" else f.read()).hexdigest()
        with open(os.path.join(directory, "index.html"), "w", encoding="utf-8") as f:
            f.write(f'<!DOCTYPE html><a href="{file}#sha256={digest}">{file}</a>\n')


warnings.simplefilter("ignore")  # of a name that is given twice
main()
