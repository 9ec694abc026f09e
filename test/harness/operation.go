package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows"
)

// Operation is a runbook that a person starts and others answer.
type Operation struct {
	// Verb of drctl: setup, failover, switchover, recover, failback, restore.
	Verb string
	// Answers is the operation whose approvals are given, where that is another one
	// than Verb: a full drill is made of switchovers. Default Verb.
	Answers string
	// Args follow the pair: "--append", "*".
	Args []string
	// By and Approver are people of the plan. Default Requester and Approver.
	By, Approver string
	// Progress gets what drctl says while it follows the run; nil for nobody.
	Progress io.Writer
	// Before is called before each approval; its error ends the operation. Nil: nothing.
	Before func(context.Context, workflows.Waiting) error
	// Answered is told of each approval that was given; nil for nobody.
	Answered func(workflows.Waiting)
}

// Operate starts an operation by drctl, gives the approvals that it asks for,
// naming the overrides that it demands, and returns its result. A run that waits
// for anything else (a failed step, a decision) is an error that says for what;
// the run is left as it is.
func (s *System) Operate(ctx context.Context, op Operation) (workflows.Result, error) {
	if op.By == "" {
		op.By = Requester
	}
	if op.Approver == "" {
		op.Approver = Approver
	}
	if op.Answers == "" {
		op.Answers = op.Verb
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answered := make(chan struct{})
	following, ended := context.WithCancel(ctx)
	go func() {
		defer close(answered)
		if err := s.answer(following, op); err != nil && following.Err() == nil {
			cancel(err)
		}
	}()
	args := append([]string{op.Verb, s.Pair(), "--key", s.Key(op.By), "-o", "json"}, op.Args...)
	out, err := s.Drctl.stream(ctx, op.Progress, args...)
	ended()
	<-answered
	var result workflows.Result
	if err != nil {
		return result, err
	}
	return result, decode(args, out, &result)
}

// Exit codes of drctl.
const (
	codeRefused     = 3
	codeUnreachable = 5
)

// answer approves until ctx ends.
func (s *System) answer(ctx context.Context, op Operation) error {
	poll := time.NewTicker(300 * time.Millisecond)
	defer poll.Stop()
	given, prepared, unsure := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		}
		st, err := s.Status(ctx)
		if err != nil || st.Detail == nil || st.Detail.Waiting == nil || st.Detail.Operation != op.Answers || st.Detail.Phase == workflows.PhaseEnded {
			continue // a run that has not begun, or that no worker answers for: drctl tells how it ends
		}
		w := *st.Detail.Waiting
		if w.For != workflows.WaitApproval {
			return fmt.Errorf("%s of %s waits for %s: %s (step %s)", op.Verb, s.Pair(), w.For, w.Text, w.Step)
		}
		key := st.Detail.OpID + w.Text
		if given[key] {
			continue
		}
		if op.Before != nil && !prepared[key] {
			if err := op.Before(ctx, w); err != nil {
				return fmt.Errorf("before %s is approved: %w", op.Verb, err)
			}
			prepared[key] = true
		}
		args := []string{"approve", s.Pair(), "--key", s.Key(op.Approver), "--op", st.Detail.OpID, "--reason", "read and agreed"}
		for _, o := range w.Overrides {
			args = append(args, "--override", o)
		}
		_, err = s.Drctl.Run(ctx, args...)
		var exit *ExitError
		switch {
		case err == nil:
		case errors.As(err, &exit) && exit.Code == codeUnreachable:
			unsure[key] = true
			continue // it is asked again, if it still waits
		case unsure[key] && exit != nil && exit.Code == codeRefused: // the run has taken what nobody told us of
		default:
			return fmt.Errorf("approve %s: %w", op.Verb, err)
		}
		given[key] = true
		if op.Answered != nil {
			op.Answered(w)
		}
	}
}

// Status is what drctl status tells of the pair.
type Status struct {
	Detail *workflows.Status `json:"detail"`
	Run    *struct {
		State string `json:"state"`
		RunID string `json:"run_id"`
	} `json:"run"`
	Problem string `json:"problem"`
}

// Status asks drctl for the pair's open or last run.
func (s *System) Status(ctx context.Context) (Status, error) {
	var st Status
	return st, s.Drctl.JSON(ctx, &st, "status", s.Pair())
}

// DryRun is drctl failover, switchover or failback --dry-run.
func (s *System) DryRun(ctx context.Context, verb string, progress io.Writer) (workflows.Result, error) {
	args := []string{verb, s.Pair(), "--dry-run", "--key", s.Key(Requester), "-o", "json"}
	var result workflows.Result
	out, err := s.Drctl.stream(ctx, progress, args...)
	if err != nil {
		return result, err
	}
	return result, decode(args, out, &result)
}
