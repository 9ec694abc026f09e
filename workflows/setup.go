package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// SetUp brings a pair into its steady state: privileges looked at, record of
// truth written, link and mirrors from home to the standby, lag under its
// objective. It is idempotent and run again after a plan change.
func SetUp(ctx workflow.Context, in SetUpInput) (Result, error) {
	s, err := open(ctx, runbook.OpSetUp, in.Start, false)
	if err != nil {
		return Result{}, err
	}
	u := &setup{story: s}
	return s.tell(ctx, func(ctx workflow.Context) error {
		return inOrder(ctx, u.orient, u.admit, u.privileges, u.list, u.ask, u.lock,
			u.canaryTopic, u.makeLink, u.begin, u.mirror, u.catchUp, u.prove, u.record, u.tellWorkloads, u.watch, u.done)
	})
}

type setup struct {
	*story
	home, standby runbook.Site
	link          runbook.Link
	need          []string
}

func (u *setup) orient(workflow.Context) error {
	var err error
	if u.home, err = u.plan.Site(u.plan.Home); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if u.standby, err = u.plan.Other(u.plan.Home); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if u.link, err = u.plan.Link(u.home.Name, u.standby.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if u.truth.Record != nil && u.rec.Active[0] != u.home.Name {
		return refuse(ErrPrecondition, "pair %s is active at %s, away from home: setting up mirrors from %s would overwrite what is newer; go home first: drctl switchover %s, or after a failover drctl recover and drctl failback; or stay: drctl recover, drctl restore, and home: %s in the plan", u.plan.Pair, u.rec.Active[0], u.home.Name, u.plan.Pair, u.rec.Active[0])
	}
	if len(u.truth.Silent) > 0 {
		return refuse(ErrPrecondition, "%s do not answer: setting up needs both sites", strings.Join(u.truth.Silent, ", "))
	}
	u.need, err = u.free()
	return err
}

func (u *setup) privileges(ctx workflow.Context) error {
	return u.do(ctx, "check privileges", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "privileges on both sites"), steps.CheckPrivileges,
			CheckPrivilegesInput{Call: u.call("check privileges"), Sites: u.plan.Sites, Topics: u.plan.Topics, Groups: u.plan.GroupNames(), Notify: u.plan.Notify, Drills: u.plan.Drills, Teams: u.plan.TeamChannels(), Workloads: u.plan.Workloads()})
		if err != nil {
			return "", err
		}
		var blockers []string
		for _, f := range got.Findings {
			text := strings.TrimPrefix(fmt.Sprintf("%s: %s: %s", f.Site, f.What, f.Cure), ": ")
			if f.Blocker {
				blockers = append(blockers, text)
			} else {
				u.find("%s", text)
			}
		}
		for _, text := range u.plan.OneSided() {
			u.find("%s", text)
		}
		if len(blockers) > 0 {
			return "", refuse(ErrPrecondition, "%s", strings.Join(blockers, "; "))
		}
		return fmt.Sprintf("%d findings", len(got.Findings)), nil
	})
}

func (u *setup) list(ctx workflow.Context) error {
	topics, err := u.listTopics(ctx, u.home)
	u.topics = topics
	return err
}

// listTopics resolves the plan's topics at a site; the pair's canary topic goes
// with them.
func (s *story) listTopics(ctx workflow.Context, site runbook.Site) (topics []string, err error) {
	name := "list topics " + site.Name
	err = s.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, name), steps.ListDRTopics, ListDRTopicsInput{Call: s.call(name), Site: site, Filters: s.plan.Topics})
		if err != nil {
			return "", err
		}
		for _, t := range got.Missing {
			s.find("topic %s of the plan does not exist at %s", t, site.Name)
		}
		topics = got.Topics
		canary := runbook.CanaryTopic(s.plan.Pair)
		if len(runbook.Missing([]string{canary}, topics)) > 0 {
			topics = append(topics, canary)
		}
		return fmt.Sprintf("%d topics", len(topics)), nil
	})
	return topics, err
}

func (u *setup) ask(ctx workflow.Context) error {
	return u.approve(ctx, "approve", fmt.Sprintf("mirror %d topics from %s to %s", len(u.topics), u.home.Name, u.standby.Name), u.need, false)
}

func (u *setup) lock(ctx workflow.Context) error {
	u.phase(ctx, PhaseActing)
	if u.truth.Record == nil {
		u.rec = runbook.Fresh(u.plan, u.truth.Highest, u.by(ctx))
		u.engine = u.rec.Epoch
	}
	u.engine = max(u.engine, u.truth.Highest)
	return u.story.lock(ctx, []runbook.Site{u.standby, u.home}, u.home.Name, record.Open)
}

func (u *setup) canaryTopic(ctx workflow.Context) error { return u.ensureCanary(ctx, u.home) }

func (s *story) ensureCanary(ctx workflow.Context, site runbook.Site) error {
	return s.do(ctx, "canary topic", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindChange, "canary topic at "+site.Name), steps.EnsureCanaryTopic, EnsureCanaryTopicInput{Call: s.call("canary topic"), Site: site})
		return got.Topic, err
	})
}

func (u *setup) makeLink(ctx workflow.Context) error { return u.ensureLink(ctx, u.link) }

