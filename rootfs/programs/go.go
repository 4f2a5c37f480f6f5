// Words, memo, sieve, records, closures, recursion, errors, JSON and regular expressions.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strings"
)

type person struct {
	name string
	age  int
}

var errDivision = errors.New("division")

func divide(a, b int) (int, error) {
	if b == 0 {
		return 0, fmt.Errorf("divide: %w", errDivision)
	}
	return a / b, nil
}

func hanoi(n int) int {
	if n == 0 {
		return 0
	}
	return 2*hanoi(n-1) + 1
}

func main() {
	count := map[string]int{}
	for _, w := range strings.Fields("the quick brown fox jumps over the lazy dog the fox sleeps") {
		count[w]++
	}
	words := []string{}
	for w := range count {
		words = append(words, w)
	}
	sort.Slice(words, func(i, j int) bool {
		if a, b := count[words[i]], count[words[j]]; a != b {
			return a > b
		}
		return words[i] < words[j]
	})
	for _, w := range words[:3] {
		fmt.Printf("%-6s%3d\n", w, count[w])
	}
	memo := map[int]int{0: 0, 1: 1}
	var fib func(int) int
	fib = func(n int) int {
		if _, ok := memo[n]; !ok {
			memo[n] = fib(n-1) + fib(n-2)
		}
		return memo[n]
	}
	fmt.Println("fib 60", fib(60))
	fmt.Print("primes")
next:
	for n := 2; n < 30; n++ {
		for d := 2; d*d <= n; d++ {
			if n%d == 0 {
				continue next
			}
		}
		fmt.Print(" ", n)
	}
	people := []person{{"Alice", 30}, {"Carol", 30}, {"Bob", 25}}
	sort.SliceStable(people, func(i, j int) bool { return people[i].age < people[j].age })
	fmt.Print("\npeople")
	total := 0
	for _, p := range people {
		fmt.Printf(" %s:%d", p.name, p.age)
		total += p.age
	}
	fmt.Printf("\nmean %.2f\n", float64(total)/3)
	n := 0
	step := func() int { n++; return n }
	fmt.Println("counter", step(), step(), step())
	fmt.Println("hanoi 10", hanoi(10))
	if _, err := divide(1, 0); errors.Is(err, errDivision) {
		fmt.Println("caught", errDivision)
	}
	j, _ := json.Marshal(map[string]any{"total": total, "ok": true})
	fmt.Println(string(j))
	fmt.Println(regexp.MustCompile(`(\d+)-(\d+)-(\d+)`).ReplaceAllString("2026-11-21", "$3/$2/$1"))
}
