package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// tail is what the end of the destination's log says.
type tail struct {
	end      int64 // true log end, replicated to every in-sync replica
	start    int64 // log start
	last     batch.Batch
	ours     bool  // last is a data batch of ours
	epoch    int16 // highest epoch of our markers behind it, -1 without
	markerID int64
}

// readTail waits until the log end stands still on all in-sync replicas, then
// reads back from it to the last data batch of ours.
func (p *partition) readTail(ctx context.Context, tolerant bool) (tail, error) {
	local := p.mirror.link.mgr.local
	var t tail
	var err error
	if t.end, err = p.settledEnd(ctx); err != nil {
		return t, err
	}
	if t.start, err = local.offset(ctx, replicaConsumer, offsetEarliest, p.dst.topic, p.n); err != nil {
		return t, err
	}
	t.epoch, t.markerID = -1, -1
	own, first := p.ownership()
	for at := t.end; at > max(t.start, first); {
		b, ok, err := p.fetchBack(ctx, at-1)
		if err != nil {
			return t, err
		}
		if !ok {
			break
		}
		switch {
		case b.LastOffset() < first:
			return t, nil
		case b.IsControl():
			if own[b.ProducerID()] && b.ProducerEpoch() >= t.epoch {
				t.epoch, t.markerID = b.ProducerEpoch(), b.ProducerID()
			}
		case own[b.ProducerID()]:
			t.last, t.ours = b, true
			return t, nil
		case !tolerant:
			return t, p.foreign(b.BaseOffset(), t.end)
		}
		at = b.BaseOffset()
	}
	return t, nil
}

// settledEnd is the true log end once the high watermark has reached it: no
// fetch shows what lies between, and an old batch of ours may be there.
func (p *partition) settledEnd(ctx context.Context) (int64, error) {
	local := p.mirror.link.mgr.local
	if mutant == "resume-at-high-watermark" {
		return local.offset(ctx, replicaConsumer, offsetLatest, p.dst.topic, p.n)
	}
	for {
		end, err := local.offset(ctx, replicaDebug, offsetLatest, p.dst.topic, p.n)
		if err != nil {
			return 0, err
		}
		hw, err := local.offset(ctx, replicaConsumer, offsetLatest, p.dst.topic, p.n)
		if err != nil {
			return 0, err
		}
		again, err := local.offset(ctx, replicaDebug, offsetLatest, p.dst.topic, p.n)
		if err != nil {
			return 0, err
		}
		if end == again && hw >= end {
			return end, nil
		}
		p.mu.Lock()
		p.stalled = fmt.Sprintf("waiting for the destination's replicas: high watermark %d, log end %d", hw, again)
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(retryMin):
		}
	}
}

// ownership: the producer ids that are ours in this log, and the offset before
// which nothing can be ours (a mirror that rejoined an existing topic).
func (p *partition) ownership() (map[int64]bool, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := map[int64]bool{}
	first := int64(-1)
	for _, s := range p.omap.Segments() {
		if s.ProducerID < 0 {
			continue // reversed: written by the other direction
		}
		own[s.ProducerID] = true
		if first < 0 {
			first = s.DestStart
		}
	}
	return own, max(first, 0)
}

// fetchBack reads the batch that holds an offset of the destination's log.
func (p *partition) fetchBack(ctx context.Context, offset int64) (batch.Batch, bool, error) {
	local := p.mirror.link.mgr.local
	broker, id, err := local.leader(ctx, p.dst.topic, p.n)
	if err != nil {
		return batch.Batch{}, false, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	req.MaxBytes = 1 // at least one batch comes, whatever the limit (KIP-74)
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = p.dst.topic, id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = p.n, offset, 1, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	res, err := request[*kmsg.FetchResponse](ctx, local, broker, req)
	if err == nil {
		err = kerr.ErrorForCode(res.ErrorCode)
	}
	if err != nil || len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return batch.Batch{}, false, fmt.Errorf("read back %s partition %d at %d: %w", p.dst.topic, p.n, offset, errors.Join(err, ctx.Err()))
	}
	got := res.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return batch.Batch{}, false, fmt.Errorf("read back %s partition %d at %d: %w", p.dst.topic, p.n, offset, err)
	}
	batches, err := batch.Split(got.RecordBatches)
	if err != nil {
		return batch.Batch{}, false, fmt.Errorf("read back %s partition %d at %d: %w", p.dst.topic, p.n, offset, err)
	}
	for _, b := range batches {
		if b.LastOffset() >= offset {
			return b, true, nil
		}
	}
	return batch.Batch{}, false, nil
}
