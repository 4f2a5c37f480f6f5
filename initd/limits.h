/*
 * limits: the size of every fixed table and the length of every fixed wait of initd, in one place.
 *
 * initd has no heap. Overflow of a table is ERROR(ERR_LIMIT), never a crash. The tables are BSS: a page
 * that no job or connection has used yet costs address space but no memory.
 */
#ifndef INITD_LIMITS_H
#define INITD_LIMITS_H

/* Jobs that are held at once, running or ended. */
#define JOBS_MAX 32

/* Bytes of each channel of a job that initd keeps: output until it is consumed, input until it is taken.
 * 12 KiB a job. */
#define JOB_RING 4096

/* Most bytes of one DATA frame of a job, so that jobs of one connection take turns. With its head it is what one
 * write(2) to the serial port takes: 32 KiB, port_fops_write() in Linux's drivers/char/virtio_console.c. */
#define JOB_DATA_CHUNK (32768 - 32)

/* Standard output is what matters for speed, and mostly there is one job with much of it: as soon as its host has taken
 * some, and its own ring is full, it gets the large one, when that is free, and a pipe of that size. It has to hold
 * what is under way to the host and back. A job and initd take turns by half of it, and each turn costs an emulated
 * processor as much as 16 KiB: with half of it, output is slower by a third, with twice as much faster by an eighth. */
#define LARGE_RING (8 * JOB_DATA_CHUNK)

/* After the first process is gone: how long output may be silent before the job is finished (PROTOCOL.md 5).
 */
#define JOB_DRAIN_MS 100

/* Then, for how long its end waits until what was killed is gone; each death also wakes initd, but for those of threads. */
#define JOB_LEAVE_MS 2000
#define JOB_LEAVE_LOOK_MS 5

/* Open files of a process: its soft limit, and the hard one, the kernel's own default of fs.nr_open. */
#define JOB_FILES 65536
#define JOB_FILES_MAX 1048576

/* Pointers for argv and env together, each with its NULL: as many as Linux takes (PROTO_STRINGS_MAX) with no string at all.
 * The child alone writes them. */
#define JOB_POINTERS_MAX (256 * 1024)
#define JOB_GROUPS_MAX 64

/* Requests whose STRINGS are coming, and bytes of these together: two of the largest. */
#define STRINGS_MAX 8
#define STRINGS_BYTES_MAX (4 * 1024 * 1024)

/* Shortest time between two looks at a job's processor time. */
#define JOB_CPU_CHECK_MS 5

/* A PRIME's script: its path with the NUL, how often initd looks whether the interpreter sleeps, and for how
 * long it must have used (almost) no processor time. */
#define PRIME_SCRIPT_MAX 256
#define PRIME_LOOK_MS 10
#define PRIME_QUIET_MS 30
#define PRIME_QUIET_CPU_NS 1000000

/* The serial port and the sockets. */
#define CONN_SOCKETS_MAX 4
#define CONNS_MAX (1 + CONN_SOCKETS_MAX)

/* Answers of one connection that are not yet written. CONN_ANSWER_MAX of it is kept for answers to requests
 * (the largest is a FILE_INFO with a symlink target of PATH_MAX, or a page of a LISTING); the rest is for
 * streams. */
#define CONN_TX_SIZE (40 * 1024)
#define CONN_ANSWER_MAX (8 * 1024)

/* A socket that sends no HELLO, a frame that does not get complete, and a closing connection are dropped
 * after: */
#define CONN_HELLO_MS 10000
#define CONN_FRAME_MS 10000
#define CONN_CLOSE_MS 1000

/* Streams that lost their job to an ATTACH and were not told yet, per connection. */
#define CONN_GONE_MAX JOBS_MAX

/* Memory that large frames have touched is given back after: */
#define CONN_IDLE_MS 200

/* Reads of one connection, or frames written for it, before the others have their turn. */
#define CONN_TURNS 8

/* WRITE_FILE, UNPACK and READ_FILE in progress, all connections together. */
#define FILES_MAX 8
/* How far ahead the content of a WRITE_FILE or UNPACK may be sent. It is written at once, so nothing is kept. */
#define FILE_WINDOW (256 * 1024)

/* Helper processes that work for a connection (sync, mount, removal of a tree). */
#define HELPERS_MAX CONNS_MAX
/* Depth of a tree that REMOVE_TREE takes down. */
#define REMOVE_DEPTH_MAX 256

/* A cgroup is used again when none of its jobs has needed more memory than this, so that memory_peak of the next one is too
 * high by less. Linux itself counts in steps of 256 KiB a processor (MEMCG_CHARGE_BATCH), and cannot set memory.peak
 * back before 6.12. */
#define CGROUP_AGAIN_PEAK (512 * 1024)
/* So many wait for a job. Making and removing one costs as much as a small job. */
#define CGROUPS_WAITING_MAX 2

