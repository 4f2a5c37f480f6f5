// Words, memo, sieve, records, closures, recursion, errors, JSON and regular expressions.
import groovy.json.JsonOutput

def count = 'the quick brown fox jumps over the lazy dog the fox sleeps'.split(' ').countBy { it }
count.sort { a, b -> b.value <=> a.value ?: a.key <=> b.key }.take(3).each { w, n -> println String.format('%-6s%3d', w, n) }
def fib
fib = { n -> n < 2 ? n as BigInteger : fib(n - 1) + fib(n - 2) }.memoize()
println "fib 60 ${fib(60)}"
println 'primes ' + (2..29).findAll { n -> (2..<n).every { n % it != 0 } }.join(' ')
def people = [[name: 'Alice', age: 30], [name: 'Carol', age: 30], [name: 'Bob', age: 25]]
people.sort { a, b -> a.age <=> b.age ?: a.name <=> b.name }
println 'people ' + people.collect { "$it.name:$it.age" }.join(' ')
println String.format('mean %.2f', people*.age.sum() / 3.0)
def counter = { int n = 0; return { -> ++n } }
def c = counter()
println "counter ${c()} ${c()} ${c()}"
def hanoi
hanoi = { n -> n ? 2 * hanoi(n - 1) + 1 : 0 }
println "hanoi 10 ${hanoi(10)}"
try {
    1.intdiv(0)
} catch (ArithmeticException e) {
    println 'caught division'
}
println JsonOutput.toJson([total: people*.age.sum(), ok: true])
println '2026-11-21'.replaceAll(/(\d+)-(\d+)-(\d+)/, '$3/$2/$1')
