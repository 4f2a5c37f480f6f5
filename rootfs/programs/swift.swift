// Words, memo, sieve, records, closures, recursion, errors and JSON.
import Foundation

struct Person { let name: String; let age: Int }
enum Failure: Error { case division }
var count: [String: Int] = [:]
for w in "the quick brown fox jumps over the lazy dog the fox sleeps".split(separator: " ") { count[String(w), default: 0] += 1 }
for (w, n) in count.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }).prefix(3) {
    print(w.padding(toLength: 6, withPad: " ", startingAt: 0) + String(format: "%3d", n))
}
var memo: [Int: Int] = [:]
func fib(_ n: Int) -> Int {
    if n < 2 { return n }
    if let v = memo[n] { return v }
    let v = fib(n - 1) + fib(n - 2)
    memo[n] = v
    return v
}
print("fib 60 \(fib(60))")
let primes = (2..<30).filter { n in (2..<n).allSatisfy { n % $0 != 0 } }
print("primes " + primes.map(String.init).joined(separator: " "))
let people = [Person(name: "Alice", age: 30), Person(name: "Carol", age: 30), Person(name: "Bob", age: 25)]
    .sorted { ($0.age, $0.name) < ($1.age, $1.name) }
print("people " + people.map { "\($0.name):\($0.age)" }.joined(separator: " "))
let total = people.reduce(0) { $0 + $1.age }
print(String(format: "mean %.2f", Double(total) / Double(people.count)))
func counter() -> () -> Int { var n = 0; return { n += 1; return n } }
let c = counter()
print("counter \(c()) \(c()) \(c())")
func hanoi(_ n: Int) -> Int { n == 0 ? 0 : 2 * hanoi(n - 1) + 1 }
print("hanoi 10 \(hanoi(10))")
func divide(_ a: Int, _ b: Int) throws -> Int { if b == 0 { throw Failure.division }; return a / b }
do { print(try divide(1, 0)) } catch { print("caught \(error)") }
let json = try JSONSerialization.data(withJSONObject: ["total": total, "ok": true] as [String: Any], options: [.sortedKeys])
print(String(data: json, encoding: .utf8)!)
