package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// The canary asks a broker whether its principal may write to a topic, by a
// batch with a wrong CRC that no broker stores: who may write is told
// CORRUPT_MESSAGE by the leader, NOT_LEADER_OR_FOLLOWER by another broker and
// UNKNOWN_TOPIC_OR_PARTITION before the topic exists, who may not
// TOPIC_AUTHORIZATION_FAILED, since KafkaApis.handleProduceRequest asks the
// authorizer before anything else (test/brokerfacts).

// produceByName is the last version of Produce that names topics; later ones
// carry ids, and a topic that is yet to be made has none (KIP-516).
const produceByName = 12

// newCanary connects with the canary's own principal; nil options give none.
func newCanary(opts []kgo.Opt, site string) (*cluster, error) {
	if opts == nil {
		return nil, nil
	}
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(kmsg.Produce.Int16(), produceByName)
	client, err := kgo.NewClient(append(slices.Clone(opts),
		kgo.ClientID("drawbridge-canary-"+site), kgo.MaxVersions(versions),
		kgo.RequestTimeoutOverhead(requestTimeout), kgo.RetryTimeout(requestTimeout))...)
	if err != nil {
		return nil, fmt.Errorf("the canary's connection: %w", err)
	}
	return newCluster(client), nil
}

// verdict is what the canary heard about one topic, broker by broker.
type verdict struct {
	letThrough []int32
	refused    []int32
	open       error // a broker that did not answer, or not to the point
}

// allLetThrough and allRefused need an answer of every broker.
func (v verdict) allLetThrough() bool {
	return v.open == nil && len(v.refused) == 0 && len(v.letThrough) > 0
}

func (v verdict) allRefused() bool {
	return v.open == nil && len(v.letThrough) == 0 && len(v.refused) > 0
}

// song is one request of the canary. Each broker gets its own: the client writes
// the version into it, also when the answer is no longer waited for.
func song(topics map[string]int32) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = 1, int32(requestTimeout.Milliseconds())
	for topic, partitions := range topics {
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic = topic
		for n := range max(partitions, 1) {
			rp := kmsg.NewProduceRequestTopicPartition()
			rp.Partition, rp.Records = n, batch.WrongCRC([]byte("drawbridge"), []byte("canary"))
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	return req
}

// sing sends the canary to every broker for every partition of the topics
// (name → number of partitions), one request per broker.
func (m *Manager) sing(ctx context.Context, topics map[string]int32) (map[string]verdict, error) {
	brokers, err := m.brokerIDs(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]verdict{}
	for _, b := range brokers {
		res, err := request[*kmsg.ProduceResponse](ctx, m.canary, b, song(topics))
		if err != nil {
			err = fmt.Errorf("canary at broker %d: %w", b, err)
			for topic := range topics {
				v := out[topic]
				v.open = errors.Join(v.open, err)
				out[topic] = v
			}
			continue
		}
		told := map[string]int32{}
		for _, t := range res.Topics {
			v := out[t.Topic]
			through, refused, other := 0, 0, error(nil)
			for _, p := range t.Partitions {
				told[t.Topic]++
				switch err := kerr.ErrorForCode(p.ErrorCode); {
				case errors.Is(err, kerr.CorruptMessage), errors.Is(err, kerr.NotLeaderForPartition), errors.Is(err, kerr.UnknownTopicOrPartition):
					through++
				case errors.Is(err, kerr.TopicAuthorizationFailed):
					refused++
				case err == nil:
					other = fmt.Errorf("broker %d took a batch with a wrong checksum for %s partition %d at offset %d: it is no Kafka as we know it", b, t.Topic, p.Partition, p.BaseOffset)
				default:
					other = fmt.Errorf("canary at broker %d: %s partition %d: %w", b, t.Topic, p.Partition, err)
				}
			}
			v.open = errors.Join(v.open, other)
			if through > 0 {
				v.letThrough = append(v.letThrough, b)
			}
			if refused > 0 {
				v.refused = append(v.refused, b)
			}
			out[t.Topic] = v
		}
		for topic, partitions := range topics {
			if told[topic] < max(partitions, 1) {
				v := out[topic]
				v.open = errors.Join(v.open, fmt.Errorf("broker %d left %s out of its answer to the canary", b, topic))
				out[topic] = v
			}
		}
	}
	return out, nil
}

// canaryWait bounds how long the canary waits for entries to come to all
// brokers.
const canaryWait = 15 * time.Second

// awaitLetThrough watches that writers get in again once guards are gone. It
// only reports: the topics are open whatever the canary says.
func (l *Link) awaitLetThrough(ctx context.Context, topics map[string]int32) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, canaryWait)
	defer cancel()
	left := topics
	for {
		got, err := l.mgr.sing(ctx, left)
		shut := map[string]int32{}
		for topic, v := range got {
			if !v.allLetThrough() {
				shut[topic] = left[topic]
				err = errors.Join(err, v.open)
			}
		}
		if len(got) > 0 {
			left = shut
		}
		if len(left) == 0 {
			l.log.Info("guards are gone, every broker lets the canary through again", "topics", len(topics), "after", time.Since(began))
			return
		}
		select {
		case <-ctx.Done():
			for topic := range left {
				l.log.Warn("the guard was removed, but not every broker lets the canary write: look for DENY entries that are not ours, and for the canary's ALLOW",
					"topic", topic, "refused_by", got[topic].refused, "error", err)
			}
			return
		case <-time.After(retryMin):
		}
	}
}
