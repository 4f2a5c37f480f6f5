// Words, memo, sieve, records, closures, recursion, errors, JSON and regular expressions.
const assert = require("node:assert");
const text = "the quick brown fox jumps over the lazy dog the fox sleeps";
const count = new Map();
for (const w of text.split(" ")) count.set(w, (count.get(w) ?? 0) + 1);
[...count].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 3)
  .forEach(([w, n]) => console.log(w.padEnd(6) + String(n).padStart(3)));
const memo = new Map();
const fib = (n) => {
  if (n < 2) return n;
  if (!memo.has(n)) memo.set(n, fib(n - 1) + fib(n - 2));
  return memo.get(n);
};
console.log("fib 60", fib(60));
const primes = [];
for (let n = 2; n < 30; n++) if (primes.every((p) => n % p)) primes.push(n);
console.log("primes", primes.join(" "));
const people = [{ name: "Alice", age: 30 }, { name: "Carol", age: 30 }, { name: "Bob", age: 25 }];
people.sort((a, b) => a.age - b.age || a.name.localeCompare(b.name));
console.log("people", people.map((p) => `${p.name}:${p.age}`).join(" "));
const total = people.reduce((s, p) => s + p.age, 0);
console.log("mean", (total / people.length).toFixed(2));
const counter = () => { let n = 0; return () => ++n; };
const c = counter();
console.log("counter", c(), c(), c());
const hanoi = (n) => (n ? 2 * hanoi(n - 1) + 1 : 0);
console.log("hanoi 10", hanoi(10));
try {
  1n / 0n;
} catch (e) {
  assert(e instanceof RangeError);
  console.log("caught division");
}
console.log(JSON.stringify({ total, ok: true }));
console.log("2026-11-21".replace(/(\d+)-(\d+)-(\d+)/, "$3/$2/$1"));
