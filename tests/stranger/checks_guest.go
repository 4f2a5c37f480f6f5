package main

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	. "stranger/client"
)

func interpreter(script string) Prime {
	return Prime{Argv: []string{"sh", script, "argument"}, Env: environment, Cwd: "/tmp", UID: 1000, GID: 1000,
		Script: script, SettleMs: 60000}
}

// prime is PRIME and FEED.
func prime(t *T) {
	const script, source = "/run/made/script", "/run/source"
	answer, err := t.c.Ask(interpreter(script))
	must(err)
	started := answer.(Started)
	answer, err = t.c.Ask(JobAsk{Job: started.Job})
	t.check("PRIME", err == nil && answer.(JobInfo).State == JobPrimed, answer)
	info, err := t.c.Stat(script, 0)
	t.check("its script is a FIFO", err == nil && info.Mode&ModeTypes == 0o010000, info)
	feed := Feed{Job: started.Job, Source: source, Window: 4096}
	t.refusedOS("FEED of a source that is not there", t.start(feed), ErrOS, 2)
	text := "id -u; pwd; echo $1; cat; exit 9\n"
	must(t.c.Write(WriteFile{Path: source, Mode: ModeRegular | 0o644}, []byte(text), 1000))
	bad := feed
	bad.Flags = JobTTY
	t.refused("FEED with JOB_TTY", t.start(bad), ErrUnsupported)
	bad = feed
	bad.Source = "run/source"
	t.refused("FEED with a relative path", t.start(bad), ErrInvalid)
	feed.Flags = JobStdin
	j, err := t.c.Start(feed)
	must(err)
	t.check("STARTED of FEED is the primed job", j.Started.Job == started.Job && j.Started.Pid == started.Pid, j.Started)
	must(j.Write([]byte("fed\n")))
	j.CloseInput()
	must(j.Wait())
	t.exits("and it runs the program", j, "1000\n/tmp\nargument\nfed\n", 9)
	t.equal("its script is a plain file now", t.content(script), text)
	_, err = t.c.Stat(source, 0)
	t.refusedOS("and its source gone", err, ErrOS, 2)
	t.refused("FEED of a job that was fed", t.start(feed), ErrState)
	feed.Job = 4000000000
	t.refused("FEED of no job", t.start(feed), ErrNotFound)
	limits(t, script, source)

	p := interpreter("/run/other")
	p.Argv, p.SettleMs = []string{"sleep", "1000"}, 200
	t.refused("PRIME of what never opens its script", t.start(p), ErrTimeout)
	p.Argv, p.SettleMs = []string{"true"}, 60000
	t.refusedOS("PRIME of what ends", t.start(p), ErrExec, 0)
	p.Argv = []string{"/nothing"}
	t.refusedOS("PRIME of what is not there", t.start(p), ErrExec, 2)
	t.refused("PRIME with a relative script", t.start(interpreter("run/script")), ErrInvalid)
	t.refused("PRIME with a long path", t.start(interpreter("/run/"+strings.Repeat("x", ScriptPathMax-4))), ErrLimit)
}

// limits are those of FEED.
func limits(t *T, script, source string) {
	s := t.c.Open()
	p := interpreter(script)
	s.SendStrings(p.Argv, p.Env, 7)
	p.Argv, p.Env = nil, nil
	s.Send(p)
	answer, err := waitAnswer(s)
	must(err)
	must(t.c.Write(WriteFile{Path: source, Mode: ModeRegular | 0o644}, []byte("cat; echo $1; yes"), 1000))
	j, err := t.c.Start(Feed{Job: answer.(Started).Job, Source: source, Window: 4096, Output: 5000})
	must(err)
	must(j.Wait())
	t.check("PRIME with STRINGS, and FEED with a limit and no input", j.Exit.Cause == CauseOutput && len(j.Out) == 5000 &&
		strings.HasPrefix(string(j.Out), "argument\ny\n"), j.Exit)
}

// resume asks for RESUME.
func (t *T) resume(entropy int, hostname string) (Resumed, error) {
	request := Resume{Entropy: make([]byte, entropy), WallClockNs: uint64(time.Now().UnixNano()), Hostname: hostname}
	rand.Read(request.Entropy)
	rand.Read(request.Instance[:])
	answer, err := t.c.Ask(request)
	resumed, _ := answer.(Resumed)
	return resumed, err
}

func snapshot(t *T) {
	before := string(t.run(program("cat", "/etc/machine-id")).Out)
	t.fine("QUIESCE", t.c.Do(Quiesce{}))
	for what, request := range map[string]any{"EXEC": program("true"), "STATS": Stats{}, "STAT": Stat{Path: "/"}, "JOBS": Jobs{}} {
		t.refused(what+" when quiesced", t.start(request), ErrState)
	}
	answer, err := t.c.Ask(Ping{Token: 2})
	t.check("PING when quiesced", answer == Pong{Token: 2} && err == nil, err)
	t.reconnect()
	t.equal("WELCOME says STATE_QUIESCED", t.c.Welcome.State, uint8(StateQuiesced))
	_, err = t.resume(EntropyMin-1, "")
	t.refused("too little entropy", err, ErrInvalid)
	_, err = t.resume(EntropyMax+1, "")
	t.refused("too much", err, ErrInvalid)
	t.refused("and the guest is still quiesced", t.c.Do(Stats{}), ErrState)
	resumed, err := t.resume(EntropyMax, "stranger-7")
	t.check("RESUME: all five steps", err == nil && resumed.Done == ResumedAll && resumed.ClockBeforeNs > 0, resumed)
	j := t.run(shell("hostname; date +%s; cat /etc/machine-id"))
	words := strings.Fields(string(j.Out))
	if len(words) != 3 {
		t.check("after it", false, string(j.Out))
		return
	}
	t.equal("the host name", words[0], "stranger-7")
	clock, _ := strconv.ParseInt(words[1], 10, 64)
	off := time.Since(time.Unix(clock, 0))
	t.check("the clock", off > -5*time.Second && off < Patience, off)
	t.check("the machine's id", len(words[2]) == 32 && words[2] != strings.TrimSpace(before), words[2])
	resumed, err = t.resume(EntropyMin, "")
	t.check("RESUME without QUIESCE does the same", err == nil && resumed.Done&7 == 7, fmt.Sprint(resumed, err))
	t.equal("and an empty name keeps the host's", string(t.run(program("hostname")).Out), "stranger-7\n")
	resumed, err = t.resume(EntropyMin, strings.Repeat("h", HostNameMax+1))
	t.check("a host name of 65 bytes is the one step that fails", err == nil && resumed.Done == ResumedAll&^ResumedHostname,
		fmt.Sprint(resumed, err))
	t.equal("and the host's name stays", string(t.run(program("hostname")).Out), "stranger-7\n")
	resumed, err = t.resume(EntropyMin, strings.Repeat("h", HostNameMax))
	t.check("one of 64 bytes is set", err == nil && resumed.Done == ResumedAll, fmt.Sprint(resumed, err))
	t.reconnect()
	t.equal("WELCOME says STATE_READY", t.c.Welcome.State, uint8(StateReady))
}

func shutdown(t *T) {
	t.refused("SHUTDOWN with an unknown action", t.c.Do(Shutdown{Action: 9}), ErrInvalid)
	t.fine("SHUTDOWN", t.c.Do(Shutdown{Action: ShutdownPoweroff, Status: 3}))
	select {
	case err := <-t.guest.ended:
		t.fine("and the VMM ends", err)
		t.guest.ended <- err
	case <-time.After(Patience):
		t.check("and the VMM ends", false, "it still runs")
	}
}
