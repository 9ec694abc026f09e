package local

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// spawn starts cmd so that the kernel kills it when this process ends, even by kill -9: PR_SET_PDEATHSIG. That signal
// is sent when the *thread* that forked ends, not the process (prctl(2)), and Go ends threads as it likes; so all forks
// are made by one goroutine that is locked to its thread and never returns.
func spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	spawner.once.Do(func() {
		spawner.start = make(chan func())
		go func() {
			runtime.LockOSThread()
			for f := range spawner.start {
				f()
			}
		}()
	})
	started := make(chan error)
	spawner.start <- func() { started <- cmd.Start() }
	return <-started
}

// spawner lives as long as the process, on purpose: its thread's end would kill every child.
var spawner struct {
	once  sync.Once
	start chan func()
}
