package brokerfacts

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// topic is a topic with one partition, 0.
type topic struct {
	name string
	id   [16]byte
}

// newTopic creates a topic named after the test; configs are key=value.
func newTopic(t *testing.T, k *local.Kafka, configs ...string) topic {
	t.Helper()
	values := make(map[string]*string)
	for _, c := range configs {
		key, value, _ := strings.Cut(c, "=")
		values[key] = &value
	}
	name := strings.NewReplacer("/", ".", "#", "-").Replace(t.Name())
	resp, err := kadm.NewClient(connect(t, k, super)).CreateTopic(within(t, 2*time.Minute), 1, -1, values, name)
	if err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
	made := topic{name, resp.ID}
	if k == one { // with three brokers leaderOf waits
		awaitLeader(t, k, leader, made)
	}
	return made
}

// awaitLeader waits until a broker leads the topic's partition: creating a topic returns when the controller has it.
func awaitLeader(t *testing.T, k *local.Kafka, broker int, of topic) {
	t.Helper()
	cl := connect(t, k, super)
	eventually(t, "a broker to lead the topic's partition", nil, func() error {
		_, err := offsetAt(t, cl, broker, of, -1)
		return err
	})
}

// ask sends a request to one broker and returns its answer.
func ask[R kmsg.Response](t *testing.T, cl *kgo.Client, broker int, req kmsg.Request) R {
	t.Helper()
	resp, err := cl.Broker(broker).RetriableRequest(within(t, 2*time.Minute), req)
	if err != nil {
		t.Fatalf("%s to broker %d: %v", kmsg.NameForKey(req.Key()), broker, err)
	}
	return resp.(R)
}

// produce sends a batch for the topic's partition (acks=all) and returns base offset and error.
func produce(t *testing.T, cl *kgo.Client, broker int, to topic, batch []byte) (int64, error) {
	t.Helper()
	return produceWithin(t, cl, broker, to, batch, 20*time.Second)
}

// produceWithin is produce with the time that the broker may wait for followers.
func produceWithin(t *testing.T, cl *kgo.Client, broker int, to topic, batch []byte, wait time.Duration) (int64, error) {
	t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, int32(wait.Milliseconds())
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = to.name, to.id
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = batch
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	p := ask[*kmsg.ProduceResponse](t, cl, broker, req).Topics[0].Partitions[0]
	return p.BaseOffset, kerr.ErrorForCode(p.ErrorCode)
}

// send produces as super user to the cluster one and demands that outcome (nil: stored).
func send(t *testing.T, to topic, r raw, want error) int64 {
	t.Helper()
	base, err := produce(t, connect(t, one, super), leader, to, r.encode(t))
	if !errors.Is(err, want) || (want == nil && err != nil) {
		t.Fatalf("produce (pid %d, epoch %d, sequence %d): got %v, want %v", r.pid, r.epoch, r.sequence, err, want)
	}
	return base
}

// logEnd asks as the debugging replica does (-2): the log's end, not the high watermark.
func logEnd(t *testing.T, cl *kgo.Client, broker int, of topic) int64 {
	t.Helper()
	return listOffset(t, cl, broker, of, -2)
}

func listOffset(t *testing.T, cl *kgo.Client, broker int, of topic, replica int32) int64 {
	t.Helper()
	offset, err := offsetAt(t, cl, broker, of, replica)
	if err != nil {
		t.Fatalf("ListOffsets as replica %d: %v", replica, err)
	}
	return offset
}

func offsetAt(t *testing.T, cl *kgo.Client, broker int, of topic, replica int32) (int64, error) {
	t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = replica
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = of.name
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Timestamp, rp.CurrentLeaderEpoch = -1, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	p := ask[*kmsg.ListOffsetsResponse](t, cl, broker, req).Topics[0].Partitions[0]
	return p.Offset, kerr.ErrorForCode(p.ErrorCode)
}

// wantEnd demands where the log of the cluster one ends.
func wantEnd(t *testing.T, of topic, want int64) {
	t.Helper()
	if got := logEnd(t, connect(t, one, super), leader, of); got != want {
		t.Errorf("log ends at %d, want %d", got, want)
	}
}

const readCommitted = 1

