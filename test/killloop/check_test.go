package killloop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// awaitComplete waits until the engine has mirrored up to the source's ends.
func (l loop) awaitComplete(ctx context.Context, e *harness.Engine, src *kadm.Client) error {
	ends, err := src.ListEndOffsets(ctx, l.topic)
	if err != nil {
		return err
	}
	return local.WaitFor(within(ctx, l.patience), "the mirror is complete", func(ctx context.Context) error {
		m, err := e.Client().Mirror(ctx, link, l.topic, true)
		if err != nil {
			return err
		}
		for _, lag := range m.MirrorLags {
			if end, _ := ends.Lookup(l.topic, lag.Partition); lag.LastSourceFetchOffset < end.Offset {
				return fmt.Errorf("%s, partition %d at %d of %d, %v", m.MirrorStatus, lag.Partition, lag.LastSourceFetchOffset, end.Offset, m.StateTransitionErrors)
			}
		}
		return nil
	})
}

// check compares what readers of committed data see on both sides, record by
// record, and both with what the writer was acknowledged.
func (l loop) check(ctx context.Context, t *testing.T, w *writer) error {
	t.Helper()
	total := 0
	seen := map[string]int{}
	for p := range int32(partitions) {
		want, err := read(ctx, source, l.topic, p)
		if err != nil {
			return err
		}
		got, err := read(ctx, dest, l.topic, p)
		if err != nil {
			return err
		}
		for i := range min(len(want), len(got)) {
			a, b := want[i], got[i]
			if !bytes.Equal(a.Value, b.Value) || !bytes.Equal(a.Key, b.Key) || !a.Timestamp.Equal(b.Timestamp) {
				return fmt.Errorf("partition %d record %d: the mirror has %.20q at offset %d, the source %.20q at %d", p, i, b.Value, b.Offset, a.Value, a.Offset)
			}
			number, _, _ := bytes.Cut(b.Value, []byte(" "))
			seen[string(number)]++
		}
		if len(want) != len(got) {
			return fmt.Errorf("partition %d: the mirror has %d records, the source %d", p, len(got), len(want))
		}
		total += len(got)
	}
	for n, times := range seen {
		if times != 1 || !w.committed[n] {
			return fmt.Errorf("record %s stands %d times in the mirror, committed: %v", n, times, w.committed[n])
		}
	}
	if len(seen) != len(w.committed) {
		return fmt.Errorf("%d records were committed, the mirror holds %d", len(w.committed), len(seen))
	}
	t.Logf("%d records written, %d committed, each once and in order in the mirror", w.count(), total)
	return nil
}

// read is a partition as a reader of committed data sees it.
func read(ctx context.Context, k *local.Kafka, topic string, p int32) ([]*kgo.Record, error) {
	cl, err := kgo.NewClient(append(k.DirectOptions(admin), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().AtStart()}}))...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	end, _ := ends.Lookup(topic, p)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var out []*kgo.Record
	for at := int64(0); at < end.Offset; {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			return nil, fmt.Errorf("read %s %s partition %d at %d of %d: %w", k.Name(), topic, p, at, end.Offset, err)
		}
		for _, r := range f.Records() {
			at = r.Offset + 1
			if !r.Attrs.IsControl() {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

type ends struct{ hw, end int64 }

// watcher asks the destination's leaders for high watermarks and log ends. It
// learns the leaders before a broker is stopped, and never asks that one.
type watcher struct {
	client  *kgo.Client
	topic   string
	leaders map[int32]int32
	inSync  map[int32][]int32
}

func newWatcher(ctx context.Context, topic string) (*watcher, error) {
	cl, err := kgo.NewClient(dest.DirectOptions(admin)...)
	if err != nil {
		return nil, err
	}
	w := &watcher{client: cl, topic: topic, leaders: map[int32]int32{}, inSync: map[int32][]int32{}}
	meta, err := kadm.NewClient(cl).ListTopics(ctx, topic)
	if err == nil {
		err = meta[topic].Err
	}
	if err != nil {
		cl.Close()
		return nil, err
	}
	for _, p := range meta[topic].Partitions {
		w.leaders[p.Partition], w.inSync[p.Partition] = p.Leader, p.ISR
	}
	return w, nil
}

// steady is the broker (counted from 0) that is never stopped. What an engine
// needs to start stands there alone; else it could not start before the stopped
// broker has left the replica sets, and with them the batch in question is
// committed.
const steady = 2

func keepOffStoppedBrokers(ctx context.Context) error {
	cl, err := kgo.NewClient(dest.DirectOptions(admin)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	for topic, partitions := range map[string]int32{"_drawbridge_state": 4, "_drawbridge_state_probe": 1, "__transaction_state": 4} {
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, -1, -1
		for p := range partitions {
			a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			a.Partition, a.Replicas = p, []int32{steady + 1}
			rt.ReplicaAssignment = append(rt.ReplicaAssignment, a)
		}
		configs := map[string]string{"min.insync.replicas": "1"}
		if topic != "_drawbridge_state_probe" {
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
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("create %s: %w", t.Topic, err)
		}
	}
	return nil
}

// follower is the broker (counted from 0) whose stop holds back the most
// partitions: it follows them in sync and another one leads them.
func (w *watcher) follower() (int, error) {
	best, most := -1, 0
	for id := range int32(steady) {
		n := 0
		for p, leader := range w.leaders {
			if leader != id+1 && slices.Contains(w.inSync[p], id+1) {
				n++
			}
		}
		if n > most {
			best, most = int(id), n
		}
	}
	if best < 0 {
		return 0, fmt.Errorf("no broker follows in sync: leaders %v, in sync %v", w.leaders, w.inSync)
	}
	return best, nil
}

// ends answers for the partitions whose leader answers.
func (w *watcher) ends(ctx context.Context, stopped int32) map[int32]ends {
	out := map[int32]ends{}
	for p, leader := range w.leaders {
		if leader == stopped {
			continue
		}
		hw, err1 := w.ask(ctx, leader, p, -1)
		end, err2 := w.ask(ctx, leader, p, -2)
		if errors.Join(err1, err2) == nil {
			out[p] = ends{hw, end}
		}
	}
	return out
}

func (w *watcher) ask(ctx context.Context, leader, p, replica int32) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = replica
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = w.topic
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp = p, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	res, err := w.client.Broker(int(leader)).Request(ctx, req)
	if err != nil {
		return 0, err
	}
	got := res.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	return got.Offset, kerr.ErrorForCode(got.ErrorCode)
}
