package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// CanaryDrill takes a topic of its own through a real failover: known records are
// written at the active site, mirrored by a link of the drill's own, that mirror is
// failed over and proven writable, records and offsets are compared, the mirror is
// rebuilt and compared again, and all of it is removed. The pair's topics, groups,
// links and record are not touched, so it takes no lock but its workflow id, which
// keeps every other operation away. Whatever ends it, what it made is removed; what
// a run that died left is removed by the next one.
func CanaryDrill(ctx workflow.Context, in DrillInput) (Result, error) {
	s, err := open(ctx, runbook.OpDrill, in.Start, false)
	if err != nil {
		return Result{}, err
	}
	s.report.Drill = runbook.DrillCanary
	c := &canaryDrill{story: s}
	return s.tell(ctx, func(ctx workflow.Context) error {
		return inOrder(ctx, c.orient, c.ask, c.clear, c.write, c.makeLink, c.begin, c.mirror, c.caughtUp, c.syncGroups, c.forecast,
			c.failOver, c.prove, c.compare, c.roundTrip, c.rebuild, c.cleanUp)
	})
}

// What a canary drill writes: enough for several batches in each of several partitions.
const (
	drillPartitions = 3
	drillRecords    = 3000
)

type canaryDrill struct {
	*story
	active, standby runbook.Site
	link            runbook.Link // the drill's own
	proof           runbook.DrillProof
}

func (c *canaryDrill) orient(ctx workflow.Context) error {
	pair := c.plan.Pair
	f := runbook.ReadyFacts{Now: workflow.Now(ctx), Plan: c.plan, Truth: &c.truth, Holds: c.holds}
	if r := runbook.MayDrill(runbook.DrillCanary, f, runbook.Readiness{}); r != nil {
		return refuse(r.Code, "%s", r.Text)
	}
	var err error
	if c.active, err = c.plan.Site(c.rec.Active[0]); err != nil {
		return refuse(ErrPrecondition, "the active site of the record: %v", err)
	}
	if c.standby, err = c.plan.Other(c.active.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	own, err := c.plan.Link(c.active.Name, c.standby.Name)
	if err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	c.link = runbook.DrillLink(pair, own)
	c.topics = []string{runbook.DrillTopic(pair)}
	c.proof.Topic = c.topics[0]
	c.engine = c.truth.Highest
	return nil
}

// ask wants approvals only where the plan's rule does: a Schedule, whose runs
// nobody has signed, must not wait for people every time.
func (c *canaryDrill) ask(ctx workflow.Context) error {
	if c.rule().Count == 0 {
		return nil
	}
	return c.approve(ctx, "approve", fmt.Sprintf("take topic %s through a failover from %s to %s; no other topic and no client is touched", c.topics[0], c.active.Name, c.standby.Name), nil, false)
}

// clear removes what an earlier drill left, once it is registered that this one's
// remains are removed too. A remainder that cannot be removed holds nothing up for
// long: the pair must be free for a real failover.
func (c *canaryDrill) clear(ctx workflow.Context) error {
	c.phase(ctx, PhaseActing)
	c.undo.add("drill", func(ctx workflow.Context) error {
		if _, err := c.remove(ctx, "remove the drill"); err != nil {
			c.find("link %s, topic %s and its group are left, and the next drill removes them: %s", c.link.Name, c.topics[0], brief(err))
		}
		return nil
	})
	return c.do(ctx, "clear earlier drill", func(ctx workflow.Context) (string, error) { return c.remove(ctx, "clear earlier drill") })
}

func (c *canaryDrill) remove(ctx workflow.Context, step string) (string, error) {
	got, err := run(with(ctx, kindDrill, step), steps.ClearDrill, ClearDrillInput{Call: c.call(step), Active: c.active, Standby: c.standby, Link: c.link})
	if len(got.Removed) == 0 {
		return "nothing was there", err
	}
	return "removed " + strings.Join(got.Removed, ", "), err
}

func (c *canaryDrill) write(ctx workflow.Context) error {
	return c.do(ctx, "write records", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindDrill, "known records at "+c.active.Name), steps.WriteDrill, WriteDrillInput{Call: c.call("write records"), Site: c.active, Partitions: drillPartitions, Records: drillRecords})
		c.proof.Source = got.Copy
		return fmt.Sprintf("%d records in %d partitions of %s", got.Copy.Records(), len(got.Copy.Partitions), c.topics[0]), err
	})
}

