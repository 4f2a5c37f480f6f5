# Words, sieve, records, counters, recursion, errors and regular expressions with the tools of BusyBox.
set -u
echo the quick brown fox jumps over the lazy dog the fox sleeps | tr ' ' '\n' | sort | uniq -c | sort -k1,1nr -k2 |
	head -n 3 | while read -r n w; do printf '%-6s%3d\n' "$w" "$n"; done
a=0 b=1 i=0
while [ $i -lt 60 ]; do t=$((a + b)) a=$b b=$t i=$((i + 1)); done
echo "fib 60 $a"
prime() {
	d=2
	while [ $((d * d)) -le "$1" ]; do [ $(($1 % d)) -ne 0 ] || return 1; d=$((d + 1)); done
}
set --
for n in $(seq 2 29); do if prime "$n"; then set -- "$@" "$n"; fi; done
echo "primes $*"
people=$(printf '%s\n' Alice:30 Carol:30 Bob:25 | sort -t: -k2n -k1 | tr '\n' ' ')
echo "people ${people% }"
echo "$people" | tr ' ' '\n' | awk -F: '/:/ { s += $2; n++ } END { printf "mean %.2f\n", s / n }'
n=0
step() { n=$((n + 1)); out="$out $n"; }
out=; step; step; step
echo "counter$out"
hanoi() { if [ "$1" -gt 0 ]; then echo $((2 * $(hanoi $(($1 - 1))) + 1)); else echo 0; fi; }
echo "hanoi 10 $(hanoi 10)"
(: $((1 / (n - 3)))) 2>/dev/null || echo "caught division"
echo 2026-11-21 | sed 's#\([0-9]*\)-\([0-9]*\)-\([0-9]*\)#\3/\2/\1#'
