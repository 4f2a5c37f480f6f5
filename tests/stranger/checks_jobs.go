package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	. "stranger/client"
)

var environment = []string{"PATH=/bin", "HOME=/"}

// program is an EXEC without limits.
func program(argv ...string) Exec {
	return Exec{Argv: argv, Env: environment, Cwd: "/", Window: 64 << 10}
}

func shell(script string) Exec { return program("sh", "-c", script) }

// run starts a job and waits for its end; input, where there is any, is its standard input.
func (t *T) run(request Exec, input ...string) *Job {
	if len(input) > 0 {
		request.Flags |= JobStdin
	}
	j, err := t.c.Start(request)
	must(err)
	if len(input) > 0 {
		must(j.Write([]byte(strings.Join(input, ""))))
		j.CloseInput()
	}
	must(j.Wait())
	return j
}

// exits checks output and exit status of a job.
func (t *T) exits(what string, j *Job, out string, status uint8) {
	t.equal(what, fmt.Sprintf("cause %d status %d: %s", j.Exit.Cause, j.Exit.Status, j.Out),
		fmt.Sprintf("cause %d status %d: %s", CauseExited, status, out))
}

// start is for requests that should be refused.
func (t *T) start(request any) error {
	_, err := t.c.Start(request)
	return err
}

func jobs(t *T) {
	t.exits("output and exit status", t.run(shell("echo hello; exit 7")), "hello\n", 7)
	j := t.run(shell("echo out; echo error >&2"))
	t.equal("standard error has a channel of its own", string(j.Err), "error\n")
	e := program("sh", "-c", `for a; do echo "[$a]"; done; pwd`, "sh", "a b", "", "*")
	e.Cwd = "/tmp"
	t.exits("argv and cwd", t.run(e), "[a b]\n[]\n[*]\n/tmp\n", 0)
	e = program("env")
	e.Env = []string{"A=x=y", "PATH=/bin", "B="}
	t.exits("env, and nothing besides", t.run(e), "A=x=y\nPATH=/bin\nB=\n", 0)

	e = shell("id -u; id -g; id -G; umask; ulimit -n")
	e.UID, e.GID, e.Groups, e.Files = 1000, 1001, []uint32{5, 6}, 99
	t.exits("user, groups, umask and files", t.run(e), "1000\n1001\n1001 5 6\n0022\n99\n", 0)
	t.exits("a session of its own", t.run(shell(`set -- $(cat /proc/$$/stat); [ $1 = $6 ] && echo leader`)), "leader\n", 0)
	t.exits("no input is /dev/null", t.run(shell("cat; readlink /proc/self/fd/0")), "/dev/null\n", 0)
	e = program("ls", "/sbin")
	e.Env = nil
	t.exits("a program is looked up without a PATH, too", t.run(e), "initd\n", 0)

	t.refusedOS("a program that is not there", t.start(program("/nothing")), ErrExec, 2)
	t.refusedOS("a program that is no program", t.start(program("/proc/version")), ErrExec, 13)
	e = program("true")
	e.Cwd = "/nothing"
	t.refusedOS("a directory that is not there", t.start(e), ErrExec, 2)
	e.Cwd = "tmp"
	t.refused("a directory that is not absolute", t.start(e), ErrInvalid)
	t.refused("no argv", t.start(program()), ErrInvalid)
	e = program("true")
	e.UID = NobodysID
	t.refused("a uid of 4,294,967,295", t.start(e), ErrInvalid)
	e = program("true")
	e.Flags = UnknownFlag
	t.refused("an unknown flag", t.start(e), ErrUnsupported)
	e = program("true")
	e.Groups = make([]uint32, SupplementaryMax+1)
	t.refused("65 groups", t.start(e), ErrLimit)
	e = program("true")
	e.Argv = append(e.Argv, make([]string, FrameStringsMax)...)
	t.refused("too many strings", t.start(e), ErrLimit)
	e = program("true")
	e.Files = 1 << 30
	t.refusedOS("more files than fs.nr_open", t.start(e), ErrExec, 1)
	e = program("true")
	e.Pids = 4194305
	t.refusedOS("more pids than there can be", t.start(e), ErrOS, 22)
	busyIDs(t)
}

