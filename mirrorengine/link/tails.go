package link

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// Tails of many partitions are read together: when a thousand mirrors end, or an
// engine starts, brokers are asked as often as for a few.

// tail is what the end of the destination's log says.
type tail struct {
	end      int64 // true log end, replicated to every in-sync replica
	start    int64 // log start
	last     batch.Batch
	ours     bool  // last is a data batch of ours
	epoch    int16 // highest epoch of our markers behind it, -1 without
	markerID int64
}

// unsettled is a log end that the high watermark has not reached: no fetch shows
// what lies between, and an old batch of ours may be there. It is looked at again.
type unsettled struct{ hw, end int64 }

func (u *unsettled) Error() string {
	return fmt.Sprintf("waiting for the destination's replicas: high watermark %d, log end %d", u.hw, u.end)
}

// tailReader reads one tail back from the log end to the last data batch of ours.
type tailReader struct {
	p        *partition
	tolerant bool // data of others is no reason to stop
	t        tail
	own      map[int64]bool
	first    int64 // before it nothing can be ours
	at       int64 // what lies before it is to be read
	limit    int32 // bytes asked for
	tailWalk
}

// What one Fetch of tails may bring, of all partitions and, at first, of each. A
// batch that does not fit is asked for again with more room; the first partition of
// a request has its batch whatever the limits (KIP-74).
const (
	tailBytes      = 16 << 20
	tailBytesFirst = 64 << 10
	tailBytesWalk  = 4 << 20 // of one that reads blocks (tails_walk.go)
)

// tailReader begins to read a partition's tail; its map is loaded.
func (p *partition) tailReader(tolerant bool) *tailReader {
	own, first := p.ownership()
	return &tailReader{p: p, tolerant: tolerant, own: own, first: first, limit: tailBytesFirst, tailWalk: tailWalk{step: 1}}
}

// readTails reads tails once: each has a result or an error, *unsettled where its
// log end does not stand still on all in-sync replicas.
func (m *Manager) readTails(ctx context.Context, readers []*tailReader) (map[*tailReader]tail, map[*tailReader]error) {
	out, bad := map[*tailReader]tail{}, map[*tailReader]error{}
	ends := m.settledEnds(ctx, readers, bad)
	var tps []topicPartition
	for r := range ends {
		tps = append(tps, r.p.dst)
	}
	starts, errs := m.local.offsetsEach(ctx, replicaConsumer, offsetEarliest, tps)
	var open []*tailReader
	for _, r := range readers {
		end, ok := ends[r]
		if !ok {
			continue
		}
		if err := errs[r.p.dst]; err != nil {
			bad[r] = err
			continue
		}
		r.at = end
		r.t = tail{end: end, start: starts[r.p.dst], epoch: -1, markerID: -1}
		if r.goOn(); r.done() {
			out[r] = r.t
		} else {
			open = append(open, r)
		}
	}
	for len(open) > 0 {
		for r, res := range m.fetchBack(ctx, open) {
			done, err := r.take(res)
			switch {
			case err != nil:
				bad[r] = err
			case done:
				out[r] = r.t
			}
		}
		var rest, walking []*tailReader // in their order: who got nothing is first next time
		for _, r := range open {
			switch _, done := out[r]; {
			case done || bad[r] != nil:
			case r.step == 1:
				rest = append(rest, r)
			case r.late():
				bad[r] = r.unread()
			default:
				walking = append(walking, r)
			}
		}
		open = append(rest, walking...)
	}
	return out, bad
}

// settledEnds are the true log ends where the high watermark has reached them. Where
// others may write the log need not stand still: what comes behind our fence is theirs,
// and before it such a tail only tells by which stamp to fence.
func (m *Manager) settledEnds(ctx context.Context, readers []*tailReader, bad map[*tailReader]error) map[*tailReader]int64 {
	tps := make([]topicPartition, len(readers))
	for i, r := range readers {
		tps[i] = r.p.dst
	}
	var looks [3]map[topicPartition]int64
	errs := map[topicPartition]error{}
	for i, replica := range []int32{replicaDebug, replicaConsumer, replicaDebug} {
		got, failed := m.local.offsetsEach(ctx, replica, offsetLatest, tps)
		looks[i] = got
		maps.Copy(errs, failed)
		tps = slices.DeleteFunc(tps, func(tp topicPartition) bool { return errs[tp] != nil })
	}
	out := map[*tailReader]int64{}
	for _, r := range readers {
		tp := r.p.dst
		end, hw, again := looks[0][tp], looks[1][tp], looks[2][tp]
		switch {
		case errs[tp] != nil:
			bad[r] = errs[tp]
		case mutant == "resume-at-high-watermark":
			out[r] = hw
		case hw >= end && (end == again || r.tolerant):
			out[r] = end
		default:
			bad[r] = &unsettled{hw, again}
		}
	}
	return out
}

