package link

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// A source log that an unclean leader election cut, and that grew again past
// the mirrored position, looks like any other by its offsets. Its leader epochs
// do not lie: the leader is asked where the epoch of our last record ended, as a
// consumer does (KIP-320). The epoch is kept with the segments, of which each
// change of epoch opens one, so that it is known after a restart too.

// epochAt asks of a partition where a leader epoch ended.
type epochAt struct {
	tp    topicPartition
	epoch int32
}

// epochEnd is the largest epoch at or below the one asked that the leader's log knows, and the offset behind that one's last
// record; -1 for both where it cannot tell.
type epochEnd struct {
	epoch int32
	end   int64
}

// epochEnd asks a partition's leader, together with other partitions that start.
func (c *cluster) epochEnd(ctx context.Context, at epochAt) (epochEnd, error) {
	broker, _, err := c.leader(ctx, at.tp.topic, at.tp.partition)
	if err != nil {
		return epochEnd{}, err
	}
	return c.epochs.one(ctx, broker, at)
}

// epochEnds asks one broker. A partition that is there twice has given up its question before; the last one counts.
func (c *cluster) epochEnds(ctx context.Context, broker int32, asked []epochAt) (map[epochAt]epochEnd, map[epochAt]error) {
	last := map[topicPartition]epochAt{}
	out, errs := map[epochAt]epochEnd{}, map[epochAt]error{}
	for _, at := range asked {
		last[at.tp] = at
		errs[at] = fmt.Errorf("broker %d left the partition out of its answer", broker)
	}
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1 // a consumer
	for topic, nums := range byTopic(maps.Keys(last)) {
		rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
		rt.Topic = topic
		for _, n := range nums {
			rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = n, -1, last[topicPartition{topic, n}].epoch
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	res, err := request[*kmsg.OffsetForLeaderEpochResponse](ctx, c, broker, req)
	if err != nil {
		for _, at := range asked {
			errs[at] = err
		}
		return out, errs
	}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			at := last[topicPartition{t.Topic, p.Partition}]
			if errs[at] = kerr.ErrorForCode(p.ErrorCode); errs[at] == nil {
				out[at] = epochEnd{p.LeaderEpoch, p.EndOffset}
			}
		}
	}
	return out, errs
}

// sourceKept checks that the source still holds what the partition has read up
// to its position, if it knows under which epoch that was written.
func (p *partition) sourceKept(ctx context.Context, pos position) error {
	if pos.read < 0 {
		return nil
	}
	kept, err := p.mirror.link.src.epochEnd(ctx, epochAt{p.src, pos.read})
	epoch, end := kept.epoch, kept.end
	switch {
	case errors.Is(err, kerr.UnsupportedVersion):
		return nil // brokers before 2.1 do not tell it to consumers
	case err != nil:
		p.mirror.link.src.forget(p.src.topic)
		return fmt.Errorf("end of leader epoch %d of source %s partition %d: %w", pos.read, p.src.topic, p.n, err)
	case epoch < 0, end < 0, epoch > pos.read: // not known any more: says nothing
		return nil
	case epoch == pos.read && end >= pos.source:
		return nil
	}
	return p.truncated(ctx, fmt.Sprintf("its log of leader epoch %d ends at %d (in epoch %d), before the mirrored position %d of epoch %d", epoch, end, epoch, pos.source, pos.read), end, pos)
}

// truncated is a source that lost records that were mirrored, unless it is
// another topic now: leaders are asked by name.
func (p *partition) truncated(ctx context.Context, how string, end int64, pos position) error {
	src, rec := p.mirror.link.src, p.mirror.record()
	if err := src.refresh(ctx, p.src.topic); err != nil {
		return err
	}
	t, _ := src.topic(p.src.topic)
	if t.err != nil {
		return fmt.Errorf("source topic %s: %w", p.src.topic, t.err)
	}
	if f := sourceChanged(rec, t); f != nil {
		return f
	}
	return &failure{api.MirrorErrorTruncation, fmt.Sprintf(
		"source %s partition %d lost records that are in the mirror (unclean leader election?): %s; source offsets %d to %d may hold other records now: compare both sides, then fail the mirror over to keep what it holds, or delete the topic and create the mirror again",
		p.src.topic, p.n, how, end, pos.source-1)}
}

// outOfRange: the source's retention overtook the mirror, or its log was cut. Nothing
// is under way: what lies behind the position is not in the mirror.
func (p *partition) outOfRange(ctx context.Context) error {
	link := p.mirror.link
	start, err := link.src.offset(ctx, replicaConsumer, offsetEarliest, p.src.topic, p.n)
	if err != nil {
		return err
	}
	end, err := link.src.offset(ctx, replicaConsumer, offsetLatest, p.src.topic, p.n)
	if err != nil {
		return err
	}
	p.mu.Lock()
	pos := p.pos
	p.mu.Unlock()
	at := pos.source
	if at > end {
		return p.truncated(ctx, fmt.Sprintf("its log ends at %d, before the mirrored position %d", end, at), end, pos)
	}
	if at < start {
		p.log.Error("the source's retention deleted records before they were mirrored; going on behind the gap",
			"from", at, "to", start, "records", start-at)
		if err := link.recordGap(ctx, p, at, start); err != nil {
			return err
		}
		p.gapTo = start
	}
	return fmt.Errorf("source %s partition %d starts at %d now, position was %d", p.src.topic, p.n, start, at)
}

// newEpoch tells whether a chunk brings a batch of another leader epoch than the
// last that was read.
func (c chunk) newEpoch(pos position) bool {
	for _, b := range c.batches {
		if b.LastOffset() >= pos.source && b.LeaderEpoch() != pos.read {
			return true
		}
	}
	return false
}

// readTo is the position behind a chunk.
func (pos position) readTo(c chunk) position {
	pos.source = c.next
	if n := len(c.batches); n > 0 {
		pos.read = epochOf(c.batches[n-1], pos.read)
	}
	return pos
}

// epochOf is a batch's leader epoch, or the one before where a legacy batch has
// none.
func epochOf(b batch.Batch, before int32) int32 {
	if e := b.LeaderEpoch(); e >= 0 {
		return e
	}
	return before
}
