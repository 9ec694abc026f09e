package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Spec says how a child process is started. A Process keeps it, so that the same child can be started again.
type Spec struct {
	Name    string   // what errors and logs call the child: "kafka east 1"
	Path    string   // the executable; looked up in PATH when it has no slash
	Args    []string // without the program's name
	Env     []string // KEY=value, added to this process's environment
	Dir     string   // working directory; empty: this process's
	LogFile string   // stdout and stderr are appended here; its folder is created
}

// Process is a running (or ended) child process. Its methods may be called from several goroutines.
type Process struct {
	spec Spec
	cmd  *exec.Cmd
	done chan struct{}
	err  error // how it ended; written before done is closed
}

// Start starts a child in a process group of its own, so that a Ctrl-C at the terminal reaches only us and the children
// are stopped in our order. On Linux the kernel kills the child when this process ends in any way (see spawn); elsewhere
// only Stop and Kill end it.
func Start(spec Spec) (*Process, error) {
	if spec.LogFile == "" {
		return nil, fmt.Errorf("start %s: no LogFile given; without it nobody can see why it fails", spec.Name)
	}
	if err := os.MkdirAll(filepath.Dir(spec.LogFile), 0o755); err != nil {
		return nil, fmt.Errorf("start %s: folder of its log: %w", spec.Name, err)
	}
	log, err := os.OpenFile(spec.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: its log: %w", spec.Name, err)
	}
	defer log.Close()
	// noctx: the child's life is Stop and Kill, not a context, which would kill -9 what should end in order.
	cmd := exec.Command(spec.Path, spec.Args...) //nolint:noctx // see above
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.Dir = spec.Dir
	// A file, not a pipe: the child goes on writing whether or not we read, and the log outlives both.
	cmd.Stdout, cmd.Stderr = log, log
	if err := spawn(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	p := &Process{spec: spec, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Spec returns what the process was started with; Start(p.Spec()) starts it again.
func (p *Process) Spec() Spec { return p.spec }

// Pid is the process id, also after its end.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended and been waited for.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the child ended: nil while it runs or when it exited with 0, else an *exec.ExitError.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Running reports whether the child has not ended yet (a paused one runs).
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Kill ends the child and its process group by SIGKILL, as a power cut would, and waits for it. No error if it has ended.
func (p *Process) Kill() error {
	err := p.signal(syscall.SIGKILL)
	if err != nil {
		return err
	}
	<-p.done
	return nil
}

// stopsWithin bounds the wait until a child that was told to freeze has.
const stopsWithin = 30 * time.Second

// Pause freezes the child (SIGSTOP), and returns when it has come to rest: its connections stay open and answer nothing.
func (p *Process) Pause() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopsWithin)
	defer cancel()
	return WaitFor(ctx, p.spec.Name+" to stand still", func(context.Context) error {
		if p.Running() && !stopped(p.Pid()) {
			return errors.New("a thread of it runs on")
		}
		return nil
	})
}

// Resume lets a paused child go on (SIGCONT).
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

// stopTimeout is how long a server of this package may take to end by itself; it guards against hangs only.
const stopTimeout = 2 * time.Minute

// Stop asks the child to end (SIGTERM), and kills it when it has not ended within the timeout. The error says that it had
// to be killed; an exit code other than 0 after SIGTERM is no error.
func (p *Process) Stop(timeout time.Duration) error {
	if err := errors.Join(p.signal(syscall.SIGTERM), p.signal(syscall.SIGCONT)); err != nil {
		return errors.Join(err, p.Kill())
	}
	late := time.NewTimer(timeout)
	defer late.Stop()
	select {
	case <-p.done:
		return nil
	case <-late.C:
		return errors.Join(fmt.Errorf("stop %s: still running %s after SIGTERM, killed", p.spec.Name, timeout), p.Kill())
	}
}

func (p *Process) signal(s syscall.Signal) error {
	if !p.Running() {
		return nil
	}
	err := syscall.Kill(-p.Pid(), s)
	if err == nil || errors.Is(err, syscall.ESRCH) { // ESRCH: ended in between
		return nil
	}
	return fmt.Errorf("%s: signal %s: %w", p.spec.Name, s, err)
}

// Log returns the last lines of the child's output, for error messages.
func (p *Process) Log(lines int) string { return tail(p.spec.LogFile, lines) }

// WaitReady polls cond until it is nil, like WaitFor, but gives up at once, with the end of the log, when the child ends.
func (p *Process) WaitReady(ctx context.Context, what string, cond func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.done:
			how := p.err
			if how == nil {
				how = errors.New("exit code 0")
			}
			cancel(fmt.Errorf("%s has ended: %w", p.spec.Name, how))
		case <-ctx.Done():
		}
	}()
	if err := WaitFor(ctx, what, cond); err != nil {
		return fmt.Errorf("%w\nend of %s:\n%s", err, p.spec.LogFile, p.Log(30))
	}
	return nil
}

// WaitFor polls cond until it returns nil. When ctx ends first the error names what was waited for, why ctx ended and the
// last reason that cond gave. cond should honour its ctx.
func WaitFor(ctx context.Context, what string, cond func(context.Context) error) error {
	began := time.Now()
	var last error
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		err := cond(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil { // a reason that only says "context canceled" hides the real one
			last = err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("waited %s for %s: %w; last seen: %w", time.Since(began).Round(time.Millisecond), what, context.Cause(ctx), last)
		case <-timer.C:
		}
	}
}

// tail returns the last lines of a file, or a word on why it cannot be read.
func tail(path string, lines int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprintf("(log not readable: %v)", err)
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// stopAll stops several children at the same time and returns what went wrong.
func stopAll(procs []*Process, timeout time.Duration) error {
	procs = slices.DeleteFunc(slices.Clone(procs), func(p *Process) bool { return p == nil })
	errs := make([]error, len(procs))
	var wg sync.WaitGroup
	for i, p := range procs {
		wg.Go(func() { errs[i] = p.Stop(timeout) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
