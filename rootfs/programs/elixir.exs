# Words, streams, sieve, records, processes, recursion, errors and regular expressions.
defmodule Puzzle do
  def hanoi(0), do: 0
  def hanoi(n), do: 2 * hanoi(n - 1) + 1
end

"the quick brown fox jumps over the lazy dog the fox sleeps"
|> String.split()
|> Enum.frequencies()
|> Enum.sort_by(fn {w, n} -> {-n, w} end)
|> Enum.take(3)
|> Enum.each(fn {w, n} -> IO.puts(String.pad_trailing(w, 6) <> String.pad_leading("#{n}", 3)) end)

fibs = Stream.unfold({0, 1}, fn {a, b} -> {a, {b, a + b}} end)
IO.puts("fib 60 #{Enum.at(fibs, 60)}")
primes = for n <- 2..29, Enum.all?(2..n, &(&1 == n or rem(n, &1) != 0)), do: n
IO.puts("primes #{Enum.join(primes, " ")}")
people = Enum.sort_by([%{name: "Alice", age: 30}, %{name: "Carol", age: 30}, %{name: "Bob", age: 25}], &{&1.age, &1.name})
IO.puts("people " <> Enum.map_join(people, " ", &"#{&1.name}:#{&1.age}"))
mean = Enum.sum(Enum.map(people, & &1.age)) / length(people)
IO.puts("mean #{:erlang.float_to_binary(mean, decimals: 2)}")
{:ok, counter} = Agent.start_link(fn -> 0 end)
step = fn -> Agent.get_and_update(counter, &{&1 + 1, &1 + 1}) end
IO.puts("counter #{step.()} #{step.()} #{step.()}")
IO.puts("hanoi 10 #{Puzzle.hanoi(10)}")

try do
  div(1, length(people) - 3)
rescue
  ArithmeticError -> IO.puts("caught division")
end

IO.puts(Regex.replace(~r/(\d+)-(\d+)-(\d+)/, "2026-11-21", "\\3/\\2/\\1"))
