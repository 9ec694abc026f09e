package runbooks

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// holds is a condition: n records in every partition at a site.
func (p *pair) holds(s *harness.Site, n int) func(context.Context) error {
	adm := p.admin(s)
	return func(ctx context.Context) error {
		ends, err := adm.ListEndOffsets(ctx, p.topic)
		if err != nil {
			return err
		}
		for part := range int32(partitions) {
			if end, _ := ends.Lookup(p.topic, part); end.Err != nil || end.Offset < int64(n) {
				return fmt.Errorf("partition %d ends at %d, %w", part, end.Offset, end.Err)
			}
		}
		return nil
	}
}

// A call that a run sent before it ended, and that the network kept until now.
func TestALateEngineCallOfAnEndedRunIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "latecall", nil)
	setup := p.outcome(runbook.Done, "setup")
	p.produce(p.Home, "1", "2", "3")
	p.read(p.Home, 2)
	p.mirrored(p.Home, p.Standby)
	engine := p.Standby.Engine.Client()
	topics := api.AlterMirrors{MirrorTopicNames: []string{p.topic}}
	decide := api.DecideLedger{Topics: []string{p.topic}, DecidedBy: "late"}
	late := func(id string, epoch int64) {
		t.Helper()
		op := api.Operation{OperationID: id, Epoch: epoch}
		as := engine.As(op)
		before := p.standing(p.Standby)
		for _, c := range []struct {
			name string
			call func(context.Context) error
		}{
			// First: opened again, it would let the others in.
			{"begin again", func(ctx context.Context) error {
				_, err := engine.PutOperation(ctx, p.link, op)
				return err
			}},
			{"failover", func(ctx context.Context) error {
				_, err := as.AlterMirrors(ctx, p.link, api.VerbFailover, topics, false)
				return err
			}},
			{"promote", func(ctx context.Context) error {
				_, err := as.AlterMirrors(ctx, p.link, api.VerbPromote, topics, false)
				return err
			}},
			{"pause", func(ctx context.Context) error {
				_, err := as.AlterMirrors(ctx, p.link, api.VerbPause, topics, false)
				return err
			}},
			{"append", func(ctx context.Context) error { _, err := as.AppendLedger(ctx, p.link, decide); return err }},
			{"discard", func(ctx context.Context) error { _, err := as.DiscardLedger(ctx, p.link, decide); return err }},
			{"groups", func(ctx context.Context) error { _, err := as.OwnGroups(ctx, p.link, api.TakeOwnership{}); return err }},
		} {
			if err := c.call(p.within(2 * time.Minute)); !errors.Is(err, api.ErrConflict) {
				t.Errorf("%s of the ended run %s: %v, want 409", c.name, id, err)
			}
		}
		p.same(before, p.standing(p.Standby))
	}
	late(setup.OpID, setup.Epoch) // its mirrors are ACTIVE: a failover would end them
	p.lag("4")
	failover := p.outcome(runbook.Done, "failover")
	p.ReleasePair()
	late(failover.OpID, failover.Epoch)
	late(setup.OpID, setup.Epoch) // overtaken too
}