/* Cgroups of ended jobs that were not removed yet; how long that is postponed, because the next job may be about to come;
 * and the pause between two tries for those that cannot go yet. */
#define CGROUPS_RETIRED_MAX 64
#define CGROUP_POSTPONE_MS 20
#define CGROUP_RETRY_MS 20
/* From the taking of the spare process to the making of the next one, for the same reason. */
#define SPARE_POSTPONE_MS 10
/* Bytes of arguments, variables and so on that a spare process is told; a job with more is forked anew. */
#define SPAWN_REQUEST_MAX 16384
/* How long execve(2) is tried again while its file is open for writing (ETXTBSY), and the pause before the second try, which
 * doubles. A child forked while a file of the host was being written has it open until it has run for a moment, and execve of
 * another child may come before. Above what a guest with work for seconds lets a new process wait. */
#define EXEC_BUSY_MS 2000
#define EXEC_BUSY_PAUSE_MS 1
/* Depth of groups that a job has made inside of its own. */
#define CGROUP_DEPTH_MAX 32
/* So many of them are removed at a time, that a job with thousands does not stop the others; the next try goes on. */
#define CGROUP_CHILDREN_AT_ONCE 64

/* With so much left of the limit of all jobs, what is cache and what is not makes no difference. */
#define CGROUP_ROOM_PLENTY (32ull << 20)

/* Jobs together get the memory that is available after boot, but for 1/32 of it, at least and at most: */
#define RESERVE_MEMORY_MIN (8ull << 20)
#define RESERVE_MEMORY_MAX (64ull << 20)
/* memory.c kills the largest job when less than this is left of the limit of all jobs; the kernel's own search for pages
 * begins to take long with less. */
#define MEMORY_SHORT (2ull << 20)
/* And when less than this is available (MemAvailable of proc_meminfo(5)) in all. With less the kernel drops code of programs to make
 * room, and reads it again, and no more: unpacking it keeps initd from its turn, with 5 MiB for up to 250 ms where the guest is
 * emulated. */
#define MEMORY_LEAST (8ull << 20)
/* With so much free, what can be freed makes no difference. Asking for it takes a text of 50 lines, which costs the first program
 * after a restore, where the guest is emulated, a tenth of its time. */
#define MEMORY_FREE_PLENTY (32ull << 20)
/* A job with less is left alone: its end would not help, and after others have filled the files in memory there have to be
 * jobs that tidy up. */
#define MEMORY_VICTIM_MIN (1ull << 20)
/* So long nobody else is killed: the pages of the last one are on their way. */
#define MEMORY_VICTIM_MS 500
/* What one processor fills with pages in a millisecond, so when it can be short at the earliest; and the shortest and the
 * longest pause between two looks. */
#define MEMORY_FILLED_PER_MS (2ull << 20)
#define MEMORY_LOOK_MIN_MS 20
#define MEMORY_LOOK_MAX_MS 500

/* A writable root in memory has a name for so many bytes of the guest's memory, and half of the memory for bytes: so for each file
 * of a page there is one of nothing, a directory or a link, and bytes end before names do. The kernel needs some 1.2 KiB for a
 * name, of which it gives back a third; by default there would be half as many. */
#define ROOT_NAME_BYTES 4096

/* Of the kernel's threads-max, what jobs cannot have. */
#define RESERVE_THREADS 64

/* Kernel command line: COMMAND_LINE_SIZE is 2048 on x86 and arm64. */
#define CMDLINE_MAX 4096
#define CMDLINE_NAME_MAX 65 /* HOST_NAME_MAX and a NUL */
#define LAYERS_MAX 8

/* Directories in each other that a layer may have; more than the kernel takes in a path of names of one letter would be of no use, and
 * each costs a kilobyte of stack. And how many copies of directories are compared before something counts as changed. */
#define LAYER_DEPTH_MAX 1024
#define LAYER_LOOKS_MAX 4096
#define CMDLINE_MAIN_MAX 512
#define DEVICE_NAME_MAX 32

/* An appliance's main program that ends too soon is started again after a pause, which doubles up to a maximum until it ran
 * steadily for a while. */
#define SERVICE_DELAY_MIN_MS 100
#define SERVICE_DELAY_MAX_MS 30000
#define SERVICE_STEADY_MS 10000
/* From SIGTERM to SIGKILL at a shutdown: by default, and at most. */
#define SERVICE_STOP_S 5
#define SERVICE_STOP_MAX_S 3600

/* How long a guest that cannot be set up waits for a host that asks why. */
#define SETUP_FAILED_MS 3000

/* After a QUIESCE: how long initd waits for RESUME without sleeping. */
#define SNAPSHOT_AWAKE_MS 2000

/* How long SHUTDOWN waits for its OK to be taken, and then for processes to die. */
#define SHUTDOWN_FLUSH_MS 1000
#define SHUTDOWN_KILL_MS 2000

#endif
