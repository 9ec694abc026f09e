package activities

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// oneCluster is a cluster on which the worker is the super user, with topic
// orders.
func oneCluster(t *testing.T, kind local.KafkaKind) (*Activities, runbook.Site, *local.Kafka, *kadm.Client) {
	t.Helper()
	k := local.KafkaForTest(t, local.KafkaConfig{Kind: kind, Name: "east", SuperUser: admin})
	client, err := kgo.NewClient(k.Options(admin)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	adm := kadm.NewClient(client)
	if _, err := adm.CreateTopic(t.Context(), 1, 1, map[string]*string{"retention.ms": kadm.StringPtr("86400000"), "cleanup.policy": kadm.StringPtr("compact")}, "orders"); err != nil {
		t.Fatal(err)
	}
	return newActivities(t, Options{}), runbook.Site{Name: "east", Kafka: runbook.Kafka{Bootstrap: k.Bootstrap(), Security: login(t, admin)}}, k, adm
}

func endsTransactions(t *testing.T, kind local.KafkaKind) {
	a, east, k, _ := oneCluster(t, kind)
	producer, err := kgo.NewClient(append(k.Options(admin), kgo.TransactionalID("checkout"), kgo.DefaultProduceTopic("orders"))...)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := producer.ProduceSync(t.Context(), &kgo.Record{Key: []byte("k"), Value: []byte("open")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	in := workflows.OpenTransactionsInput{Call: call("list"), Site: east, Topics: []string{"orders"}}
	open, err := a.OpenTransactions(t.Context(), in)
	if err != nil || len(open.Open) != 1 || open.Open[0].TransactionalID != "checkout" || open.Open[0].StartOffset != 0 {
		t.Fatalf("open: %+v, %v", open, err)
	}
	got, err := a.EndTransactions(t.Context(), workflows.EndTransactionsInput{Call: call("end"), Site: east, Topics: []string{"orders"}, Grace: 600 * time.Millisecond})
	if err != nil || len(got.Open) != 0 || len(got.Ended) != 1 || got.Ended[0].TransactionalID != "checkout" {
		t.Fatalf("ended: %+v, %v", got, err)
	}
	kc, err := a.kafka(east)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := kc.ends(t.Context(), []string{"orders"})
	if err != nil || len(ends) != 1 || ends[0].end != 2 || ends[0].stable != 2 || ends[0].high != 2 {
		t.Errorf("log ends %+v, %v: want the record and its abort marker", ends, err)
	}
	if err := producer.EndTransaction(t.Context(), kgo.TryCommit); err == nil {
		t.Error("the producer could still commit")
	}
	if again, err := a.EndTransactions(t.Context(), workflows.EndTransactionsInput{Call: call("end"), Site: east, Topics: []string{"orders"}}); err != nil || len(again.Ended)+len(again.Open) != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestATransactionThatStaysOpenIsEnded(t *testing.T) { endsTransactions(t, local.KFake) }

func TestATransactionThatStaysOpenIsEndedOnApacheKafka(t *testing.T) {
	endsTransactions(t, local.Apache)
}

func TestRetentionIsHeldAndPutBackAsItWas(t *testing.T) {
	a, east, _, adm := oneCluster(t, local.KFake)
	in := workflows.HoldRetentionInput{Call: call("hold"), Site: east, Topics: []string{"orders", "gone"}, LookOnly: true}
	look, err := a.HoldRetention(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	day, compact := "86400000", "compact"
	want := []workflows.HeldConfig{{Topic: "orders", Name: "retention.ms", Old: &day}, {Topic: "orders", Name: "cleanup.policy", Old: &compact}}
	if d := cmp.Diff(want, look.Held); d != "" {
		t.Fatalf("look (-want +got)\n%s", d)
	}
	values := func() map[string]string {
		got, err := adm.DescribeTopicConfigs(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, c := range got[0].Configs {
			if c.Key == "retention.ms" || c.Key == "retention.bytes" || c.Key == "cleanup.policy" {
				out[c.Key] = c.MaybeValue()
			}
		}
		return out
	}
	before := values()
	in.LookOnly = false
	for range 2 {
		if _, err := a.HoldRetention(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	if got := values(); got["retention.ms"] != "-1" || got["cleanup.policy"] != "delete" {
		t.Errorf("held: %v", got)
	}
	back := append(look.Held, workflows.HeldConfig{Topic: "gone", Name: "retention.ms"})
	if _, err := a.PutBackRetention(t.Context(), workflows.PutBackRetentionInput{Call: call("put back"), Site: east, Held: back}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, values()); d != "" {
		t.Errorf("put back (-before +after)\n%s", d)
	}
}

func TestTopicsAreDeletedOnlyWithACopyElsewhere(t *testing.T) {
	a, east, _, adm := oneCluster(t, local.KFake)
	_, west, _, other := oneCluster(t, local.KFake)
	west.Name = "west"
	e := &fakeEngine{cluster: "east"}
	east.Engine = startEngine(t, e)
	e.mirrors["mirrored"] = runbook.StatusActive
	for _, topic := range []string{"only-here", "mirrored"} {
		if _, err := adm.CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	in := workflows.DeleteTopicsInput{Call: call("delete"), Site: east, Other: west, Link: runbook.Link{Name: "west-to-east"}, Topics: []string{"orders", "only-here"}}
	_, err := a.DeleteTopics(t.Context(), in)
	typed(t, err, workflows.ErrRefused, false)
	same := in
	same.Other = east
	_, err = a.DeleteTopics(t.Context(), same)
	typed(t, err, workflows.ErrRefused, false)
	in.Topics = []string{"orders", "mirrored"}
	if _, err := other.CreateTopic(t.Context(), 1, 1, nil, "mirrored"); err != nil {
		t.Fatal(err)
	}
	got, err := a.DeleteTopics(t.Context(), in)
	if err != nil || !cmp.Equal(got, workflows.DeleteTopicsResult{Deleted: []string{"orders"}, Kept: []string{"mirrored"}}) {
		t.Fatalf("%+v, %v", got, err)
	}
	left, err := adm.ListTopics(t.Context())
	if err != nil || left.Has("orders") || !left.Has("mirrored") || !left.Has("only-here") {
		t.Errorf("left: %v, %v", left.Names(), err)
	}
	if got, err = a.DeleteTopics(t.Context(), in); err != nil || len(got.Deleted) != 0 {
		t.Errorf("again: %+v, %v", got, err)
	}
}

// consume joins a group and reads until ctx ends.
func consume(t *testing.T, k *local.Kafka, group string) (leave func()) {
	t.Helper()
	client, err := kgo.NewClient(append(k.Options(admin), kgo.ConsumerGroup(group), kgo.ConsumeTopics("orders"), kgo.AutoCommitInterval(200*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			client.PollFetches(ctx)
		}
	}()
	var once bool
	leave = func() {
		if once {
			return
		}
		once = true
		cancel()
		<-done
		client.Close()
	}
	t.Cleanup(leave)
	return leave
}

func TestClientsHaveMovedOnKafkasEvidenceOnly(t *testing.T) {
	a, east, old, _ := oneCluster(t, local.KFake)
	_, west, fresh, _ := oneCluster(t, local.KFake)
	west.Name = "west"
	leave := consume(t, old, "billing")
	in := workflows.AwaitClientsMovedInput{
		Call: call("move"), Old: east, New: west, Groups: []string{"billing"}, Topics: []string{"orders"}, Since: time.Now(), Within: 500 * time.Millisecond,
	}
	empty := workflows.AwaitGroupsEmptyInput{Call: call("empty"), Site: east, Groups: []string{"billing", "nobody"}}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := local.WaitFor(ctx, "the consumer to join", func(ctx context.Context) error {
		got, err := a.AwaitGroupsEmpty(ctx, empty)
		if err == nil && got.Empty {
			err = errors.New("still empty")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.AwaitClientsMoved(t.Context(), in)
	if err != nil || got.Complete || !got.OldReachable || got.Groups[0].MembersOld != 1 || got.Groups[0].Moved {
		t.Fatalf("before the move: %+v, %v", got, err)
	}
	leave()
	empty.Within = 20 * time.Second
	if got, err := a.AwaitGroupsEmpty(t.Context(), empty); err != nil || !got.Empty {
		t.Fatalf("after it left: %+v, %v", got, err)
	}
	if got, err = a.AwaitClientsMoved(t.Context(), in); err != nil || got.Complete {
		t.Fatalf("gone from the old side is not moved: %+v, %v", got, err)
	}
	consume(t, fresh, "billing")
	in.Within = 30 * time.Second
	if got, err = a.AwaitClientsMoved(t.Context(), in); err != nil || !got.Complete || got.Groups[0].MembersNew != 1 || got.Topics != 1 {
		t.Fatalf("after the move: %+v, %v", got, err)
	}
	if err := old.Stop(); err != nil {
		t.Fatal(err)
	}
	if got, err = a.AwaitClientsMoved(t.Context(), in); err != nil || !got.Complete || got.OldReachable {
		t.Errorf("with the old side dead: %+v, %v", got, err)
	}
}

func TestALongStepHeartbeatsAndKeepsItsBaselineOverAttempts(t *testing.T) {
	a, east, k, _ := oneCluster(t, local.KFake)
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(a)
	env.SetHeartbeatDetails(baseline{Topics: []uint32{41}})
	in := workflows.AwaitClientsMovedInput{Call: call("move"), Old: east, New: east, Topics: []string{"orders"}, Within: 0}
	val, err := env.ExecuteActivity("AwaitClientsMoved", in)
	if err != nil {
		t.Fatal(err)
	}
	var got workflows.AwaitClientsMovedResult
	if err := val.Get(&got); err != nil || got.Producing != 1 {
		t.Errorf("an earlier attempt's baseline was not taken: %+v, %v", got, err)
	}
	beats := make(chan struct{}, 100)
	env = suite.NewTestActivityEnvironment()
	env.RegisterActivity(a)
	env.SetOnActivityHeartbeatListener(func(*activity.Info, converter.EncodedValues) {
		select {
		case beats <- struct{}{}:
		default:
		}
	})
	consume(t, k, "billing")
	_, err = env.ExecuteActivity("AwaitGroupsEmpty", workflows.AwaitGroupsEmptyInput{Call: call("empty"), Site: east, Groups: []string{"billing"}, Within: 2500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if len(beats) == 0 {
		t.Error("no heartbeat in two and a half seconds")
	}
}