func busyIDs(t *T) {
	j, err := t.c.Start(program("sleep", "1000"))
	must(err)
	j.Send(Stats{})
	err = j.Until(func() bool { return false })
	t.refused("a request on a stream in use", err, ErrBusy)
	k, err := t.c.Start(program("sleep", "1000"))
	must(err)
	k.Send(Ping{})
	t.refused("a PING on a stream in use", k.Until(func() bool { return false }), ErrBusy)
	for _, each := range []*Job{j, k} {
		must(t.c.Do(KillJob{Job: each.Started.Job}))
	}
}

// ended checks cause, signal and flags.
func (t *T) ended(what string, j *Job, cause, signal, flags uint8) {
	t.check(what, j.Exit.Cause == cause && j.Exit.Signal == signal && j.Exit.Flags == flags, j.Exit)
}

func ends(t *T) {
	j := t.run(shell("kill -9 $$"))
	t.ended("a signal", j, CauseSignalled, 9, 0)
	e := program("sleep", "1000")
	e.WallMs = 200
	j = t.run(e)
	t.check("wall_ms", j.Exit.Cause == CauseTimeout && j.Exit.WallNs >= 190e6, j.Exit)
	e = shell("while :; do :; done")
	e.CPUMs = 200
	j = t.run(e)
	t.check("cpu_ms", j.Exit.Cause == CauseCPU && j.Exit.UserNs+j.Exit.SystemNs >= 150e6, j.Exit)
	e = program("yes")
	e.Output = 10000
	j = t.run(e)
	t.check("output: exactly that much", j.Exit.Cause == CauseOutput && len(j.Out)+len(j.Err) == 10000, j.Exit)
	e = program("dd", "if=/dev/zero", "of=/dev/null", "bs=48M", "count=1")
	e.Memory = 16 << 20
	j = t.run(e)
	t.check("memory", j.Exit.Cause == CauseOOM && j.Exit.MemoryPeak > 12<<20 && j.Exit.MemoryPeak <= 16<<20, j.Exit)
	e = shell("sleep 1000 & sleep 1000 & sleep 1000 & sleep 1000 & wait")
	e.Pids, e.WallMs = 3, 60000
	j = t.run(e)
	t.check("pids", j.Exit.Cause == CauseExited && j.Exit.Status != 0 && len(j.Err) > 0, j.Exit)

	j = t.run(shell("sleep 1000 & echo done"))
	t.ended("a descendant that holds the output", j, CauseExited, 0, ExitOutputHeld)
	t.exits("and the output is whole", j, "done\n", 0)
	t.exits("and it is killed", t.run(shell("ps | grep -c '[s]leep 1000'")), "0\n", 1)

	j, err := t.c.Start(shell("echo begun; sleep 1000"))
	must(err)
	must(j.Until(func() bool { return len(j.Out) > 0 }))
	t.fine("KILL is OK", j.Control(Kill{}))
	must(j.Wait())
	t.check("and the job is cancelled", j.Exit.Cause == CauseCancelled && string(j.Out) == "begun\n", j.Exit)
	greedy(t)
	signals(t)
}

// greedy is a job without a limit that takes all the guest's memory.
func greedy(t *T) {
	small, err := t.c.Start(program("sleep", "1000"))
	must(err)
	answer, err := t.c.Ask(Stats{})
	must(err)
	all := answer.(Usage).MemoryTotal
	j := t.run(program("dd", "if=/dev/zero", "of=/dev/null", "count=1", fmt.Sprintf("bs=%d", all-1<<20)))
	t.equal("a job that takes all memory", j.Exit.Cause, uint8(CauseOOM))
	answer, err = t.c.Ask(JobAsk{Job: small.Started.Job})
	must(err)
	t.equal("leaves the others alone", answer.(JobInfo).State, uint8(JobRunning))
	must(small.Control(Kill{}))
	t.exits("and the next one runs", t.run(shell("echo next")), "next\n", 0)
}

