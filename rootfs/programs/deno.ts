// Words, memo, sieve, records, closures, recursion, errors, JSON and regular expressions; enum and generics.
enum Order { Less = -1, Greater = 1 }
interface Person { name: string; age: number }
function top<K, V>(m: Map<K, V>, by: (a: [K, V], b: [K, V]) => number, n: number): [K, V][] {
  return [...m].sort(by).slice(0, n);
}
const text: string = "the quick brown fox jumps over the lazy dog the fox sleeps";
const count = new Map<string, number>();
for (const w of text.split(" ")) count.set(w, (count.get(w) ?? 0) + 1);
for (const [w, n] of top(count, (a, b) => b[1] - a[1] || (a[0] < b[0] ? Order.Less : Order.Greater), 3))
  console.log(w.padEnd(6) + String(n).padStart(3));
const memo: Record<number, number> = {};
const fib = (n: number): number => (n < 2 ? n : (memo[n] ??= fib(n - 1) + fib(n - 2)));
console.log("fib 60", fib(60));
const primes: number[] = [];
for (let n = 2; n < 30; n++) if (primes.every((p) => n % p)) primes.push(n);
console.log("primes", primes.join(" "));
const people: Person[] = [{ name: "Alice", age: 30 }, { name: "Carol", age: 30 }, { name: "Bob", age: 25 }];
people.sort((a, b) => a.age - b.age || a.name.localeCompare(b.name));
console.log("people", people.map((p) => `${p.name}:${p.age}`).join(" "));
const total = people.reduce((s, p) => s + p.age, 0);
console.log("mean", (total / people.length).toFixed(2));
const counter = (): (() => number) => { let n = 0; return () => ++n; };
const c = counter();
console.log("counter", c(), c(), c());
const hanoi = (n: number): number => (n ? 2 * hanoi(n - 1) + 1 : 0);
console.log("hanoi 10", hanoi(10));
class DivisionError extends Error {}
try {
  throw new DivisionError("by zero");
} catch (e: unknown) {
  if (e instanceof DivisionError) console.log("caught division");
}
console.log(JSON.stringify({ total, ok: true }));
console.log("2026-11-21".replace(/(\d+)-(\d+)-(\d+)/, "$3/$2/$1"));
