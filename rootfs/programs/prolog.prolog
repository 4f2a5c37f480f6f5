% Words, tables, sieve, sorting, state, recursion, errors, and the library without use_module.
:- dynamic fib_known/2, calls/1.
calls(0).
fib(N, N) :- N < 2, !.
fib(N, F) :- fib_known(N, F), !.
fib(N, F) :- A is N - 1, B is N - 2, fib(A, X), fib(B, Y), F is X + Y, assertz(fib_known(N, F)).
prime(N) :- M is N - 1, \+ (between(2, M, D), N mod D =:= 0).
hanoi(0, 0) :- !.
hanoi(N, M) :- K is N - 1, hanoi(K, L), M is 2 * L + 1.
step(N) :- retract(calls(M)), N is M + 1, assertz(calls(N)).
top(0, _) :- !.
top(K, [M-W | T]) :- N is -M, format("~w~t~6|~t~d~9|~n", [W, N]), L is K - 1, top(L, T).
main :-
    split_string("the quick brown fox jumps over the lazy dog the fox sleeps", " ", "", Words),
    sort(Words, Unique),
    findall(M-W, (member(W, Unique), aggregate_count(W, Words, N), M is -N), Pairs),
    msort(Pairs, Sorted), top(3, Sorted),
    fib(60, F), format("fib 60 ~w~n", [F]),
    findall(P, (between(2, 29, P), prime(P)), Ps), atomic_list_concat([primes | Ps], ' ', Line), writeln(Line),
    sort(2, @=<, [p('Alice', 30), p('Carol', 30), p('Bob', 25)], People),
    write(people), forall(member(p(Name, Age), People), format(" ~w:~w", [Name, Age])), nl,
    findall(A, member(p(_, A), People), Ages), sum_list(Ages, Total), Mean is Total / 3, format("mean ~2f~n", [Mean]),
    step(S1), step(S2), step(S3), format("counter ~w ~w ~w~n", [S1, S2, S3]),
    append([1, 2], [3], Joined), last(Joined, Last), foldl([X, A0, A1]>>(A1 is A0 + X), Joined, 0, Sum),
    format("library ~w ~w ~w~n", [Joined, Last, Sum]),
    hanoi(10, H), format("hanoi 10 ~w~n", [H]),
    catch(_ is 1 / 0, error(evaluation_error(zero_divisor), _), writeln('caught division')).
aggregate_count(W, Words, N) :- include(==(W), Words, Same), length(Same, N).
