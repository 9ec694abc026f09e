package link

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// All tests of the record path run on poisoned buffers: a batch whose memory was
// given back too early reaches no broker whole.
func init() { buffers.Poison = true }

// Tests have clusters and engines of their own, and wait more than they compute:
// they are parallel, but for a few that need the machine, or the memory of the
// process, for themselves.

// site is one kfake cluster with an admin client.
type site struct {
	*kfake.Cluster
	client *kgo.Client
	adm    *kadm.Client
}

func newSite(t testing.TB, id string, opts ...kfake.Opt) *site {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.ClusterID(id)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl := newClient(t, c.ListenAddrs())
	return &site{c, cl, kadm.NewClient(cl)}
}

func newClient(t testing.TB, seeds []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(seeds...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func (s *site) topic(t testing.TB, name string, partitions int32, configs map[string]*string) {
	t.Helper()
	if _, err := s.adm.CreateTopic(t.Context(), partitions, 1, configs, name); err != nil {
		t.Fatal(err)
	}
}

// produce writes n numbered records to partition p, starting at first.
func (s *site) produce(t testing.TB, topic string, p int32, first, n int) {
	t.Helper()
	var recs []*kgo.Record
	for i := range n {
		recs = append(recs, &kgo.Record{Topic: topic, Partition: p, Value: fmt.Appendf(nil, "v%d", first+i)})
	}
	if err := s.client.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// read reads partition p from offset on until n records came.
func (s *site) read(t testing.TB, topic string, p int32, from int64, n int) []*kgo.Record {
	t.Helper()
	cl := newClient(t, s.ListenAddrs(), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(from)}}))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out []*kgo.Record
	for len(out) < n {
		f := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%s partition %d from %d: got %d of %d records", topic, p, from, len(out), n)
		}
		out = append(out, f.Records()...)
	}
	return out
}

// secretFile is a file that a link's configs refer to.
func secretFile(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func values(recs []*kgo.Record) string {
	var out []string
	for _, r := range recs {
		out = append(out, string(r.Value))
	}
	return strings.Join(out, " ")
}

// newEngine runs a Manager beside a site until the test ends or stop is called.
func newEngine(t testing.TB, s *site) (m *Manager, stop func()) {
	t.Helper()
	return newEngineWith(t, s, Options{})
}

// newEngineWith fills in what opts leaves out.
func newEngineWith(t testing.TB, s *site, opts Options) (m *Manager, stop func()) {
	t.Helper()
	if opts.Local == nil {
		opts.Local = []kgo.Opt{kgo.SeedBrokers(s.ListenAddrs()...)}
	}
	if opts.Logger == nil {
		opts.Logger = testLogger(t)
	}
	opts.Name, opts.StateTopic, opts.Shards, opts.ReplicationFactor = "test", "_drawbridge_state", 4, 1
	opts.Registry = prometheus.NewRegistry()
	m, err := New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Logf("engine ended: %v", err)
		}
		m.Close()
	}
	t.Cleanup(stop)
	eventually(t, "the engine is ready", m.Ready)
	return m, stop
}

func testLogger(t testing.TB) *slog.Logger {
	t.Helper()
	level := slog.LevelError
	if os.Getenv("DRAWBRIDGE_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// newTestLink makes link "l" from src with further configs.
func newTestLink(t testing.TB, m *Manager, src *site, configs map[string]string) {
	t.Helper()
	req := api.CreateLink{SourceClusterID: src.id(t)}
	boot := strings.Join(src.ListenAddrs(), ",")
	req.Configs = append(req.Configs, api.NameValue{Name: "bootstrap.servers", Value: &boot})
	for k, v := range configs {
		req.Configs = append(req.Configs, api.NameValue{Name: k, Value: &v})
	}
	if err := m.CreateLink(t.Context(), "l", req, false, true); err != nil {
		t.Fatal(err)
	}
}

func (s *site) id(t testing.TB) string {
	t.Helper()
	meta, err := s.adm.BrokerMetadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return meta.Cluster
}

// linkOf finds link "l", mirrorOf one of its mirrors.
func linkOf(t testing.TB, m *Manager) *Link {
	t.Helper()
	l, err := m.link("l")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mirrorOf(t testing.TB, m *Manager, topic string) *MirrorTopic {
	t.Helper()
	mt, err := linkOf(t, m).mirror(topic)
	if err != nil {
		t.Fatal(err)
	}
	return mt
}

// orders is a topic "orders" to mirror from "src" to "dst".
type orders struct {
	partitions int32              // default 1
	records    int                // in partition 0 before it is mirrored
	topic      map[string]*string // configs of the source topic
	link       map[string]string  // configs of the link
}

// mirror starts the mirror and waits until it has the records.
func (o orders) mirror(t *testing.T) (src, dst *site, m *Manager, stop func()) {
	t.Helper()
	src, dst = newSite(t, "src"), newSite(t, "dst")
	src.topic(t, "orders", max(o.partitions, 1), o.topic)
	src.produce(t, "orders", 0, 0, o.records)
	m, stop = newEngine(t, dst)
	newTestLink(t, m, src, o.link)
	newTestMirror(t, m, "orders")
	awaitLagZero(t, m, src, "orders")
	return src, dst, m, stop
}

func newTestMirror(t testing.TB, m *Manager, topic string) {
	t.Helper()
	if err := m.CreateMirror(t.Context(), "l", api.CreateMirror{SourceTopicName: topic, ReplicationFactor: 1}); err != nil {
		t.Fatal(err)
	}
}

// alter applies a verb and fails the test if the topic is refused.
func alter(t testing.TB, m *Manager, verb api.MirrorVerb, topics ...string) {
	t.Helper()
	res, err := m.AlterMirrors(t.Context(), "l", verb, api.AlterMirrors{MirrorTopicNames: topics}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range res {
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func awaitStatus(t testing.TB, m *Manager, topic string, want status.Status) {
	t.Helper()
	eventually(t, topic+" is "+want.String(), func() error {
		got, err := m.Mirror(t.Context(), "l", topic, true)
		if err == nil && got.MirrorStatus != want.String() {
			err = fmt.Errorf("%s is %s: %v", topic, got.MirrorStatus, got.StateTransitionErrors)
		}
		return err
	})
}

func awaitLagZero(t testing.TB, m *Manager, s *site, topic string) {
	t.Helper()
	eventually(t, "lag 0 of "+topic, func() error {
		ends, err := s.adm.ListEndOffsets(t.Context(), topic)
		if err != nil {
			return err
		}
		got, err := m.Mirror(t.Context(), "l", topic, false)
		if err != nil {
			return err
		}
		for _, lag := range got.MirrorLags {
			if end, _ := ends.Lookup(topic, lag.Partition); lag.LastSourceFetchOffset < end.Offset {
				return fmt.Errorf("partition %d at %d of %d", lag.Partition, lag.LastSourceFetchOffset, end.Offset)
			}
		}
		return nil
	})
}

func eventually(t testing.TB, what string, cond func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		err := cond()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: not within two minutes: %v", what, err)
		case <-tick.C:
		}
	}
}

func (s *site) end(t *testing.T, topic string, p int32) int64 {
	t.Helper()
	ends, err := s.adm.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	o, _ := ends.Lookup(topic, p)
	return o.Offset
}
