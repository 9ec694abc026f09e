package runbooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.temporal.io/sdk/client"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// partitions of every pair's topic.
const partitions = 2

// pair is one pair with a topic, a group and people.
type pair struct {
	*testing.T
	*harness.System
	topic, group string
	link, back   string // home → standby and its opposite
	temporal     client.Client
	last         *workflows.Status // as last seen, for whoever reads a failure
}

// newPair starts a pair beside servers. change may be nil.
func newPair(t *testing.T, servers *harness.System, name string, change func(*plan.Plan), workerTags ...string) *pair {
	t.Helper()
	p := &pair{T: t, topic: name + "-orders", group: name + "-readers"}
	sys, err := servers.Beside(p.within(2*time.Minute), harness.Config{
		Pair: name, Topics: []harness.Topic{{Name: p.topic, Partitions: partitions}},
		Groups:     []plan.Group{{Name: p.group, Move: runbook.MovePage}},
		Principals: []harness.Principal{{Name: app, Write: []string{p.topic}, Read: []string{p.topic}, Groups: []string{p.group}}},
		Plan: func(pl *plan.Plan) {
			// Nobody moves here by himself: do not wait for it.
			pl.Limits.ClientsSeconds = 1
			pl.Limits.FreezeSeconds = 300
			if change != nil {
				change(pl)
			}
		},
	}, workerTags...)
	if err != nil {
		t.Fatal(err)
	}
	p.System = sys
	t.Cleanup(func() {
		if t.Failed() {
			p.tell()
		}
		if err := sys.Stop(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	if p.temporal, err = sys.Temporal.Dial(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.temporal.Close)
	p.link = harness.PairLink(name, sys.Home.Name, sys.Standby.Name)
	p.back = harness.PairLink(name, sys.Standby.Name, sys.Home.Name)
	return p
}

// patience is how many times the longest wait of an idle machine a busy one is given: what waits here is bounded against
// hangs only.
const patience = 3

func (p *pair) within(d time.Duration) context.Context {
	d *= patience
	ctx, cancel := context.WithTimeoutCause(p.Context(), d, fmt.Errorf("not within %s", d))
	p.Cleanup(cancel)
	return ctx
}

func (p *pair) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatalf("pair %s: %v", p.Pair(), err)
	}
}

// tell prints what a person would want to see first.
func (p *pair) tell() {
	if st := p.last; st != nil {
		text := fmt.Sprintf("pair %s: %s of %s, phase %s, outcome %q, epoch %d\n%s", st.Pair, st.OpID, st.Requester, st.Phase, st.Outcome, st.Epoch, runbook.Table(st.Steps))
		if st.Waiting != nil {
			text += fmt.Sprintf("waits for %s (%v): %s\n", st.Waiting.For, st.Waiting.Commands, st.Waiting.Text)
		}
		p.Log(text + strings.Join(st.Findings, "\n"))
	}
	p.Logf("pair %s: end of the worker's log:\n%s", p.Pair(), p.Worker.Log(25))
	for _, s := range []*harness.Site{p.Home, p.Standby} {
		p.Logf("end of the log of engine %s:\n%s", s.Name, s.Engine.Process().Log(12))
	}
}

// ---- operations

// op is an operation under way.
type op struct {
	*pair
	verb  string
	id    string // of the workflow
	runID string
	given map[string]bool // approvals
}

// begin starts an operation by drctl, as ann, and does not follow it.
func (p *pair) begin(ctx context.Context, verb string, args ...string) (*op, error) {
	all := []string{verb, p.Pair(), "--detach"}
	if slices.Contains([]string{"failover", "failback", "restore", "switchover", "drill"}, verb) {
		all = append(all, "--yes="+p.Pair())
	}
	var started struct {
		RunID string `json:"run_id"`
	}
	if err := p.Drctl.JSON(ctx, &started, append(all, args...)...); err != nil {
		return nil, err
	}
	o := &op{pair: p, verb: verb, id: workflows.ID(p.Pair()), runID: started.RunID, given: map[string]bool{}}
	if verb == "drill" {
		o.id = workflows.DrillID(p.Pair())
	}
	return o, nil
}

// status asks the run itself; nil while no worker answers.
func (o *op) status(ctx context.Context) *workflows.Status { return o.ask(ctx, o.id, o.runID) }

// acting is status of the run that acts and asks: a drill has others do that.
func (o *op) acting(ctx context.Context) *workflows.Status {
	if o.verb == "drill" {
		return o.ask(ctx, workflows.ID(o.Pair()), "")
	}
	return o.status(ctx)
}

func (o *op) ask(ctx context.Context, id, runID string) *workflows.Status {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	answer, err := o.temporal.QueryWorkflow(ctx, id, runID, workflows.QueryStatus)
	if err != nil {
		return nil
	}
	var st workflows.Status
	if answer.Get(&st) != nil {
		return nil
	}
	o.last = &st
	return &st
}

// waits is a run that needs more than approvals.
type waits struct{ workflows.Waiting }

func (w *waits) Error() string {
	return fmt.Sprintf("it waits for %s at step %q: %s", w.For, w.Step, w.Text)
}

// finish approves as bob whatever the run asks and returns its result. A run
// that waits for anything else is a *waits.
func (o *op) finish(ctx context.Context) (workflows.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		result workflows.Result
		err    error
	}
	ended := make(chan end, 1)
	go func() {
		var e end
		e.err = o.temporal.GetWorkflow(ctx, o.id, o.runID).Get(ctx, &e.result)
		ended <- e
	}()
	poll := time.NewTicker(time.Second) // each question costs the server and the worker as much as a step
	defer poll.Stop()
	var refusal error
	for {
		select {
		case e := <-ended:
			o.status(context.WithoutCancel(ctx))
			if e.err != nil && ctx.Err() != nil {
				return e.result, errors.Join(context.Cause(ctx), refusal)
			}
			return e.result, e.err
		case <-poll.C:
		}
		st := o.acting(ctx)
		if st == nil || st.Waiting == nil || st.Phase == workflows.PhaseEnded {
			continue
		}
		if st.Waiting.For != workflows.WaitApproval {
			cancel()
			<-ended
			return workflows.Result{}, &waits{*st.Waiting}
		}
		if question := st.OpID + " " + st.Waiting.Text; !o.given[question] {
			// Refused or unanswered it is tried again: a worker may have died of it.
			refusal = o.approve(ctx, *st.Waiting)
			o.given[question] = refusal == nil
		}
	}
}

