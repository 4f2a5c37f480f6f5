// A hash map, sorting, allocation, optionals and errors.
const std = @import("std");
const Failure = error{Division};
fn divide(a: i32, b: i32) Failure!i32 {
    if (b == 0) return Failure.Division;
    return @divTrunc(a, b);
}
fn hanoi(n: u32) u32 {
    return if (n == 0) 0 else 2 * hanoi(n - 1) + 1;
}
pub fn main() !void {
    const out = std.io.getStdOut().writer();
    var arena = std.heap.ArenaAllocator.init(std.heap.page_allocator);
    defer arena.deinit();
    var count = std.StringHashMap(u32).init(arena.allocator());
    var it = std.mem.tokenizeScalar(u8, "the quick the fox fox the", ' ');
    while (it.next()) |w| {
        const e = try count.getOrPutValue(w, 0);
        e.value_ptr.* += 1;
    }
    try out.print("the {} fox {} cat {?}\n", .{ count.get("the").?, count.get("fox").?, count.get("cat") });
    var a: u64 = 0;
    var b: u64 = 1;
    for (0..60) |_| {
        const t = a + b;
        a = b;
        b = t;
    }
    try out.print("fib 60 {}\n", .{a});
    var ages = [_]i32{ 30, 31, 25 };
    std.mem.sort(i32, &ages, {}, std.sort.asc(i32));
    try out.print("sorted {any}\nhanoi 10 {}\n", .{ ages, hanoi(10) });
    _ = divide(1, 0) catch |e| try out.print("caught {s}\n", .{@errorName(e)});
}
