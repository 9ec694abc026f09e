package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// planned: nobody dies in the story.
func (s *story) planned() bool { return s.opts.Story == switchoverStory || s.opts.Story == drillStory }

// theSwitchover moves everybody to the standby and home again, while producers
// and consumers of both topics go on as fast as they can.
func (s *story) theSwitchover(flowing context.Context) []act {
	home, standby := func() *harness.Site { return s.sys.Home }, func() *harness.Site { return s.sys.Standby }
	return []act{
		s.startFlowing(flowing),
		{"records flow at home and are read there", func(ctx context.Context) (string, error) { return s.flowsAt(ctx, home()) }},
		{"drctl switchover --dry-run", s.dryMove},
		{"drctl switchover to the standby, approved by a second person", func(ctx context.Context) (string, error) {
			return s.moveTo(ctx, standby(), &s.failover)
		}},
		{"records flow on the standby and are read there", func(ctx context.Context) (string, error) { return s.flowsAt(ctx, standby()) }},
		{"the old primary follows, and is looked at", s.lookAtHome},
		{"drctl switchover home, approved by a second person", func(ctx context.Context) (string, error) { return s.moveTo(ctx, home(), &s.failback) }},
		{"records flow at home again; then they end, and all are read and mirrored", s.movedHome},
	}
}

func (s *story) startFlowing(flowing context.Context) act {
	return act{"clients start under drctl exec; records flow to both topics", func(context.Context) (string, error) {
		err := errors.Join(s.tutorial.start(), s.clicks.start())
		if err == nil {
			s.flow(flowing, s.tutorial)
			s.flow(flowing, s.clicks)
		}
		return fmt.Sprintf("%d records a second to each topic", s.traffic.PerSecond), err
	}}
}

// flowsAt waits until this many more records of each topic are acknowledged at a
// site, and each group has read there.
func (s *story) flowsAt(ctx context.Context, site *harness.Site) (string, error) {
	ctx, cancel := within(ctx, 2*time.Minute)
	defer cancel()
	for _, a := range []*app{s.tutorial, s.clicks} {
		before, err := a.acked(site.Name)
		if err != nil {
			return "", err
		}
		if err := a.awaitAckedCount(ctx, site.Name, before+s.traffic.Before); err != nil {
			return "", err
		}
		if err := a.awaitReadCount(ctx, site.Name, before+s.traffic.Before); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d more of each topic at %s", s.traffic.Before, site.Name), nil
}

func (s *story) dryMove(ctx context.Context) (string, error) {
	ctx, cancel := within(ctx, 3*time.Minute)
	defer cancel()
	got, err := s.sys.DryRun(ctx, "switchover", s.table.progress())
	if err == nil && (got.Report.Move == nil || got.Outcome != runbook.Dry) {
		err = fmt.Errorf("it made no forecast: %s", got.Report.Error)
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d steps would follow; %s", len(got.Report.Planned), got.Report.Move.Text()), nil
}

func (s *story) moveTo(ctx context.Context, site *harness.Site, result *workflows.Result) (string, error) {
	got, err := s.operate(ctx, "switchover", "--yes="+s.sys.Pair(), "--to", site.Name)
	*result = got
	if err == nil && got.Outcome != runbook.Done {
		err = fmt.Errorf("outcome %q, findings %q", got.Outcome, got.Report.Findings)
	}
	if err == nil && (got.Report.Proof == nil || !got.Report.Proof.OffsetsExact) {
		err = fmt.Errorf("it does not prove that nothing was lost: %+v", got.Report.Proof)
	}
	for _, seg := range got.Report.RTO {
		s.table.printf("      | %-8s %6.1f s\n", seg.Name, float64(seg.Millis)/1000)
	}
	return fmt.Sprintf("clients stood still for %.1f s; %s is active at epoch %d", float64(got.Report.RTOMillis)/1000, joined(got.Active), got.Epoch), err
}

// lookAtHome reads home as it stands while clients are away: it must hold what
// was acknowledged there, once, and what the mirror brings.
func (s *story) lookAtHome(ctx context.Context) (string, error) {
	for _, a := range []*app{s.tutorial, s.clicks} {
		wait, cancel := within(ctx, time.Minute)
		err := s.sys.Mirrored(wait, s.sys.Standby, s.sys.Home, a.topic)
		cancel()
		if err != nil {
			return "", err
		}
		if s.primary[a.topic], err = stand(ctx, s.sys.Home, a.topic); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d records of %s, %d of %s", len(s.primary[tutorialTopic]), tutorialTopic, len(s.primary[clicksTopic]), clicksTopic), nil
}

func (s *story) movedHome(ctx context.Context) (string, error) {
	if _, err := s.flowsAt(ctx, s.sys.Home); err != nil {
		return "", err
	}
	ctx, cancel := within(ctx, 5*time.Minute)
	defer cancel()
	home, standby := s.sys.Home, s.sys.Standby
	err := inOrder(ctx, s.flowedOut, s.tutorial.awaitReadAll, s.clicks.awaitReadAll,
		func(ctx context.Context) error { return s.sys.Mirrored(ctx, home, standby, tutorialTopic, clicksTopic) },
		func(ctx context.Context) error { return s.sys.Settled(ctx, home, standby) },
		func(context.Context) error { return errors.Join(s.tutorial.stop(), s.clicks.stop()) })
	one, oerr := s.tutorial.acked("")
	two, terr := s.clicks.acked("")
	return fmt.Sprintf("%d and %d records in all", one, two), errors.Join(err, oerr, terr)
}
