# Words, memo, sieve, records, closures, recursion, errors and JSON.
import std/[algorithm, json, sequtils, strformat, strutils, tables]

type Person = object
  name: string
  age: int

var count = initCountTable[string]()
for w in "the quick brown fox jumps over the lazy dog the fox sleeps".split: count.inc w
var words = toSeq(count.pairs)
words.sort(proc (a, b: (string, int)): int = (if a[1] != b[1]: b[1] - a[1] else: cmp(a[0], b[0])))
for (w, n) in words[0 .. 2]: echo &"{w:<6}{n:3}"
var memo = initTable[int, int]()
proc fib(n: int): int =
  if n < 2: return n
  if n notin memo: memo[n] = fib(n - 1) + fib(n - 2)
  memo[n]
echo "fib 60 ", fib(60)
echo "primes ", toSeq(2 .. 29).filterIt((let n = it; toSeq(2 ..< n).allIt(n mod it != 0))).join(" ")
var people = @[Person(name: "Alice", age: 30), Person(name: "Carol", age: 30), Person(name: "Bob", age: 25)]
people = people.sortedByIt((it.age, it.name))
echo "people ", people.mapIt(it.name & ":" & $it.age).join(" ")
let total = people.mapIt(it.age).foldl(a + b)
echo &"mean {total / people.len:.2f}"
proc counter(): proc (): int =
  var n = 0
  result = proc (): int = (inc n; n)
let c = counter()
echo "counter ", c(), " ", c(), " ", c()
proc hanoi(n: int): int = (if n == 0: 0 else: 2 * hanoi(n - 1) + 1)
echo "hanoi 10 ", hanoi(10)
try:
  echo 1 div (people.len - 3)
except DivByZeroDefect:
  echo "caught division"
echo %*{"total": total, "ok": true}
let d = "2026-11-21".split('-')
echo d.reversed.join("/")