func signals(t *T) {
	j, err := t.c.Start(shell(`trap 'wait $!; echo got $?; exit 3' USR1; sleep 1000 &
		until [ "$(head -c 5 /proc/$!/cmdline)" = sleep ]; do :; done; echo ready; wait`))
	must(err)
	must(j.Until(func() bool { return len(j.Out) > 0 }))
	t.refused("SIGNAL 0", j.Control(Signal{Signal: 0}), ErrInvalid)
	t.refused("SIGNAL 65", j.Control(Signal{Signal: 65}), ErrInvalid)
	t.refused("SIGNAL with an unknown scope", j.Control(Signal{Signal: 10, Scope: 2}), ErrInvalid)
	t.refused("RESIZE without a terminal", j.Control(Resize{Rows: 5, Cols: 5}), ErrInvalid)
	t.fine("SIGNAL to the job", j.Control(Signal{Signal: 10, Scope: ScopeJob}))
	must(j.Wait())
	t.exits("and its first process has it, and the other", j, "ready\ngot 138\n", 3)
	s := t.c.Listen(j.ID)
	s.Send(Signal{Signal: 15})
	t.refused("SIGNAL after EXIT", errorOn(s), ErrNotFound)

	j, err = t.c.Start(program("sleep", "1000"))
	must(err)
	t.fine("SIGNAL to the process", j.Control(Signal{Signal: 15, Scope: ScopeProcess}))
	must(j.Wait())
	t.ended("and it ends by it", j, CauseSignalled, 15, 0)
}

func input(t *T) {
	t.exits("standard input", t.run(program("cat"), "some ", "input"), "some input", 0)
	big := bytes.Repeat([]byte("0123456789abcde\n"), 20000)
	j := t.run(program("cat"), string(big))
	t.check("much of it, both ways", bytes.Equal(j.Out, big), len(j.Out))
	j = t.run(shell("exec <&-; echo closed"), string(big[:100000]))
	t.exits("input that nobody reads is dropped", j, "closed\n", 0)

	e := shell("[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && stty size; echo also >&2")
	e.Flags, e.Rows, e.Cols = JobTTY|JobStdin, 33, 99
	j = t.run(e)
	t.equal("a terminal and its size", string(j.Out), "33 99\r\nalso\r\n")
	t.equal("channel 2 of a terminal ends at 0", j.Exit.StderrSize, uint64(0))

	e = shell("trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.05; done")
	e.Flags, e.Rows, e.Cols = JobTTY, 10, 20
	j, err := t.c.Start(e)
	must(err)
	must(j.Until(func() bool { return bytes.Contains(j.Out, []byte("ready")) }))
	t.fine("RESIZE", j.Control(Resize{Rows: 40, Cols: 111}))
	must(j.Wait())
	t.exits("the program is told", j, "ready\r\n40 111\r\n", 4)

	e = program("cat")
	e.Flags, e.Rows, e.Cols = JobTTY, 10, 20
	j = t.run(e, "typed\n")
	t.exits("END types Ctrl-D", j, "typed\r\ntyped\r\n", 0)
}

// windows are those of output.
func windows(t *T) {
	e := program("yes", "0123456")
	e.Output, e.Window = 40000, 1000
	j := t.run(e)
	t.check("a window of 1000 bytes", len(j.Out) == 40000 && bytes.HasSuffix(j.Out, []byte("6\n0123456\n")), len(j.Out))

	e = shell("head -c 3000 /dev/zero; echo end >&2")
	e.Window = 0
	j, err := t.c.Start(e)
	must(err)
	must(t.untilEnded(j.Started.Job))
	info, err := t.c.Ask(JobAsk{Job: j.Started.Job})
	must(err)
	t.equal("JOB of an ended job", info, JobInfo{Job: j.Started.Job, State: JobEnded, StdoutEnd: 3000, StderrEnd: 4})
	t.equal("no output without a window", len(j.Out), 0)
	j.Grant(1, 1000)
	must(j.Until(func() bool { return len(j.Out) == 1000 }))
	j.Grant(2, 4096)
	j.Grant(1, 4096)
	must(j.Wait())
	t.check("the rest, when it is granted", len(j.Out) == 3000 && string(j.Err) == "end\n", j.Exit)

	untaken(t)
}