func (c *canaryDrill) makeLink(ctx workflow.Context) error {
	name := "link " + c.link.Name
	return c.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindDrill, name), steps.EnsureLink, EnsureLinkInput{
			Call: c.call(name), Link: c.link, Source: c.active, Destination: c.standby, Groups: []string{runbook.DrillGroup(c.plan.Pair)},
		})
		return strings.TrimSpace(got.State + " " + got.Error), err
	})
}

// begin opens the token as a failover does. It goes with the link: no undo of its own.
func (c *canaryDrill) begin(ctx workflow.Context) error {
	name := "begin operation on " + c.link.Name
	return c.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindChange, name), steps.BeginOperation, OperationTokenInput{Call: c.call(name), Site: c.standby, Link: c.link})
		return got.State, err
	})
}

func (c *canaryDrill) mirror(ctx workflow.Context) error { return c.mirrorAs(ctx, "mirror") }

func (c *canaryDrill) mirrorAs(ctx workflow.Context, name string) error {
	return c.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindDrill, name), steps.EnsureMirrors, EnsureMirrorsInput{Call: c.call(name), Link: c.link, Source: c.active, Destination: c.standby, Topics: c.topics})
		if err != nil {
			return "", err
		}
		return c.allWell(name, got.Topics)
	})
}

// allWell is what all mirrors are, or why one is not as it should be.
func (c *canaryDrill) allWell(name string, topics []runbook.TopicResult) (string, error) {
	for _, t := range runbook.Failed(topics) {
		return "", refuse(ErrHalted, "%s of topic %s: %s", name, t.Topic, t.Error)
	}
	if len(topics) == 0 {
		return "", refuse(ErrHalted, "%s: the engine of %s told nothing of topic %s", name, c.standby.Name, c.topics[0])
	}
	return topics[0].Status, nil
}

func (c *canaryDrill) caughtUp(ctx workflow.Context) error { return c.caughtUpAs(ctx, "catch up") }

func (c *canaryDrill) caughtUpAs(ctx workflow.Context, name string) error {
	return c.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindWait(drillWithin), name), steps.AwaitMirrors, AwaitMirrorsInput{Call: c.call(name), Site: c.standby, Link: c.link, Topics: c.topics, Within: drillWithin})
		if err == nil && !got.CaughtUp {
			err = refuse(ErrHalted, "the mirror of the drill's topic lags %d records after %s: %s", got.LagRecords, drillWithin, strings.Join(got.Behind, "; "))
		}
		return fmt.Sprintf("lag %d records", got.LagRecords), err
	})
}

func (c *canaryDrill) syncGroups(ctx workflow.Context) error {
	return c.do(ctx, "sync groups", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindDrill, "offsets of the drill's group"), steps.SyncGroups, LinkGroupsInput{Call: c.call("sync groups"), Site: c.standby, Link: c.link, Groups: []string{runbook.DrillGroup(c.plan.Pair)}})
		if err == nil && !got.Exact {
			err = refuse(ErrHalted, "the offsets of the drill's group are not exact at %s: %s", c.standby.Name, strings.Join(got.Problems, "; "))
		}
		c.report.Offsets = got.Groups
		return fmt.Sprintf("%d offsets", len(got.Groups)), err
	})
}

// forecast measures what the failover would lose, as a real one does first: from
// here on the clock of the RTO runs.
func (c *canaryDrill) forecast(ctx workflow.Context) error {
	c.marks = workflow.Now(ctx)
	err := c.do(ctx, "forecast", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, "risk on link "+c.link.Name), steps.MeasureRisk, MeasureRiskInput{Call: c.call("forecast"), Site: c.standby, Link: c.link})
		if err != nil {
			return "", err
		}
		cast := runbook.Foresee(got.Risk)
		c.status.Forecast, c.report.RPOEstimate = &cast, &cast.AtRisk
		return fmt.Sprintf("%d records at risk", cast.AtRisk), nil
	})
	c.mark(ctx, "attest")
	return err
}

