//go:build unix && !linux

package local

import (
	"os/exec"
	"syscall"
)

// spawn starts cmd in a process group of its own. These systems have no parent-death signal: after a kill -9 of this
// process its children stay and must be ended by hand.
func spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Start()
}

// betweenForks does not keep forks off here: opening a socket takes the same lock on these systems.
func betweenForks(f func()) { f() }

// stopped: there is no telling here.
func stopped(int) bool { return true }
