package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/exact"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// stage is a pair with what one test puts on it.
type stage struct {
	*testing.T
	pair
	mutant string
	state  string // the state topic of this test's engines
	src    *kgo.Client
	srcAdm *kadm.Client
	dst    *kgo.Client
	dstAdm *kadm.Client
}

func newStage(t *testing.T, p pair, name string) *stage {
	t.Helper()
	s := &stage{T: t, pair: p, state: "_state_" + name}
	s.src = s.client(p.source, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	s.dst = s.client(p.dest, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	s.srcAdm, s.dstAdm = kadm.NewClient(s.src), kadm.NewClient(s.dst)
	return s
}

// client goes round the proxies, which are there to hinder the engines.
func (s *stage) client(k *local.Kafka, opts ...kgo.Opt) *kgo.Client {
	s.Helper()
	cl, err := kgo.NewClient(append(k.DirectOptions(admin), opts...)...)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(cl.Close)
	return cl
}

func (s *stage) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), d)
	s.Cleanup(cancel)
	return ctx
}

// engine starts an engine; its connections to the destination have the client
// id local(name), those to the source remote(name, link).
func (s *stage) engine(name string) *harness.Engine {
	s.Helper()
	return s.start(harness.EngineConfig{Name: name})
}

// start fills in what the stage decides.
func (s *stage) start(cfg harness.EngineConfig) *harness.Engine {
	s.Helper()
	var tags []string
	if s.mutant != "" {
		tags = []string{"mutant"}
	}
	ctx := s.within(3 * time.Minute)
	bin, err := harness.Build(ctx, "mirrorengine", tags...)
	if err != nil {
		s.Fatal(err)
	}
	cfg.Dir, cfg.Kafka, cfg.User, cfg.Binary = s.secrets, s.dest, admin, bin
	cfg.Env = []string{"DRAWBRIDGE_MUTANT=" + s.mutant, "DRAWBRIDGE_STATE_TOPIC=" + s.state}
	e, err := harness.StartEngine(ctx, cfg)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		_ = e.Stop()
		if s.Failed() {
			s.Logf("log of engine %s:\n%s", cfg.Name, e.Process().Log(60))
		}
	})
	return e
}

func localClients(engine string) string        { return "drawbridge-engine-" + engine }
func remoteClients(engine, link string) string { return harness.LinkClients + engine + "-" + link }

func (s *stage) topic(name string, partitions int32) {
	s.Helper()
	if _, err := s.srcAdm.CreateTopic(s.Context(), partitions, 1, nil, name); err != nil {
		s.Fatal(err)
	}
}

var sourceConfigs sync.Mutex

func (s *stage) link(e *harness.Engine, name string, configs ...[2]string) {
	s.Helper()
	sourceConfigs.Lock() // it writes the password's file, which another link may be reading
	defer sourceConfigs.Unlock()
	all, err := harness.SourceConfigs(s.source, admin, s.secrets)
	if err != nil {
		s.Fatal(err)
	}
	for _, c := range configs {
		all = append(all, api.NameValue{Name: c[0], Value: &c[1]})
	}
	if err := e.Client().CreateLink(s.Context(), name, api.CreateLink{SourceClusterID: s.source.ClusterID(), Configs: all}, false, true); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) mirror(e *harness.Engine, link string, topics ...string) {
	s.Helper()
	for _, topic := range topics {
		if err := e.Client().CreateMirror(s.Context(), link, api.CreateMirror{SourceTopicName: topic, ReplicationFactor: 1}); err != nil {
			s.Fatal(err)
		}
	}
}

// alter applies a verb to one topic and answers with its own error.
func (s *stage) alter(c *api.Client, link string, verb api.MirrorVerb, topic string) error {
	s.Helper()
	res, err := c.AlterMirrors(s.Context(), link, verb, api.AlterMirrors{MirrorTopicNames: []string{topic}}, false)
	if err != nil {
		return err
	}
	return res[0].Err()
}

func (s *stage) await(d time.Duration, what string, cond func(context.Context) error) {
	s.Helper()
	if err := local.WaitFor(s.within(d), what, cond); err != nil {
		s.Fatal(err)
	}
}

func (s *stage) awaitStatus(e *harness.Engine, link, topic, want string) {
	s.Helper()
	s.await(time.Minute, topic+" is "+want, func(ctx context.Context) error {
		m, err := e.Client().Mirror(ctx, link, topic, true)
		if err == nil && m.MirrorStatus != want {
			err = fmt.Errorf("it is %s %v", m.MirrorStatus, m.StateTransitionErrors)
		}
		return err
	})
}

// awaitMirrored waits until the mirror has what stands at the source now.
func (s *stage) awaitMirrored(e *harness.Engine, link, topic string) {
	s.Helper()
	ends, err := s.srcAdm.ListEndOffsets(s.Context(), topic)
	if err != nil {
		s.Fatal(err)
	}
	s.await(90*time.Second, topic+" is mirrored", func(ctx context.Context) error {
		m, err := e.Client().Mirror(ctx, link, topic, true)
		if err != nil {
			return err
		}
		if len(m.MirrorLags) != len(ends[topic]) {
			return fmt.Errorf("%d of %d partitions", len(m.MirrorLags), len(ends[topic]))
		}
		for _, lag := range m.MirrorLags {
			if end, _ := ends.Lookup(topic, lag.Partition); lag.LastSourceFetchOffset < end.Offset {
				return fmt.Errorf("%s, partition %d at %d of %d %v", m.MirrorStatus, lag.Partition, lag.LastSourceFetchOffset, end.Offset, m.StateTransitionErrors)
			}
		}
		return nil
	})
}

