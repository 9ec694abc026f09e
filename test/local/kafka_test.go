package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

var (
	admin = User{"admin", "admin-secret"}
	app   = User{"app", "app-secret"}
)

func connect(t *testing.T, opts []kgo.Opt, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(append(opts, kgo.ClientID("test")), more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func createTopic(t *testing.T, cl *kgo.Client, topic string, partitions int32) {
	t.Helper()
	if _, err := kadm.NewClient(cl).CreateTopic(within(t, 2*time.Minute), partitions, -1, nil, topic); err != nil {
		t.Fatalf("create topic %s: %v", topic, err)
	}
}

func allow(t *testing.T, cl *kgo.Client, principal string, ops ...kadm.ACLOperation) {
	t.Helper()
	acl := kadm.NewACLs().Topics("orders").Groups("readers").ResourcePatternType(kadm.ACLPatternLiteral).
		Allow("User:" + principal).AllowHosts("*").Operations(ops...)
	results, err := kadm.NewClient(cl).CreateACLs(within(t, 2*time.Minute), acl)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatalf("ACL entry %v: %v", r, r.Err)
		}
	}
}

// read returns the values of a partition from its start to its end.
func read(t *testing.T, opts []kgo.Opt, topic string, n int) []string {
	t.Helper()
	cl := connect(t, opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx := within(t, 2*time.Minute)
	var got []string
	for len(got) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("read %s: %v; so far %v", topic, err, got)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got
}

func produce(ctx context.Context, cl *kgo.Client, topic string, values ...string) error {
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(v)})
	}
	return cl.ProduceSync(ctx, records...).FirstErr()
}

