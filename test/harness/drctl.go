package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Drctl runs the built drctl as a person at a terminal would.
type Drctl struct {
	system *System
	binary string
}

// ExitError is a call of drctl that ended with another code than 0.
type ExitError struct {
	Args   []string
	Code   int
	Stdout string
	Stderr string
}

func (e *ExitError) Error() string {
	// The last line is the reason; what comes before it was shown as progress.
	lines := strings.Split(strings.TrimSpace(e.Stderr), "\n")
	return fmt.Sprintf("drctl %s: exit code %d: %s", e.Args[0], e.Code, lines[len(lines)-1])
}

// Binary is the executable.
func (d *Drctl) Binary() string { return d.binary }

// Env is what every call gets: where Temporal is, and the requester's plan and
// key, once there are any.
func (d *Drctl) Env() []string {
	env := []string{"DRCTL_KEY=" + d.system.Key(Requester)}
	if d.system.PlanFile != "" {
		env = append(env, "DRCTL_PLAN="+d.system.PlanFile)
	}
	if t := d.system.Temporal; t != nil {
		env = append(env, "TEMPORAL_ADDRESS="+t.HostPort(), "TEMPORAL_NAMESPACE="+t.Namespace())
	}
	return env
}

// Run calls drctl and returns what it wrote to stdout.
func (d *Drctl) Run(ctx context.Context, args ...string) (string, error) {
	return d.stream(ctx, nil, args...)
}

// JSON calls drctl with -o json and decodes its answer.
func (d *Drctl) JSON(ctx context.Context, into any, args ...string) error {
	out, err := d.Run(ctx, append(args, "-o", "json")...)
	if err != nil {
		return err
	}
	return decode(args, out, into)
}

func decode(args []string, out string, into any) error {
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("drctl %s: answer is no JSON of the expected kind: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// stream is Run with live progress: drctl writes it to stderr.
func (d *Drctl) stream(ctx context.Context, progress io.Writer, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, d.binary, args...)
	cmd.Env = append(os.Environ(), d.Env()...)
	// Asked to end first: killed, a followed run would leave half a line.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	// A group of its own: Ctrl-C at the terminal is ours to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if progress != nil {
		cmd.Stderr = io.MultiWriter(&stderr, progress)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ctx.Err() != nil {
			return "", fmt.Errorf("drctl %s: %w", strings.Join(args, " "), context.Cause(ctx))
		}
		return stdout.String(), &ExitError{Args: args, Code: exit.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
	}
	if err != nil {
		return "", fmt.Errorf("drctl %s: %w", strings.Join(args, " "), err)
	}
	return stdout.String(), nil
}
