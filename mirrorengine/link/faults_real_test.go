//go:build real

package link

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// replicasOf gives a partition's leader and its replicas, and who is in sync.
func (s *site) replicasOf(t *testing.T, topic string) (leader int32, replicas, isr []int32) {
	t.Helper()
	td, err := s.adm.ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	p := td[topic].Partitions[0]
	return p.Leader, p.Replicas, p.ISR
}

// An unclean leader election takes five records that were mirrored; the log then
// grows past where it was, so that offsets alone show nothing. Beside it a topic
// is deleted and another made anew.
func TestSourceFaultsOnApacheKafka(t *testing.T) {
	t.Parallel()
	src, k := apacheSiteOf(t, local.KafkaConfig{Name: "west", Brokers: 3, Properties: map[string]string{"min.insync.replicas": "1", "log.retention.ms": "3600000"}})
	dst := newSite(t, "dst")
	m, _ := newEngine(t, dst)
	// Long enough for the brokers to make a topic anew: one that is gone for as long is a deleted one.
	apacheLink(t, m, k, map[string]string{"cluster.link.retry.timeout.ms": "15000"})
	yes, one := "true", "1"
	configs := map[string]*string{"unclean.leader.election.enable": &yes, "min.insync.replicas": &one}
	if _, err := src.adm.CreateTopic(t.Context(), 1, 2, configs, "orders"); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"deleted", "remade"} {
		if _, err := src.adm.CreateTopic(t.Context(), 1, 3, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	for _, topic := range []string{"orders", "deleted", "remade"} {
		src.produce(t, topic, 0, 0, 5)
		newTestMirror(t, m, topic)
		awaitLagZero(t, m, src, topic)
	}
	// retention.ms is a default there: the effective value must be told all the same.
	eventually(t, "the drift of the defaults is told", func() error {
		d, err := m.Drift(t.Context(), "l")
		for _, e := range d.Entries {
			if e.Config == "retention.ms" && e.Source.Value == "3600000" && e.Source.From != "DYNAMIC_TOPIC_CONFIG" && len(e.Topics) == 3 {
				return nil
			}
		}
		return fmt.Errorf("%+v %w", d, err)
	})
	for _, topic := range []string{"deleted", "remade"} {
		src.deleteTopic(t, topic)
	}
	eventually(t, "the topic is made anew", func() error {
		res, err := src.adm.CreateTopic(t.Context(), 1, 3, nil, "remade")
		if err != nil {
			return err
		}
		return res.Err
	})
	expectFailed(t, m, "deleted", api.MirrorErrorSourceDeleted, "does not exist any more")
	expectFailed(t, m, "remade", api.MirrorErrorSourceIDChanged, "deleted and made anew")

	leader, replicas, _ := src.replicasOf(t, "orders")
	follower := replicas[0]
	if follower == leader {
		follower = replicas[1]
	}
	at := func(node int32) int { return int(node) - 1 } // brokers have ids from 1
	if err := k.PauseBroker(at(follower)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower has left the in-sync replicas", func() error {
		if _, _, isr := src.replicasOf(t, "orders"); len(isr) != 1 {
			return fmt.Errorf("in sync: %v", isr)
		}
		return nil
	})
	src.produce(t, "orders", 0, 5, 5)
	awaitLagZero(t, m, src, "orders")
	if err := k.KillBroker(at(leader)); err != nil {
		t.Fatal(err)
	}
	if err := k.ResumeBroker(at(follower)); err != nil {
		t.Fatal(err)
	}
	fresh, err := kgo.NewClient(append(k.Options(k.SuperUser()), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	src.client = fresh
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var recs []*kgo.Record
	for i := range 20 {
		recs = append(recs, &kgo.Record{Topic: "orders", Value: fmt.Appendf(nil, "other%d", i)})
	}
	res := fresh.ProduceSync(ctx, recs...)
	if err := res.FirstErr(); err != nil {
		t.Fatal(err)
	}
	if first := res[0].Record.Offset; first != 5 {
		t.Fatalf("the new leader went on at %d, want 5: the election was not unclean", first)
	}
	expectFailed(t, m, "orders", api.MirrorErrorTruncation, "lost records that are in the mirror", "source offsets 5 to 9")
	if got := values(dst.read(t, "orders", 0, 0, 10)); got != "v0 v1 v2 v3 v4 v5 v6 v7 v8 v9" || dst.end(t, "orders", 0) != 10 {
		t.Errorf("the mirror holds %s and ends at %d", got, dst.end(t, "orders", 0))
	}
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
}