// progress of one mirror by partition.
func (s *stage) progress(ctx context.Context, e *harness.Engine, link, topic string) (map[int32]api.PartitionProgress, error) {
	p, err := e.Client().Progress(ctx, link)
	if err != nil {
		return nil, err
	}
	out := map[int32]api.PartitionProgress{}
	for _, m := range p.Mirrors {
		if m.Topic == topic {
			for _, part := range m.Partitions {
				out[part.Partition] = part
			}
		}
	}
	return out, nil
}

// produce writes n numbered records behind those of the same prefix.
func (s *stage) produce(cl *kgo.Client, topic string, p int32, prefix string, first, n int) {
	s.Helper()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: topic, Partition: p, Key: fmt.Appendf(nil, "k%d", first+i), Value: fmt.Appendf(nil, "%s%d", prefix, first+i)}
	}
	if err := cl.ProduceSync(s.Context(), recs...).FirstErr(); err != nil {
		s.Fatal(err)
	}
}

// open begins a transaction at the source that holds n records of partition 0
// back, until the function that it answers with commits it.
func (s *stage) open(topic, prefix string, n int) (commit func()) {
	s.Helper()
	cl := s.client(s.source, kgo.TransactionalID("open-"+topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := cl.BeginTransaction(); err != nil {
		s.Fatal(err)
	}
	s.produce(cl, topic, 0, prefix, 0, n)
	return func() {
		s.Helper()
		if err := cl.EndTransaction(s.Context(), kgo.TryCommit); err != nil {
			s.Fatal(err)
		}
	}
}

// stops are a mirror's stop offsets by partition.
func (s *stage) stops(e *harness.Engine, link, topic string) map[int32]api.PartitionSegments {
	s.Helper()
	segs, err := e.Client().Segments(s.Context(), link, topic)
	if err != nil {
		s.Fatal(err)
	}
	out := map[int32]api.PartitionSegments{}
	for _, p := range segs.Partitions {
		if p.SourceStop < 0 || p.DestStop < 0 {
			s.Fatalf("%s partition %d has no stop offsets", topic, p.Partition)
		}
		out[p.Partition] = p
	}
	return out
}

// all reads a partition as a reader of committed data sees it, up to its end.
func (s *stage) all(k *local.Kafka, topic string, p int32) []*kgo.Record {
	s.Helper()
	out, _, err := exact.Records(s.Context(), k, admin, kgo.ReadCommitted(), topic, p)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// exact compares a stopped mirror with its source: before the stop offsets the
// same records in the same order, behind them what the application wrote and
// nothing else. app counts the application's records, which begin with "app".
func (s *stage) exact(topic string, stops map[int32]api.PartitionSegments, app int) error {
	s.Helper()
	var errs []error
	for p, stop := range stops {
		var want, got []*kgo.Record
		for _, r := range s.all(s.source, topic, p) {
			if r.Offset < stop.SourceStop {
				want = append(want, r)
			}
		}
		own := 0
		for _, r := range s.all(s.dest, topic, p) {
			switch isApp := strings.HasPrefix(string(r.Value), "app"); {
			case r.Offset < stop.DestStop:
				got = append(got, r)
			case isApp:
				own++
			default:
				errs = append(errs, fmt.Errorf("partition %d: %q stands at %d, at or behind the stop offset %d", p, r.Value, r.Offset, stop.DestStop))
			}
		}
		if own != app {
			errs = append(errs, fmt.Errorf("partition %d: %d records of the application behind the stop offset, want %d", p, own, app))
		}
		errs = append(errs, same(p, want, got))
	}
	return errors.Join(errs...)
}

func same(p int32, want, got []*kgo.Record) error {
	for i := range min(len(want), len(got)) {
		a, b := want[i], got[i]
		if !bytes.Equal(a.Value, b.Value) || !bytes.Equal(a.Key, b.Key) || !a.Timestamp.Equal(b.Timestamp) {
			return fmt.Errorf("partition %d record %d: the mirror has %.20q at offset %d, the source %.20q at %d", p, i, b.Value, b.Offset, a.Value, a.Offset)
		}
	}
	if len(want) != len(got) {
		return fmt.Errorf("partition %d: the mirror has %d records, the source %d", p, len(got), len(want))
	}
	return nil
}

// busy writes to every partition of a source topic until stop is called.
func (s *stage) busy(topic string, partitions int32) (stop func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			var recs []*kgo.Record
			for p := range partitions {
				for i := range 20 {
					recs = append(recs, &kgo.Record{Topic: topic, Partition: p, Value: fmt.Appendf(nil, "v%d-%d", n, i)})
				}
			}
			// Not with ctx: what was begun is finished, so that the source stands still.
			if err := s.src.ProduceSync(context.WithoutCancel(ctx), recs...).FirstErr(); err != nil || ctx.Err() != nil {
				ended <- err
				return
			}
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("the source's writer: %v", err)
		}
	})
	s.Cleanup(stop)
	return stop
}
