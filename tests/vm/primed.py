#!/usr/bin/env python3
"""Runs the same programs in a waiting interpreter and in a new one (--no-prime), both restored from one snapshot, and compares
standard output, standard error and exit status. Then it runs a program that prints random numbers in the waiting interpreter
twice: they must differ. Images and snapshots go to CAPSID_HOME and are removed after each language, unless --keep.

    tests/vm/primed.py [--keep] NAME...       (all: every language that can be primed)
"""

import glob
import json
import os
import subprocess
import sys
import tempfile

SRC = os.environ.get("SRC") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CAPSID = os.path.join(os.environ.get("BUILD") or os.path.join(SRC, "build"), "capsid")
SECONDS = 300
LARGE = 300_000  # bytes; a pipe holds 65536
TEXT = "žluťoučký kůň 日本語 😀"
LINES = "first line\nsecond line"

# For each language: the programs, by what they show. `head` begins every program (also the large one, whose filler are lines of
# `comment`), except those under EXTRA. An entry of EXPECTED is the exit status and what must be in stdout and in stderr.
PROGRAMS = {
    "python": {
        "comment": "#",
        "name": "import sys\nprint(sys.argv, __file__, __name__)\nprint(open(__file__).read())",
        "stdin": "import sys\nprint(sys.stdin.read().upper())",
        "exit": "import sys\nsys.exit(7)",
        "error": "def f():\n    raise ValueError('wrong')\n\nprint('before')\nf()\n",
        "syntax": "print('before')\nx = = 1\n",
        "text": f"print('{TEXT}')",
        "random": "import random, os, uuid\nprint(random.random())\nprint(os.urandom(8))\nprint(uuid.uuid4())",
        "time": "import time\nprint(abs(time.time() - {now}) < 100)",
    },
    "nodejs": {
        "comment": "//",
        "name": "console.log(process.argv.slice(1), __filename, process.execArgv, require.main === module, Object.keys(require.cache))\n"
                "console.log(require('fs').readFileSync(__filename, 'utf8'))",
        "stdin": "console.log(require('fs').readFileSync(0, 'utf8').toUpperCase())",
        "exit": "process.exit(7)",
        "error": "function f() {\n    throw new Error('wrong')\n}\nconsole.log('before')\nf()\n",
        "syntax": "console.log('before')\nlet x = = 1\n",
        "text": f"console.log('{TEXT}')",
        "random": "const { Worker } = require('worker_threads'), crypto = require('crypto')\nconsole.log(Math.random())\n"
                  "console.log(crypto.randomUUID())\nconsole.log(crypto.randomBytes(8))\nconsole.log(crypto.randomInt(2 ** 40))\n"
                  "new Worker(\"console.log(Math.random())\", { eval: true })",
        "time": "console.log(Math.abs(Date.now() / 1000 - {now}) < 100 &&\n"
                "Math.abs(performance.timeOrigin + performance.now() - Date.now()) < 1000)",
        "modules": "import { basename } from 'node:path'\nconsole.log(basename(process.argv[1]), import.meta.url)",
        "timers": "const t = Date.now()\nsetTimeout(() => console.log(Date.now() - t >= 199), 200)",
    },
    "ruby": {
        "comment": "#",
        "name": "p $0, __FILE__, ARGV, $0 == __FILE__, $!\nputs File.read(__FILE__)",
        "stdin": "puts $stdin.read.upcase",
        "exit": "exit 7",
        "error": "def f\n  raise 'wrong'\nend\nputs 'before'\n$stdout.flush\nf\n",
        "syntax": "puts 'before'\nx = = 1\n",
        "text": f"puts '{TEXT}'",
        "random": "require 'securerandom'\nputs rand, Random.new_seed, Random.bytes(8).unpack1('H*'), SecureRandom.hex\n"
                  "puts (1..50).to_a.shuffle.join(' ')",
        "time": "puts (Time.now.to_f - {now}).abs < 100",
        "data": "p DATA.pos, DATA.fileno, DATA.class\nputs DATA.read\nDATA.rewind\nputs DATA.gets\n__END__\nkept\n",
        "switches": "#!/usr/bin/ruby -w\nunused = 1\ndef f; x = 1; end\np $VERBOSE\n",
        "first line": "#!/usr/bin/env ruby\np $VERBOSE, __LINE__\n",
    },
    "perl": {
        "comment": "#",
        "name": "print \"$0 \", __FILE__, \" @ARGV\", scalar(@ARGV), \" \", join(',', sort keys %INC), \"\\n\";\n"
                "open my $f, '<', __FILE__ or die; print <$f>;",
        "stdin": "local $/; print uc <STDIN>;",
        "exit": "exit 7",
        "error": "sub f {\n    die 'wrong'\n}\nprint \"before\\n\";\nf();\n",
        "syntax": "print 'before';\nmy $x = = 1;\n",
        "text": f"print '{TEXT}'",
        "random": "print rand, \"\\n\"; print int(rand(1e12)), \"\\n\";",
        "time": "print abs(time - {now}) < 100 && time - $^T < 60 && -M '/etc/hostname' > -1 ? 1 : 0;",
        "data": "print tell(DATA), fileno(DATA), <DATA>; seek DATA, 0, 0; print scalar <DATA>;\n__END__\nkept\n",
        "first line": "#!/usr/bin/perl -w\nmy @x = (1); print @x[0], $^W, __LINE__;\n",
    },
    "php": {
        "comment": "//", "head": "<?php\n",
        "name": "<?php\necho $argv[0], $argc, __FILE__, __LINE__, get_included_files()[0], json_encode(error_get_last()), \"\\n\";\n"
                "var_dump(fopen(__FILE__, 'r'), array_keys(get_defined_vars()));\necho file_get_contents(__FILE__);",
        "stdin": "<?php\necho strtoupper(stream_get_contents(STDIN));",
        "exit": "<?php\nexit(7);",
        "error": "<?php\nfunction f() {\n    throw new Exception('wrong');\n}\necho \"before\\n\";\nf();\n",
        "syntax": "<?php\necho 'before';\n$x = = 1;\n",
        "text": f"<?php echo '{TEXT}';",
        "random": "<?php\necho mt_rand(), rand(), \"\\n\", random_int(0, 1 << 40), \"\\n\", lcg_value(), \"\\n\", bin2hex(random_bytes(8)), \"\\n\","
                  "\nbin2hex(openssl_random_pseudo_bytes(8)), \"\\n\", str_shuffle('abcdefghijklmnopqrstuvwxyz');",
        "time": "<?php\necho json_encode(abs(time() - {now}) < 100 && time() - $_SERVER['REQUEST_TIME'] < 60 &&\n"
                "microtime(true) - $_SERVER['REQUEST_TIME_FLOAT'] < 60);",
        "data": "text first <?php echo __LINE__, __COMPILER_HALT_OFFSET__, \"\\n\";\n"
                "echo file_get_contents(__FILE__, offset: __COMPILER_HALT_OFFSET__);\n__halt_compiler();kept\n",
    },
    "lua": {
        "comment": "--",
        "name": "local n = 0 for k, v in pairs(arg) do n = n + 1 end\nprint(arg[0], arg[-1], #arg, n, ...)\nprint(io.open(arg[0]):read('a'))",
        "stdin": "print(io.read('a'):upper())",
        "exit": "os.exit(7)",
        "error": "local function f()\n    error('wrong')\nend\nprint('before')\nf()\n",
        "syntax": "print('before')\nx = = 1\n",
        "text": f"print('{TEXT}')",
        "random": "print(math.random(0))\nprint(math.random())",
        "time": "print(math.abs(os.time() - {now}) < 100)",
    },
    "bash": {
        "comment": "#",
        "name": "echo $0 $# \"$@\" $LINENO ${BASH_SOURCE[0]} ${BASH_ENV-unset} ${REPLY-unset} $-\ncat \"$0\"",
        "stdin": "read -r line; echo \"[$line]\"; tr a-z A-Z; echo",
        "exit": "exit 7",
        "error": "f() {\n    no-such-command\n}\necho before\nf\necho $?; echo ${unset?wrong}\n",
        "syntax": "echo before\nif ; then\n",
        "text": f"echo '{TEXT}'",
        "random": "for i in 1 2 3 4; do printf '%s ' $RANDOM; done; echo\necho $SRANDOM",
        "time": "echo $((EPOCHSECONDS - {now} < 100 && SECONDS < 60))",
        "appends to itself": "echo before\necho 'echo appended' >>\"$0\"\n",
    },
    "sh": {
        "comment": "#",
        "name": "echo $0 $# \"$@\" $LINENO $-\ncat \"$0\"",
        "stdin": "read -r line; echo \"[$line]\"; tr a-z A-Z; echo",
        "exit": "exit 7",
        "error": "f() {\n    no-such-command\n}\necho before\nf\necho $?; echo ${unset?wrong}\n",
        "syntax": "echo before\nif ; then\n",
        "text": f"echo '{TEXT}'",
        "random": "od -An -N8 -tx1 /dev/urandom",
        "time": "echo $(($(date +%s) - {now} < 100))",
    },
    "tcl": {
        "comment": "#",
        "name": "puts \"$argv0 $argc [list $argv] [info script]\"\nputs [read [open [info script]]]",
        "stdin": "puts [string toupper [read stdin]]",
        "exit": "exit 7",
        "error": "proc f {} {\n    error wrong\n}\nputs before\nf\n",
        "syntax": "puts before\nputs {\n",
        "text": f"puts {{{TEXT}}}",
        "random": "puts [expr {rand()}]",
        "time": "puts [expr {abs([clock seconds] - {now}) < 100}]",
    },
    "r": {
        "comment": "#",
        "name": "cat(commandArgs(), interactive(), '\\n')\ncat(readLines(sub('--file=', '', commandArgs()[5])), sep = '\\n')",
        "stdin": "cat(toupper(readLines(file('stdin'))), sep = '\\n')",
        "exit": "quit(status = 7)",
        "error": "f <- function() {\n    stop('wrong')\n}\ncat('before\\n')\nf()\n",
        "syntax": "cat('before\\n')\nx = = 1\n",
        "text": f"cat('{TEXT}\\n')",
        "random": "print(runif(3), digits = 15)\ncat(sample(1e6, 3), '\\n')",
        "time": "cat(abs(as.numeric(Sys.time()) - {now}) < 100)",
    },
}

