// The stranger's checks: a real guest, and a client that knows of initd only what proto/PROTOCOL.md says.
//
//	stranger KERNEL IMAGE DIRECTORY [WORD...]
//
// boots the image, whose programs are busybox, with QEMU as initd/README.md shows it, the words being added to the kernel's
// command line, and runs the checks. The socket and the console are in the directory. Prints a line a check; exits with 1
// when one failed.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"time"

	. "stranger/client"
)

// T is what the checks have in hand.
type T struct {
	c              *Conn
	path           string
	guest          *guest
	passed, failed int
}

// lost ends a group of checks: without the thing that is missing it makes no sense to go on.
type lost struct{ error }

func (t *T) check(what string, good bool, got any) {
	if good {
		t.passed++
		fmt.Printf("ok: %s\n", what)
		return
	}
	t.failed++
	fmt.Printf("FAILED: %s: %+v\n", what, got)
}

func (t *T) equal(what string, got, wanted any) {
	t.check(what, reflect.DeepEqual(got, wanted), fmt.Sprintf("got %+v, wanted %+v", got, wanted))
}

// fine checks that there is no error.
func (t *T) fine(what string, err error) { t.check(what, err == nil, err) }

// refused checks that there is an ERROR with this code.
func (t *T) refused(what string, err error, code uint16) {
	var failure Error
	t.check(what, errors.As(err, &failure) && failure.Code == code, fmt.Sprintf("got %v, wanted code %d", err, code))
}

// refusedOS is the same with an errno behind it.
func (t *T) refusedOS(what string, err error, code uint16, errno uint32) {
	var failure Error
	t.check(what, errors.As(err, &failure) && failure.Code == code && failure.OsErrno == errno,
		fmt.Sprintf("got %v, wanted code %d errno %d", err, code, errno))
}

// must ends the group of checks when something that is needed for it failed.
func must(err error) {
	if err != nil {
		_, file, line, _ := runtime.Caller(1)
		panic(lost{fmt.Errorf("%s:%d: %w", filepath.Base(file), line, err)})
	}
}

// reconnect closes the port, keeps it closed long enough for the guest to see it, and connects anew.
func (t *T) reconnect() {
	t.hangUp()
	c, err := Connect(t.path)
	must(err)
	if len(c.Attempts) > 0 {
		fmt.Printf("   connected after %d attempts: %v\n", len(c.Attempts)+1, c.Attempts)
	}
	t.c = c
}

func (t *T) hangUp() {
	t.c.Close()
	time.Sleep(ClosedFor)
}

// group runs some checks on a new connection.
func (t *T) group(name string, run func(*T)) {
	defer func() {
		if failure, is := recover().(lost); is {
			t.check(name, false, failure)
		}
	}()
	begin := time.Now()
	t.reconnect()
	run(t)
	fmt.Printf("   %s: %.1f s\n", name, time.Since(begin).Seconds())
}

func main() {
	runtime.LockOSThread() // QEMU ends with the thread that started it
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: stranger KERNEL IMAGE DIRECTORY [WORD...]")
		os.Exit(2)
	}
	g, err := boot(os.Args[1], os.Args[2], os.Args[3], os.Args[4:])
	if err != nil {
		fmt.Println("FAILED: QEMU:", err)
		os.Exit(1)
	}
	t := &T{guest: g, path: g.socket}
	if t.c, err = Connect(t.path); err != nil {
		t.check("the first connection", false, err)
	} else if _, err = t.c.Ask(Ping{}); err != nil {
		t.check("the guest is set up", false, err)
	} else {
		t.group("handshake", handshake)
		t.group("frames", frames)
		t.group("jobs", jobs)
		t.group("ends of jobs", ends)
		t.group("input and terminals", input)
		t.group("windows", windows)
		t.group("flow", flow)
		t.group("attach", attach)
		t.group("table of jobs", table)
		t.group("strings", longStrings)
		t.group("files", files)
		t.group("transfers", transfers)
		t.group("directories", directories)
		t.group("mounts", mounts)
		t.group("prime", prime)
		t.group("snapshot", snapshot)
		t.group("shutdown", shutdown)
	}
	g.end(t.failed > 0)
	fmt.Printf("%d checks, %d failed\n", t.passed+t.failed, t.failed)
	if t.failed > 0 || t.passed == 0 {
		os.Exit(1)
	}
}
