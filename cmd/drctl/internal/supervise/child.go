//go:build unix

package supervise

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Exit codes of the shell's convention, for a child that never ran and for one that a signal ended.
const (
	CodeNotExecutable = 126
	CodeNotFound      = 127
	codeSignalBase    = 128
)

// child is one run of the command, leader of a process group of its own: a signal of ours reaches what it started too,
// and a Ctrl-C at the terminal reaches us alone.
type child struct {
	cmd    *exec.Cmd
	mark   string // in the environment of all that it starts
	target target
	began  time.Time
	done   chan struct{} // closed when the leader has ended and was waited for
	code   int           // its exit code, written before done is closed
}

// startChild must be called from a goroutine locked to its thread, see dieWithParent.
func startChild(argv, env []string, t target, stdin, stdout, stderr *os.File) (*child, error) {
	// noctx: the child's life is SIGTERM and a timeout; a context would kill -9 at once.
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // see above
	mark := markName + "=" + rand.Text()
	cmd.Env = append(env, mark)
	// Files, not pipes: Wait then waits for the leader alone, and nothing of the child's output passes through us.
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	c := &child{cmd: cmd, mark: mark, target: t, began: time.Now(), done: make(chan struct{})}
	go func() {
		c.code = exitCode(cmd.Wait())
		close(c.done)
	}()
	return c, nil
}

// markName is a variable by which processes are found that have left the child's process group, as daemons do.
const markName = ownPrefix + "RUN"

// signal sends s to the whole group and to what has left it; what is gone is no error.
func (c *child) signal(s syscall.Signal) error {
	var faults []error
	for _, pid := range append([]int{-c.cmd.Process.Pid}, strays(c.mark, c.cmd.Process.Pid)...) {
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			faults = append(faults, fmt.Errorf("signal %s to the child's process (negative: process group) %d: %w", s, pid, err))
		}
	}
	return errors.Join(faults...)
}

// gone reports whether no process of the group is left, nor one that has left it. The leader's end alone does not mean that
// nobody produces any more: a shell may have left the application behind.
func (c *child) gone() bool {
	select {
	case <-c.done:
	default:
		return false
	}
	return errors.Is(syscall.Kill(-c.cmd.Process.Pid, 0), syscall.ESRCH) && len(strays(c.mark, c.cmd.Process.Pid)) == 0
}

// exitCode turns the result of Wait into what a shell would report.
func exitCode(err error) int {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			return 1
		}
		return 0
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return codeSignalBase + int(status.Signal())
	}
	return exit.ExitCode()
}

// startFailureCode is the code for a command that could not be started.
func startFailureCode(err error) int {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return CodeNotFound
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.ENOEXEC):
		return CodeNotExecutable
	default:
		return 1
	}
}
