// Words, memo, sieve, closures, recursion, errors and regular expressions.
import java.util.stream.*;
var text = "the quick brown fox jumps over the lazy dog the fox sleeps";
var count = new TreeMap<String, Integer>();
for (var w : text.split(" ")) count.merge(w, 1, Integer::sum);
var words = new ArrayList<>(count.keySet());
words.sort(Comparator.comparing((String w) -> -count.get(w)));
for (var w : words.subList(0, 3)) System.out.printf("%-6s%3d%n", w, count.get(w));
var memo = new HashMap<Integer, Long>();
long fib(int n) { if (n < 2) return n; if (!memo.containsKey(n)) memo.put(n, fib(n - 1) + fib(n - 2)); return memo.get(n); }
System.out.println("fib 60 " + fib(60));
boolean prime(int n) { return IntStream.range(2, n).allMatch(d -> n % d != 0); }
System.out.println("primes " + IntStream.range(2, 30).filter(n -> prime(n)).mapToObj(n -> "" + n).collect(Collectors.joining(" ")));
var ages = new LinkedHashMap<String, Integer>();
ages.put("Alice", 30); ages.put("Carol", 30); ages.put("Bob", 25);
var people = new ArrayList<>(ages.keySet());
people.sort(Comparator.comparing((String p) -> ages.get(p)));
System.out.println("people " + people.stream().map(p -> p + ":" + ages.get(p)).collect(Collectors.joining(" ")));
System.out.printf("mean %.2f%n", ages.values().stream().mapToInt(a -> a).average().getAsDouble());
int calls = 0;
int step() { return ++calls; }
System.out.println("counter " + step() + " " + step() + " " + step());
int hanoi(int n) { return n == 0 ? 0 : 2 * hanoi(n - 1) + 1; }
System.out.println("hanoi 10 " + hanoi(10));
try { System.out.println(1 / (people.size() - 3)); } catch (ArithmeticException e) { System.out.println("caught division"); }
System.out.println("2026-11-21".replaceAll("(\\d+)-(\\d+)-(\\d+)", "$3/$2/$1"));
