// Words, memo, sieve, records, closures, recursion, errors and streams.
#include <algorithm>
#include <functional>
#include <iomanip>
#include <iostream>
#include <map>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <vector>
using namespace std;

struct person { string name; int age; };
static int divide(int a, int b) { if (!b) throw domain_error("division"); return a / b; }
static int hanoi(int n) { return n ? 2 * hanoi(n - 1) + 1 : 0; }

int main()
{
    istringstream text("the quick brown fox jumps over the lazy dog the fox sleeps");
    map<string, int> count;
    for (string w; text >> w;) ++count[w];
    vector<pair<string, int>> words(count.begin(), count.end());
    ranges::stable_sort(words, greater{}, [](auto &p) { return p.second; });
    for (int i = 0; i < 3; i++) cout << left << setw(6) << words[i].first << right << setw(3) << words[i].second << "\n";
    map<int, long> memo;
    function<long(int)> fib = [&](int n) -> long {
        if (n < 2) return n;
        if (auto it = memo.find(n); it != memo.end()) return it->second;
        return memo[n] = fib(n - 1) + fib(n - 2);
    };
    cout << "fib 60 " << fib(60) << "\nprimes";
    vector<int> primes;
    for (int n = 2; n < 30; n++)
        if (ranges::all_of(primes, [n](int p) { return n % p; })) { primes.push_back(n); cout << " " << n; }
    vector<person> people{{"Alice", 30}, {"Carol", 30}, {"Bob", 25}};
    ranges::sort(people, [](auto &a, auto &b) { return tie(a.age, a.name) < tie(b.age, b.name); });
    cout << "\npeople";
    for (auto &p : people) cout << " " << p.name << ":" << p.age;
    double total = accumulate(people.begin(), people.end(), 0, [](int s, auto &p) { return s + p.age; });
    cout << "\nmean " << fixed << setprecision(2) << total / people.size() << "\ncounter";
    auto step = [n = 0]() mutable { return ++n; };
    for (int i = 0; i < 3; i++) cout << " " << step();
    cout << "\nhanoi 10 " << hanoi(10) << "\n";
    try { divide(1, 0); } catch (const domain_error &e) { cout << "caught " << e.what() << "\n"; }
    istringstream date("2026-11-21");
    int y, m, d;
    date >> y >> m >> d;
    d = -d;
    cout << d << "/" << -m << "/" << y << "\n";
}
