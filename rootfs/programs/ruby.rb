# Words, memo, sieve, records, closures, recursion, errors, JSON and regular expressions.
require "json"
require "prime"

text = "the quick brown fox jumps over the lazy dog the fox sleeps"
text.split.tally.sort_by { |w, n| [-n, w] }.first(3).each { |w, n| puts format("%-6s%3d", w, n) }
fib = Hash.new { |h, n| h[n] = n < 2 ? n : h[n - 1] + h[n - 2] }
puts "fib 60 #{fib[60]}"
puts "primes #{(2..29).select { |n| (2...n).none? { |d| (n % d).zero? } }.join(' ')}"
Person = Struct.new(:name, :age)
people = [Person.new("Alice", 30), Person.new("Carol", 30), Person.new("Bob", 25)]
people.sort_by! { |p| [p.age, p.name] }
puts "people #{people.map { |p| "#{p.name}:#{p.age}" }.join(' ')}"
puts format("mean %.2f", people.sum(&:age) / people.size.to_f)
counter = proc { n = 0; -> { n += 1 } }
c = counter.call
puts "counter #{c.call} #{c.call} #{c.call}"
def hanoi(n) = n.zero? ? 0 : 2 * hanoi(n - 1) + 1
puts "hanoi 10 #{hanoi(10)}"
begin
  1 / 0
rescue ZeroDivisionError
  puts "caught division"
end
puts JSON.generate("total" => people.sum(&:age), "ok" => true)
puts "2026-11-21".sub(/(\d+)-(\d+)-(\d+)/, '\3/\2/\1')
