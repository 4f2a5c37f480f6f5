# Words, sieve, records, recursion, errors, JSON and regular expressions.
def hanoi: if . == 0 then 0 else 2 * (. - 1 | hanoi) + 1 end;
def pad(n): . + " " * (n - length);
[{name: "Alice", age: 30}, {name: "Carol", age: 30}, {name: "Bob", age: 25}] as $people
| ("the quick brown fox jumps over the lazy dog the fox sleeps" | split(" ")
    | group_by(.) | map({word: .[0], n: length}) | sort_by(-.n, .word) | limit(3; .[])
    | (.word | pad(6)) + "  \(.n)"),
  "fib 60 \(reduce range(60) as $i ([0, 1]; [.[1], .[0] + .[1]]) | .[0])",
  "primes \([range(2; 30) | . as $n | select(all(range(2; $n); $n % . != 0))] | map(tostring) | join(" "))",
  "people \($people | sort_by(.age, .name) | map("\(.name):\(.age)") | join(" "))",
  "mean \($people | map(.age) | add / length * 100 | floor / 100)",
  "counter \([limit(3; 0 | recurse(. + 1) | . + 1)] | map(tostring) | join(" "))",
  "hanoi 10 \(10 | hanoi)",
  (try (0 as $z | 1 / $z) catch (if test("divi") then "caught division" else . end)),
  ({total: ($people | map(.age) | add), ok: true} | tojson | fromjson | {ok, total} | tojson),
  ("2026-11-21" | capture("(?<y>\\d+)-(?<m>\\d+)-(?<d>\\d+)") | "\(.d)/\(.m)/\(.y)")
