# Words, memo, sieve, records, closures, recursion, errors, JSON and regular expressions.
import json
import re
from collections import Counter
from functools import lru_cache
from statistics import mean

text = "the quick brown fox jumps over the lazy dog the fox sleeps"
for word, n in sorted(Counter(text.split()).items(), key=lambda p: (-p[1], p[0]))[:3]:
    print(f"{word:<6}{n:3}")

@lru_cache(None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

print("fib 60", fib(60))
print("primes", *[n for n in range(2, 30) if all(n % d for d in range(2, n))])
people = [("Alice", 30), ("Carol", 30), ("Bob", 25)]
print("people", *[f"{n}:{a}" for n, a in sorted(people, key=lambda p: (p[1], p[0]))])
print(f"mean {mean(a for _, a in people):.2f}")

def counter():
    n = 0
    def step():
        nonlocal n
        n += 1
        return n
    return step

c = counter()
print("counter", c(), c(), c())

def hanoi(n):
    return 0 if n == 0 else 2 * hanoi(n - 1) + 1

print("hanoi 10", hanoi(10))
try:
    1 // 0
except ZeroDivisionError:
    print("caught division")
print(json.dumps({"total": sum(a for _, a in people), "ok": True}, sort_keys=True))
print("2026-11-21 ->", re.sub(r"(\d+)-(\d+)-(\d+)", r"\3/\2/\1", "2026-11-21"))
