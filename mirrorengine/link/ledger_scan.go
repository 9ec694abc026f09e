package link

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// Sizes of the ledger's fetches; they run beside the applications' traffic.
const (
	scanBytes = 8 << 20
	scanWait  = 500 * time.Millisecond
)

// scan reads [from, to) of a partition and calls f for each record, in order.
// It reads batches, not a consumer's records: only so is the end found when
// what stands there is markers, aborted data or a hole. committed leaves
// aborted transactions out, and to must not lie beyond the last stable offset
// then; without it all data is seen.
func (c *cluster) scan(ctx context.Context, tp topicPartition, from, to int64, committed bool, f func(*batch.Record) error) error {
	return c.walk(ctx, tp, from, to, committed, nil, f)
}

// walk is scan that also tells, where held is not nil, which offsets hold
// something, up to last: data, markers, and what an aborted transaction left.
func (c *cluster) walk(ctx context.Context, tp topicPartition, from, to int64, committed bool, held func(first, last int64), f func(*batch.Record) error) error {
	moved := time.Now()
	for at := from; at < to; {
		got, err := c.scanChunk(ctx, tp, at, committed)
		if err == nil {
			if err := got.each(at, to, committed, held, f); err != nil {
				return err
			}
			if got.next > at {
				at, moved = got.next, time.Now()
				continue
			}
			err = errors.New("the broker answers with nothing")
		}
		if errors.Is(err, kerr.OffsetOutOfRange) || errors.Is(err, kerr.TopicAuthorizationFailed) || time.Since(moved) > 3*requestTimeout {
			return fmt.Errorf("read %s partition %d at %d (up to %d): %w", tp.topic, tp.partition, at, to, err)
		}
		c.forget(tp.topic)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryMin):
		}
	}
	return ctx.Err()
}

func (c *cluster) scanChunk(ctx context.Context, tp topicPartition, at int64, committed bool) (chunk, error) {
	broker, id, err := c.leader(ctx, tp.topic, tp.partition)
	if err != nil {
		return chunk{}, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MinBytes, req.MaxBytes = -1, 1, scanBytes
	req.MaxWaitMillis = int32(scanWait.Milliseconds())
	if committed {
		req.IsolationLevel = 1
	}
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = tp.topic, id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = tp.partition, at, scanBytes, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	res, err := request[*kmsg.FetchResponse](ctx, c, broker, req)
	if err == nil {
		err = kerr.ErrorForCode(res.ErrorCode)
	}
	if err != nil {
		return chunk{}, err
	}
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return chunk{}, errors.New("the broker left the partition out of its answer")
	}
	got := readChunk(&res.Topics[0].Partitions[0], at)
	return got, got.err
}

