// Words, memo, sieve, records, closures, recursion, errors and regular expressions.
import java.util.*;
import java.util.function.*;
import java.util.stream.*;

public class Main {
    record Person(String name, int age) {}
    static final Map<Integer, Long> memo = new HashMap<>();
    static long fib(int n) {
        if (n < 2) return n;
        if (!memo.containsKey(n)) memo.put(n, fib(n - 1) + fib(n - 2));
        return memo.get(n);
    }
    static int hanoi(int n) { return n == 0 ? 0 : 2 * hanoi(n - 1) + 1; }
    static IntSupplier counter() { int[] n = {0}; return () -> ++n[0]; }

    public static void main(String[] args) {
        String text = "the quick brown fox jumps over the lazy dog the fox sleeps";
        Arrays.stream(text.split(" ")).collect(Collectors.groupingBy(w -> w, Collectors.counting())).entrySet().stream()
            .sorted(Map.Entry.<String, Long>comparingByValue().reversed().thenComparing(Map.Entry.comparingByKey()))
            .limit(3).forEach(e -> System.out.printf("%-6s%3d%n", e.getKey(), e.getValue()));
        System.out.println("fib 60 " + fib(60));
        System.out.println("primes " + IntStream.range(2, 30).filter(n -> IntStream.range(2, n).allMatch(d -> n % d != 0))
            .mapToObj(Integer::toString).collect(Collectors.joining(" ")));
        List<Person> people = new ArrayList<>(List.of(new Person("Alice", 30), new Person("Carol", 30), new Person("Bob", 25)));
        people.sort(Comparator.comparingInt(Person::age).thenComparing(Person::name));
        System.out.println("people " + people.stream().map(p -> p.name() + ":" + p.age()).collect(Collectors.joining(" ")));
        System.out.printf("mean %.2f%n", people.stream().mapToInt(Person::age).average().orElseThrow());
        IntSupplier c = counter();
        System.out.println("counter " + c.getAsInt() + " " + c.getAsInt() + " " + c.getAsInt());
        System.out.println("hanoi 10 " + hanoi(10));
        try {
            System.out.println(1 / (people.size() - 3));
        } catch (ArithmeticException e) {
            System.out.println("caught division");
        }
        System.out.println("2026-11-21".replaceAll("(\\d+)-(\\d+)-(\\d+)", "$3/$2/$1"));
    }
}
