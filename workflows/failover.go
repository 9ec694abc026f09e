package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Failover makes the standby the active cluster after the active one was lost.
// It accepts the loss of what was not mirrored, says beforehand how much that
// is, and needs neither the lost site's Kafka nor its engine, Consul or
// Temporal.
func Failover(ctx workflow.Context, in FailoverInput) (Result, error) {
	s, err := open(ctx, runbook.OpFailover, in.Start, in.DryRun)
	if err != nil {
		return Result{}, err
	}
	f := &failover{story: s}
	return s.tell(ctx, func(ctx workflow.Context) error {
		if err := inOrder(ctx, f.orient, f.admit, f.attest, f.forecast); err != nil || in.DryRun {
			return err
		}
		return f.act(ctx)
	})
}

// act is the failover once it is known what it costs.
func (f *failover) act(ctx workflow.Context) error {
	err := inOrder(ctx, f.askFirst, f.lock, f.begin, f.fence, f.grow)
	if err != nil {
		return err
	}
	if ctx, err = f.cross(ctx); err != nil { // no way back from here on
		return err
	}
	return inOrder(ctx, f.waves, f.place, f.prove, f.flip, f.move, f.done)
}

type failover struct {
	*story
	lost, survivor runbook.Site
	link           runbook.Link
	need           []string // overrides
	why            []string
	down           bool // nobody reaches the lost site
	level          runbook.FenceLine
	frozen         bool                  // by the planned move that was turned into this
	unended        []runbook.TopicResult // mirrors of a wave that its last try did not find STOPPED
	left           []runbook.TopicResult // those of all waves: they stay read-only
}

// verb is a sentence of a story.
type verb = func(workflow.Context) error

