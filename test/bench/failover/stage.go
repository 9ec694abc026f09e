package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

const (
	app   = "app"     // principal of the clients
	group = "billing" // their group
	// records in each partition, of which the group has read one less.
	records = 3
)

// stage is a pair whose mirrors hold everything, and whose home is dead.
type stage struct {
	*harness.System
	size   size
	topics []string
	link   string
	dir    string
}

// newStage starts everything afresh: what an earlier run left must not weigh on this one.
func newStage(ctx context.Context, o Options, of size) (_ *stage, err error) {
	dir, err := os.MkdirTemp("", "bench-failover-")
	if err != nil {
		return nil, err
	}
	s := &stage{size: of, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("size %s: %w", of.Name, err), s.close())
		}
	}()
	cfg := harness.Config{
		Dir: filepath.Join(dir, "system"), Kind: o.Kind, Pair: "bench", Groups: []plan.Group{{Name: group, Move: runbook.MoveWatch}},
		// Home is never started again; see Volatile for the sizes.
		Volatile: o.Kind == local.KFake,
		Plan:     func(p *plan.Plan) { p.Limits.CatchUpSeconds = 900 },
	}
	for i := range of.Topics {
		s.topics = append(s.topics, fmt.Sprintf("t%05d", i))
		cfg.Topics = append(cfg.Topics, harness.Topic{Name: s.topics[i], Partitions: int32(of.Partitions)})
	}
	cfg.Principals = []harness.Principal{{Name: app, Write: s.topics, Read: s.topics, Groups: []string{group}}}
	if s.System, err = harness.Start(ctx, cfg); err != nil {
		return s, err
	}
	s.link = harness.Link(s.Home, s.Standby)
	for _, step := range []func(context.Context) error{s.load, s.setUp, s.settle, s.loseHome} {
		if err := step(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *stage) close() error {
	var err error
	if s.System != nil {
		err = s.Stop()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// load writes records and the group's offsets at home.
func (s *stage) load(ctx context.Context) error {
	cl, err := s.Home.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	var recs []*kgo.Record
	offsets := kadm.Offsets{}
	for _, t := range s.topics {
		for p := range int32(s.size.Partitions) {
			for range records {
				recs = append(recs, &kgo.Record{Topic: t, Partition: p, Value: []byte("record")})
			}
			offsets.AddOffset(t, p, records-1, -1)
		}
	}
	if err := cl.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		return fmt.Errorf("write records at %s: %w", s.Home.Name, err)
	}
	res, err := kadm.NewClient(cl).CommitOffsets(ctx, group, offsets)
	if err == nil {
		err = res.Error()
	}
	return err
}

func (s *stage) setUp(ctx context.Context) error {
	got, err := s.Operate(ctx, harness.Operation{Verb: "setup"})
	if err == nil && got.Outcome != runbook.Done {
		err = fmt.Errorf("set-up ended as %q: %s %v", got.Outcome, got.Report.Error, got.Report.Findings)
	}
	return err
}

// settle waits until the mirrors hold everything and guards and offsets stand.
func (s *stage) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin(s.size))
	defer cancel()
	if err := s.Mirrored(ctx, s.Home, s.Standby, s.topics...); err != nil {
		return err
	}
	return local.WaitFor(ctx, "guards and group offsets of all mirrors", func(ctx context.Context) error {
		engine := s.Standby.Engine.Client()
		p, err := engine.Progress(ctx, s.link)
		if err != nil {
			return err
		}
		for _, m := range p.Mirrors {
			if m.Guard != api.GuardProven {
				return fmt.Errorf("the guard of %s is %s", m.Topic, m.Guard)
			}
		}
		sync, err := engine.Groups(ctx, s.link)
		if err != nil {
			return err
		}
		followed := 0
		for _, g := range sync.Groups {
			if g.Group == group && g.Owned && g.SourceOffset == records-1 && g.DestOffset == g.Wanted {
				followed++
			}
		}
		if want := s.size.Topics * s.size.Partitions; followed < want {
			return fmt.Errorf("%d of %d offsets of group %s are on %s", followed, want, group, s.Standby.Name)
		}
		return nil
	})
}