// untaken is output that nobody takes.
func untaken(t *T) {
	e := shell("head -c 30000 /dev/zero; echo written >&2; exec sleep 1000")
	e.Window = 0
	j, err := t.c.Start(e)
	must(err)
	j.Manual = true
	must(t.untilJob(j.Started.Job, func(info JobInfo) bool { return info.StderrEnd > 0 }))
	t.fine("KILL of a job whose output nobody takes", j.Control(Kill{}))
	must(t.untilEnded(j.Started.Job))
	t.fine("once more ends the wait", t.c.Do(KillJob{Job: j.Started.Job}))
	answer, err := t.c.Ask(JobAsk{Job: j.Started.Job})
	must(err)
	j.Grant(1, 1<<20)
	j.Grant(2, 1<<20)
	must(j.Wait())
	t.ended("output is lost, and EXIT says so", j, CauseCancelled, 9, ExitOutputLost)
	t.equal("its size is that of what is left", j.Exit.StdoutSize, answer.(JobInfo).StdoutEnd)
	t.check("which is less", j.Exit.StdoutSize < 30000 && len(j.Out) > 0, j.Exit)

	e = program("yes")
	e.WallMs = 100
	e.Window = 0
	j, err = t.c.Start(e)
	must(err)
	must(t.untilEnded(j.Started.Job))
	t.fine("RELEASE of a job that waits for its host", t.c.Do(Release{Job: j.Started.Job}))
	_, err = t.c.Ask(JobAsk{Job: j.Started.Job})
	t.refused("and it is forgotten", err, ErrNotFound)
}

// untilEnded asks until a job is JOB_ENDED.
func (t *T) untilEnded(job uint32) error {
	return t.untilJob(job, func(info JobInfo) bool { return info.State == JobEnded })
}

// untilJob asks about a job until the condition holds, for as long as other answers may take.
func (t *T) untilJob(job uint32, holds func(JobInfo) bool) error {
	for begin := time.Now(); time.Since(begin) < Patience; {
		answer, err := t.c.Ask(JobAsk{Job: job})
		if err != nil {
			return err
		}
		info, is := answer.(JobInfo)
		if !is {
			return fmt.Errorf("%T instead of JOB_INFO", answer)
		}
		if holds(info) {
			return nil
		}
	}
	return ErrSilent
}

// flow is what closes the connection.
func flow(t *T) {
	for _, each := range []struct {
		what    string
		request Exec
		flags   uint16
		message any
	}{
		{"DATA without JOB_STDIN", program("sleep", "1000"), 0, Data{Data: []byte("x")}},
		{"DATA at the wrong offset", program("cat"), JobStdin, Data{Offset: 1, Data: []byte("x")}},
		{"DATA beyond the limit", program("sleep", "1000"), JobStdin, Data{Data: make([]byte, 60000)}},
		{"END at the wrong offset", program("cat"), JobStdin, End{Offset: 3}},
		{"a WINDOW that consumes what was not sent", program("cat"), JobStdin, Window{Channel: 1, Consumed: 1, Limit: 100000}},
	} {
		each.request.Flags = each.flags
		j, err := t.c.Start(each.request)
		must(err)
		j.Send(each.message)
		t.refused(each.what, j.Until(func() bool { return false }), ErrFlow)
		t.reconnect()
		must(t.c.Do(KillJob{Job: j.Started.Job}))
	}
}