func inOrder(ctx workflow.Context, verbs ...verb) error {
	for _, v := range verbs {
		if err := v(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cross is the pivot. Behind it nothing is undone, failed steps wait for
// people, and a cancel in Temporal no longer reaches the story. An abort that
// came first wins; a pause holds the run before it, not behind.
func (s *story) cross(ctx workflow.Context) (workflow.Context, error) {
	// A pause that is asked for during the last look holds before the pivot too: a
	// freeze has no end behind it. Then it is looked again.
	for again := true; again; again = s.held != nil {
		if err := s.boundary(ctx, "the point of no return"); err != nil {
			return ctx, err
		}
		if err := s.stillFree(ctx); err != nil {
			return ctx, err
		}
	}
	if ctx.Err() != nil || s.aborted != nil || s.expired {
		return ctx, workflow.ErrCanceled
	}
	s.pastPivot, s.forward, s.status.PastPivot = true, true, true
	s.noTurn = "the run is past the point of no return"
	s.undo.forget()
	free, _ := workflow.NewDisconnectedContext(ctx)
	s.phase(free, PhasePivot)
	return free, nil
}

// orient finds out who is lost and who survives.
func (f *failover) orient(ctx workflow.Context) error {
	if f.truth.Record == nil {
		return refuse(ErrPrecondition, "pair %s has no record of truth at any Consul that answers: nothing tells which site is active; drctl setup %s makes it", f.status.Pair, f.status.Pair)
	}
	var err error
	if f.lost, err = f.plan.Site(f.rec.Active[0]); err != nil {
		return refuse(ErrPrecondition, "the active site of the record: %v", err)
	}
	if f.survivor, err = f.plan.Other(f.lost.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	if f.link, err = f.plan.Link(f.lost.Name, f.survivor.Name); err != nil {
		return refuse(ErrPrecondition, "%v", err)
	}
	// Read again with the survivor's copy ruling: the lost site's may be stale.
	f.truth = runbook.ReadTruth(f.copies, nil, f.survivor.Name).Merge(f.truth)
	f.rec = *f.truth.Record
	breaks, err := f.free()
	f.need = append(f.need, breaks...)
	return err
}

func (f *failover) attest(ctx workflow.Context) error {
	err := f.do(ctx, "attest outage", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, "is "+f.lost.Name+" lost?"), steps.AttestOutage,
			AttestOutageInput{Call: f.call("attest outage"), Site: f.lost, Other: f.survivor, Link: f.link, Probes: f.plan.ProbesOf(f.lost.Name)})
		if err != nil {
			return "", err
		}
		v := runbook.Outage(f.lost.Name, got.Vantages)
		f.demand(v)
		f.down = true
		for _, p := range got.Vantages {
			f.down = f.down && !(p.Known && p.Reachable)
		}
		if f.down && !f.level.Proven() {
			// What nobody reaches cannot be fenced with proof: ask at once, so
			// that one approval is enough.
			f.demand(runbook.Verdict{Overrides: []string{runbook.OverrideFence}, Reasons: []string{f.lost.Name + " cannot be fenced with proof while it does not answer"}})
		}
		f.nameOverrides()
		return v.Text(), nil
	})
	return err
}

// nameOverrides shows what an approval will have to name as soon as it is known: that a site is not lost at all is worth knowing
// before the rest is.
func (f *failover) nameOverrides() {
	for _, o := range f.need {
		f.find("needs the override %s: %s", o, runbook.OverrideMeaning(o))
	}
}

func (f *failover) demand(v runbook.Verdict) {
	f.need = append(f.need, runbook.Missing(v.Overrides, f.need)...)
	f.why = append(f.why, v.Reasons...)
}

func (f *failover) forecast(ctx workflow.Context) error {
	err := f.do(ctx, "forecast", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindProbe, "risk on link "+f.link.Name), steps.MeasureRisk,
			MeasureRiskInput{Call: f.call("forecast"), Site: f.survivor, Link: f.link})
		if err != nil {
			return "", err
		}
		v := runbook.Mirrors(got.Risk)
		if !v.OK && len(v.Overrides) == 0 {
			return "", refuse(ErrPrecondition, "%s", v.Text())
		}
		f.demand(v)
		f.topics, f.pivotLink = got.Risk.Topics(), f.link.Name
		f.remember(ctx)
		cast := runbook.Foresee(got.Risk)
		cast.Unseen = got.Risk.Unseen(f.plan.GroupNames())
		f.foresee(ctx, cast)
		f.report.Planned = nil
		if f.status.DryRun {
			f.report.Planned = runbook.FailoverSteps(f.plan, f.link, f.topics, *f.cast, f.past.Runs)
		}
		return f.cast.Text(), nil
	})
	f.nameOverrides()
	f.mark(ctx, "attest") // the forecast is part of it
	return err
}

// remember reads how earlier runs went. Without an answer there is no estimate,
// and the run goes on.
func (f *failover) remember(ctx workflow.Context) {
	got, err := run(with(ctx, kindGlance, "reports of earlier runs"), steps.PastRuns,
		PastRunsInput{Call: f.call("earlier runs"), Folder: f.plan.Reports, Times: pastRuns})
	if err != nil {
		f.find("the reports of earlier runs could not be read, so there is no estimate of the time: %s", brief(err))
	}
	f.past = got.Past
	eta := runbook.Estimate(got.Past.Runs, len(runbook.Waves(f.topics, f.plan.Limits.WaveTopics)), f.plan.Objectives.RTOSeconds)
	f.eta, f.etaFrom = &eta, len(f.report.RTO)
}

// foresee keeps a forecast: whole for the report, cut for answers to queries.
func (f *failover) foresee(ctx workflow.Context, cast runbook.Forecast) {
	cast.Remember(f.past, workflow.Now(ctx))
	f.foreseePipelines(ctx, &cast)
	top := cast.Top(statusRows)
	f.cast, f.status.Forecast = &cast, &top
	rpo := runbook.EstimateRPO(cast, f.plan.Objectives.RPOSeconds)
	f.report.RPOEstimate, f.report.RPOTime = &cast.AtRisk, &rpo
}

func (f *failover) askFirst(ctx workflow.Context) error {
	text := fmt.Sprintf("fail over from %s to %s, giving up %s; %s", f.lost.Name, f.survivor.Name, f.cast.Text(), strings.Join(f.why, "; "))
	if e := f.expect(ctx); e != nil {
		text += "; time: " + e.Text()
		if parts := e.Parts(); parts != "" {
			text += " (" + parts + ")"
		}
	}
	err := f.approve(ctx, "approve", text, f.need, false)
	f.mark(ctx, "approve")
	return err
}

