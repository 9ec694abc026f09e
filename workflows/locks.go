package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// free refuses a pair that another operation holds, wherever the lock is seen,
// and returns the override needed to break it, when the signed request asks for
// that.
func (s *story) free() (override []string, err error) {
	l := s.truth.Lock
	if l == nil || l.OpID == s.id || s.rec.Lock != nil && s.rec.Lock.OpID == s.id {
		return nil, nil // nobody's, or the run has the pair
	}
	if s.leftover(l) {
		s.find("the lock of %s (%s) at %s is left of a run that is over and keeps nobody out: it stays with the engine until an operation locks that one", l.OpID, l.Operation, s.truth.LockAt)
		return nil, nil
	}
	if s.status.DryRun {
		s.find("pair %s is held by %s %s now", s.status.Pair, l.Operation, l.OpID)
		return nil, nil
	}
	if slices.Contains(s.request, runbook.OverrideLock) {
		s.find("the lock of %s (%s, since %s) is broken by override", l.OpID, l.Operation, l.Since.UTC().Format("2006-01-02 15:04:05Z"))
		return []string{runbook.OverrideLock}, nil
	}
	return nil, refuse(ErrPairBusy, "pair %s is held by %s %s since %s (%s): wait for it, or, if that run is gone for good, request again with the override %s",
		s.status.Pair, l.Operation, l.OpID, l.Since.UTC().Format("2006-01-02 15:04:05Z"), s.truth.LockAt, runbook.OverrideLock)
}

// leftover as runbook.Leftover, by the record as this run knows it now.
func (s *story) leftover(l *record.Lock) bool {
	return s.truth.Record != nil && runbook.Leftover(l, s.rec)
}

// lock takes the pair: the state topics of the engines at sites first, each behind the tokens of an operation
// whose lock is broken there, then the record of truth, whose ruling copy is at ruling.
func (s *story) lock(ctx workflow.Context, sites []runbook.Site, ruling string, phase record.Phase) error {
	s.ruling = ruling
	breaks := ""
	if l := s.truth.Lock; l != nil && l.OpID != s.id {
		breaks = l.OpID // free has refused it, unless the override was approved
	}
	for _, site := range sites {
		if err := s.shutOut(ctx, site); err != nil {
			return err
		}
		name := "lock engine " + site.Name
		in := EngineLockInput{Call: s.holder(name), Site: site, Break: breaks}
		if b, ok := s.breaks[site.Name]; ok {
			in.Break = b
		}
		s.undo.once(name, func(ctx workflow.Context) error {
			_, err := run(with(ctx, s.undoAt(site.Name), "give back the lock at "+site.Name), steps.EngineUnlock, in)
			return s.undone(site.Name, err)
		})
		err := s.do(ctx, name, func(ctx workflow.Context) (string, error) {
			got, err := run(with(ctx, kindChange, "lock at "+site.Name), steps.EngineLock, in)
			if err == nil && !got.Held {
				return "", refuse(ErrPairBusy, "engine %s did not give the lock of pair %s", site.Name, s.status.Pair)
			}
			return fmt.Sprintf("highest epoch there %d", got.HighestEpoch), err
		})
		if err != nil {
			return err
		}
	}
	s.undo.once("lock record", func(ctx workflow.Context) error {
		// The lock, or its end, may have been written though its step failed: look.
		tried := s.unsure
		if err := s.reread(ctx, kindUndo); err != nil {
			return err
		}
		landed := tried != nil && s.rec.SHA256 == tried.SHA256
		if s.rec.Lock == nil && landed {
			return s.offerAll(ctx, "undo lock record", s.rec) // cut off between the copies
		}
		if s.rec.Lock == nil || s.rec.Lock.OpID != s.id {
			return nil
		}
		return s.write(ctx, kindUndo, WriteUnlock, "undo lock record", runbook.Unlocked(s.rec, s.by(ctx)))
	})
	return s.do(ctx, "lock record", func(ctx workflow.Context) (string, error) {
		what := WriteLock
		if s.base[ruling] == "" {
			what = WriteCreate
		}
		return "phase " + string(phase), s.write(ctx, kindChange, what, "lock record", runbook.Locked(s.rec, phase, s.by(ctx)))
	})
}