PROGRAMS["python-data"] = {
    **PROGRAMS["python"],
    "random": PROGRAMS["python"]["random"] + "\nimport numpy as np, sympy.core.random as s\nprint(np.random.rand(), np.random.randn())\n"
              "print(np.random.default_rng().random())\nprint(s.random())\nprint(random.getstate()[1][:3])\nprint(np.random.get_state()[1][:3])",
    "table": "import pandas as pd\nprint(pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']}).describe(include='all'))",
    "modules": "import os\nprint([n for n in os.environ if 'CAPSID' in n], [n for n in dir() if not n.startswith('__')])",
}

# Exit status, and what is in standard output and error, of the programs that fail. The rest ends with 0.
FAILURES = {
    "python": {"error": (1, "before", "main.py\", line 2, in f"), "syntax": (1, "", "main.py\", line 2")},
    "nodejs": {"error": (1, "before", "main.js:2:11"), "syntax": (1, "", "main.js:2")},
    "ruby": {"error": (1, "before", "main.rb:2:in `f': wrong"), "syntax": (1, "", "main.rb:2: syntax error"),
             "switches": (0, "true", "assigned but unused variable")},
    "perl": {"error": (255, "before", "wrong at /tmp/job/main.pl line 2."), "syntax": (255, "", "main.pl line 2"),
             "first line": (0, "112", "main.pl line 2.")},
    "php": {"error": (255, "before", "main.php:3"), "syntax": (255, "", "main.php on line 3")},
    "lua": {"error": (1, "before", "main.lua:2: wrong"), "syntax": (1, "", "main.lua:2:")},
    "bash": {"error": (1, "before\n127", "main.sh: line 2: no-such-command"), "syntax": (2, "before", "main.sh: line 2: syntax error")},
    "sh": {"error": (2, "before\n127", "main.sh: 2: no-such-command"), "syntax": (2, "before", "main.sh: 2: Syntax error")},
    "tcl": {"error": (1, "before", "main.tcl\" line 5)"), "syntax": (1, "before", "main.tcl\" line 2)")},
    "r": {"error": (1, "before", "Error in f() : wrong"), "syntax": (1, "before", "unexpected '='")},
}
FAILURES["python-data"] = FAILURES["python"]
SUCCESSES = {"name": "main.", "stdin": "SECOND LINE", "text": TEXT, "data": "kept", "appends to itself": "appended", "large": "end"}

