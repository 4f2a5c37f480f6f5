package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	. "stranger/client"
)

// dial opens the port without a greeting. When the port was closed for too short a time the guest, which may be slow, goes on
// with the connection before; then it is closed for longer.
func (t *T) dial() *Conn {
	var message any
	for closed := ClosedFor; closed < Patience; closed *= 2 {
		t.c.Close()
		time.Sleep(closed)
		c, err := Dial(t.path)
		must(err)
		t.c = c
		s := c.Open()
		s.Send(Ping{Token: 5})
		message, _ = s.NextWithin(5 * time.Second)
		if failure, is := message.(Error); is && failure.Code == ErrState {
			return c
		}
	}
	must(fmt.Errorf("PING before HELLO: %+v instead of ERR_STATE", message))
	return nil
}

// greeting is the frame of a HELLO.
func greeting() []byte { return Encode(0, Hello{Magic: Magic, VersionMin: 1, VersionMax: 1}).Bytes() }

// errorOn waits for the ERROR on a stream; other messages are of an earlier connection.
func errorOn(s *Stream) error {
	for {
		message, err := s.Next()
		if err != nil {
			return err
		}
		if failure, is := message.(Error); is {
			return failure
		}
	}
}

func handshake(t *T) {
	w := t.c.Welcome
	t.equal("WELCOME: version", w.Version, uint16(1))
	t.equal("WELCOME: features", w.Features&(FeatureStrings|FeatureJob), uint64(FeatureStrings|FeatureJob))
	t.equal("WELCOME: state", w.State, uint8(StateReady))
	t.check("WELCOME: jobs_max", w.JobsMax > 0, w)
	t.check("WELCOME: init_ns comes before ready_ns", w.InitNs > 0 && w.InitNs < w.ReadyNs, w)
	t.check("WELCOME: build", len(w.Build) > 0, w)

	c := t.dial()
	s := c.Open()
	s.Send(Stats{})
	t.refused("STATS before HELLO", errorOn(s), ErrState)
	must(c.Greet(1, 1, Patience))
	t.check("and HELLO is taken after them", c.Welcome.Version == 1, c.Welcome)

	c = t.dial()
	t.refused("HELLO with versions that initd does not speak", c.Greet(2, 9, Patience), ErrUnsupported)
	c = t.dial()
	must(c.Greet(1, 9, Patience))
	t.equal("HELLO of 1 to 9 gets version 1", c.Welcome.Version, uint16(1))
	c = t.dial()
	s = c.Listen(0)
	s.Send(Hello{Magic: Magic + 1, VersionMin: 1, VersionMax: 1})
	t.refused("HELLO with another magic", errorOn(s), ErrMalformed)

	c = t.dial()
	first, second := c.Listen(1), c.Listen(2)
	c.SendRaw(bytes.Join([][]byte{greeting(), Encode(1, Ping{Token: 1 << 63}).Bytes(), Encode(2, Stats{}).Bytes()}, nil))
	answer, err := first.Next()
	must(err)
	t.equal("PING in one write with HELLO", answer, Pong{Token: 1 << 63})
	answer, err = second.Next()
	usage, is := answer.(Usage)
	t.check("STATS in one write with HELLO", is && err == nil, answer)
	t.check("USAGE is plausible", usage.MemoryTotal > 64<<20 && usage.MemoryAvailable < usage.MemoryTotal &&
		usage.UptimeNs > 0 && usage.InitdRSS > 0 && usage.Processes > 0 && usage.DiskFree <= usage.DiskTotal, usage)
	greetAgain(t)
}

// greetAgain is HELLO on the serial port in the middle of a connection.
func greetAgain(t *T) {
	t.reconnect()
	j, err := t.c.Start(program("sleep", "1000"))
	must(err)
	must(t.c.Greet(1, 1, Patience))
	s := t.c.Listen(j.ID)
	s.Send(Ping{Token: 9})
	answer, err := s.Next()
	t.check("HELLO begins a new connection: the stream of a job is free again", answer == Pong{Token: 9} && err == nil, answer)
	info, err := t.c.Ask(JobAsk{Job: j.Started.Job})
	found, _ := info.(JobInfo)
	t.check("and its job runs on", err == nil && found.State == JobRunning, info)
	t.fine("KILL_JOB ends it", t.c.Do(KillJob{Job: j.Started.Job}))
}

