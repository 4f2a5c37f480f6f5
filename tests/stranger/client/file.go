package client

import (
	"fmt"
)

// Entry is one of a LISTING.
type Entry struct {
	Mode          uint32
	Size, MtimeNs uint64
	Name          string
}

// Write sends a WRITE_FILE whose content goes partly in the request (first bytes) and partly as DATA, as the windows allow it.
func (c *Conn) Write(request WriteFile, content []byte, first int) error {
	s := c.Open()
	defer s.Finish()
	first = int(least(uint64(len(content)), uint64(first)))
	request.Size, request.Data = uint64(len(content)), content[:first]
	s.Send(request)
	sent, room := uint64(first), uint64(first)
	for {
		for sent < room && sent < request.Size {
			size := least(request.Size-sent, room-sent, 32<<10)
			s.Send(Data{Offset: sent, Data: content[sent : sent+size]})
			sent += size
		}
		answer, err := s.answer()
		if err != nil {
			return err
		}
		w, is := answer.(Window)
		if !is {
			return wantOK(answer, nil)
		}
		if w.Channel != 0 || w.Consumed > sent || w.Limit < room || w.Limit > w.Consumed+TransferAheadMost {
			return fmt.Errorf("a wrong WINDOW: %+v", w)
		}
		room = w.Limit
	}
}

// Read is what a READ_FILE brings; a WINDOW is sent when the one before is used up.
func (c *Conn) Read(request ReadFile) (FileInfo, []byte, error) {
	s := c.Open()
	defer s.Finish()
	s.Send(request)
	answer, err := s.answer()
	if err != nil {
		return FileInfo{}, nil, err
	}
	info, is := answer.(FileInfo)
	if !is {
		return info, nil, fmt.Errorf("%T instead of FILE_INFO", answer)
	}
	var content []byte
	limit := request.Window
	for {
		if answer, err = s.answer(); err != nil {
			return info, content, err
		}
		switch m := answer.(type) {
		case Data:
			end := m.Offset + uint64(len(m.Data))
			if m.Channel != 1 || len(m.Data) == 0 || m.Offset != uint64(len(content)) || end > limit {
				return info, content, fmt.Errorf("DATA of %d at %d, limit %d", len(m.Data), m.Offset, limit)
			}
			content = append(content, m.Data...)
			if end == limit {
				limit += request.Window
				s.Send(Window{Channel: 1, Consumed: end, Limit: limit})
			}
		case End:
			if m.Channel != 1 || m.Offset != uint64(len(content)) {
				return info, content, fmt.Errorf("a wrong END: %+v", m)
			}
			return info, content, nil
		default:
			return info, content, fmt.Errorf("%T on the stream of a READ_FILE", m)
		}
	}
}

// Stat is STAT.
func (c *Conn) Stat(path string, flags uint16) (FileInfo, error) {
	answer, err := c.Ask(Stat{Path: path, Flags: flags})
	info, _ := answer.(FileInfo)
	return info, err
}

// List gives all entries of a directory, and of how many pages they are.
func (c *Conn) List(path string) ([]Entry, int, error) {
	var all []Entry
	cursor := uint64(0)
	for pages := 1; ; pages++ {
		answer, err := c.Ask(List{Path: path, Cursor: cursor})
		if err != nil {
			return nil, pages, err
		}
		page, is := answer.(Listing)
		if !is {
			return nil, pages, fmt.Errorf("%T instead of LISTING", answer)
		}
		r := reader{rest: page.Entries}
		for r.err == nil && len(r.rest) > 0 {
			all = append(all, Entry{uint32(r.number(4)), r.number(8), r.number(8), r.text()})
		}
		if cursor = page.Cursor; r.err != nil || cursor == 0 {
			return all, pages, r.err
		}
	}
}
