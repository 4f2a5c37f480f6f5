// Words, memo, sieve, records, closures, recursion, errors and regular expressions.
data class Person(val name: String, val age: Int)

val memo = HashMap<Int, Long>()
fun fib(n: Int): Long {
    if (n < 2) return n.toLong()
    val known = memo[n]
    if (known != null) return known
    val v = fib(n - 1) + fib(n - 2)
    memo[n] = v
    return v
}
fun hanoi(n: Int): Int = if (n == 0) 0 else 2 * hanoi(n - 1) + 1
fun counter(): () -> Int { var n = 0; return { ++n } }

fun main() {
    val words = "the quick brown fox jumps over the lazy dog the fox sleeps".split(" ").groupingBy { it }.eachCount()
    for ((w, n) in words.toList().sortedWith(compareBy({ -it.second }, { it.first })).take(3)) println("%-6s%3d".format(w, n))
    println("fib 60 ${fib(60)}")
    println("primes " + (2..29).filter { n -> (2 until n).all { n % it != 0 } }.joinToString(" "))
    val people = listOf(Person("Alice", 30), Person("Carol", 30), Person("Bob", 25)).sortedWith(compareBy({ it.age }, { it.name }))
    println("people " + people.joinToString(" ") { "${it.name}:${it.age}" })
    println("mean %.2f".format(people.map { it.age }.average()))
    val c = counter()
    println("counter ${c()} ${c()} ${c()}")
    println("hanoi 10 ${hanoi(10)}")
    try {
        println(1 / (people.size - 3))
    } catch (e: ArithmeticException) {
        println("caught division")
    }
    println(Regex("""(\d+)-(\d+)-(\d+)""").replace("2026-11-21", "$3/$2/$1"))
}