// done: nothing of ours can lie before what was read.
func (r *tailReader) done() bool { return r.at <= max(r.t.start, r.first) }

// back is what a Fetch brought for one tail: the batches from the one on that holds the
// offset asked for or is the next behind it; none because there is none, or because they
// were left out for want of room.
type back struct {
	batches []batch.Batch
	crowded bool
	err     error
}

// fetchBack reads, for each tail, what stands before what was read: one Fetch per
// broker.
func (m *Manager) fetchBack(ctx context.Context, tails []*tailReader) map[*tailReader]back {
	tps := make([]topicPartition, len(tails))
	byTP := map[topicPartition]*tailReader{}
	for i, r := range tails {
		tps[i] = r.p.dst
		byTP[r.p.dst] = r
	}
	out := map[*tailReader]back{}
	fail := func(r *tailReader, err error) {
		out[r] = back{err: fmt.Errorf("read back %s partition %d at %d: %w", r.p.dst.topic, r.p.n, r.from(), err)}
	}
	by, errs := m.local.leaders(ctx, tps)
	for tp, err := range errs {
		fail(byTP[tp], err)
	}
	for broker, some := range by {
		res, err := m.fetchTails(ctx, broker, some, byTP)
		for i, tp := range some {
			r := byTP[tp]
			got, ok := res[tp]
			switch {
			case err != nil:
				fail(r, err)
			case !ok && i == 0:
				fail(r, fmt.Errorf("broker %d left it out of its answer", broker))
			case !ok:
				out[r] = back{crowded: true}
			case got.ErrorCode != 0:
				fail(r, kerr.ErrorForCode(got.ErrorCode))
			case got.HighWatermark < r.t.end:
				fail(r, &unsettled{got.HighWatermark, r.t.end}) // a new leader, that does not show all yet
			default:
				batches, err := batchesFrom(got.RecordBatches, r.from())
				if err != nil {
					fail(r, err)
					continue
				}
				out[r] = back{batches: batches, crowded: len(batches) == 0 && i > 0}
			}
		}
	}
	return out
}

// fetchTails is one Fetch; a partition that is missing from the result was left
// out of the answer.
func (m *Manager) fetchTails(ctx context.Context, broker int32, tps []topicPartition, tails map[topicPartition]*tailReader) (map[topicPartition]kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxBytes = -1, tailBytes
	names := map[[16]byte]string{}
	for topic, nums := range byTopic(slices.Values(tps)) {
		known, _ := m.local.topic(topic)
		names[known.id] = topic
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic, rt.TopicID = topic, known.id
		for _, n := range nums {
			tail := tails[topicPartition{topic, n}]
			rp := kmsg.NewFetchRequestTopicPartition()
			rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = n, tail.from(), tail.limit, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	res, err := request[*kmsg.FetchResponse](ctx, m.local, broker, req)
	if err == nil {
		err = kerr.ErrorForCode(res.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("broker %d: %w", broker, err)
	}
	out := map[topicPartition]kmsg.FetchResponseTopicPartition{}
	for _, t := range res.Topics {
		name := t.Topic
		if name == "" {
			name = names[t.TopicID] // from version 13 on topics go by their ids
		}
		for _, p := range t.Partitions {
			out[topicPartition{name, p.Partition}] = p
		}
	}
	return out, nil
}

// batchesFrom are the batches from the one on that holds an offset, or is the next
// behind it.
func batchesFrom(records []byte, offset int64) ([]batch.Batch, error) {
	batches, err := batch.Split(records)
	for len(batches) > 0 && batches[0].LastOffset() < offset {
		batches = batches[1:]
	}
	return batches, err
}

// tailOf reads the tail of a partition that is to be mirrored.
func (m *Manager) tailOf(ctx context.Context, p *partition) (tail, error) {
	broker, _, err := m.local.leader(ctx, p.dst.topic, p.n)
	if err != nil {
		return tail{}, err
	}
	return m.tails.one(ctx, broker, p.tailReader(false))
}

// readNewest is readTails where a partition may have asked twice: it has given up
// the question before.
func (m *Manager) readNewest(ctx context.Context, _ int32, readers []*tailReader) (map[*tailReader]tail, map[*tailReader]error) {
	newest := map[*partition]*tailReader{}
	for _, r := range readers {
		newest[r.p] = r
	}
	return m.readTails(ctx, slices.DeleteFunc(readers, func(r *tailReader) bool { return newest[r.p] != r }))
}
