package runbooks

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// stopAt lets the run go as far as before a place and no further: it stands at
// row until goOn, or until the step is given up.
func (o *op) stopAt(place, row string) {
	o.Helper()
	o.must(o.HoldWorkerAt("before " + place))
	o.Cleanup(o.goOn) // else the worker could not end in good order
	st := o.awaitApproval()
	o.must(o.approve(o.within(time.Minute), *st.Waiting))
	o.await("the run to stand at "+row, time.Minute, func(st *workflows.Status) error {
		for _, s := range st.Steps {
			if s.Name == row && s.State == runbook.StateRunning {
				return nil
			}
		}
		return fmt.Errorf("phase %s", st.Phase)
	})
}

// goOn ends stopAt.
func (o *op) goOn() {
	if err := o.HoldWorkerAt(); err != nil {
		o.Error(err)
	}
}

// freezes stops a planned move before it drains, and insists that the pair is
// frozen and its source fenced.
func (o *op) freezes(source *harness.Site) {
	o.Helper()
	o.stopAt("AwaitDrained drain", "drain")
	if rec, err := o.Record(o.within(time.Minute), o.Standby); err != nil || rec.Phase != "frozen" {
		o.Errorf("the record is not frozen: %+v, %v", rec, err)
	}
	if len(o.deny(source)) == 0 || o.tryProduce(source, "refused") == nil {
		o.Error("the run stands in its freeze, and writing is not denied")
	}
}

// abort ends the run as its requester and returns how it ended.
func (o *op) abort() workflows.Result {
	o.Helper()
	_, err := o.Drctl.Run(o.within(time.Minute), "abort", o.Pair(), "--reason", "it was a false alarm")
	o.must(err)
	got, err := o.finish(o.within(2 * time.Minute))
	o.must(err)
	o.goOn()
	if !strings.Contains(got.Report.Error, "aborted by "+harness.Requester) {
		o.Errorf("the report does not say who aborted: %q", got.Report.Error)
	}
	return got
}

// calm is a standing without what an undone run may leave: its own token, and
// the epoch that it would have made.
func (p *pair) calm(s *harness.Site) standing {
	p.Helper()
	out := p.standing(s)
	var mirrors []string
	for _, m := range out.Mirrors {
		if !strings.Contains(m, ": operation ") {
			mirrors = append(mirrors, m)
		}
	}
	out.Mirrors = mirrors
	out.Lock, _, _ = strings.Cut(out.Lock, ",")
	return out
}

func TestAFailoverAbortedBehindItsFenceIsUndone(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "abort", nil, harness.FaultsTag)
	p.steady()
	east, west := p.calm(p.Home), p.calm(p.Standby)
	o, err := p.begin(p.within(3*time.Minute), "failover")
	p.must(err)
	o.stopAt("GrowMirrors grow mirrors", "grow mirrors")
	if len(p.deny(p.Home)) == 0 || p.tryProduce(p.Home, "refused") == nil {
		t.Error("the run stands behind its fence, and writing is not denied")
	}
	opID := o.last.OpID
	if got := o.abort(); got.Outcome != runbook.NoChange || got.Epoch != 1 {
		t.Errorf("outcome %q, epoch %d", got.Outcome, got.Epoch)
	}
	p.same(east, p.calm(p.Home))
	p.same(west, p.calm(p.Standby))

	// A call of that run, still on its way when it was revoked.
	late := p.Standby.Engine.Client().As(api.Operation{OperationID: opID, Epoch: 2})
	_, err = late.AlterMirrors(p.within(time.Minute), p.link, api.VerbFailover, api.AlterMirrors{MirrorTopicNames: []string{p.topic}}, false)
	if !errors.Is(err, api.ErrConflict) {
		t.Errorf("a late call of the revoked run: %v, want 409", err)
	}
	p.same(west, p.calm(p.Standby))

	p.produce(p.Home, "4")
	p.mirrored(p.Home, p.Standby)
	p.stands(p.Standby, "1", "2", "3", "4")
	p.outcome(runbook.Done, "failover")
}

func TestAPlannedMoveAbortedInItsFreezeIsUndone(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "thaw", nil, harness.FaultsTag)
	p.steady()
	p.outcome(runbook.Done, "failover")
	p.outcome(runbook.Done, "recover", "--append", "*")
	o, err := p.begin(p.within(4*time.Minute), "failback")
	p.must(err)
	first := o.awaitApproval() // of the rebuild
	p.must(o.approve(p.within(time.Minute), *first.Waiting))
	o.await("the second approval", 2*time.Minute, func(st *workflows.Status) error {
		if st.Waiting == nil || st.Waiting.For != workflows.WaitApproval || st.Waiting.Text == first.Waiting.Text {
			return fmt.Errorf("phase %s", st.Phase)
		}
		return nil
	})
	before := p.calm(p.Standby) // the rebuild stays, the locks do not
	before.Record, before.Lock = strings.Replace(before.Record, "locked true", "locked false", 1), "held false"
	o.freezes(p.Standby)
	if got := o.abort(); got.Outcome != runbook.Partly || got.Epoch != 2 {
		t.Errorf("outcome %q, epoch %d: the rebuild stays, the move does not", got.Outcome, got.Epoch)
	}
	p.same(before, p.calm(p.Standby))
	at := p.standing(p.Home)
	if !strings.Contains(at.Record, "phase open") || !strings.Contains(at.Record, "locked false") || !strings.Contains(at.Lock, "held false") {
		t.Errorf("at %s: %s, lock %s", p.Home.Name, at.Record, at.Lock)
	}
	p.produce(p.Standby, "4")
	p.must(local.WaitFor(p.within(time.Minute), "the rebuilt topic to follow", p.holds(p.Home, 4)))
	p.stands(p.Home, "1", "2", "3", "4")
	got := p.outcome(runbook.Done, "failback")
	if got.Epoch <= 2 || got.Active[0] != p.Home.Name {
		t.Errorf("the failback after it: epoch %d, active %v", got.Epoch, got.Active)
	}
	p.stands(p.Home, "1", "2", "3", "4")
}
