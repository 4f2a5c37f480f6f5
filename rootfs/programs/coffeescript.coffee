# Words, memo, sieve, records, closures, recursion, errors, JSON and regular expressions.
count = {}
count[w] = (count[w] ? 0) + 1 for w in "the quick brown fox jumps over the lazy dog the fox sleeps".split " "
top = Object.entries(count).sort (a, b) -> b[1] - a[1] or a[0].localeCompare b[0]
console.log w.padEnd(6) + String(n).padStart(3) for [w, n] in top[0...3]
memo = {}
fib = (n) -> if n < 2 then n else memo[n] ?= fib(n - 1) + fib(n - 2)
console.log "fib 60 #{fib 60}"
console.log "primes", (n for n in [2..29] when [2...n].every (d) -> d is n or n is 2 or n % d).join " "
people = [{name: "Alice", age: 30}, {name: "Carol", age: 30}, {name: "Bob", age: 25}]
people.sort (a, b) -> a.age - b.age or a.name.localeCompare b.name
console.log "people", ("#{p.name}:#{p.age}" for p in people).join " "
total = people.reduce ((s, p) -> s + p.age), 0
console.log "mean", (total / 3).toFixed 2
counter = -> n = 0; -> ++n
c = counter()
console.log "counter", c(), c(), c()
hanoi = (n) -> if n then 2 * hanoi(n - 1) + 1 else 0
console.log "hanoi 10", hanoi 10
try 1n / 0n catch e then console.log "caught division" if e instanceof RangeError
console.log JSON.stringify {total, ok: yes}
console.log "2026-11-21".replace /(\d+)-(\d+)-(\d+)/, "$3/$2/$1"
