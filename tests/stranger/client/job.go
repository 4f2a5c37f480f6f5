package client

import (
	"fmt"
)

// Job is a stream with a job: of EXEC, FEED or ATTACH.
type Job struct {
	Started  Started
	Out, Err []byte // what came of channels 1 and 2
	Exit     Exit   // when Done
	Done     bool
	Manual   bool // no WINDOW is sent of itself

	*Stream
	window  uint64
	channel [3]channel
	control []error // answers to RESIZE, SIGNAL and KILL; nil is OK
	stdin   uint64  // bytes of channel 0 that were sent
	room    uint64  // up to which offset they may be
	failure error   // the ERROR that ended the stream
}

type channel struct {
	offset, limit uint64
	ended         bool
}

// Start sends an EXEC or FEED and waits for STARTED.
func (c *Conn) Start(request any) (*Job, error) {
	return c.Open().Start(request)
}

// Start is the same on a stream that was opened before. Also of ATTACH.
func (s *Stream) Start(request any) (*Job, error) {
	j := &Job{Stream: s}
	switch r := request.(type) {
	case Exec:
		j.window = r.Window
	case Feed:
		j.window = r.Window
	case Attach:
		j.window = r.Window
		j.channel[1].offset, j.channel[2].offset = r.StdoutOffset, r.StderrOffset
	}
	for i := 1; i <= 2; i++ {
		j.channel[i].limit = j.channel[i].offset + j.window
	}
	s.Send(request)
	answer, err := s.answer()
	if err != nil {
		s.Finish()
		return nil, err
	}
	started, is := answer.(Started)
	if !is {
		return nil, fmt.Errorf("%T instead of STARTED", answer)
	}
	j.Started, j.stdin, j.room = started, started.StdinOffset, started.StdinLimit
	return j, nil
}

// step takes one message.
func (j *Job) step() error {
	if j.failure != nil {
		return j.failure
	}
	message, err := j.Next()
	if err != nil {
		return err
	}
	switch m := message.(type) {
	case Data:
		return j.takeData(m)
	case End:
		return j.takeEnd(m)
	case Exit:
		return j.takeExit(m)
	case Window:
		if m.Channel != 0 || m.Consumed > j.stdin || m.Limit < j.room {
			return fmt.Errorf("a wrong WINDOW: %+v", m)
		}
		j.room = m.Limit
	case OK:
		j.control = append(j.control, nil)
	case Error:
		if m.Request >= KindResize && m.Request <= KindKill {
			j.control = append(j.control, m)
			return nil
		}
		j.failure = m
		j.Finish()
		return m
	default:
		return fmt.Errorf("%T on the stream of a job", m)
	}
	return nil
}

func (j *Job) takeData(m Data) error {
	if m.Channel != 1 && m.Channel != 2 {
		return fmt.Errorf("DATA on channel %d", m.Channel)
	}
	c := &j.channel[m.Channel]
	size := uint64(len(m.Data))
	if size == 0 || c.ended || m.Offset != c.offset || m.Offset+size > c.limit {
		return fmt.Errorf("DATA of %d at %d, channel %d is %+v", size, m.Offset, m.Channel, *c)
	}
	c.offset += size
	if m.Channel == 1 {
		j.Out = append(j.Out, m.Data...)
	} else {
		j.Err = append(j.Err, m.Data...)
	}
	if !j.Manual {
		j.Grant(m.Channel, j.window)
	}
	return nil
}

func (j *Job) takeEnd(m End) error {
	if m.Channel != 1 && m.Channel != 2 {
		return fmt.Errorf("END on channel %d", m.Channel)
	}
	c := &j.channel[m.Channel]
	if c.ended || m.Offset != c.offset {
		return fmt.Errorf("END at %d, channel %d is %+v", m.Offset, m.Channel, *c)
	}
	c.ended = true
	return nil
}

func (j *Job) takeExit(m Exit) error {
	for i, size := range []uint64{m.StdoutSize, m.StderrSize} {
		if c := j.channel[i+1]; !c.ended || size != c.offset {
			return fmt.Errorf("EXIT %+v, channel %d is %+v", m, i+1, c)
		}
	}
	j.Exit, j.Done = m, true
	j.Finish()
	return nil
}

// Grant says that all of a channel that came is consumed, and that so many bytes more may come.
func (j *Job) Grant(channel uint8, more uint64) {
	c := &j.channel[channel]
	if c.offset+more > c.limit {
		c.limit = c.offset + more
	}
	j.Send(Window{Channel: channel, Consumed: c.offset, Limit: c.limit})
}

// Until takes messages until the condition holds.
func (j *Job) Until(holds func() bool) error {
	for !holds() {
		if err := j.step(); err != nil {
			return err
		}
	}
	return nil
}

// Wait takes everything up to EXIT.
func (j *Job) Wait() error { return j.Until(func() bool { return j.Done }) }

// Control sends RESIZE, SIGNAL or KILL, and gives its answer.
func (j *Job) Control(request any) error {
	j.Send(request)
	if err := j.Until(func() bool { return len(j.control) > 0 }); err != nil {
		return err
	}
	answer := j.control[0]
	j.control = j.control[1:]
	return answer
}

// Write sends standard input, as far as the window allows it at a time.
func (j *Job) Write(data []byte) error {
	for len(data) > 0 {
		if err := j.Until(func() bool { return j.Done || j.room > j.stdin }); err != nil || j.Done {
			return err
		}
		size := least(uint64(len(data)), j.room-j.stdin, 32<<10)
		j.Send(Data{Channel: 0, Offset: j.stdin, Data: data[:size]})
		j.stdin += size
		data = data[size:]
	}
	return nil
}

// CloseInput ends standard input.
func (j *Job) CloseInput() { j.Send(End{Channel: 0, Offset: j.stdin}) }

func least(first uint64, others ...uint64) uint64 {
	for _, each := range others {
		if each < first {
			first = each
		}
	}
	return first
}

// SendStrings sends argv and env ahead of an EXEC or PRIME, in pieces of the size given.
func (s *Stream) SendStrings(argv, env []string, piece int) {
	first, second := joinStrings(argv), joinStrings(env)
	all := append(append([]byte{}, first...), second...)
	for offset := 0; offset < len(all); offset += piece {
		s.Send(Strings{
			ArgvSize: uint32(len(first)), EnvSize: uint32(len(second)), Offset: uint32(offset),
			Data: all[offset:least(uint64(len(all)), uint64(offset+piece))],
		})
	}
}