// loseHome kills all of the home site, and waits until the standby's engine has noticed: people take longer, and what is
// attested then needs no second question.
func (s *stage) loseHome(ctx context.Context) error {
	if err := errors.Join(s.Home.Kafka.Kill(), s.Home.Consul.Kill(), s.Home.Engine.Kill()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return local.WaitFor(ctx, "engine "+s.Standby.Name+" to notice that "+s.Home.Name+" is gone", func(ctx context.Context) error {
		p, err := s.Standby.Engine.Client().Progress(ctx, s.link)
		if err == nil && p.SourceReachable {
			err = errors.New("it reaches it still")
		}
		return err
	})
}

// samples are the topics that are tried until they take writes: the first, the last and some between, so that trying does not
// weigh on what is measured.
func (s *stage) samples() []string {
	const most = 10
	n := len(s.topics)
	if n <= most {
		return s.topics
	}
	var out []string
	for i := range most {
		out = append(out, s.topics[i*(n-1)/(most-1)])
	}
	return out
}

// writer is the application's producer at the standby.
func (s *stage) writer() (*kgo.Client, error) {
	return kgo.NewClient(append(s.Standby.Kafka.DirectOptions(s.Login(app)),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordRetries(0), kgo.DisableIdempotentWrite(), kgo.ProducerLinger(0))...)
}

// tryEvery is the pause between two tries to write to a sample: how exact the time until writable is.
const tryEvery = 20 * time.Millisecond

// writable writes to the samples as the application, again and again, and returns when each was acknowledged once. Until
// then the guards must refuse: anything else than that refusal is an error.
func (s *stage) writable(ctx context.Context, at *time.Time) error {
	cl, err := s.writer()
	if err != nil {
		return err
	}
	defer cl.Close()
	left := s.samples()
	tick := time.NewTicker(tryEvery)
	defer tick.Stop()
	for {
		var recs []*kgo.Record
		for _, t := range left {
			recs = append(recs, &kgo.Record{Topic: t, Value: []byte("writable?")})
		}
		left = nil
		for _, r := range cl.ProduceSync(ctx, recs...) {
			if r.Err == nil {
				continue
			}
			if !errors.Is(r.Err, kerr.TopicAuthorizationFailed) {
				return fmt.Errorf("write to %s at %s: %w", r.Record.Topic, s.Standby.Name, r.Err)
			}
			left = append(left, r.Record.Topic)
		}
		if len(left) == 0 {
			*at = time.Now()
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s and %d more take no writes at %s yet: %w", left[0], len(left)-1, s.Standby.Name, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// allWritable insists that every partition takes a record of the application: the samples were not lucky.
func (s *stage) allWritable(ctx context.Context) error {
	cl, err := s.writer()
	if err != nil {
		return err
	}
	defer cl.Close()
	var recs []*kgo.Record
	for _, t := range s.topics {
		for p := range int32(s.size.Partitions) {
			recs = append(recs, &kgo.Record{Topic: t, Partition: p, Value: []byte("afterwards")})
		}
	}
	if err := cl.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		return fmt.Errorf("after the failover not every partition at %s takes writes: %w", s.Standby.Name, err)
	}
	return nil
}

// stopped counts the mirrors that are STOPPED, and insists that none is anything unexpected.
func (s *stage) stopped(ctx context.Context) (int, error) {
	all, err := s.Standby.Engine.Client().Mirrors(ctx, s.link, "")
	if err != nil {
		return 0, err
	}
	n := 0
	for _, m := range all {
		if m.MirrorStatus == runbook.StatusStopped && m.MirrorTopicName != runbook.CanaryTopic(s.Pair()) {
			n++
		}
	}
	return n, nil
}

// settleWithin bounds the wait for mirrors to be in step: a fault of the stage must not look like a long run.
func settleWithin(of size) time.Duration {
	return time.Minute + time.Duration(of.Topics*of.Partitions)*50*time.Millisecond
}
