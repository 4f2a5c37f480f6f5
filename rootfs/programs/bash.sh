# Words, memo, sieve, records, counters, recursion, errors and regular expressions.
declare -A count memo
for w in the quick brown fox jumps over the lazy dog the fox sleeps; do ((count[$w]++)); done
for w in "${!count[@]}"; do echo "${count[$w]} $w"; done | sort -k1,1nr -k2 | head -n 3 |
	while read -r n w; do printf '%-6s%3d\n' "$w" "$n"; done
fib() { # n: into memo[n]
	[[ ${memo[$1]+x} ]] && return
	if (($1 < 2)); then memo[$1]=$1; return; fi
	fib $(($1 - 1)); fib $(($1 - 2))
	memo[$1]=$((memo[$(($1 - 1))] + memo[$(($1 - 2))]))
}
fib 60
echo "fib 60 ${memo[60]}"
primes=()
for n in {2..29}; do
	for p in "${primes[@]}"; do ((n % p)) || continue 2; done
	primes+=("$n")
done
echo "primes ${primes[*]}"
people=$(printf '%s\n' Alice:30 Carol:30 Bob:25 | sort -t: -k2n -k1 | tr '\n' ' ')
echo "people ${people% }"
total=0; for p in $people; do ((total += ${p#*:})); done
printf 'mean %d.%02d\n' $((total / 3)) $((total % 3 * 100 / 3))
n=0; step() { REPLY=$((++n)); }
out=; for i in 1 2 3; do step; out+=" $REPLY"; done
echo "counter$out"
hanoi() { if (($1)); then echo $((2 * $(hanoi $(($1 - 1))) + 1)); else echo 0; fi; }
echo "hanoi 10 $(hanoi 10)"
(echo $((1 / (n - 3)))) 2>/dev/null || echo "caught division"
[[ 2026-11-21 =~ ^([0-9]+)-([0-9]+)-([0-9]+)$ ]] && echo "${BASH_REMATCH[3]}/${BASH_REMATCH[2]}/${BASH_REMATCH[1]}"
