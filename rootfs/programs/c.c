/* Words, memo, sieve, records, state, recursion and errors with the C library. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char name[16];
    int n;
};

static int by_count(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->n != y->n ? y->n - x->n : strcmp(x->name, y->name);
}
static int by_age(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->n != y->n ? x->n - y->n : strcmp(x->name, y->name);
}
static long long memo[61];
static long long fib(int n)
{
    return n < 2 ? n : memo[n] ? memo[n] : (memo[n] = fib(n - 1) + fib(n - 2));
}
static int hanoi(int n)
{
    return n ? 2 * hanoi(n - 1) + 1 : 0;
}
static int step(void)
{
    static int n;
    return ++n;
}
static int divide(int a, int b)
{
    if (b == 0) {
        errno = EDOM;
        return 0;
    }
    return a / b;
}

int main(void)
{
    char text[] = "the quick brown fox jumps over the lazy dog the fox sleeps";
    struct entry words[16] = {0};
    int used = 0, total = 0;
    for (char *w = strtok(text, " "); w; w = strtok(NULL, " ")) {
        int i = 0;
        while (i < used && strcmp(words[i].name, w))
            i++;
        if (i == used)
            snprintf(words[used++].name, sizeof words[0].name, "%s", w);
        words[i].n++;
    }
    qsort(words, used, sizeof words[0], by_count);
    for (int i = 0; i < 3; i++)
        printf("%-6s%3d\n", words[i].name, words[i].n);
    printf("fib 60 %lld\nprimes", fib(60));
    for (int n = 2; n < 30; n++) {
        int prime = 1;
        for (int d = 2; d * d <= n; d++)
            prime &= n % d != 0;
        if (prime)
            printf(" %d", n);
    }
    struct entry people[] = {{"Alice", 30}, {"Carol", 30}, {"Bob", 25}};
    qsort(people, 3, sizeof people[0], by_age);
    printf("\npeople");
    for (int i = 0; i < 3; i++) {
        printf(" %s:%d", people[i].name, people[i].n);
        total += people[i].n;
    }
    printf("\nmean %.2f\ncounter", total / 3.0);
    for (int i = 0; i < 3; i++)
        printf(" %d", step());
    printf("\nhanoi 10 %d\n", hanoi(10));
    if (divide(1, 0) == 0 && errno == EDOM)
        puts("caught division");
    return 0;
}