// testKill is what both kinds of cluster must keep over a kill -9: records, committed offsets, ACL entries, cluster id,
// addresses.
func testKill(t *testing.T, cfg KafkaConfig) {
	k := KafkaForTest(t, cfg)
	super := connect(t, k.Options(admin))
	createTopic(t, super, "orders", 1)
	mine := connect(t, k.Options(app))
	ctx := within(t, 3*time.Minute)
	if err := produce(ctx, mine, "orders", "refused"); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Fatalf("produce without an ACL entry: got %v, want TOPIC_AUTHORIZATION_FAILED", err)
	}
	allow(t, super, app.Name, kadm.OpRead, kadm.OpWrite, kadm.OpDescribe)
	err := WaitFor(ctx, "the ACL entry to take effect", func(ctx context.Context) error {
		return produce(ctx, connect(t, k.Options(app)), "orders", "1")
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := produce(ctx, connect(t, k.Options(app)), "orders", "2", "3"); err != nil {
		t.Fatal(err)
	}
	commit := make(kadm.Offsets)
	commit.AddOffset("orders", 0, 2, -1)
	if err := kadm.NewClient(super).CommitAllOffsets(ctx, "readers", commit); err != nil {
		t.Fatal(err)
	}
	before := k.Bootstrap()

	if err := k.Kill(); err != nil {
		t.Fatal(err)
	}
	if k.Running() {
		t.Fatal("the cluster runs after Kill")
	}
	began := time.Now()
	if err := k.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("restart took %s", time.Since(began))

	if diff := cmp.Diff(before, k.Bootstrap()); diff != "" {
		t.Errorf("addresses changed: %s", diff)
	}
	if diff := cmp.Diff([]string{"1", "2", "3"}, read(t, k.Options(app), "orders", 3)); diff != "" {
		t.Errorf("records after kill -9 (-want +got): %s", diff)
	}
	offsets, err := kadm.NewClient(connect(t, k.Options(admin))).FetchOffsets(ctx, "readers")
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := offsets.Lookup("orders", 0); !ok || at.At != 2 {
		t.Errorf("committed offset after kill -9: %v, want 2", at)
	}
	meta, err := kadm.NewClient(connect(t, k.Options(admin))).BrokerMetadata(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if meta.Cluster != k.ClusterID() || len(meta.Cluster) != 22 {
		t.Errorf("cluster id %q, want %q of 22 characters", meta.Cluster, k.ClusterID())
	}
	if err := produce(ctx, connect(t, k.Options(User{app.Name, "wrong"}), kgo.RecordDeliveryTimeout(5*time.Second), kgo.RetryTimeout(3*time.Second)), "orders", "x"); err == nil {
		t.Error("a wrong password was let in")
	}
}

func TestKFakeComesBackFromKillWithItsLogOffsetsAndACLs(t *testing.T) {
	for _, proxied := range []bool{false, true} {
		t.Run(fmt.Sprintf("proxied=%t", proxied), func(t *testing.T) {
			testKill(t, KafkaConfig{Kind: KFake, Name: "east", SuperUser: admin, Users: []User{app}, Proxied: proxied})
		})
	}
}

func TestKFakeAdvertisesOnlyItsProxies(t *testing.T) {
	k := KafkaForTest(t, KafkaConfig{Kind: KFake, Name: "east", Brokers: 3, SuperUser: admin, Proxied: true})
	meta, err := kadm.NewClient(connect(t, k.DirectOptions(admin))).BrokerMetadata(within(t, 2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range meta.Brokers {
		got = append(got, fmt.Sprintf("%s:%d", b.Host, b.Port))
	}
	slices.Sort(got)
	if diff := cmp.Diff(slices.Sorted(slices.Values(k.Bootstrap())), got); diff != "" {
		t.Error(diff)
	}
	if n := k.Proxies().Connections(""); n != 0 {
		t.Errorf("direct client opened %d connections through the proxies", n)
	}
}

func TestKFakeKeepsIdempotentProducersOverKill(t *testing.T) {
	k := KafkaForTest(t, KafkaConfig{Kind: KFake, Name: "east", SuperUser: admin})
	createTopic(t, connect(t, k.Options(admin)), "orders", 1)
	cl := connect(t, k.Options(admin))
	ctx := within(t, time.Minute)
	if err := produce(ctx, cl, "orders", "1", "2"); err != nil {
		t.Fatal(err)
	}
	if err := k.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := k.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := produce(ctx, cl, "orders", "3"); err != nil {
		t.Fatalf("the same producer after kill -9: %v", err)
	}
	if diff := cmp.Diff([]string{"1", "2", "3"}, read(t, k.Options(admin), "orders", 3)); diff != "" {
		t.Error(diff)
	}
}

func TestKFakeTakesScram(t *testing.T) {
	k := KafkaForTest(t, KafkaConfig{Kind: KFake, Name: "east", SuperUser: admin})
	cl := connect(t, nil, kgo.SeedBrokers(k.Bootstrap()...), kgo.SASL(scram.Auth{User: admin.Name, Pass: admin.Password}.AsSha256Mechanism()))
	if err := cl.Ping(within(t, 2*time.Minute)); err != nil {
		t.Fatal(err)
	}
}

func TestPausedClusterAnswersOnlyAfterResume(t *testing.T) {
	k := KafkaForTest(t, KafkaConfig{Kind: KFake, Name: "east", SuperUser: admin})
	cl := connect(t, k.Options(admin))
	if err := cl.Ping(within(t, 2*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := k.Pause(); err != nil {
		t.Fatal(err)
	}
	if _, err := kmsg.NewPtrListGroupsRequest().RequestWith(within(t, 300*time.Millisecond), cl); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a paused cluster answered: %v", err)
	}
	if err := k.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := cl.Ping(within(t, 2*time.Minute)); err != nil {
		t.Fatal(err)
	}
}

func TestStartKafkaReportsAllFaultsOfItsConfiguration(t *testing.T) {
	err := KafkaConfig{Kind: "redpanda", Name: "a b", Brokers: 2, Users: []User{{"broker", "x"}, {"u", `"`}}}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 7 {
		t.Errorf("want 7 faults, got: %v", err)
	}
}

func TestStartKafkaLeavesNothingRunningWhenItFails(t *testing.T) {
	cfg := KafkaConfig{Kind: KFake, Name: "east", Dir: t.TempDir() + "/east", SuperUser: admin}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := buildKFaked(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if k, err := StartKafka(ctx, cfg); err == nil {
		t.Errorf("started with a context that had ended: %v", k.Stop())
	}
}
