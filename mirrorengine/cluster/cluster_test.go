package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// site is a Kafka of two brokers with topic orders (two partitions of ten records)
// and a Reader.
func site(t *testing.T) (*kfake.Cluster, *kadm.Client, *Reader) {
	t.Helper()
	kafka, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.ClusterID("west"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	client := newClient(t, kafka, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	adm := kadm.NewClient(client)
	retention := "1234567"
	if _, err := adm.CreateTopic(t.Context(), 2, 2, map[string]*string{"retention.ms": &retention}, "orders"); err != nil {
		t.Fatal(err)
	}
	for p := range int32(2) {
		for i := range 10 {
			if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Partition: p, Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := New([]kgo.Opt{kgo.SeedBrokers(kafka.ListenAddrs()...)}, "west")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return kafka, adm, r
}

func newClient(t *testing.T, kafka *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(kafka.ListenAddrs()...)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func TestTopicsAreShownWithPartitionsAndConfigs(t *testing.T) {
	_, _, r := site(t)
	want := api.Topic{TopicName: "orders", ReplicationFactor: 2, PartitionsCount: 2}
	topics, err := r.Topics(t.Context())
	if diff := cmp.Diff([]api.Topic{want}, topics); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if got, err := r.Topic(t.Context(), "orders"); got != want || err != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	partitions, err := r.Partitions(t.Context(), "orders")
	if err != nil || len(partitions) != 2 || partitions[1].PartitionID != 1 || partitions[1].TopicName != "orders" || partitions[1].LeaderID < 0 {
		t.Errorf("got %+v, %v", partitions, err)
	}
	for _, of := range []string{"orders", api.AllTopics} {
		configs, err := r.TopicConfigs(t.Context(), of)
		if err != nil {
			t.Fatal(err)
		}
		known := map[string]api.TopicConfig{}
		for _, c := range configs {
			known[c.Name] = c
		}
		if c := known["retention.ms"]; c.Value == nil || *c.Value != "1234567" || c.Source != "DYNAMIC_TOPIC_CONFIG" || c.IsDefault || c.TopicName != "orders" {
			t.Errorf("%s: got %+v", of, c)
		}
		if c := known["cleanup.policy"]; c.Value == nil || *c.Value != "delete" || c.Source != "DEFAULT_CONFIG" || !c.IsDefault {
			t.Errorf("%s: got %+v", of, c)
		}
	}
	for what, err := range map[string]error{
		"topic": drop(r.Topic(t.Context(), "nope")), "partitions": drop(r.Partitions(t.Context(), "nope")), "configs": drop(r.TopicConfigs(t.Context(), "nope")),
	} {
		if !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("%s of an unknown topic: %v", what, err)
		}
	}
	if all, err := r.Topics(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("asking has made a topic: %v, %v", all, err)
	}
}

func drop[T any](_ T, err error) error { return err }

// consume joins a group and reads until it has all twenty records.
func consume(t *testing.T, kafka *kfake.Cluster, group string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl := newClient(t, kafka, append(opts, kgo.ConsumerGroup(group), kgo.ConsumeTopics("orders"), kgo.ClientID("client-"+group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for n := 0; n < 20; {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("group %s got %d of 20 records", group, n)
		}
		n += fetches.NumRecords()
	}
	return cl
}

// commit commits an offset in partition 0, and the other one in partition 1.
func commit(t *testing.T, adm *kadm.Client, group string, first, second int64) {
	t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset("orders", 0, first, -1)
	offsets.AddOffset("orders", 1, second, -1)
	if err := adm.CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatal(err)
	}
}

func TestGroupsOfEveryProtocolAreShownWithMembersAndLag(t *testing.T) {
	kafka, adm, r := site(t)
	commit(t, adm, "simple", 4, 25) // beyond the end
	classic := consume(t, kafka, "classic", kgo.InstanceID("instance-1"))
	next := consume(t, kafka, "next", kgo.WithContext(context.WithValue(t.Context(), "opt_in_kafka_next_gen_balancer_beta", true))) //nolint:staticcheck // the client's own key
	for group, cl := range map[string]*kgo.Client{"classic": classic, "next": next} {
		heads := map[string]map[int32]kgo.EpochOffset{"orders": {0: {Epoch: -1, Offset: 10}, 1: {Epoch: -1, Offset: 7}}}
		var failed error
		cl.CommitOffsetsSync(t.Context(), heads, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitResponse, err error) {
			failed = err
		})
		if failed != nil {
			t.Fatalf("group %s: %v", group, failed)
		}
	}
	groups, err := r.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]api.ConsumerGroup{}
	for _, g := range groups {
		got[g.ConsumerGroupID] = g
	}
	for id, want := range map[string]api.ConsumerGroup{
		"simple":  {ConsumerGroupID: "simple", IsSimple: true, State: "EMPTY", Type: api.GroupClassic},
		"classic": {ConsumerGroupID: "classic", State: "STABLE", Type: api.GroupClassic, PartitionAssignor: "cooperative-sticky"},
		"next":    {ConsumerGroupID: "next", State: "STABLE", Type: api.GroupConsumer, PartitionAssignor: "uniform"},
	} {
		g := got[id]
		g.CoordinatorID = 0
		if g != want {
			t.Errorf("got %+v, want %+v", g, want)
		}
		if one, err := r.Group(t.Context(), id); err != nil || one != got[id] {
			t.Errorf("alone it is %+v, %v", one, err)
		}
		consumers, err := r.Consumers(t.Context(), id)
		if members := map[string]int{"classic": 1, "next": 1}[id]; err != nil || len(consumers) != members {
			t.Fatalf("%s: got consumers %+v, %v", id, consumers, err)
		}
		lags, err := r.Lags(t.Context(), id)
		if err != nil || len(lags) != 2 {
			t.Fatalf("%s: got lags %+v, %v", id, lags, err)
		}
		summary, err := r.LagSummary(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if id == "simple" {
			if lags[0].Lag != 6 || lags[1].Lag != 0 || lags[1].CurrentOffset != 25 || summary.MaxLag != 6 || summary.TotalLag != 6 || summary.MaxLagConsumerID != "" {
				t.Errorf("got lags %+v, summary %+v", lags, summary)
			}
			continue
		}
		member := consumers[0]
		if member.ClientID != "client-"+id || (member.InstanceID != nil) != (id == "classic") {
			t.Errorf("%s: got consumer %+v", id, member)
		}
		want := api.ConsumerLag{
			ConsumerGroupID: id, TopicName: "orders", PartitionID: 1, CurrentOffset: 7, LogEndOffset: 10, Lag: 3,
			ConsumerID: member.ConsumerID, ClientID: member.ClientID, InstanceID: member.InstanceID,
		}
		if id == "next" { // kfake does not tell who reads what in this protocol
			member, want.ConsumerID, want.ClientID = api.Consumer{}, "", ""
		}
		if diff := cmp.Diff(want, lags[1]); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if summary.MaxLag != 3 || summary.TotalLag != 3 || summary.MaxLagPartitionID != 1 || summary.MaxLagConsumerID != member.ConsumerID {
			t.Errorf("%s: got summary %+v", id, summary)
		}
	}
}

func TestAGroupThatIsNotThereIsNotFound(t *testing.T) {
	_, _, r := site(t)
	for what, err := range map[string]error{
		"group": drop(r.Group(t.Context(), "nope")), "consumers": drop(r.Consumers(t.Context(), "nope")),
		"lags": drop(r.Lags(t.Context(), "nope")), "summary": drop(r.LagSummary(t.Context(), "nope")),
	} {
		if !errors.Is(err, notFound("nope")) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestALagThatIsNotKnownIsAnErrorAndADeletedTopicIsLeftOut(t *testing.T) {
	kafka, adm, r := site(t)
	commit(t, adm, "simple", 4, 5)
	kafka.ControlKey(int16(kmsg.ListOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		req := kreq.(*kmsg.ListOffsetsRequest)
		res := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, topic := range req.Topics {
			st := kmsg.NewListOffsetsResponseTopic()
			st.Topic = topic.Topic
			for _, p := range topic.Partitions {
				sp := kmsg.NewListOffsetsResponseTopicPartition()
				sp.Partition, sp.ErrorCode = p.Partition, kerr.CorruptMessage.Code
				st.Partitions = append(st.Partitions, sp)
			}
			res.Topics = append(res.Topics, st)
		}
		return res, nil, true
	})
	if lags, err := r.Lags(t.Context(), "simple"); !errors.Is(err, kerr.CorruptMessage) {
		t.Errorf("got %+v, %v", lags, err)
	}
	if _, err := adm.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	if lags, err := r.Lags(t.Context(), "simple"); err != nil || len(lags) != 0 {
		t.Errorf("got %+v, %v", lags, err)
	}
	if _, err := r.LagSummary(t.Context(), "simple"); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestTheMemberThatReadsAPartitionIsFoundInEveryProtocol(t *testing.T) {
	reads := kadm.TopicsSet{}
	reads.Add("orders", 3)
	for _, g := range []group{
		consumerGroup(kadm.DescribedConsumerGroup{Members: []kadm.ConsumerGroupMember{{MemberID: "a", MemberType: 1}, {MemberID: "b", ClientID: "c", MemberType: 1, Assignment: reads}}}),
		shareGroup(kadm.DescribedShareGroup{Members: []kadm.ShareGroupMember{{MemberID: "b", ClientID: "c", Assignment: reads}}}),
	} {
		if m, ok := g.reader("orders", 3); !ok || m.id != "b" || m.client != "c" || g.IsMixedConsumerGroup {
			t.Errorf("%s: got %+v, %t", g.Type, m, ok)
		}
		if m, ok := g.reader("orders", 4); ok {
			t.Errorf("%s: %+v reads what nobody does", g.Type, m)
		}
	}
	if mixed := consumerGroup(kadm.DescribedConsumerGroup{Members: []kadm.ConsumerGroupMember{{MemberType: 1}, {MemberType: 0}}}); !mixed.IsMixedConsumerGroup {
		t.Error("a member of the classic protocol is not seen")
	}
}

func TestKafkasWordsAreTheContracts(t *testing.T) {
	for kafka, want := range map[string]string{
		"PreparingRebalance": "PREPARING_REBALANCE", "CompletingRebalance": "COMPLETING_REBALANCE", "Stable": "STABLE",
		"Empty": "EMPTY", "Dead": "DEAD", "Assigning": "ASSIGNING", "Reconciling": "RECONCILING", "NotReady": api.Unknown, "": api.Unknown,
	} {
		if got := word(kafka, api.GroupStates()); got != want {
			t.Errorf("%s: got %s, want %s", kafka, got, want)
		}
	}
	for kafka, want := range map[string]string{"": api.GroupClassic, "classic": api.GroupClassic, "consumer": api.GroupConsumer, "Share": api.GroupShare, "streams": api.Unknown} {
		if got := kind(kafka); got != want {
			t.Errorf("%q: got %s, want %s", kafka, got, want)
		}
	}
	if got := source(kmsg.ConfigSourceGroupConfig); got != api.Unknown {
		t.Errorf("got %s", got)
	}
}
