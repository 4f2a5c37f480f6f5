# Words, memo, sieve, records, closures, recursion, errors and JSON.
require "json"

record Person, name : String, age : Int32
count = "the quick brown fox jumps over the lazy dog the fox sleeps".split.tally
count.to_a.sort_by { |(w, n)| {-n, w} }.first(3).each { |(w, n)| puts "%-6s%3d" % {w, n} }
MEMO = {} of Int32 => Int64
def fib(n : Int32) : Int64
  n < 2 ? n.to_i64 : (MEMO[n] ||= fib(n - 1) + fib(n - 2))
end
puts "fib 60 #{fib(60)}"
puts "primes #{(2..29).select { |n| (2...n).none? { |d| n % d == 0 } }.join(" ")}"
people = [Person.new("Alice", 30), Person.new("Carol", 30), Person.new("Bob", 25)].sort_by { |p| {p.age, p.name} }
puts "people #{people.map { |p| "#{p.name}:#{p.age}" }.join(" ")}"
puts "mean %.2f" % (people.sum(&.age) / 3)
n = 0
step = ->{ n += 1 }
puts "counter #{step.call} #{step.call} #{step.call}"
def hanoi(n : Int32) : Int32
  n == 0 ? 0 : 2 * hanoi(n - 1) + 1
end
puts "hanoi 10 #{hanoi(10)}"
begin
  puts 1 // (people.size - 3)
rescue DivisionByZeroError
  puts "caught division"
end
puts({total: people.sum(&.age), ok: true}.to_json)