// malformed sends bytes, and then a request whose success would show that initd read on.
func (t *T) malformed(what string, data []byte, stream uint32) {
	t.reconnect()
	s := t.c.Listen(stream)
	trap := Encode(77, WriteFile{Path: "/tmp/read-on", Mode: ModeRegular | 0o644}).Bytes()
	t.c.SendRaw(append(data, trap...))
	t.refused(what, errorOn(s), ErrMalformed)
	t.reconnect()
	_, err := t.c.Stat("/tmp/read-on", 0)
	t.refusedOS("and what follows is not carried out", err, ErrOS, 2)
}

func frames(t *T) {
	s := t.c.Listen(0)
	s.Send(Ping{Token: 1})
	answer, err := s.Next()
	t.check("PING on stream 0", answer == Pong{Token: 1} && err == nil, answer)
	s.Send(Stats{})
	t.refused("STATS on stream 0", errorOn(s), ErrInvalid)
	s.Finish()

	for what, kind := range map[string]uint16{"an unknown type": UnknownKind, "EXIT from the host": KindExit} {
		s = t.c.Open()
		t.c.SendRaw(Frame{Kind: kind, Stream: s.ID, Payload: []byte("abc")}.Bytes())
		t.refused(what, errorOn(s), ErrUnsupported)
	}
	s = t.c.Open()
	for _, message := range []any{Data{Data: []byte("x")}, End{}, Window{Channel: 1, Consumed: 1, Limit: 2}} {
		s.Send(message)
	}
	s.Send(Kill{})
	t.refused("DATA, END and WINDOW without a stream are ignored; KILL is not", errorOn(s), ErrNotFound)
	s.Send(Resize{Rows: 1, Cols: 1})
	t.refused("RESIZE without a job", errorOn(s), ErrNotFound)
	s.Send(Signal{Signal: 15})
	t.refused("SIGNAL without a job", errorOn(s), ErrNotFound)
	answer, err = t.c.Ask(Ping{Token: 3})
	t.check("the connection goes on", answer == Pong{Token: 3} && err == nil, answer)

	t.malformed("flags in a frame", Frame{Kind: 3, Flags: 1, Stream: 5, Payload: make([]byte, 8)}.Bytes(), 0)
	t.malformed("a frame that is too long", []byte{0xf5, 0xff, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0}, 0)
	t.malformed("a payload that ends early", Frame{Kind: 3, Stream: 5, Payload: make([]byte, 7)}.Bytes(), 5)
	t.malformed("a payload with bytes left over", Frame{Kind: 3, Stream: 5, Payload: make([]byte, 9)}.Bytes(), 5)
	stat := Encode(5, Stat{Path: "/tmp"})
	stat.Payload[len(stat.Payload)-3] = 'x' // the NUL
	t.malformed("a str without a NUL", stat.Bytes(), 5)
	stat = Encode(5, Stat{Path: "/t\x00p"})
	t.malformed("a str with another NUL", stat.Bytes(), 5)
	t.malformed("a str of size 0", Frame{Kind: 34, Stream: 5, Payload: make([]byte, 6)}.Bytes(), 5)
	longest(t)
}

// longest sends the longest frame there is.
func longest(t *T) {
	stat := Encode(5, Stat{Path: strings.Repeat("a", PayloadMax-7)})
	s := t.c.Listen(5)
	t.c.SendRaw(stat.Bytes())
	t.check("a frame of 65,536 bytes is taken", len(stat.Payload) == PayloadMax, len(stat.Payload))
	t.refused("and its relative path refused", errorOn(s), ErrInvalid)
	whole := Encode(6, Ping{Token: 6}).Bytes()
	s = t.c.Listen(6)
	for i := range whole {
		t.c.SendRaw(whole[i : i+1])
	}
	answer, err := s.NextWithin(10 * time.Second)
	t.check("a frame byte by byte", answer == Pong{Token: 6} && err == nil, answer)

	t.c.SendRaw(whole[:7]) // and the port is closed in the middle of it
	t.reconnect()
	answer, err = t.c.Ask(Ping{Token: 8})
	t.check("a connection after one that was cut in a frame", answer == Pong{Token: 8} && err == nil, answer)
}