func (f *failover) lock(ctx workflow.Context) error {
	f.phase(ctx, PhaseActing)
	f.engine = f.truth.Highest + 1
	return f.story.lock(ctx, []runbook.Site{f.survivor}, f.survivor.Name, record.Moving)
}

func (f *failover) begin(ctx workflow.Context) error { return f.token(ctx, f.link) }

// fence keeps the old side's clients out as far as that can be done, and asks
// for the override when it was not proven and nobody has given it yet.
func (f *failover) fence(ctx workflow.Context) error {
	if f.level.Proven() { // by the planned move that was turned into this
		err := f.fenceReaders(ctx)
		f.mark(ctx, "fence")
		return err
	}
	var err error
	f.level, err = f.raise(ctx, fence{
		site: f.lost, registerAt: f.survivor, topics: f.topics, groups: f.plan.GroupNames(), effort: kindOnce, dark: f.down,
	})
	if err != nil {
		return err
	}
	if !f.level.Proven() && !f.overridden(runbook.OverrideFence) {
		text := fmt.Sprintf("the fence on %s is %s, not proven (%s): its clients may go on writing what will be lost", f.lost.Name, f.level.Level, f.level.Reason)
		if err := f.approve(ctx, "approve unproven fence", text, []string{runbook.OverrideFence}, false); err != nil {
			return err
		}
	}
	f.mark(ctx, "fence")
	return nil
}

func (f *failover) grow(ctx workflow.Context) error {
	return f.do(ctx, "grow mirrors", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "grow mirrors"), steps.GrowMirrors, MirrorsInput{Call: f.call("grow mirrors"), Site: f.survivor, Link: f.link, Topics: f.topics})
		for _, t := range runbook.Failed(got.Topics) {
			f.find("mirror %s could not be grown: %s", t.Topic, t.Error)
		}
		return "", err
	})
}

// waves ends the mirrors. A wave with too many failures waits for a person;
// fewer, and those of a wave that was skipped, are told in the report and do not
// hold up the rest.
func (f *failover) waves(ctx workflow.Context) error {
	for i, wave := range runbook.Waves(f.topics, f.plan.Limits.WaveTopics) {
		name := fmt.Sprintf("fail over wave %d", i+1)
		err := f.do(ctx, name, func(ctx workflow.Context) (string, error) { return f.wave(ctx, name, wave) })
		if err != nil {
			return err
		}
		f.leave(name)
	}
	err := f.do(ctx, "stop offsets", func(ctx workflow.Context) (string, error) {
		in := MeasureRiskInput{Call: f.call("stop offsets"), Site: f.survivor, Link: f.link}
		got, err := run(with(ctx, kindProbe, "stop offsets"), steps.MeasureRisk, in)
		f.report.Stops, f.report.Offsets = got.Risk.Partitions, got.Risk.Groups
		if got.Risk.Condensed {
			f.offsets = &in
		}
		return fmt.Sprintf("%d partitions", got.Risk.Counted()), err
	})
	f.mark(ctx, "mirrors")
	return err
}

func (f *failover) wave(ctx workflow.Context, name string, topics []string) (string, error) {
	f.unended = nil
	for _, t := range topics {
		f.unended = append(f.unended, runbook.TopicResult{Topic: t, Error: notSeen})
	}
	in := MirrorsInput{Call: f.call(name), Site: f.survivor, Link: f.link, Topics: topics}
	got, err := run(with(ctx, kindLong, fmt.Sprintf("%s: %d mirrors", name, len(topics))), steps.FailoverMirrors, in)
	if err != nil {
		return "", err
	}
	refused := runbook.Failed(got.Topics)
	stopping := accepted(topics, refused)
	stopped, err := run(with(ctx, kindWait(stopWithin), name+": until STOPPED"), steps.AwaitStopped,
		AwaitStoppedInput{Call: f.call(name + " stopped"), Site: f.survivor, Link: f.link, Topics: stopping, Within: stopWithin})
	if err != nil {
		return "", err
	}
	all := append(refused, stopped.Topics...)
	f.unended = runbook.Failed(all) // before it is judged: who skips the wave leaves them
	if v := runbook.Halt(all, f.plan.Limits.HaltPercent); !v.OK {
		return "", refuse(ErrHalted, "%s", v.Text())
	}
	for _, loose := range runbook.Loose(stopped.Topics) {
		f.find("%s", loose)
	}
	return fmt.Sprintf("%d of %d mirrors STOPPED", len(stopped.Topics)-len(runbook.Failed(stopped.Topics)), len(topics)), nil
}

