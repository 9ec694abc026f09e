package exactlyonce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// complete waits until the mirrors have all that stands at the source.
func (r *run) complete(ctx context.Context) error {
	ends, err := answered(ctx, "the source's log ends", func(ctx context.Context) (kadm.ListedOffsets, error) {
		ends, err := r.srcAdm.ListEndOffsets(ctx, r.names()...)
		return ends, errors.Join(err, ends.Error())
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Patience)
	defer cancel()
	return local.WaitFor(ctx, "the mirrors are complete", func(ctx context.Context) error {
		p, err := r.api().Progress(ctx, r.cfg.name())
		if err != nil {
			return err
		}
		for _, m := range p.Mirrors {
			if m.Status == "FAILED" {
				cancel() // it will never be
				return fmt.Errorf("mirror %s FAILED: %s", m.Topic, m.Reason)
			}
		}
		return harness.Behind(p, ends, r.names()...)
	})
}

// awaitProgress waits until every partition has moved on.
func (r *run) awaitProgress(ctx context.Context) error {
	first := map[harness.At]int64{}
	return local.WaitFor(within(ctx, time.Minute), "all partitions move on", func(ctx context.Context) error {
		p, err := r.api().Progress(ctx, r.cfg.name())
		if err != nil {
			return err
		}
		for _, m := range p.Mirrors {
			for _, part := range m.Partitions {
				at := harness.At{Topic: m.Topic, Partition: part.Partition}
				was, ok := first[at]
				if !ok {
					first[at], was = part.SourcePosition, part.SourcePosition
				}
				if part.SourcePosition <= was {
					err = errors.Join(err, fmt.Errorf("%s is at %d, source high watermark %d, stalled %q", at, part.SourcePosition, part.SourceHighWatermark, part.Stalled))
				}
			}
		}
		return err
	})
}

// end promotes the mirrors, or fails them over, by the seed.
func (r *run) end(ctx context.Context) error {
	verb, name := api.VerbPromote, "promote"
	if r.cfg.Seed%2 == 0 {
		verb, name = api.VerbFailover, "failover"
	}
	r.result.EndedBy = name
	client := r.api()
	// As a runbook does before it: nobody commits any more.
	_, err := answered(ctx, "the sync of groups", func(ctx context.Context) (api.GroupSync, error) { return client.SyncGroups(ctx, r.cfg.name()) })
	if err != nil {
		return err
	}
	res, err := client.AlterMirrors(ctx, r.cfg.name(), verb, api.AlterMirrors{MirrorTopicNames: r.names()}, false)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, one := range res {
		if err := one.Err(); err != nil {
			return fmt.Errorf("%s %s: %w", name, one.MirrorTopicName, err)
		}
	}
	err = local.WaitFor(within(ctx, 90*time.Second), "the mirrors are STOPPED", func(ctx context.Context) error {
		p, err := client.Progress(ctx, r.cfg.name())
		if err != nil {
			return err
		}
		for _, m := range p.Mirrors {
			if m.Status != "STOPPED" {
				return fmt.Errorf("%s is %s %s", m.Topic, m.Status, m.Reason)
			}
		}
		return nil
	})
	if err == nil {
		r.say("ended by %s", name)
	}
	return err
}

// failed tells whether an engine gave a mirror up.
func (r *run) failed(ctx context.Context) bool {
	p, err := r.api().Progress(ctx, r.cfg.name())
	if err != nil {
		return false
	}
	for _, m := range p.Mirrors {
		if m.Status == "FAILED" {
			r.say("mirror %s FAILED: %s", m.Topic, m.Reason)
			return true
		}
	}
	return false
}
