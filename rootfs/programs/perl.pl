# Words, memo, sieve, records, closures, recursion, errors, JSON and regular expressions.
use strict;
use warnings;
use List::Util qw(sum none);
use JSON::PP;

my %count;
$count{$_}++ for split ' ', "the quick brown fox jumps over the lazy dog the fox sleeps";
printf "%-6s%3d\n", $_, $count{$_} for (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 2];
my %memo;
sub fib { my $n = shift; return $memo{$n} //= $n < 2 ? $n : fib($n - 1) + fib($n - 2) }
print "fib 60 ", fib(60), "\n";
my @primes;
for my $n (2 .. 29) { push @primes, $n if none { $n % $_ == 0 } @primes }
print "primes @primes\n";
my @people = sort { $a->{age} <=> $b->{age} || $a->{name} cmp $b->{name} }
    ({name => "Alice", age => 30}, {name => "Carol", age => 30}, {name => "Bob", age => 25});
print "people ", join(" ", map {"$_->{name}:$_->{age}"} @people), "\n";
my $total = sum map { $_->{age} } @people;
printf "mean %.2f\n", $total / @people;
sub counter { my $n = 0; return sub { ++$n } }
my $c = counter();
print "counter ", join(" ", $c->(), $c->(), $c->()), "\n";
sub hanoi { my $n = shift; return $n ? 2 * hanoi($n - 1) + 1 : 0 }
print "hanoi 10 ", hanoi(10), "\n";
my $zero = 0;
eval { my $x = 1 / $zero; 1 } or $@ =~ /division by zero/ && print "caught division\n";
print JSON::PP->new->canonical->encode({total => $total, ok => 1}), "\n";
(my $date = "2026-11-21") =~ s{(\d+)-(\d+)-(\d+)}{$3/$2/$1};
print "$date\n";