func (o *op) approve(ctx context.Context, w workflows.Waiting) error {
	args := []string{"approve", o.Pair(), "--key", o.Key(harness.Approver), "--reason", "read and agreed"}
	for _, name := range w.Overrides {
		args = append(args, "--override", name)
	}
	_, err := o.Drctl.Run(ctx, args...)
	return err
}

// await waits until the status is as a test wants it.
func (o *op) await(what string, d time.Duration, is func(*workflows.Status) error) *workflows.Status {
	o.Helper()
	var got *workflows.Status
	o.must(local.WaitFor(o.within(d), what, func(ctx context.Context) error {
		if got = o.status(ctx); got == nil {
			return errors.New("no worker answers")
		}
		return is(got)
	}))
	return got
}

// awaitApproval waits until the run asks for an approval.
func (o *op) awaitApproval() *workflows.Status {
	o.Helper()
	return o.await("the run to ask for an approval", time.Minute, func(st *workflows.Status) error {
		if st.Waiting == nil || st.Waiting.For != workflows.WaitApproval {
			return fmt.Errorf("phase %s", st.Phase)
		}
		return nil
	})
}

// operate starts an operation and brings it to its end.
func (p *pair) operate(verb string, args ...string) workflows.Result {
	p.Helper()
	ctx := p.within(8 * time.Minute)
	o, err := p.begin(ctx, verb, args...)
	p.must(err)
	got, err := o.finish(ctx)
	if err != nil {
		p.Fatalf("%s of pair %s: %v", verb, p.Pair(), err)
	}
	return got
}

// outcome is operate that insists on an outcome.
func (p *pair) outcome(want, verb string, args ...string) workflows.Result {
	p.Helper()
	got := p.operate(verb, args...)
	if got.Outcome != want {
		p.Fatalf("%s of pair %s: outcome %q, want %q; error %q, findings %q, debts %+v", verb, p.Pair(), got.Outcome, want, got.Report.Error, got.Report.Findings, got.Report.DebtsOpen)
	}
	return got
}

// ---- records and offsets

// client is one of the pair's application, straight to the brokers.
func (p *pair) client(s *harness.Site, opts ...kgo.Opt) *kgo.Client {
	p.Helper()
	cl, err := kgo.NewClient(append(s.Kafka.DirectOptions(p.Login(app)), append(opts, kgo.RecordRetries(2))...)...)
	p.must(err)
	p.Cleanup(cl.Close)
	return cl
}

// produce writes values to every partition of the topic as the application.
func (p *pair) produce(s *harness.Site, values ...string) {
	p.Helper()
	p.must(p.tryProduce(s, values...))
}

