package main

import (
	"bytes"
	"fmt"
	"strings"

	. "stranger/client"
)

// attach is a job that outlives its connections.
func attach(t *T) {
	e := shell("echo one; echo err >&2; read x; echo got $x; exit 5")
	e.Flags = JobStdin
	j, err := t.c.Start(e)
	must(err)
	j.Manual = true
	must(j.Write([]byte("in")))
	_, err = t.c.Ask(Ping{}) // when it is answered, the input before it was taken
	must(err)
	must(j.Until(func() bool { return len(j.Out) == 4 && len(j.Err) == 4 }))
	id := j.Started.Job

	t.reconnect()
	answer, err := t.c.Ask(Jobs{})
	must(err)
	t.equal("JOBS after the connection was lost", stateIn(answer, id), uint32(JobRunning))
	j, err = t.c.Open().Start(Attach{Job: id, Window: 4096})
	must(err)
	j.Manual = true
	t.check("ATTACH: STARTED says the same job", j.Started.Job == id && j.Started.Pid > 1, j.Started)
	t.equal("and where standard input goes on", j.Started.StdinOffset, uint64(2))
	must(j.Until(func() bool { return len(j.Out) == 4 && len(j.Err) == 4 }))
	t.equal("what was not consumed comes again", string(j.Out)+string(j.Err), "one\nerr\n")

	second, err := t.c.Open().Start(Attach{Job: id, StdoutOffset: 4, StderrOffset: 2, Window: 4096})
	must(err)
	t.refused("ATTACH takes the job from who had it", j.Until(func() bool { return false }), ErrGone)
	t.refused("an offset that was consumed", t.attachTo(id, 3, 2), ErrGone)
	t.refused("an offset that there is not yet", t.attachTo(id, 5, 2), ErrInvalid)
	must(second.Write([]byte("put\n")))
	must(second.Wait())
	t.exits("input of two connections, and output from an offset", second, "got input\n", 5)
	t.equal("the other channel from its offset", string(second.Err), "r\n")
	t.equal("EXIT counts from the job's begin", second.Exit.StdoutSize, uint64(14))
	t.fine("RELEASE", t.c.Do(Release{Job: id}))
	t.refused("RELEASE again", t.c.Do(Release{Job: id}), ErrNotFound)
	t.refused("ATTACH of no job", t.attachTo(id, 0, 0), ErrNotFound)
	t.refused("KILL_JOB of no job", t.c.Do(KillJob{Job: id}), ErrNotFound)
	endedMeanwhile(t)
	cutInOutput(t)
}

func (t *T) attachTo(job uint32, stdout, stderr uint64) error {
	_, err := t.c.Open().Start(Attach{Job: job, StdoutOffset: stdout, StderrOffset: stderr, Window: 4096})
	return err
}

func stateIn(list any, job uint32) uint32 {
	l, _ := list.(JobList)
	for i, id := range l.IDs {
		if id == job && i < len(l.States) {
			return l.States[i]
		}
	}
	return 0
}

func endedMeanwhile(t *T) {
	e := shell("echo hello; exit 6")
	e.Window = 0
	j, err := t.c.Start(e)
	must(err)
	t.reconnect()
	must(t.untilEnded(j.Started.Job))
	answer, err := t.c.Ask(Jobs{})
	must(err)
	t.equal("a job that ended without a connection is kept", stateIn(answer, j.Started.Job), uint32(JobEnded))
	t.fine("KILL_JOB of an ended job is OK", t.c.Do(KillJob{Job: j.Started.Job}))
	k, err := t.c.Open().Start(Attach{Job: j.Started.Job, Window: 4096})
	must(err)
	must(k.Wait())
	t.exits("and ATTACH brings all of it", k, "hello\n", 6)
	again, err := t.c.Open().Start(Attach{Job: j.Started.Job, StdoutOffset: 6, Window: 4096})
	must(err)
	must(again.Wait())
	t.exits("also once more, from the end", again, "", 6)
	must(t.c.Do(Release{Job: j.Started.Job}))
}

// cutInOutput loses the connection while much output is under way; the next connection must begin with a whole frame, and the
// output must be whole.
func cutInOutput(t *T) {
	const size = 3000000
	request := shell(fmt.Sprintf("yes 0123456 | head -c %d", size))
	request.Window = 1 << 20
	j, err := t.c.Start(request)
	must(err)
	var out []byte
	for cuts := 0; !j.Done; cuts++ {
		want := 200000
		if cuts >= 3 {
			want = 2 * size
		}
		must(j.Until(func() bool { return j.Done || len(j.Out) >= want }))
		out = append(out, j.Out...)
		if j.Done {
			break
		}
		t.reconnect()
		answer, err := t.c.Ask(JobAsk{Job: j.Started.Job})
		must(err)
		info := answer.(JobInfo)
		t.check("JOB: what is kept begins at or below what came", info.StdoutStart <= uint64(len(out)) &&
			info.StdoutEnd >= info.StdoutStart, info)
		j, err = t.c.Open().Start(Attach{Job: j.Started.Job, StdoutOffset: uint64(len(out)), Window: 1 << 20})
		must(err)
	}
	whole := bytes.Repeat([]byte("0123456\n"), size/8)
	t.check("output over four connections is whole", bytes.Equal(out, whole), len(out))
}

