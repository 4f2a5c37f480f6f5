// Words, memo, sieve, records, closures, recursion, errors and regular expressions.
using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text.RegularExpressions;

class Program
{
    static readonly Dictionary<int, long> memo = new Dictionary<int, long>();
    static long Fib(int n)
    {
        if (n < 2) return n;
        if (!memo.TryGetValue(n, out long v)) memo[n] = v = Fib(n - 1) + Fib(n - 2);
        return v;
    }
    static int Hanoi(int n) => n == 0 ? 0 : 2 * Hanoi(n - 1) + 1;
    static Func<int> Counter() { int n = 0; return () => ++n; }

    static void Main()
    {
        var text = "the quick brown fox jumps over the lazy dog the fox sleeps";
        var words = text.Split(' ').GroupBy(w => w).OrderByDescending(g => g.Count()).ThenBy(g => g.Key, StringComparer.Ordinal);
        foreach (var g in words.Take(3)) Console.WriteLine("{0,-6}{1,3}", g.Key, g.Count());
        Console.WriteLine($"fib 60 {Fib(60)}");
        Console.WriteLine("primes " + string.Join(" ", Enumerable.Range(2, 28).Where(n => Enumerable.Range(2, n - 2).All(d => n % d != 0))));
        var people = new[] { (name: "Alice", age: 30), (name: "Carol", age: 30), (name: "Bob", age: 25) }.OrderBy(p => p.age).ThenBy(p => p.name, StringComparer.Ordinal).ToList();
        Console.WriteLine("people " + string.Join(" ", people.Select(p => $"{p.name}:{p.age}")));
        Console.WriteLine("mean " + people.Average(p => p.age).ToString("F2", CultureInfo.InvariantCulture));
        var c = Counter();
        Console.WriteLine($"counter {c()} {c()} {c()}");
        Console.WriteLine($"hanoi 10 {Hanoi(10)}");
        try { Console.WriteLine(1 / (people.Count - 3)); }
        catch (DivideByZeroException) { Console.WriteLine("caught division"); }
        Console.WriteLine(Regex.Replace("2026-11-21", @"(\d+)-(\d+)-(\d+)", "$3/$2/$1"));
    }
}
