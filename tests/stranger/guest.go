package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// guest is a QEMU with initd in it.
type guest struct {
	socket, console string
	process         *exec.Cmd
	ended           chan error
}

// boot starts QEMU with the recipe of initd/README.md. It ends with this process.
func boot(kernel, image, directory string, words []string) (*guest, error) {
	g := &guest{
		socket:  filepath.Join(directory, "port"),
		console: filepath.Join(directory, "console"),
		ended:   make(chan error, 1),
	}
	line := "root=/dev/vda rootfstype=erofs ro init=/sbin/initd console=ttyS0 quiet loglevel=5 panic=-1 reboot=t " +
		strings.Join(words, " ")
	g.process = exec.Command("qemu-system-x86_64", "-M", "microvm,acpi=off,rtc=on,pit=on,pic=on", "-cpu", "max", "-m", "192M",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "file:"+g.console, "-kernel", kernel,
		"-drive", "id=root,file="+image+",if=none,format=raw,readonly=on", "-device", "virtio-blk-device,drive=root",
		"-append", line, "-device", "virtio-serial-device,max_ports=2",
		"-chardev", "socket,id=initd,path="+g.socket+",server=on,wait=off",
		"-device", "virtserialport,chardev=initd,name=capsid.initd")
	g.process.Stderr = os.Stderr
	g.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.process.Start(); err != nil {
		return nil, err
	}
	go func() { g.ended <- g.process.Wait() }()
	return g, nil
}

// end ends QEMU if it still runs, and shows the console where that may help.
func (g *guest) end(show bool) {
	g.process.Process.Kill()
	select {
	case <-g.ended:
	case <-time.After(10 * time.Second):
	}
	if text, err := os.ReadFile(g.console); show && err == nil {
		fmt.Printf("the guest's console:\n%s\n", text)
	}
}