// table fills the table of jobs.
func table(t *T) {
	answer, err := t.c.Ask(Jobs{})
	must(err)
	for i, id := range answer.(JobList).IDs {
		if answer.(JobList).States[i] != JobEnded {
			must(t.c.Do(KillJob{Job: id}))
			must(t.untilEnded(id))
		}
		must(t.c.Do(Release{Job: id}))
	}
	answer, err = t.c.Ask(Jobs{})
	must(err)
	t.equal("JOBS when all were released", answer, JobList{IDs: []uint32{}, States: []uint32{}})

	var all []*Job
	for i := uint32(0); i < t.c.Welcome.JobsMax; i++ {
		j, err := t.c.Start(program("sleep", "1000"))
		must(err)
		all = append(all, j)
	}
	t.refused("one job more than jobs_max", t.start(program("true")), ErrLimit)
	t.refused("RELEASE of a job that runs", t.c.Do(Release{Job: all[0].Started.Job}), ErrBusy)
	answer, err = t.c.Ask(Stats{})
	must(err)
	t.equal("STATS counts them", answer.(Usage).Jobs, t.c.Welcome.JobsMax)
	ids := map[uint32]bool{}
	for _, j := range all {
		ids[j.Started.Job] = true
		must(j.Control(Kill{}))
		must(j.Wait())
	}
	t.equal("every job has an id of its own", len(ids), len(all))
	t.exits("an ended job makes room", t.run(shell("echo room")), "room\n", 0)
	answer, err = t.c.Ask(Jobs{})
	must(err)
	t.equal("the oldest of them", stateIn(answer, all[0].Started.Job), uint32(0))
	t.equal("and no other", stateIn(answer, all[1].Started.Job), uint32(JobEnded))
}

// longStrings are argv and env that come as STRINGS.
func longStrings(t *T) {
	empty := program()
	empty.Env = nil
	argv := []string{"sh", "-c", `echo $# ${#1} ${#V}`, "sh"}
	for i := 0; i < 5000; i++ {
		argv = append(argv, strings.Repeat("x", 100))
	}
	argv[4] = strings.Repeat("y", 100000)
	s := t.c.Open()
	s.SendStrings(argv, []string{"PATH=/bin", "V=" + strings.Repeat("z", 90000)}, 60001)
	j, err := s.Start(empty)
	must(err)
	must(j.Wait())
	t.exits("5000 strings of 700 KB", j, "5000 100000 90000\n", 0)

	s = t.c.Open()
	s.SendStrings([]string{"echo", "piece by piece"}, environment, 1)
	j, err = s.Start(empty)
	must(err)
	must(j.Wait())
	t.exits("strings cut anywhere", j, "piece by piece\n", 0)

	s = t.c.Open()
	s.SendStrings([]string{"echo", strings.Repeat("a", 131072)}, environment, 60000)
	_, err = s.Start(empty)
	t.refusedOS("a string of more than 128 KiB", err, ErrExec, 7)

	s = t.c.Open()
	s.Send(Strings{ArgvSize: 100, Data: []byte("a")})
	_, err = s.Start(empty)
	t.refused("strings that are not complete", err, ErrInvalid)
	_, err = t.c.Listen(s.ID).Start(program("true"))
	t.fine("and they are ended by it", err)
	s = t.c.Open()
	s.SendStrings([]string{"true"}, nil, 100)
	_, err = s.Start(program("true"))
	t.refused("argv in the request, too", err, ErrInvalid)
	s = t.c.Open()
	s.Send(Strings{ArgvSize: StringsMax, EnvSize: 1, Data: []byte("a")})
	_, err = s.Start(empty)
	t.refused("more than 2 MiB", err, ErrLimit)

	s = t.c.Open()
	s.Send(Strings{ArgvSize: 100, Data: []byte("a")})
	s.Send(Stats{})
	_, err = waitAnswer(s)
	t.refused("another request on their stream", err, ErrBusy)
	t.refused("QUIESCE while there are STRINGS", t.c.Do(Quiesce{}), ErrBusy)
	s.Send(End{})
	s.Send(Ping{Token: 4})
	answer, err := waitAnswer(s)
	t.check("END on channel 0 takes them back", answer == Pong{Token: 4} && err == nil, err)
	for _, each := range []struct {
		what string
		next Strings
	}{
		{"STRINGS at another offset", Strings{ArgvSize: 100, Offset: 5, Data: []byte("a")}},
		{"STRINGS of other sizes", Strings{ArgvSize: 101, Offset: 1, Data: []byte("a")}},
		{"empty STRINGS", Strings{ArgvSize: 100, Offset: 1}},
	} {
		s = t.c.Open()
		s.Send(Strings{ArgvSize: 100, Data: []byte("a")})
		s.Send(each.next)
		_, err = waitAnswer(s)
		t.refused(each.what, err, ErrFlow)
		t.reconnect()
	}
}

// waitAnswer is the next message of a stream; an ERROR is an error.
func waitAnswer(s *Stream) (any, error) {
	message, err := s.Next()
	if failure, is := message.(Error); is {
		return nil, failure
	}
	return message, err
}
