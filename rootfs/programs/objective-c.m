// Classes, methods, a category and the C library.
#import <objc/Object.h>
#import <objc/runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

@interface Counter : Object { int n; }
- (int)step;
@end
@implementation Counter
- (int)step { return ++n; }
@end
@interface Maths : Object
+ (int)hanoi:(int)n;
+ (long)fib:(int)n;
@end
@implementation Maths
+ (int)hanoi:(int)n { return n ? 2 * [self hanoi:n - 1] + 1 : 0; }
+ (long)fib:(int)n
{
    long a = 0, b = 1;
    while (n--) { long t = a + b; a = b; b = t; }
    return a;
}
@end
static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }
int main(void)
{
    Class c = objc_getClass("Counter");
    Counter *counter = class_createInstance(c, 0);
    const char *names[] = {"Carol", "Alice", "Bob"};
    int a = [counter step], b = [counter step];
    printf("counter %d %d %d\n", a, b, [counter step]);
    printf("hanoi 10 %d\nfib 60 %ld\n", [Maths hanoi:10], [Maths fib:60]);
    qsort(names, 3, sizeof *names, compare);
    printf("%s %s %s\n", names[0], names[1], names[2]);
    printf("%s\n", class_respondsToSelector(c, @selector(step)) ? "step" : "none");
    return 0;
}