func (p *pair) tryProduce(s *harness.Site, values ...string) error {
	cl := p.client(s, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	var records []*kgo.Record
	for part := range int32(partitions) {
		for _, v := range values {
			records = append(records, &kgo.Record{Topic: p.topic, Partition: part, Value: []byte(v)})
		}
	}
	return cl.ProduceSync(p.within(2*time.Minute), records...).FirstErr()
}

// stand is what stands in the topic at a site.
func (p *pair) stand(s *harness.Site) map[int32][]string {
	p.Helper()
	got, err := s.Read(p.within(2*time.Minute), p.topic)
	p.must(err)
	out := map[int32][]string{}
	for part, records := range got {
		for _, r := range records {
			out[part] = append(out[part], string(r.Value))
		}
	}
	return out
}

// stands insists that every partition holds exactly values.
func (p *pair) stands(s *harness.Site, values ...string) {
	p.Helper()
	for part, got := range p.stand(s) {
		if !slices.Equal(got, values) {
			p.Errorf("%s/%d at %s holds %q, want %q", p.topic, part, s.Name, got, values)
		}
	}
}

// read has a member of the group read at a site and commit; it returns what it
// read of each partition, n records of each.
func (p *pair) read(s *harness.Site, n int) map[int32][]string {
	p.Helper()
	ctx := p.within(2 * time.Minute)
	cl := p.client(s, kgo.ConsumerGroup(p.group), kgo.ConsumeTopics(p.topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond))
	out := map[int32][]string{}
	offsets := map[int32]kgo.EpochOffset{}
	for len(out[0]) < n || len(out[1]) < n {
		got := cl.PollFetches(ctx)
		if err := got.Err(); err != nil {
			p.Fatalf("group %s reads at %s, has %v: %v", p.group, s.Name, out, err)
		}
		got.EachRecord(func(r *kgo.Record) {
			if len(out[r.Partition]) < n {
				out[r.Partition] = append(out[r.Partition], string(r.Value))
				offsets[r.Partition] = kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1}
			}
		})
	}
	var failed error
	cl.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{p.topic: offsets}, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, res *kmsg.OffsetCommitResponse, err error) {
		failed = err
		for _, t := range res.Topics {
			for _, part := range t.Partitions {
				if part.ErrorCode != 0 {
					failed = errors.Join(failed, fmt.Errorf("commit of %s/%d: error code %d", t.Topic, part.Partition, part.ErrorCode))
				}
			}
		}
	})
	p.must(failed)
	cl.LeaveGroup()
	return out
}

// committed is the group's offsets at a site.
func (p *pair) committed(s *harness.Site) map[int32]int64 {
	p.Helper()
	adm := p.admin(s)
	got, err := adm.FetchOffsets(p.within(2*time.Minute), p.group)
	p.must(err)
	out := map[int32]int64{}
	got.Each(func(o kadm.OffsetResponse) {
		if o.Topic == p.topic {
			out[o.Partition] = o.At
		}
	})
	return out
}

func (p *pair) admin(s *harness.Site) *kadm.Client {
	p.Helper()
	adm, err := s.Admin()
	p.must(err)
	p.Cleanup(adm.Close)
	return adm
}

// mirrored waits until the pair's link has what stands at its source, and group
// offsets followed.
func (p *pair) mirrored(from, to *harness.Site) {
	p.Helper()
	link := harness.PairLink(p.Pair(), from.Name, to.Name)
	ends, err := p.admin(from).ListEndOffsets(p.within(2*time.Minute), p.topic)
	p.must(err)
	at := p.committed(from)
	p.must(local.WaitFor(p.within(time.Minute), "link "+link+" to follow", func(ctx context.Context) error {
		got, err := to.Engine.Client().Progress(ctx, link)
		if err != nil {
			return err
		}
		seen := 0
		for _, m := range got.Mirrors {
			if m.Topic != p.topic {
				continue
			}
			if m.Status != runbook.StatusActive {
				return fmt.Errorf("mirror %s is %s %s", m.Topic, m.Status, m.Reason)
			}
			for _, part := range m.Partitions {
				seen++
				if end, _ := ends.Lookup(p.topic, part.Partition); part.SourcePosition < end.Offset {
					return fmt.Errorf("partition %d is at %d of %d", part.Partition, part.SourcePosition, end.Offset)
				}
			}
		}
		if seen < partitions {
			return fmt.Errorf("%d of %d partitions are mirrored", seen, partitions)
		}
		groups, err := to.Engine.Client().Groups(ctx, link)
		if err != nil {
			return err
		}
		for part, offset := range at {
			followed := false
			for _, g := range groups.Groups {
				if g.Group == p.group && g.Topic == p.topic && g.Partition == part {
					followed = g.SourceOffset == offset && g.DestOffset == g.Wanted && g.Owned
				}
			}
			if !followed {
				return fmt.Errorf("group %s at %d of partition %d is not on the standby: %+v", p.group, offset, part, groups.Groups)
			}
		}
		return nil
	}))
}

// lag leaves values at home that the standby never gets.
func (p *pair) lag(values ...string) {
	p.Helper()
	p.HoldPair()
	p.Cleanup(p.ReleasePair)
	p.produce(p.Home, values...)
}

// steady sets the pair up with three records, two of which the group has read.
func (p *pair) steady() {
	p.Helper()
	p.outcome(runbook.Done, "setup")
	p.fill()
}

// fill gives a pair that is set up what steady says.
func (p *pair) fill() {
	p.Helper()
	p.produce(p.Home, "1", "2", "3")
	p.read(p.Home, 2)
	p.mirrored(p.Home, p.Standby)
}
