/*
 * examples: the conversation that PROTOCOL.md works through byte by byte.
 * EXAMPLES(E): E(NAME, name, stream, "what happens", fields of struct msg_name)
 */
#ifndef TESTS_EXAMPLES_H
#define TESTS_EXAMPLES_H

#include "messages.h"

#define EXAMPLE_STRS(s) ((struct wire_strs){.data = (s), .size = sizeof(s) - 1})

#define EXAMPLE_BYTES(s) ((struct wire_bytes){.data = (const uint8_t *)(s), .size = sizeof(s) - 1})

#define EXAMPLES(E)                                                                                          \
    E(HELLO, hello, 0, "The host opens the connection; it speaks version 1 only.", .magic = PROTO_MAGIC,     \
      .version_min = 1, .version_max = 1)                                                                    \
    E(WELCOME, welcome, 0, "initd agrees, and says who it is. This one has room for 64 jobs.",               \
      .magic = PROTO_MAGIC, .version = 1, .state = PROTO_STATE_READY, .jobs_max = 64, .init_ns = 412000000,  \
      .ready_ns = 415500000, .build = "0.1.0-5ca1ab1e0123")                                                  \
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
      .max_rss = 790528, .memory_peak = 212992)                                                              \
    E(WRITE_FILE, write_file, 2, "Stream 2: /tmp/greeting gets 6 bytes, all of them in the request.",        \
      .path = "/tmp/greeting", .mode = 0100644, .uid = 1000, .gid = 1000, .size = 6,                         \
      .data = EXAMPLE_BYTES("hello\n"))                                                                      \
    E(OK, ok, 2, "It is written, and stream 2 is free again.")                                               \
    E(READ_FILE, read_file, 3,                                                                               \
      "Stream 3: what is in it? At most 4096 bytes of it, and as many may come at once.",                    \
      .path = "/tmp/greeting", .length = 4096, .window = 4096)                                               \
    E(FILE_INFO, file_info, 3, "A regular file; mode 33188 is 0100644.", .mode = 0100644, .uid = 1000,       \
      .gid = 1000, .size = 6, .mtime_ns = 1700000000000000000, .target = "")                                 \
    E(DATA, data, 3, "Its content.", .channel = 1, .data = EXAMPLE_BYTES("hello\n"))                         \
    E(END, end, 3, "That was all: 6 bytes. Stream 3 is free again.", .channel = 1, .offset = 6)              \
    E(STAT, stat, 4, "Stream 4: a path that does not exist.", .path = "/nothing")                            \
    E(ERROR, error, 4, "STAT (34) failed with ERR_OS, and errno 2 is ENOENT.", .request = MSG_STAT,          \
      .code = PROTO_ERR_OS, .os_errno = 2, .text = "stat")                                                   \
    E(ATTACH, attach, 5,                                                                                     \
      "Job 2 is of a connection that was lost. 6 bytes of its output are known, the rest is wanted.",        \
      .job = 2, .stdout_offset = 6, .window = 65536)                                                         \
    E(STARTED, started, 5, "Stream 5 is that job's now.", .job = 2, .pid = 74)                               \
    E(DATA, data, 5, "What it has written from offset 6 on.", .channel = 1, .offset = 6,                     \
      .data = EXAMPLE_BYTES("world\n"))                                                                      \
    E(WINDOW, window, 5, "The host has taken 12 bytes, and 65536 more may come.", .channel = 1,              \
      .consumed = 12, .limit = 65548)                                                                        \
    E(KILL, kill, 5, "Enough. It goes on the job's stream.")                                                 \
    E(OK, ok, 5, "Done. END of channels 1 and 2 and EXIT with CAUSE_CANCELLED follow, as above.")            \
    E(QUIESCE, quiesce, 6, "Make ready for a snapshot.")                                                     \
    E(OK, ok, 6, "It may be made.")                                                                          \
    E(RESUME, resume, 7, "The first request after the restore. A real host's bytes are random.",             \
      .entropy = EXAMPLE_BYTES("0123456789abcdef0123456789abcdef"), .wall_clock_ns = 1700000000000000000,    \
      .instance = {.byte = "0123456789abcdef"}, .hostname = "run-17")                                        \
    E(RESUMED, resumed, 7, "All five steps succeeded; the clock was an hour late.", .done = 31,              \
      .clock_before_ns = 1699996400000000000)                                                                \
    E(SHUTDOWN, shutdown, 8, "The end; OK is the answer.", .action = PROTO_SHUTDOWN_POWEROFF, .status = 0)

#endif
