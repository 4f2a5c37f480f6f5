package main

import (
	"bytes"
	"fmt"
	"strings"

	. "stranger/client"
)

func regular(path string, flags uint16) WriteFile {
	return WriteFile{Path: path, Mode: ModeRegular | 0o640, UID: 12, GID: 34, MtimeNs: 1600000000123456789, Flags: flags}
}

// content is what a file holds.
func (t *T) content(path string) string {
	_, data, err := t.c.Read(ReadFile{Path: path, Length: 1 << 40, Window: 1 << 20})
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func files(t *T) {
	t.fine("WRITE_FILE", t.c.Write(regular("/tmp/f", 0), []byte("0123456789"), 100))
	info, err := t.c.Stat("/tmp/f", 0)
	wanted := FileInfo{Mode: ModeRegular | 0o640, UID: 12, GID: 34, Size: 10, MtimeNs: 1600000000123456789}
	t.check("STAT has what was written", info == wanted && err == nil, info)
	t.equal("READ_FILE", t.content("/tmp/f"), "0123456789")
	info, data, err := t.c.Read(ReadFile{Path: "/tmp/f", Offset: 3, Length: 4, Window: 2})
	t.check("a part of it, two bytes a window", info == wanted && string(data) == "3456" && err == nil, string(data))
	_, data, err = t.c.Read(ReadFile{Path: "/tmp/f", Offset: 50, Length: 4, Window: 2})
	t.check("a part behind its end is empty", len(data) == 0 && err == nil, err)
	t.fine("an empty file", t.c.Write(regular("/tmp/empty", 0), nil, 0))
	t.equal("has no content", t.content("/tmp/empty"), "")

	keep := regular("/tmp/f", WriteKeep)
	keep.Offset = 4
	t.fine("WRITE_KEEP", t.c.Write(keep, []byte("abc"), 1))
	t.equal("keeps the rest", t.content("/tmp/f"), "0123abc789")
	t.fine("WRITE_FILE without it", t.c.Write(regular("/tmp/f", 0), []byte("new"), 100))
	t.equal("does not", t.content("/tmp/f"), "new")
	t.fine("WRITE_PARENTS", t.c.Write(regular("/tmp/a/b/c", WriteParents), []byte("x"), 100))
	info, err = t.c.Stat("/tmp/a/b", 0)
	t.check("makes directories of the same owner", info.Mode == ModeDirectory|0o755 && info.UID == 12 && err == nil, info)
	t.refusedOS("without it they are missing", t.c.Write(regular("/tmp/none/c", 0), nil, 0), ErrOS, 2)
	_, err = t.c.Stat("/tmp/none", 0)
	t.refusedOS("and are not made", err, ErrOS, 2)
	t.fine("WRITE_ATOMIC", t.c.Write(regular("/tmp/f", WriteAtomic), []byte("atomic"), 2))
	t.equal("replaces", t.content("/tmp/f"), "atomic")
	atomic := regular("/tmp/f", WriteAtomic)
	atomic.Offset = 1
	t.refused("WRITE_ATOMIC with an offset", t.c.Write(atomic, []byte("x"), 1), ErrInvalid)
	links(t)

	t.refused("a relative path", t.c.Write(regular("tmp/f", 0), nil, 0), ErrInvalid)
	t.refused("an unknown flag", t.c.Write(regular("/tmp/f", UnknownFlag), nil, 0), ErrUnsupported)
	bad := regular("/tmp/g", 0)
	bad.Mode = ModeSocket | 0o644
	t.refused("a socket's mode", t.c.Write(bad, nil, 0), ErrInvalid)
	bad = regular("/tmp/g", 0)
	bad.UID = NobodysID
	t.refused("a uid of 4,294,967,295", t.c.Write(bad, nil, 0), ErrInvalid)
	bad = regular("/tmp/g", 0)
	bad.Data = []byte("more")
	t.refused("more data than size", t.c.Do(bad), ErrInvalid)
	_, err = t.c.Stat("/tmp/g", 0)
	t.refusedOS("of all these nothing is left", err, ErrOS, 2)
	_, err = t.c.Stat("tmp", 0)
	t.refused("STAT of a relative path", err, ErrInvalid)
	_, err = t.c.Stat("/tmp", UnknownFlag)
	t.refused("STAT with an unknown flag", err, ErrUnsupported)
	_, _, err = t.c.Read(ReadFile{Path: "/nothing", Length: 1, Window: 1})
	t.refusedOS("READ_FILE of nothing", err, ErrOS, 2)
	_, _, err = t.c.Read(ReadFile{Path: "/tmp", Length: 1, Window: 1})
	t.refused("READ_FILE of a directory", err, ErrInvalid)
}

func links(t *T) {
	link := WriteFile{Path: "/tmp/link", Mode: ModeSymlink | 0o777}
	t.fine("a symlink", t.c.Write(link, []byte("f"), 100))
	info, err := t.c.Stat("/tmp/link", PathNofollow)
	t.check("STAT of itself", info.Mode&ModeTypes == ModeSymlink && info.Target == "f" && err == nil, info)
	info, err = t.c.Stat("/tmp/link", 0)
	t.check("STAT of what it points to", info.Mode&ModeTypes == ModeRegular && info.Size == 6 && info.Target == "" && err == nil, info)
	link.Path = "/tmp/bad"
	t.refused("a target with a NUL", t.c.Write(link, []byte("a\x00b"), 100), ErrInvalid)
	directory := WriteFile{Path: "/tmp/link", Mode: ModeDirectory | 0o700}
	err = t.c.Write(directory, nil, 0)
	t.refused("a directory in a symlink's place", err, ErrOS)
	directory.Path = "/tmp/d"
	t.fine("a directory", t.c.Write(directory, nil, 0))
	directory.Mode, directory.UID = ModeDirectory|0o711, 5
	t.fine("once more", t.c.Write(directory, nil, 0))
	info, err = t.c.Stat("/tmp/d", 0)
	t.check("gives it owner and mode", info.Mode == ModeDirectory|0o711 && info.UID == 5 && err == nil, info)
}

// transfers are files that do not fit into a frame.
func transfers(t *T) {
	big := make([]byte, 1500000)
	for i := range big {
		big[i] = byte(i * 2654435761 >> 13)
	}
	t.fine("a file of 1.5 MB", t.c.Write(regular("/tmp/big", WriteAtomic), big, 60000))
	_, data, err := t.c.Read(ReadFile{Path: "/tmp/big", Length: 1 << 40, Window: 300000})
	t.check("and back", bytes.Equal(data, big) && err == nil, len(data))

	request := regular("/tmp/part", WriteAtomic)
	request.Size = 100
	s := t.c.Open()
	s.Send(request)
	t.refused("QUIESCE while a file is unfinished", t.c.Do(Quiesce{}), ErrBusy)
	s.Send(End{})
	_, err = lastAnswer(s)
	t.refused("END before all of it", err, ErrInvalid)
	var all []*Stream
	for i := 0; i < TransfersMax; i++ {
		request.Path = fmt.Sprintf("/tmp/part%d", i)
		s = t.c.Open()
		s.Send(request)
		all = append(all, s)
	}
	request.Path = "/tmp/part-more"
	t.refused("one transfer more than 8", t.c.Do(request), ErrLimit)
	for i, s := range all[:4] {
		s.Send(Data{Data: bytes.Repeat([]byte{byte('a' + i)}, 100)})
		_, err = lastAnswer(s)
		must(err)
	}
	t.equal("several at a time", t.content("/tmp/part2"), strings.Repeat("c", 100))
	t.reconnect()
	_, err = t.c.Stat("/tmp/part7", 0)
	t.refusedOS("an unfinished file is dropped with its connection", err, ErrOS, 2)
	entries, _, err := t.c.List("/tmp")
	must(err)
	for _, each := range entries {
		if strings.Contains(each.Name, "part") && len(each.Name) != 5 {
			t.check("nothing is left of it", false, each)
		}
	}

	for what, message := range map[string]any{
		"DATA on a READ_FILE":                       Data{Data: []byte("x")},
		"END on a READ_FILE":                        End{},
		"a WINDOW for more of a file than was sent": Window{Channel: 1, Consumed: 1000, Limit: 2000},
	} {
		s = t.c.Open()
		s.Send(ReadFile{Path: "/tmp/big", Length: 1 << 20, Window: 10})
		s.Send(message)
		_, err = lastAnswer(s)
		t.refused(what, err, ErrFlow)
		t.reconnect()
	}
	request = regular("/tmp/flow", WriteAtomic)
	request.Size = 100
	s = t.c.Open()
	s.Send(request)
	s.Send(Data{Offset: 1, Data: []byte("x")})
	_, err = lastAnswer(s)
	t.refused("content at the wrong offset", err, ErrFlow)
}

// lastAnswer passes over what is under way before the answer.
func lastAnswer(s *Stream) (any, error) {
	for {
		message, err := waitAnswer(s)
		switch message.(type) {
		case Window, Data, FileInfo:
			continue
		}
		return message, err
	}
}

func directories(t *T) {
	must(t.c.Write(WriteFile{Path: "/tmp/list/sub", Mode: ModeDirectory | 0o755, Flags: WriteParents}, nil, 0))
	entries, pages, err := t.c.List("/tmp/list")
	t.check("LIST", err == nil && pages == 1 && len(entries) == 1 && entries[0].Name == "sub" &&
		entries[0].Mode == ModeDirectory|0o755, entries)
	script := `n=` + strings.Repeat("n", 200) + `; i=0; while [ $i -lt 500 ]; do : >/tmp/list/$n$i; i=$((i+1)); done`
	must(t.run(shell(script)).Wait())
	entries, pages, err = t.c.List("/tmp/list")
	must(err)
	names := map[string]bool{}
	for _, each := range entries {
		names[each.Name] = true
	}
	t.check("LIST of several pages", pages > 1 && len(entries) == 501 && len(names) == 501, len(names))
	_, _, err = t.c.List("/tmp/list/none")
	t.refusedOS("LIST of nothing", err, ErrOS, 2)
	_, _, err = t.c.List("/tmp/f")
	t.refusedOS("LIST of a file", err, ErrOS, 20)
	_, _, err = t.c.List("tmp")
	t.refused("LIST of a relative path", err, ErrInvalid)

	t.refusedOS("REMOVE of a full directory", t.c.Do(Remove{Path: "/tmp/list"}), ErrOS, 39)
	t.fine("REMOVE_TREE", t.c.Do(Remove{Path: "/tmp/list", Flags: RemoveTree}))
	_, err = t.c.Stat("/tmp/list", 0)
	t.refusedOS("and it is gone", err, ErrOS, 2)
	t.fine("REMOVE of a symlink", t.c.Do(Remove{Path: "/tmp/link"}))
	_, err = t.c.Stat("/tmp/f", 0)
	t.fine("does not follow it", err)
	t.refusedOS("REMOVE of nothing", t.c.Do(Remove{Path: "/tmp/none"}), ErrOS, 2)
	t.refused("REMOVE of a relative path", t.c.Do(Remove{Path: "tmp/f"}), ErrInvalid)
	t.refused("REMOVE with an unknown flag", t.c.Do(Remove{Path: "/tmp/f", Flags: UnknownFlag}), ErrUnsupported)
	_, err = t.c.Stat("/tmp/f", 0)
	t.fine("and these remove nothing", err)
}

func mounts(t *T) {
	const readOnly = 1
	t.fine("MOUNT makes its target", t.c.Do(Mount{Source: "none", Target: "/mnt/made/here", Fstype: "tmpfs", Options: "size=1m"}))
	must(t.c.Write(regular("/mnt/made/here/f", 0), []byte("x"), 10))
	t.refusedOS("REMOVE of a mount", t.c.Do(Remove{Path: "/mnt/made/here"}), ErrOS, 16)
	t.refusedOS("REMOVE_TREE above a mount", t.c.Do(Remove{Path: "/mnt/made", Flags: RemoveTree}), ErrOS, 16)
	t.equal("and what is in it stays", t.content("/mnt/made/here/f"), "x")
	t.fine("UNMOUNT", t.c.Do(Unmount{Target: "/mnt/made/here"}))
	_, err := t.c.Stat("/mnt/made/here/f", 0)
	t.refusedOS("and it is gone", err, ErrOS, 2)
	t.fine("MOUNT with flags", t.c.Do(Mount{Source: "none", Target: "/mnt/made/here", Fstype: "tmpfs", Flags: readOnly}))
	t.refusedOS("a read-only one", t.c.Write(regular("/mnt/made/here/f", 0), nil, 0), ErrOS, 30)
	must(t.c.Do(Unmount{Target: "/mnt/made/here"}))
	t.refusedOS("UNMOUNT of what is not mounted", t.c.Do(Unmount{Target: "/mnt/made/here"}), ErrOS, 22)
	t.refusedOS("UNMOUNT of /", t.c.Do(Unmount{Target: "/"}), ErrOS, 16)
	t.refusedOS("MOUNT of an unknown type", t.c.Do(Mount{Source: "none", Target: "/mnt/x", Fstype: "nothing"}), ErrOS, 19)
	_, err = t.c.Stat("/mnt/x", 0)
	t.refusedOS("makes no target", err, ErrOS, 2)
	t.refused("MOUNT at a relative path", t.c.Do(Mount{Source: "none", Target: "x", Fstype: "tmpfs"}), ErrInvalid)
	t.refused("UNMOUNT of a relative path", t.c.Do(Unmount{Target: "mnt"}), ErrInvalid)
}