failures = 0


def check(what, right, detail=""):
    global failures
    failures += not right
    print(f"ok: {what}" if right else f"FAILED: {what}: {detail}", flush=True)


def capsid(*arguments, data=None):
    return subprocess.run([CAPSID, *arguments], input=data, stdin=None if data else subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=SECONDS, check=False)


def run(name, code, primed, data=None):
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as f:
        f.write(code)
        f.flush()
        done = capsid("run", "-q", "--lang", name, "--file", f.name, "--timeout", "60", *([] if primed else ["--no-prime"]), data=data)
    try:
        result = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(f"FAILED: {name}: no result: {done.stderr.decode(errors='replace')}") from None
    check(f"{name}: {'a waiting' if primed else 'a new'} interpreter ran it", result["primed"] == primed, f"primed is {result['primed']}")
    return {key: result[key] for key in ("stdout", "stderr", "exit_code", "end", "truncated", "output_held")}


def programs_of(name):
    table = PROGRAMS[name]
    for what, code in table.items():
        if what not in ("comment", "head", "random"):
            # Not the time of now: the program must have one text for both runs.
            yield what, code.replace("{now}", subprocess.check_output(["date", "+%s"], text=True).strip())
    head, filler = table.get("head", ""), f"{table['comment']} {'x' * 70}\n"
    yield "large", head + filler * (LARGE // len(filler)) + table["text"].removeprefix(head).removeprefix("<?php ").replace(TEXT, "end") + "\n"
    yield "empty", ""
    yield "comment only", head + table["comment"] + " nothing"
    python = table["comment"] == "#" and "import sys" in table["name"]
    yield "CRLF" if python else "blank lines", "\n\n" + table["text"] + ("\r\n" if python else "\n\n")


def compare(name):
    for what, code in programs_of(name):
        for data in (None, LINES.encode()) if what == "stdin" else (None,):
            label = f"{name}: {what}" + (", with standard input" if data else "")
            primed, new = run(name, code, True, data), run(name, code, False, data)
            check(f"{label}: the same", primed == new, f"primed {primed}\nnot primed {new}")
            status, out, err = FAILURES[name].get(what, (7 if what == "exit" else 0, SUCCESSES.get(what, ""), ""))
            if what == "stdin" and not data:
                out = ""
            right = primed["exit_code"] == status and out in primed["stdout"] and err in primed["stderr"]
            if what == "time":
                right = right and primed["stdout"].strip() in ("True", "true", "TRUE", "1")
            check(f"{label}: right", right, f"wanted {(status, out, err)}, got {primed}")


def compare_random(name):
    """Two copies of one snapshot. Every line must differ: each comes from another source of random numbers."""
    first, second = (run(name, PROGRAMS[name]["random"], True) for _ in range(2))
    lines = list(zip(first["stdout"].splitlines(), second["stdout"].splitlines()))
    check(f"{name}: random numbers: it printed some", lines and first["exit_code"] == 0, first)
    for i, (a, b) in enumerate(lines):
        check(f"{name}: random numbers: line {i} differs", a != b, f"twice {a}")


def clean(name):
    for snapshot in json.loads(capsid("snapshot", "list", "--json").stdout)["snapshots"]:
        if snapshot["language"] == name:
            capsid("snapshot", "rm", snapshot["key"])
    capsid("rootfs", "rm", name)


def can_be_primed():
    for path in sorted(glob.glob(os.path.join(SRC, "rootfs", "languages", "*.ini"))):
        with open(path, encoding="utf-8") as f:
            if "\nprime = yes\n" in f.read():
                yield os.path.basename(path)[:-4]


def main():
    names = [n for n in sys.argv[1:] if n != "--keep"]
    check("every language that can be primed has programs here", sorted(PROGRAMS) == sorted(can_be_primed()),
          f"{sorted(PROGRAMS)}, defined {list(can_be_primed())}")
    for name in sorted(PROGRAMS) if names == ["all"] else names:
        done = subprocess.run([CAPSID, "snapshot", "create", "-q", "--lang", name], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise SystemExit(f"FAILED: no snapshot of {name}: {done.stderr.decode(errors='replace')}")
        compare(name)
        compare_random(name)
        if "--keep" not in sys.argv:
            clean(name)
    print(f"{failures} failed")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
