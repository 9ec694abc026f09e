package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// At names a partition.
type At struct {
	Topic     string
	Partition int32
}

func (a At) String() string { return fmt.Sprintf("%s/%d", a.Topic, a.Partition) }

// LogEnd is where a leader's log ends, and up to where readers see it.
type LogEnd struct{ HighWatermark, End int64 }

// LogEnds asks the leaders of partitions for both. It learns the leaders when it
// is made, goes round proxies, and so can ask those that live when others are
// stopped.
type LogEnds struct {
	client *kgo.Client
	// Leaders and InSync are broker ids, which count from 1.
	Leaders map[At]int32
	InSync  map[At][]int32
}

// WatchLogEnds makes it; end it with Close.
func WatchLogEnds(ctx context.Context, k *local.Kafka, user local.User, topics ...string) (*LogEnds, error) {
	cl, err := kgo.NewClient(k.DirectOptions(user)...)
	if err != nil {
		return nil, err
	}
	w := &LogEnds{client: cl, Leaders: map[At]int32{}, InSync: map[At][]int32{}}
	meta, err := kadm.NewClient(cl).ListTopics(ctx, topics...)
	if err == nil {
		err = meta.Error()
	}
	if err != nil {
		cl.Close()
		return nil, fmt.Errorf("leaders of %v at %s: %w", topics, k.Name(), err)
	}
	for _, t := range meta {
		for _, p := range t.Partitions {
			w.Leaders[At{t.Topic, p.Partition}], w.InSync[At{t.Topic, p.Partition}] = p.Leader, p.ISR
		}
	}
	return w, nil
}

// Close ends it.
func (w *LogEnds) Close() { w.client.Close() }

// Hidden are the partitions whose log goes on beyond the high watermark, of
// those whose leader answers and is not the broker without.
func (w *LogEnds) Hidden(ctx context.Context, without int32) map[At]LogEnd {
	out := map[At]LogEnd{}
	for at, end := range w.ask(ctx, without) {
		if end.End > end.HighWatermark {
			out[at] = end
		}
	}
	return out
}

// AwaitHidden waits until there are such partitions.
func (w *LogEnds) AwaitHidden(ctx context.Context, without int32) (map[At]LogEnd, error) {
	var out map[At]LogEnd
	err := local.WaitFor(ctx, "a batch beyond the high watermark", func(ctx context.Context) error {
		if out = w.Hidden(ctx, without); len(out) == 0 {
			return errors.New("none yet")
		}
		return nil
	})
	return out, err
}

// ask asks each leader for all of its partitions, for the log ends first: a high
// watermark that is younger and still lower was lower all the time.
func (w *LogEnds) ask(ctx context.Context, without int32) map[At]LogEnd {
	by := map[int32][]At{}
	for at, leader := range w.Leaders {
		if leader != without {
			by[leader] = append(by[leader], at)
		}
	}
	out := map[At]LogEnd{}
	for leader, ats := range by {
		// As the debugging replica (-2) the leader tells its log end, as a consumer
		// the high watermark (test/brokerfacts).
		ends, err1 := w.offsets(ctx, leader, -2, ats)
		highs, err2 := w.offsets(ctx, leader, -1, ats)
		if errors.Join(err1, err2) != nil {
			continue
		}
		for at, end := range ends {
			if high, ok := highs[at]; ok {
				out[at] = LogEnd{high, end}
			}
		}
	}
	return out
}

func (w *LogEnds) offsets(ctx context.Context, leader, replica int32, ats []At) (map[At]int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = replica
	topics := map[string]*kmsg.ListOffsetsRequestTopic{}
	for _, at := range ats {
		if topics[at.Topic] == nil {
			rt := kmsg.NewListOffsetsRequestTopic()
			rt.Topic = at.Topic
			topics[at.Topic] = &rt
		}
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = at.Partition, -1
		topics[at.Topic].Partitions = append(topics[at.Topic].Partitions, rp)
	}
	for _, rt := range topics {
		req.Topics = append(req.Topics, *rt)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	res, err := w.client.Broker(int(leader)).Request(ctx, req)
	if err != nil {
		return nil, err
	}
	out := map[At]int64{}
	for _, t := range res.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if kerr.ErrorForCode(p.ErrorCode) == nil {
				out[At{t.Topic, p.Partition}] = p.Offset
			}
		}
	}
	return out, nil
}

// PlaceState makes, ahead of the first engine with this state topic, what engines
// need to start (state, scratch topic of their probe, transactions, groups), with
// all replicas on the given brokers (ids from 1). An engine can then start and take
// its state over while another broker stalls; else it would wait until
// that one has left the replica sets, and with it the batch in question be
// committed. A topic that exists is left alone.
func PlaceState(ctx context.Context, k *local.Kafka, user local.User, state string, shards int32, brokers ...int32) error {
	cl, err := kgo.NewClient(k.DirectOptions(user)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	for topic, partitions := range map[string]int32{state: shards, state + "_probe": 1, "__transaction_state": 4, "__consumer_offsets": 4} {
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, -1, -1
		for p := range partitions {
			a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			a.Partition = p
			for i := range brokers { // so that the leaders are spread
				a.Replicas = append(a.Replicas, brokers[(i+int(p))%len(brokers)])
			}
			rt.ReplicaAssignment = append(rt.ReplicaAssignment, a)
		}
		configs := map[string]string{"min.insync.replicas": "1"}
		if topic != state+"_probe" {
			configs["cleanup.policy"] = "compact"
		}
		for name, value := range configs {
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = name, &value
			rt.Configs = append(rt.Configs, c)
		}
		req.Topics = append(req.Topics, rt)
	}
	res, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	for _, t := range res.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create %s: %w", t.Topic, err)
		}
	}
	return nil
}

// WaitsForReplicas answers nil when the engine says of one of the partitions that
// it waits for the destination's replicas before it goes on.
func (e *Engine) WaitsForReplicas(ctx context.Context, link string, among map[At]LogEnd) error {
	progress, err := e.Client().Progress(ctx, link)
	if err != nil {
		return err
	}
	for _, m := range progress.Mirrors {
		for _, p := range m.Partitions {
			if _, ok := among[At{m.Topic, p.Partition}]; ok && strings.Contains(p.Stalled, "destination's replicas") {
				return nil
			}
		}
	}
	return fmt.Errorf("engine %s waits for the replicas of none of %v", e.cfg.Name, among)
}
