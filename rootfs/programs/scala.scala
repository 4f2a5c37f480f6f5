// Words, memo, sieve, records, closures, recursion, errors and regular expressions.
import scala.collection.mutable
import scala.util.{Failure, Try}

case class Person(name: String, age: Int)

object Main {
  val memo = mutable.Map[Int, Long]()
  def fib(n: Int): Long = if (n < 2) n else memo.getOrElse(n, { val v = fib(n - 1) + fib(n - 2); memo(n) = v; v })
  def hanoi(n: Int): Int = if (n == 0) 0 else 2 * hanoi(n - 1) + 1
  def counter(): () => Int = { var n = 0; () => { n += 1; n } }

  def main(args: Array[String]): Unit = {
    val count = "the quick brown fox jumps over the lazy dog the fox sleeps".split(" ").groupBy(identity).mapValues(_.length)
    for ((w, n) <- count.toSeq.sortBy { case (w, n) => (-n, w) }.take(3)) println(f"$w%-6s$n%3d")
    println(s"fib 60 ${fib(60)}")
    println((2 until 30).filter(n => (2 until n).forall(n % _ != 0)).mkString("primes ", " ", ""))
    val people = Seq(Person("Alice", 30), Person("Carol", 30), Person("Bob", 25)).sortBy(p => (p.age, p.name))
    println(people.map(p => s"${p.name}:${p.age}").mkString("people ", " ", ""))
    println(f"mean ${people.map(_.age).sum.toDouble / people.size}%.2f")
    val c = counter()
    println(s"counter ${c()} ${c()} ${c()}")
    println(s"hanoi 10 ${hanoi(10)}")
    Try(1 / (people.size - 3)) match {
      case Failure(_: ArithmeticException) => println("caught division")
      case other => println(other)
    }
    println("""(\d+)-(\d+)-(\d+)""".r.replaceAllIn("2026-11-21", "$3/$2/$1"))
  }
}
