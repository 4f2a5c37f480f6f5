<?php
// Words, memo, sieve, records, closures, recursion, errors, JSON and regular expressions.
declare(strict_types=1);

$count = array_count_values(explode(" ", "the quick brown fox jumps over the lazy dog the fox sleeps"));
uksort($count, fn($a, $b) => [$count[$b], $a] <=> [$count[$a], $b]);
foreach (array_slice($count, 0, 3) as $w => $n) printf("%-6s%3d\n", $w, $n);
function fib(int $n): int {
    static $memo = [];
    return $memo[$n] ??= $n < 2 ? $n : fib($n - 1) + fib($n - 2);
}
echo "fib 60 ", fib(60), "\n";
$primes = array_filter(range(2, 29), function (int $n): bool {
    for ($d = 2; $d * $d <= $n; $d++) if ($n % $d === 0) return false;
    return true;
});
echo "primes ", implode(" ", $primes), "\n";
$people = [["name" => "Alice", "age" => 30], ["name" => "Carol", "age" => 30], ["name" => "Bob", "age" => 25]];
usort($people, fn($a, $b) => [$a["age"], $a["name"]] <=> [$b["age"], $b["name"]]);
echo "people ", implode(" ", array_map(fn($p) => "{$p['name']}:{$p['age']}", $people)), "\n";
$total = array_sum(array_column($people, "age"));
printf("mean %.2f\n", $total / count($people));
function counter(): Closure { $n = 0; return function () use (&$n) { return ++$n; }; }
$c = counter();
echo "counter {$c()} {$c()} {$c()}\n";
function hanoi(int $n): int { return $n ? 2 * hanoi($n - 1) + 1 : 0; }
echo "hanoi 10 ", hanoi(10), "\n";
try {
    intdiv(1, 0);
} catch (DivisionByZeroError) {
    echo "caught division\n";
}
echo json_encode(["total" => $total, "ok" => true]), "\n";
echo preg_replace('/(\d+)-(\d+)-(\d+)/', '$3/$2/$1', "2026-11-21"), "\n";
