/*
 * examples: the conversation that PROTOCOL.md works through byte by byte.
 * EXAMPLES(E): E(NAME, name, stream, "what happens", fields of struct msg_name)
 */
#ifndef TESTS_EXAMPLES_H
#define TESTS_EXAMPLES_H

#include "messages.h"

#define EXAMPLE_STRS(s) ((struct wire_strs){.data = (s), .size = sizeof(s) - 1})

#define EXAMPLES(E)                                                                                          \
    E(HELLO, hello, 0, "The host opens the connection; it speaks version 1 only.", .magic = PROTO_MAGIC,     \
      .version_min = 1, .version_max = 1)                                                                    \
    E(WELCOME, welcome, 0, "initd agrees, and says who it is.", .magic = PROTO_MAGIC, .version = 1,          \
      .state = PROTO_STATE_READY, .jobs_max = 64, .init_ns = 412000000, .ready_ns = 415500000,               \
      .build = "0.1.0-5ca1ab1e0123")                                                                         \
    E(EXEC, exec, 1, "Stream 1: run /bin/true for at most 5 s in 64 MiB, with at most 16 processes.",        \
      .argv = EXAMPLE_STRS("/bin/true\0"), .env = EXAMPLE_STRS("HOME=/\0LANG=C\0"), .cwd = "/", .uid = 1000, \
      .gid = 1000, .wall_ms = 5000, .memory = 67108864, .pids = 16, .files = 256, .output = 1048576,         \
      .window = 262144)                                                                                      \
    E(STARTED, started, 1, "It runs, as job 1. It has no standard input, so the limit of channel 0 is 0.",   \
      .job = 1, .pid = 73)                                                                                   \
    E(END, end, 1, "Standard output is complete: 0 bytes.", .channel = 1)                                    \
    E(END, end, 1, "So is standard error.", .channel = 2)                                                    \
    E(EXIT, exit, 1, "The job exited with status 0 after 1.2 ms. Stream 1 is free again.",                   \
      .cause = PROTO_CAUSE_EXITED, .wall_ns = 1200000, .user_ns = 310000, .system_ns = 640000,               \
      .max_rss = 790528, .memory_peak = 212992)

#endif
