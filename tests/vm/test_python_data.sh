#!/bin/bash
# timeout: 5000
# check-all: image and snapshot take minutes to make; vm/pip has the same with numpy alone
# The language python-data: its programs, and that its waiting interpreter does what a new one does.
# shellcheck disable=SC1091,SC2154 # lib.sh sets out, err, status and failures
. "$SRC/tests/vm/lib.sh"
need_snapshot python-data
python3 "$SRC/tests/vm/primed.py" --keep python-data || fail "a waiting interpreter"
python3 "$SRC/tests/languages/run" --keep --no-cold python-data || fail "its programs"

# The list of fonts is there before the first plot; nobody needs a screen.
program='import os, sys
directory = os.environ["MPLCONFIGDIR"]
before = [(e.name, e.stat().st_mtime_ns) for e in os.scandir(directory)]
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.title("x")
plt.savefig("/tmp/x.png")
print(len(before), before == [(e.name, e.stat().st_mtime_ns) for e in os.scandir(directory)], plt.get_backend())'
for prime in "" --no-prime; do
	# shellcheck disable=SC2086
	capsid run -l python-data -t 250 $prime -c "$program" </dev/null
	expect "a plot $prime" "$status $(field stdout)$(field stderr)" "0 1 True Agg
"
done
expect_clean "afterwards"
finish
