"""A strict reader of Prometheus' text format (exposition format 0.0.4), and the rules of promtool check metrics: names,
units, help texts, counters and histograms. problems(text) lists what is wrong, in words."""

import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(,|$)')
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?Inf|NaN")
TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}
NOT_BASE_UNITS = {"milliseconds", "ms", "us", "ns", "minutes", "hours", "kilobytes", "megabytes", "mib", "kib", "percent"}


def read_labels(text, found):
    labels, position = [], 0
    while position < len(text):
        m = LABEL.match(text, position)
        if not m:
            found.append(f"labels that cannot be read: {text}")
            break
        labels.append((m[1], m[2]))
        position = m.end()
    if len({name for name, _ in labels}) != len(labels):
        found.append(f"a label twice: {text}")
    return tuple(sorted(labels))


def read(text, found):
    """Families by name: kind, help and samples (name, labels, value)."""
    families, current = {}, None
    if not text.endswith("\n"):
        found.append("the last line has no end")
    for line in text.split("\n")[:-1]:
        comment = re.fullmatch(r"# (HELP|TYPE) (\S+) (.*)", line)
        sample = SAMPLE.fullmatch(line)
        if comment:
            what, name, rest = comment.groups()
            if name != current:
                if name in families:
                    found.append(f"{name}: in two places")
                current = name
                families[name] = {"TYPE": None, "HELP": None, "samples": []}
            if families[name][what] is not None or families[name]["samples"]:
                found.append(f"{name}: a second {what}, or one after the samples")
            if not NAME.fullmatch(name) or (what == "TYPE" and rest not in TYPES) or not rest.strip():
                found.append(f"a line that makes no sense: {line}")
            families[name][what] = rest
        elif sample and current:
            name, labels, value = sample.groups()
            kind = families[current]["TYPE"]
            allowed = [current + end for end in ("_bucket", "_sum", "_count")] if kind == "histogram" else [current]
            if name not in allowed:
                found.append(f"{name}: not described where it stands")
            if not NUMBER.fullmatch(value):
                found.append(f"no number: {line}")
            else:
                families[current]["samples"].append((name, read_labels(labels or "", found), float(value.replace("Inf", "inf"))))
        elif line and not line.startswith("# "):
            found.append(f"a line that is none: {line!r}")
    return families


def check_histogram(name, samples, found):
    groups = {}
    for sample, labels, value in samples:
        rest = tuple(l for l in labels if l[0] != "le")
        groups.setdefault(rest, {})[(sample[len(name):], dict(labels).get("le"))] = value
    for rest, values in groups.items():
        buckets = [(float(le.replace("Inf", "inf")), v) for (part, le), v in values.items() if part == "_bucket" and le]
        counts = [v for _, v in buckets]
        if [le for le, _ in buckets] != sorted({le for le, _ in buckets}):
            found.append(f"{name}{rest}: bounds that do not grow")
        if counts != sorted(counts) or not buckets or buckets[-1][0] != float("inf"):
            found.append(f"{name}{rest}: buckets that are not cumulative, or without +Inf")
        elif counts[-1] != values.get(("_count", None)) or ("_sum", None) not in values:
            found.append(f"{name}{rest}: _count and _sum are not those of the buckets")


def problems(text):
    found = []
    for name, family in read(text, found).items():
        samples = family["samples"]
        if not family["TYPE"] or not family["HELP"]:
            found.append(f"{name}: TYPE and HELP, both")
        if len({(n, labels) for n, labels, _ in samples}) != len(samples):
            found.append(f"{name}: a sample twice")
        if (family["TYPE"] == "counter") != name.endswith("_total"):
            found.append(f"{name}: counters end in _total, and nothing else does")
        if family["TYPE"] != "histogram" and re.search(r"_(bucket|count|sum)$", name):
            found.append(f"{name}: that ending is for histograms")
        if re.search(r"_(counter|gauge|histogram)(_|$)", name) or re.search("[A-Z]|:", name):
            found.append(f"{name}: types and capitals do not belong into names")
        if set(name.split("_")) & NOT_BASE_UNITS:
            found.append(f"{name}: base units are seconds and bytes")
        if family["TYPE"] == "counter" and any(v < 0 for _, _, v in samples):
            found.append(f"{name}: less than nothing")
        if family["TYPE"] == "histogram":
            check_histogram(name, samples, found)
    return found