// fetch reads the log from an offset on as it is, from the cluster one.
func fetch(t *testing.T, from topic, offset int64, isolation int8) kmsg.FetchResponseTopicPartition {
	t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = 1000, 1, 1<<20, isolation
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = from.name, from.id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.FetchOffset, rp.CurrentLeaderEpoch, rp.PartitionMaxBytes = offset, -1, 1<<20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	p := ask[*kmsg.FetchResponse](t, connect(t, one, super), leader, req).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		t.Fatalf("fetch from %d: %v", offset, err)
	}
	return p
}

// mark writes an abort marker for a producer id as the engine does to fence itself: WriteTxnMarkers, key 27.
func mark(t *testing.T, cl *kgo.Client, broker int, pid int64, epoch int16, to topic) error {
	t.Helper()
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	m := kmsg.NewWriteTxnMarkersRequestMarker()
	m.ProducerID, m.ProducerEpoch = pid, epoch
	mt := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
	mt.Topic, mt.Partitions = to.name, []int32{0}
	m.Topics = append(m.Topics, mt)
	req.Markers = append(req.Markers, m)
	resp := ask[*kmsg.WriteTxnMarkersResponse](t, cl, broker, req)
	return kerr.ErrorForCode(resp.Markers[0].Topics[0].Partitions[0].ErrorCode)
}

// newPID asks for a producer id; with a transactional id it raises that one's epoch.
func newPID(t *testing.T, txnID *string) (int64, int16) {
	t.Helper()
	cl := connect(t, one, super)
	var pid int64
	var epoch int16
	err := local.WaitFor(within(t, 60*time.Second), "a producer id", func(ctx context.Context) error {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis = txnID, 60000
		req.ProducerID, req.ProducerEpoch = -1, -1
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return err
		}
		pid, epoch = resp.ProducerID, resp.ProducerEpoch
		return kerr.ErrorForCode(resp.ErrorCode) // the coordinator may still be loading
	})
	if err != nil {
		t.Fatal(err)
	}
	return pid, epoch
}

// producers returns the states that the leader of the cluster one keeps, by producer id.
func producers(t *testing.T, of topic) map[int64]kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	t.Helper()
	return producersAt(t, connect(t, one, super), leader, of)
}

func producersAt(t *testing.T, cl *kgo.Client, broker int, of topic) map[int64]kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	t.Helper()
	req := kmsg.NewPtrDescribeProducersRequest()
	rt := kmsg.NewDescribeProducersRequestTopic()
	rt.Topic, rt.Partitions = of.name, []int32{0}
	req.Topics = append(req.Topics, rt)
	p := ask[*kmsg.DescribeProducersResponse](t, cl, broker, req).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		t.Fatalf("DescribeProducers: %v", err)
	}
	out := make(map[int64]kmsg.DescribeProducersResponseTopicPartitionActiveProducer)
	for _, a := range p.ActiveProducers {
		out[a.ProducerID] = a
	}
	return out
}

// grant makes ACL entries for a principal on a topic, a group, or with neither on the cluster.
func grant(t *testing.T, k *local.Kafka, b *kadm.ACLBuilder) {
	t.Helper()
	results, err := kadm.NewClient(connect(t, k, super)).CreateACLs(within(t, 2*time.Minute), b.ResourcePatternType(kadm.ACLPatternLiteral))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatalf("ACL entry %+v: %v", r, r.Err)
		}
	}
}

func allow(u local.User, ops ...kadm.ACLOperation) *kadm.ACLBuilder {
	return kadm.NewACLs().Allow("User:" + u.Name).AllowHosts("*").Operations(ops...)
}

func deny(principal string, ops ...kadm.ACLOperation) *kadm.ACLBuilder {
	return kadm.NewACLs().Deny(principal).DenyHosts("*").Operations(ops...)
}

// eventually polls until an answer is the wanted one: brokers apply ACL entries a moment after they are made.
func eventually(t *testing.T, what string, want error, do func() error) {
	t.Helper()
	err := local.WaitFor(within(t, 2*time.Minute), what, func(context.Context) error {
		got := do()
		if errors.Is(got, want) || (want == nil && got == nil) {
			return nil
		}
		if got == nil {
			return errors.New("no error")
		}
		return got
	})
	if err != nil {
		t.Fatal(err)
	}
}