// each calls f for a chunk's data records in [from, to), and held, if there is
// one, for whatever stands there.
func (c chunk) each(from, to int64, committed bool, held func(first, last int64), f func(*batch.Record) error) error {
	if held == nil {
		held = func(int64, int64) {}
	}
	open := abortedIn(nil)
	if committed {
		open = abortedIn(c.aborted)
	}
	for _, b := range c.batches {
		if b.LastOffset() < from {
			continue
		}
		if err := b.Check(); err != nil {
			return err
		}
		if b.IsControl() {
			if err := open.marker(b); err != nil {
				return err
			}
			held(b.BaseOffset(), b.LastOffset())
			continue
		}
		if open.drops(b) {
			held(b.BaseOffset(), b.LastOffset())
			continue
		}
		if b.NumRecords() == 0 {
			continue
		}
		records, err := b.Records()
		if err != nil {
			return err
		}
		for i := range records {
			if r := &records[i]; r.Offset >= from && r.Offset < to {
				held(r.Offset, r.Offset)
				if err := f(r); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// holes are the offsets behind at that nothing stands at, as far as was walked.
// A log has them where it was compacted: a broker hands out offsets one by one.
type holes struct {
	at    int64
	found []offsetRange // the first api.CompactionGaps
	more  int64         // behind those
}

func (h *holes) held(first, last int64) {
	switch {
	case first <= h.at:
	case len(h.found) < api.CompactionGaps:
		h.found = append(h.found, offsetRange{h.at, first})
	default:
		h.more++
	}
	h.at = max(h.at, last+1)
}

// until are those up to to, and how many more there are.
func (h *holes) until(to int64) ([]offsetRange, int64) {
	h.held(to, to)
	return h.found, h.more
}

// settledHighWatermark waits until what stands in the log now can be read: a
// batch of ours may lie above the high watermark.
func (c *cluster) settledHighWatermark(ctx context.Context, tp topicPartition) (int64, error) {
	end, err := c.offset(ctx, replicaDebug, offsetLatest, tp.topic, tp.partition)
	if err != nil {
		return 0, err
	}
	return c.await(ctx, tp, "the high watermark", end, func() (int64, error) {
		return c.offset(ctx, replicaConsumer, offsetLatest, tp.topic, tp.partition)
	})
}

// settledStable waits until no transaction is open that was when asked.
func (c *cluster) settledStable(ctx context.Context, tp topicPartition) (int64, error) {
	hw, err := c.offset(ctx, replicaConsumer, offsetLatest, tp.topic, tp.partition)
	if err != nil {
		return 0, err
	}
	return c.await(ctx, tp, "the last stable offset (a transaction is open; end it if it hangs: kafka-transactions.sh find-hanging)", hw, func() (int64, error) {
		return c.stableOffset(ctx, tp.topic, tp.partition)
	})
}

func (c *cluster) await(ctx context.Context, tp topicPartition, what string, end int64, ask func() (int64, error)) (int64, error) {
	for began := time.Now(); ; {
		got, err := ask()
		if err != nil {
			return 0, err
		}
		if got >= end {
			return got, nil
		}
		if time.Since(began) > requestTimeout {
			return 0, api.Unavailable("%s partition %d: %s stands at %d of %d; try again", tp.topic, tp.partition, what, got, end)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(retryMin):
		}
	}
}

// keyHash stands for a record's key; 128 bits, since a collision would hide a
// lagged record.
type keyHash [16]byte

func hashKey(key []byte) keyHash {
	sum := sha256.Sum256(key)
	return keyHash(sum[:16])
}

// provenance is where an appended or exported record comes from.
type provenance struct {
	link, topic string
	partition   int32
	offset      int64
}

// headers are the record headers that say so.
func (p provenance) headers() []batch.Header {
	return []batch.Header{
		{Key: api.RecordHeaderLink, Value: []byte(p.link)},
		{Key: api.RecordHeaderTopic, Value: []byte(p.topic)},
		{Key: api.RecordHeaderPartition, Value: []byte(strconv.Itoa(int(p.partition)))},
		{Key: api.RecordHeaderOffset, Value: []byte(strconv.FormatInt(p.offset, 10))},
	}
}

// provenanceOf reads a record's last provenance: one that was appended in an
// earlier incident bears two.
func provenanceOf(r *batch.Record) (provenance, bool) {
	n := len(r.Headers)
	if n < 4 {
		return provenance{}, false
	}
	h := r.Headers[n-4:]
	for i, key := range []string{api.RecordHeaderLink, api.RecordHeaderTopic, api.RecordHeaderPartition, api.RecordHeaderOffset} {
		if h[i].Key != key {
			return provenance{}, false
		}
	}
	partition, err1 := strconv.ParseInt(string(h[2].Value), 10, 32)
	offset, err2 := strconv.ParseInt(string(h[3].Value), 10, 64)
	return provenance{string(h[0].Value), string(h[1].Value), int32(partition), offset}, err1 == nil && err2 == nil
}

// content tells records apart that bear the same provenance: a source topic
// that was made anew counts from 0 again. Timestamps are not part of it, the
// topic may put its own.
func content(r *batch.Record) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d/%d/", len(r.Key), len(r.Value))
	_, _ = h.Write(r.Key)
	_, _ = h.Write(r.Value)
	return h.Sum64()
}
