package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// A person may hold a run between two steps, and go on with it later. Nothing is
// cut off: the pause takes effect where the next step would begin, never within
// one and never between the pivot and the act that makes it one. What bounds a
// run before its pivot goes on meanwhile: a freeze expires and an abort is taken.

// unpausable says why the run cannot be paused now.
func (s *story) unpausable() string {
	switch {
	case s.status.DryRun:
		return "a dry run changes nothing: there is nothing to pause"
	case s.undoing || s.aborted != nil || s.expired:
		return "this run is being undone, which is not paused: clients may be waiting for it"
	case s.held != nil:
		return fmt.Sprintf("this run was paused already, by %s: %s", s.held.By, s.held.Reason)
	}
	return ""
}

// hold notes a pause; boundary carries it out.
func (s *story) hold(ctx workflow.Context, by runbook.Signed) string {
	s.held = &runbook.PauseLine{Question: s.question("pause"), By: by.By, Reason: by.Reason, Asked: by.At}
	s.status.Paused = s.held
	s.notify(ctx, NotifyPaused, fmt.Sprintf("%s of %s paused by %s", s.path, s.status.Pair, by.By), by.Reason, true)
	return fmt.Sprintf("the run is held before its next step; drctl resume %s goes on", s.status.Pair)
}

// mayResume: who paused it, who may approve it, or who asked for it.
func (s *story) mayResume(c runbook.Command, who runbook.Person) error {
	if c.By == s.held.By || c.By == s.requester || runbook.HasRole(s.rule(), who.Roles) {
		return nil
	}
	return refuse(ErrNotAllowed, "%s did not pause this run and may not approve it: %s can resume it, or who has one of the roles %v", c.By, s.held.By, s.rule().Roles)
}

// goOn ends a pause, before or after it took effect.
func (s *story) goOn(by runbook.Signed) string {
	s.held.EndedBy = "resumed by " + by.By
	if s.held.Since.IsZero() {
		s.held, s.status.Paused = nil, nil
		return "the pause is withdrawn before it took effect"
	}
	s.gate.by, s.gate.verdict = by, runbook.Resume
	return "the run goes on"
}

// boundary is the place between two steps: a pause that was asked for holds the
// run here, before next, until it is resumed or something else ends it (an
// abort, the freeze's end, a turn into a failover), which is the error.
func (s *story) boundary(ctx workflow.Context, next string) error {
	if s.held == nil || s.within > 0 || s.undoing || ctx.Err() != nil {
		return nil
	}
	p := s.held
	p.Since, p.Before = workflow.Now(ctx), next
	g := &gate{question: p.Question, accepts: []string{runbook.Resume}}
	w := Waiting{For: WaitResume, Text: fmt.Sprintf("paused by %s before step %q: %s", p.By, next, p.Reason)}
	if !s.thaws.IsZero() && !s.pastPivot && s.turned == nil {
		w.Deadline = s.thaws
		w.Text += "; the freeze ends all the same, and then everything is undone"
	}
	before := s.status.Phase
	s.wait(ctx, PhasePaused, g, w)
	defer s.resume(ctx, before)
	err := s.awaitEvery(ctx, remindPaused, g, NotifyPaused, w.Text)
	p.Ended = workflow.Now(ctx)
	if err != nil {
		p.EndedBy = s.ending(err)
	}
	p.Millis = p.Ended.Sub(p.Since).Milliseconds()
	s.report.Pauses = append(s.report.Pauses, *p)
	s.held, s.status.Paused = nil, nil
	return err
}

// ending says what ended a pause that nobody resumed.
func (s *story) ending(err error) string {
	switch {
	case s.aborted != nil:
		return "aborted by " + s.aborted.By
	case s.expired:
		return "the freeze expired"
	case s.turned != nil:
		return "turned into a failover by " + s.turned.By
	case temporal.IsCanceledError(err):
		return "cancelled in Temporal"
	}
	return said(err)
}

// overtaken notes a pause that no step boundary came for.
func (s *story) overtaken() {
	if s.held != nil {
		s.find("%s asked for a pause at %s (%s), which never took effect: no step was left to be held", s.held.By, s.held.Asked.UTC().Format(time.RFC3339), s.held.Reason)
		s.held, s.status.Paused = nil, nil
	}
}

// rested is how long the run was paused by people between two times.
func (s *story) rested(from, to time.Time) time.Duration {
	var sum time.Duration
	for _, p := range s.report.Pauses {
		if d := earlier(p.Ended, to).Sub(later(p.Since, from)); d > 0 {
			sum += d
		}
	}
	return sum
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
