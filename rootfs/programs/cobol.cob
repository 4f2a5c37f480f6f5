identification division.
program-id. report.
data division.
working-storage section.
01 a pic 9(18) value 0.
01 b pic 9(18) value 1.
01 t pic 9(18).
01 shown pic z(17)9.
01 people.
   05 person occurs 3 times.
      10 age pic 99.
      10 name pic x(6).
01 i pic 99.
01 mean pic z9.99.
01 phrase pic x(40) value "the quick brown fox".
01 piece pic x(10).
01 p pic 99 value 1.
procedure division.
    perform 60 times
        compute t = a + b
        move b to a
        move t to b
    end-perform
    move a to shown
    display "fib 60 " function trim(shown)
    move "30Alice 31Carol 25Bob" to people
    sort person ascending key age
    perform varying i from 1 by 1 until i > 3
        display function trim(name(i)) " " age(i)
    end-perform
    compute mean = (age(1) + age(2) + age(3)) / 3
    display "mean " mean
    perform 4 times
        unstring phrase delimited by space into piece with pointer p
        display function upper-case(function trim(piece)) with no advancing
    end-perform
    display " "
    divide 1 by i giving t on size error display "no" end-divide
    move 0 to i
    divide 1 by i giving t on size error display "caught division" end-divide
    stop run.
