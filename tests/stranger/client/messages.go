package client

import (
	"fmt"
	"reflect"
)

// Magic begins HELLO and WELCOME.
const Magic = 0x44535043

// Error codes.
const (
	ErrMalformed = 1 + iota
	ErrUnsupported
	ErrState
	ErrLimit
	ErrNotFound
	ErrBusy
	ErrInvalid
	ErrFlow
	ErrGone
	ErrOS
	ErrExec
	ErrTimeout
	ErrSetup
)

// End causes.
const (
	CauseExited = 1 + iota
	CauseSignalled
	CauseTimeout
	CauseCPU
	CauseOutput
	CauseOOM
	CauseCancelled
)

// Other values.
const (
	FeatureStrings    = 1
	FeatureJob        = 2
	StateReady        = 1
	StateQuiesced     = 2
	JobStdin          = 1
	JobTTY            = 2
	JobRunning        = 1
	JobPrimed         = 2
	JobEnded          = 3
	ExitOutputHeld    = 1
	ExitOutputLost    = 2
	ScopeProcess      = 0
	ScopeJob          = 1
	WriteParents      = 1
	WriteAtomic       = 2
	WriteKeep         = 4
	PathNofollow      = 1
	RemoveTree        = 1
	ResumedHostname   = 8
	ResumedAll        = 31
	ShutdownPoweroff  = 0
	KindExit          = 18
	KindResize        = 19
	KindSignal        = 20
	KindKill          = 21
	UnknownKind       = 999
	UnknownFlag       = 0x8000
	NobodysID         = 4294967295
	ModeDirectory     = 0o040000
	ModeRegular       = 0o100000
	ModeSymlink       = 0o120000
	ModeSocket        = 0o140000
	ModeTypes         = 0o170000
	HostNameMax       = 64
	EntropyMin        = 32
	EntropyMax        = 512
	TransfersMax      = 8
	ScriptPathMax     = 255
	StringsMax        = 2 << 20
	FrameStringsMax   = 4094
	SupplementaryMax  = 64
	TransferAheadMost = 256 << 10
)

// The messages, their fields in order.
type (
	Hello struct {
		Magic                  uint32
		VersionMin, VersionMax uint16
		Features               uint64
	}
	Welcome struct {
		Magic           uint32
		Version         uint16
		Features        uint64
		State           uint8
		JobsMax         uint32
		InitNs, ReadyNs uint64
		Build           string
	}
	Ping  struct{ Token uint64 }
	Pong  struct{ Token uint64 }
	OK    struct{}
	Error struct {
		Request, Code uint16
		OsErrno       uint32
		Text          string
	}
	Data struct {
		Channel uint8
		Offset  uint64
		Data    []byte
	}
	End struct {
		Channel uint8
		Offset  uint64
	}
	Window struct {
		Channel         uint8
		Consumed, Limit uint64
	}
	Exec struct {
		Argv, Env     []string
		Cwd           string
		UID, GID      uint32
		Groups        []uint32
		Flags         uint16
		Rows, Cols    uint16
		WallMs, CPUMs uint32
		Memory        uint64
		Pids, Files   uint32
		Output        uint64
		Window        uint64
	}
	Started struct {
		Job, Pid                uint32
		StdinOffset, StdinLimit uint64
	}
	Exit struct {
		Cause, Flags, Status, Signal                 uint8
		StdoutSize, StderrSize                       uint64
		WallNs, UserNs, SystemNs, MaxRSS, MemoryPeak uint64
	}
	Resize struct{ Rows, Cols uint16 }
	Signal struct{ Signal, Scope uint8 }
	Kill   struct{}
	Attach struct {
		Job                                uint32
		StdoutOffset, StderrOffset, Window uint64
	}
	Release struct{ Job uint32 }
	Jobs    struct{}
	JobList struct{ IDs, States []uint32 }
	Strings struct {
		ArgvSize, EnvSize, Offset uint32
		Data                      []byte
	}
	JobAsk  struct{ Job uint32 }
	JobInfo struct {
		Job                                            uint32
		State                                          uint8
		StdoutStart, StdoutEnd, StderrStart, StderrEnd uint64
	}
	KillJob   struct{ Job uint32 }
	WriteFile struct {
		Path           string
		Mode, UID, GID uint32
		MtimeNs        uint64
		Flags          uint16
		Offset, Size   uint64
		Data           []byte
	}
	ReadFile struct {
		Path                   string
		Offset, Length, Window uint64
	}
	Stat struct {
		Path  string
		Flags uint16
	}
	FileInfo struct {
		Mode, UID, GID uint32
		Size, MtimeNs  uint64
		Target         string
	}
	List struct {
		Path   string
		Cursor uint64
	}
	Listing struct {
		Cursor  uint64
		Entries []byte
	}
	Remove struct {
		Path  string
		Flags uint16
	}
	Mount struct {
		Source, Target, Fstype string
		Flags                  uint32
		Options                string
	}
	Unmount struct {
		Target string
		Flags  uint32
	}
	Prime struct {
		Argv, Env []string
		Cwd       string
		UID, GID  uint32
		Groups    []uint32
		Script    string
		SettleMs  uint32
	}
	Feed struct {
		Job           uint32
		Source        string
		Flags         uint16
		Rows, Cols    uint16
		WallMs, CPUMs uint32
		Memory        uint64
		Pids, Files   uint32
		Output        uint64
		Window        uint64
	}
	Quiesce struct{}
	Resume  struct {
		Entropy     []byte
		WallClockNs uint64
		Instance    [16]byte
		Hostname    string
	}
	Resumed struct {
		Done          uint16
		ClockBeforeNs uint64
	}
	Stats struct{}
	Usage struct {
		UptimeNs, MemoryTotal, MemoryAvailable, JobsMemory uint64
		DiskTotal, DiskFree, InitdRSS                      uint64
		LoadMilli, Processes, Jobs                         uint32
	}
	Shutdown struct{ Action, Status uint8 }
)

func (e Error) Error() string {
	return fmt.Sprintf("ERROR request %d code %d errno %d: %s", e.Request, e.Code, e.OsErrno, e.Text)
}

var typeOf = map[uint16]reflect.Type{}

var kindOf = map[reflect.Type]uint16{}

func init() {
	for kind, message := range map[uint16]any{
		1: Hello{}, 2: Welcome{}, 3: Ping{}, 4: Pong{}, 5: OK{}, 6: Error{}, 8: Data{}, 9: End{}, 10: Window{},
		16: Exec{}, 17: Started{}, 18: Exit{}, 19: Resize{}, 20: Signal{}, 21: Kill{}, 22: Attach{}, 23: Release{},
		24: Jobs{}, 25: JobList{}, 26: Strings{}, 27: JobAsk{}, 28: JobInfo{}, 29: KillJob{},
		32: WriteFile{}, 33: ReadFile{}, 34: Stat{}, 35: FileInfo{}, 36: List{}, 37: Listing{}, 38: Remove{},
		40: Mount{}, 41: Unmount{}, 48: Prime{}, 49: Feed{}, 50: Quiesce{}, 51: Resume{}, 52: Resumed{},
		53: Stats{}, 54: Usage{}, 55: Shutdown{},
	} {
		typeOf[kind] = reflect.TypeOf(message)
		kindOf[reflect.TypeOf(message)] = kind
	}
}
