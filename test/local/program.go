package local

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Output is what a program says: several goroutines may write it, and read it meanwhile.
type Output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Program is a main package that a test has built and started, as somebody at a terminal would.
type Program struct {
	Output
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	err   error         // how; read it behind ended
}

// ProgramForTest builds the main package of the folder in which the test runs, and starts it with env beside the test's
// own environment.
func ProgramForTest(t TB, env ...string) *Program {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "program")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := &Program{cmd: exec.CommandContext(t.Context(), binary), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.Output, &p.Output
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%v", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p
}

// Ended is closed when the program has ended.
func (p *Program) Ended() <-chan struct{} { return p.ended }

// Interrupt presses Ctrl-C and fails the test unless the program ends by itself within five minutes, with that exit code.
func (p *Program) Interrupt(t TB, code int) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatalf("%v\n%s", err, p)
	}
	select {
	case <-p.ended:
	case <-time.After(5 * time.Minute):
		t.Fatalf("it still runs\n%s", p)
	}
	var exit *exec.ExitError
	if !errors.As(p.err, &exit) || exit.ExitCode() != code {
		t.Fatalf("it ended with %v, not with exit code %d\n%s", p.err, code, p)
	}
}

// ProcessesOf are the processes whose command line names dir.
func ProcessesOf(t TB, dir string) []string {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatalf("%v", err)
	}
	var out []string
	for _, file := range found {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(dir)) {
			out = append(out, file+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return out
}
