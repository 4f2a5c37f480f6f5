# Words, memo, sieve, records, closures, recursion, errors and regular expressions.
set count [dict create]
foreach w {the quick brown fox jumps over the lazy dog the fox sleeps} { dict incr count $w }
proc by_count {a b} {
    global count
    set d [expr {[dict get $count $b] - [dict get $count $a]}]
    return [expr {$d != 0 ? $d : [string compare $a $b]}]
}
foreach w [lrange [lsort -command by_count [dict keys $count]] 0 2] { puts [format "%-6s%3d" $w [dict get $count $w]] }
proc fib {n} {
    global memo
    if {$n < 2} { return $n }
    if {![info exists memo($n)]} { set memo($n) [expr {[fib [expr {$n - 1}]] + [fib [expr {$n - 2}]]}] }
    return $memo($n)
}
puts "fib 60 [fib 60]"
set primes {}
for {set n 2} {$n < 30} {incr n} {
    if {0 ni [lmap p $primes {expr {$n % $p}}]} { lappend primes $n }
}
puts "primes $primes"
set people [lsort -index 1 -integer [lsort -index 0 {{Alice 30} {Carol 30} {Bob 25}}]]
puts "people [lmap p $people {join $p :}]"
puts [format "mean %.2f" [expr {[tcl::mathop::+ {*}[lmap p $people {lindex $p 1}]] / 3.0}]]
proc counter {} { set n 0; while 1 { incr n; yield $n } }
coroutine c apply {{} { yield; counter }}
puts "counter [c] [c] [c]"
proc hanoi {n} { expr {$n ? 2 * [hanoi [expr {$n - 1}]] + 1 : 0} }
puts "hanoi 10 [hanoi 10]"
try { expr {1 / 0} } trap {ARITH DIVZERO} {} { puts "caught division" }
puts [regsub {(\d+)-(\d+)-(\d+)} 2026-11-21 {\3/\2/\1}]