// write puts a record into the ruling site's Consul, which must succeed, and
// offers it to the others; a site that does not take it is owed.
func (s *story) write(ctx workflow.Context, k kind, what, name string, next record.Record) error {
	next = next.Normalised()
	ruling, err := s.plan.Site(s.ruling)
	if err != nil {
		return err
	}
	if s.unsure != nil {
		if err := s.reread(ctx, k); err != nil {
			return err
		}
	}
	if err := s.resolve(ctx, k, ruling); err != nil {
		return err
	}
	in := WriteRecordInput{Call: s.call(name), Kind: what, Site: ruling, Record: next, Base: s.base[s.ruling]}
	if _, err := run(with(ctx, k, fmt.Sprintf("record at %s: %s", s.ruling, what)), steps.WriteRecord, in); err != nil {
		// It may be written all the same, the answer lost.
		s.unsure = &next
		return fmt.Errorf("write the record of truth at %s: %w", s.ruling, err)
	}
	s.rec, s.base[s.ruling] = next, next.SHA256
	s.status.Debts = next.FenceDebt
	s.report.EpochAfter, s.report.Active = next.Epoch, next.Active
	return s.offerAll(ctx, name, next)
}

// offerAll offers a record to the sites that do not rule; who does not take it is owed. It fails only when a site has
// another's newer record while there is a way back: what was read at the start is no longer so.
func (s *story) offerAll(ctx workflow.Context, name string, next record.Record) error {
	for _, site := range s.plan.Sites {
		if site.Name == s.ruling {
			continue
		}
		if err := s.offer(ctx, site, name, next); err != nil {
			if ErrorType(err) == ErrEpochConflict && !s.pastPivot && !s.undoing {
				return fmt.Errorf("another operation has written the record of truth at %s since this run read it: %w", site.Name, err)
			}
			s.owed[site.Name] = brief(err)
		} else {
			delete(s.owed, site.Name)
		}
	}
	return nil
}

// reread learns what stands at the ruling site after a write whose outcome is
// not known. Anything but what we believed or tried to write is somebody
// else's, and the next write will be refused.
func (s *story) reread(ctx workflow.Context, k kind) error {
	site, err := s.plan.Site(s.ruling)
	if err != nil {
		return err
	}
	got, err := run(with(ctx, k, "what stands at "+s.ruling), steps.ReadRecord, ReadRecordInput{Call: s.call("read back record"), Sites: []runbook.Site{site}})
	if err != nil {
		return err
	}
	c := runbook.CopyOf(got.Copies, s.ruling)
	if !c.Reachable {
		return s.undone(s.ruling, refuse(ErrUnreachable, "consul of %s does not answer: %s", s.ruling, c.Problem))
	}
	if c.Record != nil && s.unsure != nil && c.Record.SHA256 == s.unsure.SHA256 {
		s.rec, s.base[s.ruling] = *c.Record, c.Record.SHA256
		s.status.Debts = s.rec.FenceDebt
	}
	s.unsure = nil
	return nil
}

// offer writes a copy to a site that does not rule.
func (s *story) offer(ctx workflow.Context, site runbook.Site, name string, next record.Record) error {
	free, _ := workflow.NewDisconnectedContext(ctx)
	k := kindCopy
	if _, owed := s.owed[site.Name]; owed || !runbook.CopyOf(s.copies, site.Name).Reachable {
		k = kindCopySilent
	}
	in := WriteRecordInput{Call: s.call(name + " copy"), Kind: WriteCopy, Site: site, Record: next, Base: s.base[site.Name], Follow: true}
	if _, err := run(with(free, k, "copy of the record at "+site.Name), steps.WriteRecord, in); err != nil {
		if s.doubts == nil {
			s.doubts = map[string][]string{}
		}
		s.doubts[site.Name] = append(s.doubts[site.Name], next.SHA256)
		return err
	}
	s.base[site.Name] = next.SHA256
	delete(s.doubts, site.Name)
	return nil
}

// resolve learns, before a site rules, which of the copies stands there whose
// answers were lost: a write on the base that was known before would be refused
// for ever. What is none of ours is somebody else's, and is refused rightly.
func (s *story) resolve(ctx workflow.Context, k kind, site runbook.Site) error {
	if len(s.doubts[site.Name]) == 0 {
		return nil
	}
	got, err := run(with(ctx, k, "which copy stands at "+site.Name), steps.ReadRecord, ReadRecordInput{Call: s.call("read back copy"), Sites: []runbook.Site{site}})
	if err != nil {
		return err
	}
	c := runbook.CopyOf(got.Copies, site.Name)
	if !c.Reachable {
		return fmt.Errorf("consul of %s does not answer: %s", site.Name, c.Problem)
	}
	if c.Record != nil && slices.Contains(s.doubts[site.Name], c.Record.SHA256) {
		s.base[site.Name] = c.Record.SHA256
	}
	delete(s.doubts, site.Name)
	return nil
}

