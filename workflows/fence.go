package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// fence is what to fence, and how hard to try.
type fence struct {
	site       runbook.Site
	registerAt runbook.Site
	topics     []string
	groups     []string // nil: producers only
	// effort is kindOnce for a site that may be dead, else kindLong.
	effort kind
	// dark: nobody reaches the site; the canary is not tried before the fence, and the
	// fence is not waited for.
	dark bool
	// keep: the fence stays up when the run fails (a returned old primary).
	keep bool
}

// holdStill is how long log ends must not move for a fence to be proven.
const holdStill = 2 * time.Second

// raise fences a site and judges the evidence. An unreachable site is a result,
// not an error, whatever went wrong there with kindOnce.
func (s *story) raise(ctx workflow.Context, f fence) (runbook.FenceLine, error) {
	var line runbook.FenceLine
	err := s.do(ctx, "fence "+f.site.Name, func(ctx workflow.Context) (string, error) {
		best := f.effort == kindOnce
		ev, err := s.raiseOnce(ctx, f)
		if err != nil && best && ctx.Err() == nil {
			ev, err = runbook.FenceEvidence{Site: f.site.Name, Problem: brief(err)}, nil
		}
		if err != nil {
			return "", err
		}
		line = runbook.Fence(ev)
		detail := line.Level
		if line.Reason != "" {
			detail += ": " + line.Reason
		}
		return detail, nil
	})
	if err == nil && line.Site != "" {
		s.status.Fences = append(s.status.Fences, line)
	}
	return line, err
}

func (s *story) raiseOnce(ctx workflow.Context, f fence) (runbook.FenceEvidence, error) {
	none := runbook.FenceEvidence{Site: f.site.Name}
	// The look before: a refusal proves something only if the canary was let
	// through before. A step of its own, so that a retried fence keeps it.
	var before ProveWritableResult
	if !f.dark {
		var err error
		before, err = run(with(ctx, f.effort, "canary before the fence at "+f.site.Name), steps.ProveWritable,
			ProveWritableInput{Call: s.call("canary before fence " + f.site.Name), Site: f.site, Topics: f.topics})
		if err != nil && f.effort != kindOnce {
			return none, err
		}
		if err != nil {
			before.Writable = false // fence without the look: then it is not proven
		}
	}
	if !f.keep {
		lift := LiftFenceInput{Call: s.call("lift fence " + f.site.Name), Site: f.site, RegisterAt: f.registerAt, FencingOperation: s.id}
		s.undo.drop("fence " + f.site.Name)
		s.undo.add("fence "+f.site.Name, func(ctx workflow.Context) error {
			_, err := run(with(ctx, s.undoAt(f.site.Name, f.registerAt.Name), "lift the fence at "+f.site.Name), steps.LiftFence, lift)
			return s.undone(f.site.Name, err)
		})
	}
	made, err := run(with(ctx, f.effort, "DENY WRITE at "+f.site.Name), steps.FenceSite,
		FenceSiteInput{Call: s.holder("fence " + f.site.Name), Site: f.site, RegisterAt: f.registerAt, Topics: f.topics, Dark: f.dark})
	if err != nil {
		return none, err
	}
	if !made.Reachable {
		none.Problem = made.Problem
		return none, nil
	}
	if len(f.groups) > 0 {
		got, err := s.fenceGroups(ctx, f)
		if err != nil {
			return none, err
		}
		made.Entries = max(made.Entries, got.Entries)
	}
	proof, err := run(with(ctx, f.effort, "prove the fence at "+f.site.Name), steps.ProveFence, ProveFenceInput{
		Call: s.holder("prove fence " + f.site.Name), Site: f.site, RegisterAt: f.registerAt, Topics: f.topics,
		HoldFor: holdStill, CanaryBefore: before.Writable || made.CanaryBefore,
	})
	if err != nil {
		return none, err
	}
	ev := proof.Evidence
	ev.Site = f.site.Name
	ev.CanaryBefore = ev.CanaryBefore || before.Writable || made.CanaryBefore
	ev.Entries = max(ev.Entries, made.Entries)
	ev.SuperUsers = append(ev.SuperUsers, runbook.Missing(made.SuperUsers, ev.SuperUsers)...)
	return ev, nil
}

func (s *story) fenceGroups(ctx workflow.Context, f fence) (FenceResult, error) {
	return run(with(ctx, f.effort, "DENY READ on groups at "+f.site.Name), steps.FenceGroups,
		FenceGroupsInput{Call: s.holder("fence groups " + f.site.Name), Site: f.site, RegisterAt: f.registerAt, Groups: f.groups})
}

// liftGroups removes every DENY READ on groups that operations left on a site.
func (s *story) liftGroups(ctx workflow.Context, site, registerAt runbook.Site) error {
	name := "lift group fence " + site.Name
	return s.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, name), steps.LiftGroupFence, LiftFenceInput{Call: s.call(name), Site: site, RegisterAt: registerAt})
		return fmt.Sprintf("%d operations", len(got.Operations)), err
	})
}

// handOver gives the fence on a site to the guards of the mirrors there.
func (s *story) handOver(ctx workflow.Context, site, registerAt runbook.Site, l runbook.Link) error {
	name := "hand over fence " + site.Name
	return s.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, name), steps.HandOverFence, HandOverFenceInput{Call: s.call(name), Site: site, RegisterAt: registerAt, Link: l})
		for _, t := range got.Lifted {
			s.find("topic %s at %s is no mirror: its fence was lifted, whoever may write there can", t, site.Name)
		}
		return fmt.Sprintf("%d entries became guards", got.Entries), err
	})
}

// writable proves that a site takes writes: every broker lets the canary
// through, and a record can be written and read on the pair's own topic.
func (s *story) writable(ctx workflow.Context, site runbook.Site, topics []string) error {
	err := s.do(ctx, "prove writable "+site.Name, func(ctx workflow.Context) (string, error) {
		if site.Canary == nil {
			s.find("site %s has no canary principal: that clients may write to every topic is not proven", site.Name)
			return "no canary principal", nil
		}
		name := "prove writable " + site.Name
		got, err := run(with(ctx, kindWait(time.Minute), name), steps.ProveWritable, ProveWritableInput{Call: s.call(name), Site: site, Topics: topics, Within: time.Minute})
		if err != nil {
			return "", err
		}
		if !got.Writable {
			return "", refuse(ErrHalted, "writes are still refused at %s: %v; look for DENY entries that are not ours", site.Name, got.Refused)
		}
		return fmt.Sprintf("%d brokers", got.Brokers), nil
	})
	if err != nil {
		return err
	}
	name := "canary record " + site.Name
	return s.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, name), steps.ProduceConsumeCanary, ProduceConsumeCanaryInput{Call: s.call(name), Site: site})
		return fmt.Sprintf("%s at offset %d in %d ms", got.Topic, got.Offset, got.Millis), err
	})
}

// own passes the group offsets at a site to the engine there, which mirrors over l.
func (s *story) own(ctx workflow.Context, name string, site runbook.Site, l runbook.Link) error {
	return s.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "group offsets at "+site.Name), steps.OwnGroups, LinkGroupsInput{Call: s.call(name), Site: site, Link: l, Groups: s.plan.GroupNames()})
		for _, p := range got.Problems {
			s.find("group offsets at %s: %s", site.Name, p)
		}
		return fmt.Sprintf("%d offsets", len(got.Groups)), err
	})
}
