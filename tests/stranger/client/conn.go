package client

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Patience is how long an answer may take; a busy machine needs much of it, a test that passes little.
const Patience = 60 * time.Second

// Conn is one connection to initd over the virtio-serial port, behind which there is a unix socket.
type Conn struct {
	Welcome  Welcome
	Attempts []error // of Connect, that failed before this one

	socket  net.Conn
	lock    sync.Mutex // of what follows
	streams map[uint32]*Stream
	next    uint32
	broken  error // why nothing comes any more
}

// Stream is one id of a connection, with what came on it and was not looked at.
type Stream struct {
	ID   uint32
	conn *Conn
	in   chan any
}

// Dial opens the port and greets nobody.
func Dial(path string) (*Conn, error) {
	socket, err := net.DialTimeout("unix", path, Patience)
	if err != nil {
		return nil, err
	}
	c := &Conn{socket: socket, streams: map[uint32]*Stream{}, next: 1}
	go c.read()
	return c, nil
}

// Close closes the host's end of the port.
func (c *Conn) Close() { c.socket.Close() }

// read takes frames and hands them to their streams, until the end.
func (c *Conn) read() {
	in := bufio.NewReaderSize(c.socket, frameMax)
	for {
		stream, message, err := readMessage(in)
		c.lock.Lock()
		if err != nil {
			c.broken = err
			for _, each := range c.streams {
				close(each.in)
			}
			c.streams = map[uint32]*Stream{}
			c.lock.Unlock()
			c.socket.Close()
			return
		}
		to := c.streams[stream]
		c.lock.Unlock()
		if to != nil {
			to.in <- message
		}
	}
}

func readMessage(in io.Reader) (uint32, any, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return 0, nil, err
	}
	size := binary.LittleEndian.Uint32(header[:])
	if size > PayloadMax {
		return 0, nil, fmt.Errorf("a frame of %d bytes", size)
	}
	f := Frame{
		Kind:    binary.LittleEndian.Uint16(header[4:]),
		Flags:   binary.LittleEndian.Uint16(header[6:]),
		Stream:  binary.LittleEndian.Uint32(header[8:]),
		Payload: make([]byte, size),
	}
	if _, err := io.ReadFull(in, f.Payload); err != nil {
		return 0, nil, err
	}
	message, err := Decode(f)
	return f.Stream, message, err
}

// Listen begins to keep what comes on a stream id. Finish ends it.
func (c *Conn) Listen(id uint32) *Stream {
	c.lock.Lock()
	defer c.lock.Unlock()
	s := &Stream{ID: id, conn: c, in: make(chan any, 1<<14)}
	if c.broken != nil {
		close(s.in)
	} else {
		c.streams[id] = s
	}
	return s
}

// Open begins a stream with an id that was never used on this connection.
func (c *Conn) Open() *Stream {
	c.lock.Lock()
	id := c.next
	c.next++
	c.lock.Unlock()
	return c.Listen(id)
}

// Finish forgets the stream.
func (s *Stream) Finish() {
	s.conn.lock.Lock()
	defer s.conn.lock.Unlock()
	if s.conn.streams[s.ID] == s {
		delete(s.conn.streams, s.ID)
	}
}

// SendRaw sends bytes as they are.
func (c *Conn) SendRaw(data []byte) {
	c.socket.SetWriteDeadline(time.Now().Add(Patience))
	c.socket.Write(data) // when it is lost, reading says so
}

// Send sends a message on the stream.
func (s *Stream) Send(message any) { s.conn.SendRaw(Encode(s.ID, message).Bytes()) }

// Next is the next message of the stream.
func (s *Stream) Next() (any, error) { return s.NextWithin(Patience) }

// ErrSilent says that nothing came in time.
var ErrSilent = errors.New("no message came in time")

// NextWithin is Next with another patience.
func (s *Stream) NextWithin(patience time.Duration) (any, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case message, open := <-s.in:
		if !open {
			s.conn.lock.Lock()
			defer s.conn.lock.Unlock()
			return nil, fmt.Errorf("the connection ended: %w", s.conn.broken)
		}
		return message, nil
	case <-timer.C:
		return nil, ErrSilent
	}
}

// Greet sends HELLO, of the versions given, and takes the WELCOME; what comes before it is of an earlier connection.
func (c *Conn) Greet(lowest, highest uint16, patience time.Duration) error {
	s := c.Listen(0)
	defer s.Finish()
	s.Send(Hello{Magic: Magic, VersionMin: lowest, VersionMax: highest, Features: FeatureStrings | FeatureJob})
	for {
		message, err := s.NextWithin(patience)
		if err != nil {
			return err
		}
		switch m := message.(type) {
		case Welcome:
			if m.Magic != Magic || m.Version < lowest || m.Version > highest {
				return fmt.Errorf("a wrong WELCOME: %+v", m)
			}
			c.Welcome = m
			return nil
		case Error:
			return m
		}
	}
}

// Connect opens the port and greets. When no WELCOME comes it closes the port, waits and tries again, as the page advises.
func Connect(path string) (*Conn, error) {
	deadline := time.Now().Add(2 * Patience)
	var failed []error
	for {
		c, err := Dial(path)
		if err == nil {
			if err = c.Greet(1, 1, 5*time.Second); err == nil {
				c.Attempts = failed
				return c, nil
			}
			c.Close()
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no connection: %w", err)
		}
		failed = append(failed, err)
		time.Sleep(ClosedFor)
	}
}

// ClosedFor is how long a host keeps the port closed, so that the guest sees it.
const ClosedFor = 100 * time.Millisecond

// Ask sends a request that has a single answer, and gives it; an ERROR is an error.
func (c *Conn) Ask(request any) (any, error) {
	s := c.Open()
	defer s.Finish()
	s.Send(request)
	return s.answer()
}

func (s *Stream) answer() (any, error) {
	message, err := s.Next()
	if failure, is := message.(Error); is {
		return nil, failure
	}
	return message, err
}

// Do asks for something whose answer is OK.
func (c *Conn) Do(request any) error {
	answer, err := c.Ask(request)
	return wantOK(answer, err)
}

func wantOK(answer any, err error) error {
	if _, is := answer.(OK); err == nil && !is {
		return fmt.Errorf("%T instead of OK", answer)
	}
	return err
}