func (c *canaryDrill) failOver(ctx workflow.Context) error {
	err := c.do(ctx, "fail over", func(ctx workflow.Context) (string, error) {
		in := MirrorsInput{Call: c.call("fail over"), Site: c.standby, Link: c.link, Topics: c.topics}
		got, err := run(with(ctx, kindDrill, "fail over "+c.topics[0]), steps.FailoverMirrors, in)
		if err != nil {
			return "", err
		}
		if _, err := c.allWell("failover", got.Topics); err != nil {
			return "", err
		}
		ended, err := run(with(ctx, kindWait(stopWithin), "until STOPPED"), steps.AwaitStopped, AwaitStoppedInput{Call: c.call("stopped"), Site: c.standby, Link: c.link, Topics: c.topics, Within: stopWithin})
		if err != nil {
			return "", err
		}
		for _, t := range ended.Topics {
			if t.OK && t.WriterFence != "" && t.WriterFence != "enforced" {
				c.find("mirror %s: the fence on the engine's own writer is %s", t.Topic, t.WriterFence)
			}
		}
		return c.allWell("failover", ended.Topics)
	})
	c.mark(ctx, "mirrors")
	return err
}

func (c *canaryDrill) prove(ctx workflow.Context) error {
	name := "prove writable " + c.standby.Name
	err := c.do(ctx, name, func(ctx workflow.Context) (string, error) {
		if c.standby.Canary == nil {
			c.find("site %s has no canary principal: that its fences and guards bind and are lifted was not tried", c.standby.Name)
			return "no canary principal", nil
		}
		got, err := run(with(ctx, kindWait(time.Minute), name), steps.ProveWritable, ProveWritableInput{Call: c.call(name), Site: c.standby, Topics: c.topics, Within: time.Minute})
		if err == nil && !got.Writable {
			err = refuse(ErrHalted, "the canary is refused at %s behind the failover: %v; the canary's principal needs ALLOW WRITE on topic %s, and no DENY entry of others may stand", c.standby.Name, got.Refused, c.topics[0])
		}
		return fmt.Sprintf("%d brokers", got.Brokers), err
	})
	c.mark(ctx, "prove")
	return err
}

func (c *canaryDrill) compare(ctx workflow.Context) error {
	if err := c.compareAs(ctx, "compare", &c.proof.FailedOver, true); err != nil {
		return err
	}
	lost := c.proof.Source.Records() - c.proof.FailedOver.Records()
	c.report.RPOExact = &lost
	return nil
}

func (c *canaryDrill) compareAs(ctx workflow.Context, name string, into *runbook.DrillCopy, groups bool) error {
	return c.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindDrill, "what stands at "+c.standby.Name), steps.ReadDrill, ReadDrillInput{Call: c.call(name), Site: c.standby})
		if err != nil {
			return "", err
		}
		*into = got.Copy
		v := runbook.SameCopy(c.proof.Source, got.Copy, groups)
		if !v.OK {
			return "", refuse(ErrHalted, "%s", v.Text())
		}
		return v.Text(), nil
	})
}

// roundTrip writes and reads a real record: the topic is the drill's own.
func (c *canaryDrill) roundTrip(ctx workflow.Context) error {
	name := "canary record " + c.standby.Name
	return c.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindDrill, name), steps.ProduceConsumeCanary, ProduceConsumeCanaryInput{Call: c.call(name), Site: c.standby, Topic: c.topics[0]})
		return fmt.Sprintf("%s at offset %d in %d ms", got.Topic, got.Offset, got.Millis), err
	})
}

// rebuild mirrors the topic again, as a failback would: what was written at the
// standby goes.
func (c *canaryDrill) rebuild(ctx workflow.Context) error {
	err := c.do(ctx, "delete the failed over topic", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindDrill, "delete "+c.topics[0]+" at "+c.standby.Name), steps.DeleteTopics, DeleteTopicsInput{Call: c.call("delete"), Site: c.standby, Other: c.active, Link: c.link, Topics: c.topics})
		return fmt.Sprintf("%d deleted", len(got.Deleted)), err
	})
	if err != nil {
		return err
	}
	return inOrder(ctx,
		func(ctx workflow.Context) error { return c.mirrorAs(ctx, "mirror again") },
		func(ctx workflow.Context) error { return c.caughtUpAs(ctx, "catch up again") },
		func(ctx workflow.Context) error { return c.compareAs(ctx, "compare again", &c.proof.Rebuilt, false) })
}

// cleanUp ends a drill that went well: what is left behind fails it.
func (c *canaryDrill) cleanUp(ctx workflow.Context) error {
	err := c.do(ctx, "clean up", func(ctx workflow.Context) (string, error) { return c.remove(ctx, "clean up") })
	if err == nil {
		c.undo.drop("drill")
		c.report.Drilled = &c.proof
	}
	return err
}