// leave goes on without the mirrors that a wave could not end.
func (f *failover) leave(wave string) {
	for i, t := range f.unended {
		if i == mostLeft {
			f.find("%d mirrors more of %q were not failed over: drctl mirror list %s shows them", len(f.unended)-i, wave, f.link.Name)
			break
		}
		if t.Error == notSeen {
			f.find("mirror %s: whether it was failed over at %s is not known; drctl mirror describe %s %s tells, drctl mirror failover %s %s tries again", t.Topic, f.survivor.Name, f.link.Name, t.Topic, f.link.Name, t.Topic)
			continue
		}
		f.find("mirror %s was not failed over and stays read-only at %s: %s; drctl mirror failover %s %s tries again", t.Topic, f.survivor.Name, t.Error, f.link.Name, t.Topic)
	}
	f.topics = accepted(f.topics, f.unended) // the rest does not wait for them
	f.left, f.unended = append(f.left, f.unended...), nil
}

// notSeen is said of mirrors of a wave whose last try came to no look at them.
const notSeen = "nobody could look"

// mostLeft bounds what a wave adds to the findings, which must fit into the run's result.
const mostLeft = 100

// accepted are the topics that were not refused.
func accepted(topics []string, refused []runbook.TopicResult) []string {
	var out []string
	for _, t := range topics {
		no := false
		for _, r := range refused {
			no = no || r.Topic == t
		}
		if !no {
			out = append(out, t)
		}
	}
	return out
}

func (f *failover) prove(ctx workflow.Context) error { return f.writable(ctx, f.survivor, f.topics) }

// flip sends the clients over. What is owed to the lost site is written in the
// same record, so that no copy exists that does not know of it.
func (f *failover) flip(ctx workflow.Context) error {
	by := f.by(ctx)
	next := runbook.Flip(f.rec, f.plan, f.truth.Highest, f.survivor.Name, by)
	if !f.level.Proven() {
		next = runbook.WithDebt(next, record.FenceDebt{
			Kind: record.DebtFence, Site: f.lost.Name, OpID: f.id, Since: by.Now, Level: f.level.Level, Reason: f.level.Reason,
		}, by)
	}
	return f.flipTo(ctx, next)
}

// flipTo writes the new epoch: the ruling site must take it, and there is no
// skipping that.
func (s *story) flipTo(ctx workflow.Context, next record.Record) error {
	err := s.must(ctx, "flip", func(ctx workflow.Context) (string, error) {
		if err := s.settle(ctx, WriteFlip, "flip", next); err != nil {
			return "", err
		}
		detail := fmt.Sprintf("%s is active at epoch %d", strings.Join(s.rec.Active, ","), s.rec.Epoch)
		for _, d := range s.rec.FenceDebt {
			detail += fmt.Sprintf("; owed to %s: %s", d.Site, d.Kind)
		}
		return detail, nil
	})
	s.mark(ctx, "flip")
	s.search(ctx)
	return err
}

func (f *failover) move(ctx workflow.Context) error {
	return f.moveClients(ctx, f.lost, f.survivor)
}

func (f *failover) done(ctx workflow.Context) error {
	if f.turned != nil {
		if err := f.letGo(ctx, f.lost); err != nil {
			return err
		}
	}
	return f.release(ctx, []runbook.Site{f.survivor})
}
