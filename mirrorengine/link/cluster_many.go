package link

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What is asked for many partitions takes one request per broker.

// Timestamps and replica ids of ListOffsets (ListOffsetsRequest.json). Replica
// -2 is the debugging consumer: to it the leader tells its log end instead of
// the high watermark (ReplicaManager.fetchOffset; test/brokerfacts).
const (
	offsetLatest    = -1
	offsetEarliest  = -2
	replicaConsumer = -1
	replicaDebug    = -2
)

// refreshEach is refresh with an answer per topic.
func (c *cluster) refreshEach(ctx context.Context, topics []string) (map[string]struct{}, map[string]error) {
	errs := map[string]error{}
	if err := c.refresh(ctx, compact(topics)...); err != nil {
		for _, t := range topics {
			errs[t] = err
		}
	}
	return nil, errs
}

// leaders finds the partitions' leaders, asking once, for all topics together,
// where they are not known. The partitions of a broker keep their order.
func (c *cluster) leaders(ctx context.Context, parts []topicPartition) (map[int32][]topicPartition, map[topicPartition]error) {
	var unknown []string
	for _, tp := range parts {
		if _, err := c.knownLeader(tp); err != nil {
			unknown = append(unknown, tp.topic)
		}
	}
	var failed error
	if len(unknown) > 0 {
		failed = c.refresh(ctx, compact(unknown)...)
	}
	by, errs := map[int32][]topicPartition{}, map[topicPartition]error{}
	for _, tp := range parts {
		b, err := c.knownLeader(tp)
		switch {
		case err == nil:
			by[b] = append(by[b], tp)
		case failed != nil:
			errs[tp] = failed
		default:
			errs[tp] = err
		}
	}
	return by, errs
}

// knownLeader is a partition's leader as it is known, without asking.
func (c *cluster) knownLeader(tp topicPartition) (int32, error) {
	m, ok := c.topic(tp.topic)
	switch {
	case ok && m.err != nil:
		return 0, fmt.Errorf("topic %s: %w", tp.topic, m.err)
	case !ok || int(tp.partition) >= len(m.leaders) || m.leaders[tp.partition] < 0:
		return 0, fmt.Errorf("topic %s partition %d has no leader: %w", tp.topic, tp.partition, kerr.LeaderNotAvailable)
	}
	return m.leaders[tp.partition], nil
}

// byTopic gathers partitions as requests name them, each topic once. What comes
// first stays first: a Fetch has room for its first partition always.
func byTopic(parts iter.Seq[topicPartition]) iter.Seq2[string, []int32] {
	var order []string
	nums := map[string][]int32{}
	for tp := range parts {
		if nums[tp.topic] == nil {
			order = append(order, tp.topic)
		}
		nums[tp.topic] = append(nums[tp.topic], tp.partition)
	}
	return func(yield func(string, []int32) bool) {
		for _, topic := range order {
			if !yield(topic, nums[topic]) {
				return
			}
		}
	}
}

// offsetsEach asks the leaders for offsets of many partitions, one request per
// broker. Each partition has an offset or an error.
func (c *cluster) offsetsEach(ctx context.Context, replica int32, timestamp int64, parts []topicPartition) (map[topicPartition]int64, map[topicPartition]error) {
	by, errs := c.leaders(ctx, parts)
	out := map[topicPartition]int64{}
	for b, tps := range by {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = replica
		for topic, nums := range byTopic(slices.Values(tps)) {
			rt := kmsg.NewListOffsetsRequestTopic()
			rt.Topic = topic
			for _, n := range nums {
				rp := kmsg.NewListOffsetsRequestTopicPartition()
				rp.Partition, rp.Timestamp = n, timestamp
				rt.Partitions = append(rt.Partitions, rp)
			}
			req.Topics = append(req.Topics, rt)
		}
		res, err := request[*kmsg.ListOffsetsResponse](ctx, c, b, req)
		if err != nil {
			err = fmt.Errorf("offsets of broker %d: %w", b, err)
			for _, tp := range tps {
				c.forget(tp.topic)
				errs[tp] = err
			}
			continue
		}
		for _, t := range res.Topics {
			for _, p := range t.Partitions {
				tp := topicPartition{t.Topic, p.Partition}
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					c.forget(t.Topic)
					errs[tp] = fmt.Errorf("offset of %s partition %d: %w", t.Topic, p.Partition, err)
					continue
				}
				out[tp] = p.Offset
			}
		}
		for _, tp := range tps {
			if _, ok := out[tp]; !ok && errs[tp] == nil {
				errs[tp] = fmt.Errorf("offset of %s partition %d: broker %d left it out of its answer", tp.topic, tp.partition, b)
			}
		}
	}
	return out, errs
}

// offsets is offsetsEach with one error for all. Partitions whose leader did not
// answer are missing from the result and named in the error.
func (c *cluster) offsets(ctx context.Context, replica int32, timestamp int64, parts ...topicPartition) (map[topicPartition]int64, error) {
	out, bad := c.offsetsEach(ctx, replica, timestamp, parts)
	seen := map[error]bool{} // a broker's error is that of all its partitions
	var errs []error
	for _, err := range bad {
		if !seen[err] {
			seen[err] = true
			errs = append(errs, err)
		}
	}
	return out, errors.Join(errs...)
}

// offset is offsets for one partition.
func (c *cluster) offset(ctx context.Context, replica int32, timestamp int64, topic string, partition int32) (int64, error) {
	tp := topicPartition{topic, partition}
	res, err := c.offsets(ctx, replica, timestamp, tp)
	if err != nil {
		return 0, err
	}
	return res[tp], nil
}