func (s *story) ensureLink(ctx workflow.Context, l runbook.Link) error {
	source, err := s.plan.Site(l.Source)
	if err != nil {
		return err
	}
	destination, err := s.plan.Site(l.Destination)
	if err != nil {
		return err
	}
	name := "link " + l.Name
	return s.do(ctx, name, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, name), steps.EnsureLink, EnsureLinkInput{Call: s.call(name), Link: l, Source: source, Destination: destination, Groups: s.plan.GroupNames()})
		if err == nil && got.Error != "" {
			s.find("link %s is %s: %s", l.Name, got.State, got.Error)
		}
		return got.State, err
	})
}

func (u *setup) begin(ctx workflow.Context) error { return u.token(ctx, u.link) }

func (u *setup) mirror(ctx workflow.Context) error {
	refused, err := u.ensureMirrors(ctx, u.link, u.home, u.standby, u.topics, false)
	u.topics = accepted(u.topics, refused)
	return err
}

// ensureMirrors starts mirrors of topics. Unless all must be there, a refused one
// is a finding.
func (s *story) ensureMirrors(ctx workflow.Context, l runbook.Link, source, destination runbook.Site, topics []string, all bool) (refused []runbook.TopicResult, err error) {
	name := "mirrors on " + l.Name
	err = s.step(ctx, name, !all, func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, name), steps.EnsureMirrors, EnsureMirrorsInput{Call: s.call(name), Link: l, Source: source, Destination: destination, Topics: topics})
		if err != nil {
			return "", err
		}
		refused = runbook.Failed(got.Topics)
		if all && len(refused) > 0 {
			return "", refuse(ErrHalted, "%d of %d mirrors were refused, first %s: %s", len(refused), len(got.Topics), refused[0].Topic, refused[0].Error)
		}
		for _, t := range refused {
			s.find("topic %s is not mirrored: %s", t.Topic, t.Error)
		}
		if len(refused) == len(topics) {
			return "", refuse(ErrHalted, "not one of %d topics could be mirrored, first %s: %s", len(refused), refused[0].Topic, refused[0].Error)
		}
		return fmt.Sprintf("%d mirrors", len(topics)-len(refused)), nil
	})
	return refused, err
}

// catchUp waits for the lag to get under its objective. A standby that does not
// catch up in time is set up all the same, and the report says so.
func (u *setup) catchUp(ctx workflow.Context) error {
	return u.do(ctx, "catch up", func(ctx workflow.Context) (string, error) {
		got, err := u.awaitMirrors(ctx, "catch up", u.link, u.standby)
		if err == nil && !got.CaughtUp {
			u.find("the mirrors lag %d records after %d s: %s", got.LagRecords, u.plan.Limits.CatchUpSeconds, strings.Join(got.Behind, "; "))
		}
		return fmt.Sprintf("lag %d records", got.LagRecords), err
	})
}

func (s *story) awaitMirrors(ctx workflow.Context, name string, l runbook.Link, site runbook.Site) (AwaitMirrorsResult, error) {
	within := runbook.Seconds(s.plan.Limits.CatchUpSeconds)
	return run(with(ctx, kindWait(within), name), steps.AwaitMirrors, AwaitMirrorsInput{
		Call: s.call(name), Site: site, Link: l, Topics: s.topics, MaxLag: s.plan.Objectives.LagRecords, Within: within,
	})
}

func (u *setup) prove(ctx workflow.Context) error { return u.writable(ctx, u.home, u.topics) }

// record writes what the plan says now; the epoch rises only with a change that
// moves clients.
func (u *setup) record(ctx workflow.Context) error {
	return u.do(ctx, "record of truth", func(ctx workflow.Context) (string, error) {
		next := runbook.Renew(u.rec, u.plan, max(u.truth.Highest, u.rec.Epoch), u.by(ctx))
		if !record.RaisesEpoch(u.rec, next) {
			return fmt.Sprintf("epoch %d stands", u.rec.Epoch), nil
		}
		u.changed = true // clients move with it
		err := u.settle(ctx, WriteFlip, "record of truth", next)
		return fmt.Sprintf("epoch %d", u.rec.Epoch), err
	})
}

// watch has Temporal look at the pair's readiness from now on. A pair without it
// is set up all the same.
func (u *setup) watch(ctx workflow.Context) error {
	if workflow.GetVersion(ctx, "watch readiness", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return nil
	}
	every := runbook.Seconds(u.plan.Readiness.EverySeconds)
	return u.do(ctx, "watch readiness", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindChange, "schedule of readiness"), steps.WatchReadiness, WatchReadinessInput{Call: u.call("watch readiness"), Every: every, Drills: u.plan.Drills})
		switch {
		case err != nil:
			u.find("nobody looks at the pair's readiness, and no drill is played by itself: %s", brief(err))
			return "not watched", nil
		case every <= 0:
			return strings.Join(append([]string{"the plan wants none"}, got.Drills...), "; "), nil
		}
		return strings.Join(append([]string{fmt.Sprintf("every %s by the Schedule %s", every, got.Schedule)}, got.Drills...), "; "), nil
	})
}

func (u *setup) done(ctx workflow.Context) error {
	return u.release(ctx, []runbook.Site{u.standby, u.home})
}