// settle writes next with the debts that the other sites' Consuls give rise to:
// what they did not take is owed, what they took is no longer.
func (s *story) settle(ctx workflow.Context, what, name string, next record.Record) error {
	by := s.by(ctx)
	for _, site := range s.plan.Sites {
		if why, ok := s.owed[site.Name]; ok {
			next = runbook.WithDebt(next, record.FenceDebt{Kind: record.DebtRecord, Site: site.Name, OpID: s.id, Since: by.Now, Reason: why}, by)
		}
	}
	if err := s.write(ctx, kindChange, what, name, next); err != nil {
		return err
	}
	fixed := s.rec
	for _, site := range s.plan.Sites {
		if why, ok := s.owed[site.Name]; ok {
			fixed = runbook.WithDebt(fixed, record.FenceDebt{Kind: record.DebtRecord, Site: site.Name, OpID: s.id, Since: by.Now, Reason: why}, by)
		} else if site.Name != s.ruling {
			for _, d := range fixed.Debts(record.DebtRecord) {
				if d.Site == site.Name {
					fixed = runbook.WithoutDebt(fixed, d, by)
					s.report.DebtsPaid = append(s.report.DebtsPaid, d)
				}
			}
		}
	}
	if len(fixed.FenceDebt) == len(s.rec.FenceDebt) {
		return nil
	}
	return s.write(ctx, kindChange, WriteDebt, name+" debts", fixed)
}

// token opens the operation's token on a link, unless the run has it. Its undo
// is no entry of the stack: revoke comes before everything else is undone. Once
// tokens were revoked the run needs another name, its calls are refused for good.
func (s *story) token(ctx workflow.Context, l runbook.Link) error {
	if slices.ContainsFunc(s.tokens, func(in OperationTokenInput) bool { return in.Link.Name == l.Name }) {
		return nil
	}
	if s.shut {
		s.acting = again(s.id)
	}
	site, err := s.plan.Site(l.Destination)
	if err != nil {
		return err
	}
	name := "begin operation on " + l.Name
	in := OperationTokenInput{Call: s.call(name), Site: site, Link: l}
	s.tokens = append(s.tokens, in)
	return s.must(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindChange, "token on "+l.Name), steps.BeginOperation, in)
		return got.State, err
	})
}

// revoke ends the run's power over its links, before anything is undone:
// delayed calls do nothing from here on, and draining mirrors go back to
// ACTIVE. Mirrors among topics that are STOPPED mean that there is no way back.
func (s *story) revoke(ctx workflow.Context, topics []string) (stopped []string, err error) {
	s.within++ // until it is known whether there is a way back, nobody may hold the run
	defer func() { s.within-- }()
	for _, in := range s.tokens {
		in.Call.Step = "revoke operation on " + in.Link.Name
		err := s.do(ctx, in.Call.Step, func(ctx workflow.Context) (string, error) {
			got, err := run(with(ctx, s.undoAt(in.Site.Name), "revoke on "+in.Link.Name), steps.RevokeOperation, in)
			if s.undone(in.Site.Name, err) != nil {
				return "", err
			}
			for _, t := range got.Stopped {
				if in.Link.Name == s.pivotLink && slices.Contains(topics, t) {
					stopped = append(stopped, t)
				}
			}
			return strings.TrimSpace(got.State + " " + strings.Join(got.Stopped, ",")), nil
		})
		if err != nil {
			return stopped, err
		}
	}
	s.shut = s.shut || len(s.tokens) > 0
	s.tokens = nil
	return stopped, nil
}

// release gives everything back in good order: tokens, record, state topics.
func (s *story) release(ctx workflow.Context, sites []runbook.Site) error {
	for _, in := range s.tokens {
		in.Call.Step = "end operation on " + in.Link.Name
		err := s.do(ctx, in.Call.Step, func(ctx workflow.Context) (string, error) {
			got, err := run(with(ctx, kindChange, "end the token on "+in.Link.Name), steps.EndOperation, in)
			return got.State, err
		})
		if err != nil {
			return err
		}
	}
	s.tokens = nil
	err := s.must(ctx, "unlock record", func(ctx workflow.Context) (string, error) {
		return "phase open", s.settle(ctx, WriteUnlock, "unlock record", runbook.Unlocked(s.rec, s.by(ctx)))
	})
	if err != nil {
		return err
	}
	s.undo.drop("lock record")
	for _, site := range sites {
		name := "unlock engine " + site.Name
		in := EngineLockInput{Call: s.holder(name), Site: site}
		err := s.do(ctx, name, func(ctx workflow.Context) (string, error) {
			_, err := run(with(ctx, kindChange, "give back the lock at "+site.Name), steps.EngineUnlock, in)
			return "", err
		})
		if err != nil {
			return err
		}
		s.undo.drop("lock engine " + site.Name)
	}
	return nil
}
