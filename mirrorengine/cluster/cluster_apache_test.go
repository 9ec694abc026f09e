//go:build real

package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// What kfake does not tell: who reads what in a group of the new protocol, words of
// configs, and what is asked in a version that Apache Kafka refuses.
func TestTopicsAndGroupsOfApacheKafkaAreShown(t *testing.T) {
	kafka := local.KafkaForTest(t, local.KafkaConfig{Kind: local.Apache, Name: "shown", SuperUser: local.User{Name: "admin", Password: "admin-secret"}})
	options := kafka.Options(kafka.SuperUser())
	client, err := kgo.NewClient(append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	adm := kadm.NewClient(client)
	if _, err := adm.CreateTopic(t.Context(), 2, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	for n := range 20 {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Partition: int32(n % 2), Value: fmt.Append(nil, n)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := New(options, "shown")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)

	if topics, err := r.Topics(t.Context()); err != nil || len(topics) == 0 {
		t.Errorf("got %v, %v", topics, err)
	}
	configs, err := r.TopicConfigs(t.Context(), "orders")
	if err != nil || len(configs) < 20 {
		t.Fatalf("got %d configs, %v", len(configs), err)
	}
	for _, c := range configs {
		if c.Source == api.Unknown || c.Name == "" || c.Value == nil && !c.IsSensitive {
			t.Errorf("got %+v", c)
		}
	}

	commit(t, adm, "simple", 4, 10)
	next, err := kgo.NewClient(append(options, kgo.ConsumerGroup("next"), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.ClientID("client-next"),
		kgo.WithContext(context.WithValue(t.Context(), "opt_in_kafka_next_gen_balancer_beta", true)))...) //nolint:staticcheck // the client's own key
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(next.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for read := 0; read < 20; {
		read += next.PollFetches(ctx).NumRecords()
		if ctx.Err() != nil {
			t.Fatalf("group next got %d of 20 records", read)
		}
	}
	if err := next.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	err = local.WaitFor(ctx, "group next is shown with its member", func(ctx context.Context) error {
		lags, err := r.Lags(ctx, "next")
		if err != nil || len(lags) != 2 || lags[1].ConsumerID == "" || lags[1].ClientID != "client-next" || lags[1].CurrentOffset != 10 || lags[1].Lag != 0 {
			return fmt.Errorf("got %+v, %w", lags, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if g, err := r.Group(ctx, "next"); err != nil || g.Type != api.GroupConsumer || g.State != "STABLE" || g.PartitionAssignor == "" || g.IsMixedConsumerGroup {
		t.Errorf("got %+v, %v", g, err)
	}
	if g, err := r.Group(ctx, "simple"); err != nil || !g.IsSimple || g.State != "EMPTY" || g.Type != api.GroupClassic {
		t.Errorf("got %+v, %v", g, err)
	}
	if s, err := r.LagSummary(ctx, "simple"); err != nil || s.MaxLag != 6 || s.TotalLag != 6 {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := r.Group(ctx, "nope"); err == nil {
		t.Error("a group that is not there is shown")
	}
}
