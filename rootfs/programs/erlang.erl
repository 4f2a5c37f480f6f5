%% Words, maps, sieve, records, processes, recursion, errors and regular expressions.
-record(person, {name, age}).

fib(N) ->
    case get({fib, N}) of
        undefined when N < 2 -> N;
        undefined -> V = fib(N - 1) + fib(N - 2), put({fib, N}, V), V;
        V -> V
    end.

hanoi(0) -> 0;
hanoi(N) -> 2 * hanoi(N - 1) + 1.

counter(N) -> receive {next, From} -> From ! N + 1, counter(N + 1) end.
step(C) -> C ! {next, self()}, receive N -> N end.

join(L) -> string:join([io_lib:format("~p", [X]) || X <- L], " ").

main(_) ->
    Words = string:tokens("the quick brown fox jumps over the lazy dog the fox sleeps", " "),
    Count = lists:foldl(fun(W, M) -> maps:update_with(W, fun(N) -> N + 1 end, 1, M) end, #{}, Words),
    Top = lists:sublist(lists:sort([{-N, W} || {W, N} <- maps:to_list(Count)]), 3),
    [io:format("~-6s~3w~n", [W, -N]) || {N, W} <- Top],
    io:format("fib 60 ~p~n", [fib(60)]),
    io:format("primes ~s~n", [join([N || N <- lists:seq(2, 29), lists:all(fun(D) -> N rem D =/= 0 end, lists:seq(2, N - 1))])]),
    People = lists:keysort(#person.age, [#person{name = "Alice", age = 30}, #person{name = "Carol", age = 30}, #person{name = "Bob", age = 25}]),
    io:format("people ~s~n", [string:join([N ++ ":" ++ integer_to_list(A) || #person{name = N, age = A} <- People], " ")]),
    io:format("mean ~.2f~n", [lists:sum([P#person.age || P <- People]) / length(People)]),
    C = spawn(fun() -> counter(0) end),
    A = step(C), B = step(C),
    io:format("counter ~p ~p ~p~n", [A, B, step(C)]),
    io:format("hanoi 10 ~p~n", [hanoi(10)]),
    try 1 div (length(People) - 3) catch error:badarith -> io:format("caught division~n") end,
    io:format("~s~n", [re:replace("2026-11-21", "(\\d+)-(\\d+)-(\\d+)", "\\3/\\2/\\1", [{return, list}])]).
