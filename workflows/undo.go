package workflows

import (
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// undo is the stack of compensations. An entry is added just before the act
// that it undoes: a step can act and still report failure, and every undo is
// idempotent, so that a needless one is harmless.
type undo struct{ entries []compensation }

type compensation struct {
	name string
	act  func(workflow.Context) error
}

func (u *undo) add(name string, act func(workflow.Context) error) {
	u.entries = append(u.entries, compensation{"undo: " + name, act})
}

// once is add, unless the entry is there: its place in the order stays.
func (u *undo) once(name string, act func(workflow.Context) error) {
	if !slices.ContainsFunc(u.entries, func(c compensation) bool { return c.name == "undo: "+name }) {
		u.add(name, act)
	}
}

// drop forgets an entry that the story has undone itself, in good order.
func (u *undo) drop(name string) {
	u.entries = slices.DeleteFunc(u.entries, func(c compensation) bool { return c.name == "undo: "+name })
}

// only keeps the entries whose names start so.
func (u *undo) only(prefix string) {
	u.entries = slices.DeleteFunc(u.entries, func(c compensation) bool { return !strings.HasPrefix(c.name, "undo: "+prefix) })
}

// forget empties the stack: the point of no return.
func (u *undo) forget() { u.entries = nil }

// undoAt is how an undo is tried at sites: briefly once one of them did not answer
// another one, since a person is asked at each of its steps. A try that works has
// the same time, so that retry helps at a site that is back.
func (s *story) undoAt(sites ...string) kind {
	if slices.ContainsFunc(sites, func(name string) bool { return s.dark[name] }) {
		return kindUndoDark
	}
	return kindUndo
}

// undone notes that a site did not answer an undo. "" is no site.
func (s *story) undone(site string, err error) error {
	if site != "" && ErrorType(err) == ErrUnreachable {
		if s.dark == nil {
			s.dark = map[string]bool{}
		}
		s.dark[site] = true
	}
	return err
}

// back takes everything back. The run's power over its links goes first. A
// mirror found STOPPED means that there is no way back: the fence stays, only
// the locks are returned, and the next run goes on from there.
func (s *story) back(ctx workflow.Context) {
	s.forward, s.undoing = true, true
	if len(s.undo.entries) > 0 || len(s.tokens) > 0 {
		s.phase(ctx, PhaseUndoing)
	}
	stopped, err := s.revoke(ctx, s.topics)
	if err != nil {
		s.find("the operation could not be revoked: %s", brief(err))
	}
	if len(stopped) > 0 {
		s.find("mirrors %s of link %s are STOPPED already: there is no way back, fences stay; start the operation again to go on", strings.Join(stopped, ", "), s.pivotLink)
		s.undo.only("lock ")
		s.changed = true
	}
	s.unwind(ctx)
}

// unwind runs the stack last in, first out. ctx must be disconnected: a
// cancelled run undoes as well. An undo that keeps failing waits for a person
// (retry, or skip with a reason), because going on would leave the pair in a
// state that nobody knows of.
func (s *story) unwind(ctx workflow.Context) {
	if len(s.undo.entries) == 0 {
		return
	}
	for _, c := range slices.Backward(s.undo.entries) {
		// An error here means skipped by a person; do has told about it.
		_ = s.do(ctx, c.name, func(ctx workflow.Context) (string, error) { return "", c.act(ctx) })
	}
	for i := range s.status.Steps {
		if row := &s.status.Steps[i]; row.State == runbook.StateRunning || row.State == runbook.StateWaiting {
			row.State = runbook.StateUndone
		}
	}
	s.undo.forget()
}
