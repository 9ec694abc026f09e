package workflows

import (
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// A run that was terminated, or is gone with its Temporal, leaves its locks and, on links, its tokens: while one is open the
// link takes calls of nobody else. Whoever breaks the lock at an engine, by an approved override, takes the tokens there first.
// An operation locks an engine before it opens a token at it, so that the lock names whoever may have left one.

// namesOf are the names that a run's tokens may have: its id, and the one that it goes on under once that was revoked.
func namesOf(op string) []string { return []string{op, again(op)} }

func again(op string) string { return op + ".2" }

// lostOp is the operation whose lock this run breaks, nil if it breaks none.
func (s *story) lostOp() *record.Lock {
	l := s.truth.Lock
	if l == nil || l.OpID == s.id || !s.leftover(l) && !slices.Contains(s.request, runbook.OverrideLock) {
		return nil
	}
	return l
}

// beside are the names beside whose open tokens this run may count before it has broken their operation's lock.
func (s *story) beside() []string {
	if l := s.lostOp(); l != nil {
		return namesOf(l.OpID)
	}
	return nil
}

// shutOut ends the power of the operation whose lock is broken over the links into a site. It comes before its lock there is
// broken, and before the record is locked: one of them may be all that names the lost operation, and a run that fails here must
// be followed by another one that knows whom to shut out. A failover does not wait for it: its token is of a higher epoch.
func (s *story) shutOut(ctx workflow.Context, site runbook.Site) error {
	lost := s.lostOp()
	if lost == nil || slices.Contains(s.shutAt, site.Name) {
		return nil
	}
	s.shutAt = append(s.shutAt, site.Name)
	k := kindUndo
	if s.path == runbook.OpFailover {
		k = kindOnce
	}
	return s.revokeLost(ctx, []string{lost.OpID}, []runbook.Site{site}, k, func(l runbook.Link, got RevokeOperationResult, err error) (string, error) {
		if err == nil {
			return strings.TrimSpace(got.State + " " + strings.Join(got.Stopped, ",")), nil
		}
		if s.path != runbook.OpFailover || ctx.Err() != nil {
			return "", err
		}
		s.find("the token of %s on link %s could not be revoked, this run's own takes its place: %s", lost.OpID, l.Name, brief(err))
		return "not revoked", nil
	})
}

// revokeLost revokes operations on the links into sites: draining mirrors go back to ACTIVE, delayed calls do nothing any
// more. judge says what becomes of an answer.
func (s *story) revokeLost(ctx workflow.Context, ops []string, sites []runbook.Site, k kind, judge func(runbook.Link, RevokeOperationResult, error) (string, error)) error {
	for _, l := range s.plan.Links {
		i := slices.IndexFunc(sites, func(at runbook.Site) bool { return at.Name == l.Destination })
		if i < 0 {
			continue
		}
		for _, op := range ops {
			name := "revoke " + op + " on " + l.Name
			err := s.do(ctx, name, func(ctx workflow.Context) (string, error) {
				call := s.call(name)
				call.OperationID = op
				got, err := run(with(ctx, k, name), steps.RevokeOperation, OperationTokenInput{Call: call, Site: sites[i], Link: l, Also: []string{again(op)}})
				return judge(l, got, err)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
