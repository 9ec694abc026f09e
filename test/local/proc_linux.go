package local

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// betweenForks runs f while this process forks no child. A child has copies of all open files until it has become another
// program, which takes a busy machine a while.
func betweenForks(f func()) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f()
}

// stopped tells whether all threads of a process have taken a SIGSTOP: the kernel marks them one by one, and one that runs on
// another core goes on until it is interrupted there. See proc_pid_stat(5).
func stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, file := range threads {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // it has ended
		}
		// The name, in parentheses, may hold anything; the state follows it.
		at := bytes.LastIndex(text, []byte(") "))
		if err != nil || at < 0 || len(text) < at+3 || text[at+2] != 'T' {
			return false
		}
	}
	return true
}
