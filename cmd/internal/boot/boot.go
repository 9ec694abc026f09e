package boot

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes, the same for every program, so that scripts and supervisors can tell a wrong command from a failed one.
const (
	ExitOK          = 0
	ExitFailed      = 1   // the work was tried and failed
	ExitUsage       = 2   // wrong flags, arguments or configuration: trying again changes nothing
	ExitInterrupted = 130 // ended by Ctrl-C or SIGTERM before it was done, as shells count SIGINT
)

// Main runs a program until it returns, or until a SIGINT or SIGTERM has cancelled ctx and it returns then. It writes the
// error to stderr and returns the exit code; only main calls os.Exit with it, so that deferred calls run.
func Main(name string, run func(ctx context.Context) error) int {
	ctx, stop := Context()
	defer stop()
	err := run(ctx)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
	return ExitCode(ctx, err)
}

// Context is cancelled by the first SIGINT or SIGTERM. The second ends the process at once: whoever presses Ctrl-C twice
// does not want to wait.
func Context() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // back to the default action, which is to end
	return ctx, stop
}

// ExitCode maps what a program returned. A service that ends because it was told to, and says so by returning nil or the
// context's own error, has succeeded when it returns nil and was interrupted when it returns that error.
func ExitCode(ctx context.Context, err error) int {
	var usage *UsageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return ExitOK
	case errors.As(err, &usage):
		return ExitUsage
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return ExitInterrupted
	default:
		return ExitFailed
	}
}

// UsageError is a fault of the command line or the configuration, cured by the person who wrote it.
type UsageError struct{ Err error }

// Usage wraps err as a [UsageError]; nil stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &UsageError{Err: err}
}

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap gives the fault itself.
func (e *UsageError) Unwrap() error { return e.Err }
