package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// Exit codes; exitHelp explains them to users.
const (
	codeOK          = 0
	codeFailed      = 1
	codeUsage       = 2
	codeRefused     = 3
	codeBusy        = 4
	codeUnreachable = 5
	codeNoChange    = 6
	codeUnready     = 7
)

const exitHelp = `Exit codes:
  0  done (a run: also with debts left open, which are listed)
  1  failed, or a run ended before it was done and not all that it did was undone; the error says what of it was
  2  wrong usage: nothing was tried
  3  refused by the run, the engine or a check: nothing was changed, or everything was undone
  4  busy: another operation holds the pair
  5  Temporal, a worker, an engine or a Consul did not answer: what was asked may or may not have happened
  6  the run ended before the point of no return by people or a deadline, and undid everything: no change
  7  drctl readiness: the pair is not ready
"drctl exec" ends with its child's code (128 + n if signal n ended it, 126 or 127 if it could not be started).`

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// refusedf is a check of drctl's own that said no.
func refusedf(format string, args ...any) error {
	return &operator.RefusedError{Text: fmt.Sprintf(format, args...)}
}

// exitError carries a code whose reason has been shown already, or that is a child's own.
type exitError struct {
	code int
	err  error // nil: nothing more to say
}

func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}
func (e exitError) Unwrap() error { return e.err }

// exitCode chooses the code for an error.
func exitCode(err error) int {
	var exit exitError
	var usage usageError
	var engine *api.Error
	var unreachable *operator.UnreachableError
	var consul *client.ConsulError
	switch {
	case err == nil:
		return codeOK
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &usage):
		return codeUsage
	case operator.Busy(err):
		return codeBusy
	case operator.Refused(err), errors.Is(err, operator.ErrNoRun):
		return codeRefused
	case errors.As(err, &engine):
		return engineCode(engine)
	case errors.As(err, &unreachable), errors.As(err, &consul), unanswered(err):
		return codeUnreachable
	}
	return codeFailed
}

func engineCode(e *api.Error) int {
	switch {
	case e.Status == http.StatusConflict:
		return codeBusy
	case e.Status == http.StatusRequestTimeout, e.Status == http.StatusServiceUnavailable:
		return codeUnreachable
	case e.Status >= 400 && e.Status < 500:
		return codeRefused
	}
	return codeFailed
}

// unanswered: a call over the network that got no answer.
func unanswered(err error) bool {
	var call *url.Error
	var op *net.OpError
	return errors.As(err, &call) || errors.As(err, &op) || errors.Is(err, context.DeadlineExceeded)
}
