// Words, memo, sieve, records, closures, recursion, errors.
import std.algorithm, std.array, std.conv, std.functional, std.range, std.stdio, std.typecons;

struct Person { string name; int age; }
long fibSlow(int n) { return n < 2 ? n : memoize!fibSlow(n - 1) + memoize!fibSlow(n - 2); }
int hanoi(int n) { return n ? 2 * hanoi(n - 1) + 1 : 0; }
int divide(int a, int b) { if (b == 0) throw new Exception("division"); return a / b; }
int delegate() counter() { int n; return () => ++n; }

void main()
{
    int[string] count;
    foreach (w; "the quick brown fox jumps over the lazy dog the fox sleeps".split) count[w]++;
    auto words = count.byPair.map!(p => tuple(-p.value, p.key)).array.sort;
    foreach (p; words.take(3)) writefln("%-6s%3d", p[1], -p[0]);
    writeln("fib 60 ", fibSlow(60));
    writefln("primes %(%d %)", iota(2, 30).filter!(n => iota(2, n).all!(d => n % d != 0)));
    auto people = [Person("Alice", 30), Person("Carol", 30), Person("Bob", 25)];
    people.multiSort!("a.age < b.age", "a.name < b.name");
    writeln("people ", people.map!(p => p.name ~ ":" ~ p.age.to!string).join(" "));
    writefln("mean %.2f", people.map!(p => p.age).sum / 3.0);
    auto c = counter();
    writeln("counter ", c(), " ", c(), " ", c());
    writeln("hanoi 10 ", hanoi(10));
    try divide(1, 0);
    catch (Exception e) writeln("caught ", e.msg);
    writeln("2026-11-21".split("-").retro.join("/"));
}
