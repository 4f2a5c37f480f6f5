import json
import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, reduce


@dataclass(frozen=True, order=True)
class Word:
    count: int
    text: str


TEXT = "the quick brown fox jumps over the lazy dog while the dog sleeps"


@lru_cache
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


words = sorted((Word(-n, w) for w, n in Counter(re.findall(r"\w+", TEXT)).items()))[:3]
print(json.dumps([{"text": w.text, "count": -w.count} for w in words]))
print("fibonacci", fibonacci(90))
print("sum", reduce(lambda a, b: a + b, (Fraction(1, n) for n in range(1, 11))))
try:
    json.loads("{")
except json.JSONDecodeError as e:
    print("error at", e.pos)
print(f"{'right':>10}|{3.14159:.2f}|{255:#x}")
