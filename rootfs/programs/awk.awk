# Words, memo, sieve, records, recursion, errors and regular expressions.
function fib(n) { return n < 2 ? n : (n in memo) ? memo[n] : memo[n] = fib(n - 1) + fib(n - 2) }
function hanoi(n) { return n ? 2 * hanoi(n - 1) + 1 : 0 }
function by_count(i1, v1, i2, v2) { return v2 - v1 ? v2 - v1 : i1 < i2 ? -1 : 1 }
function by_age(i1, v1, i2, v2) { return v1["age"] - v2["age"] ? v1["age"] - v2["age"] : i1 < i2 ? -1 : 1 }
function step() { return ++calls }
function divide(a, b) { if (b == 0) { failed = "division"; return 0 } return a / b }
BEGIN {
	n = split("the quick brown fox jumps over the lazy dog the fox sleeps", word, " ")
	for (i = 1; i <= n; i++) count[word[i]]++
	PROCINFO["sorted_in"] = "by_count"
	for (w in count) if (++shown <= 3) printf "%-6s%3d\n", w, count[w]
	print "fib 60", fib(60)
	for (i = 2; i < 30; i++) {
		prime = 1
		for (d = 2; d * d <= i; d++) if (i % d == 0) prime = 0
		if (prime) primes = primes " " i
	}
	print "primes" primes
	people["Alice"]["age"] = 30; people["Carol"]["age"] = 30; people["Bob"]["age"] = 25
	PROCINFO["sorted_in"] = "by_age"
	for (p in people) { line = line " " p ":" people[p]["age"]; total += people[p]["age"] }
	print "people" line
	printf "mean %.2f\n", total / length(people)
	a = step(); b = step(); c = step()
	print "counter", a, b, c
	print "hanoi 10", hanoi(10)
	divide(1, 0)
	if (failed) print "caught", failed
	print gensub(/([0-9]+)-([0-9]+)-([0-9]+)/, "\\3/\\2/\\1", 1, "2026-11-21")
}
