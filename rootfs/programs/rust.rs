// Words, memo, sieve, records, closures, recursion and errors.
use std::collections::HashMap;

#[derive(Debug, PartialEq)]
enum Failure { Division }

fn divide(a: i32, b: i32) -> Result<i32, Failure> { a.checked_div(b).ok_or(Failure::Division) }
fn hanoi(n: u32) -> u32 { if n == 0 { 0 } else { 2 * hanoi(n - 1) + 1 } }
fn fib(n: u64, memo: &mut HashMap<u64, u64>) -> u64 {
    if n < 2 { return n; }
    if let Some(&v) = memo.get(&n) { return v; }
    let v = fib(n - 1, memo) + fib(n - 2, memo);
    memo.insert(n, v);
    v
}
fn counter() -> impl FnMut() -> i32 { let mut n = 0; move || { n += 1; n } }

fn main() {
    let mut count: HashMap<&str, i32> = HashMap::new();
    for w in "the quick brown fox jumps over the lazy dog the fox sleeps".split_whitespace() {
        *count.entry(w).or_default() += 1;
    }
    let mut words: Vec<_> = count.into_iter().collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    for (w, n) in words.iter().take(3) { println!("{w:<6}{n:3}"); }
    println!("fib 60 {}", fib(60, &mut HashMap::new()));
    let primes: Vec<String> = (2..30).filter(|n| (2..*n).all(|d| n % d != 0)).map(|n: i32| n.to_string()).collect();
    println!("primes {}", primes.join(" "));
    let mut people = vec![("Alice", 30), ("Carol", 30), ("Bob", 25)];
    people.sort_by_key(|p| (p.1, p.0));
    println!("people {}", people.iter().map(|(n, a)| format!("{n}:{a}")).collect::<Vec<_>>().join(" "));
    println!("mean {:.2}", people.iter().map(|p| p.1).sum::<i32>() as f64 / people.len() as f64);
    let mut c = counter();
    println!("counter {} {} {}", c(), c(), c());
    println!("hanoi 10 {}", hanoi(10));
    if divide(1, 0) == Err(Failure::Division) { println!("caught division"); }
}
