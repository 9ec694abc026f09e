package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
)

// A chunk of lagged records is written and acknowledged as a whole.
const (
	chunkRecords = 500
	chunkBytes   = 1 << 20
)

// AppendLedger writes lagged records to the same partitions of the new primary,
// behind what stands there, with their provenance. It may be called again after
// anything: what is there already is found by its provenance. Entries that could
// not be finished stay undecided, and only append finishes them.
func (m *Manager) AppendLedger(ctx context.Context, link string, decide api.DecideLedger) (api.Ledger, error) {
	l, recs, err := m.deciding(ctx, link, decide, api.LedgerAppended)
	if err != nil {
		return api.Ledger{}, err
	}
	defer l.ledgerRun.Unlock()
	var errs []error
	for _, r := range recs {
		if r.Entry.Decision != api.LedgerUndecided || ctx.Err() != nil {
			continue
		}
		if err := l.appendEntry(ctx, r, decide); err != nil {
			errs = append(errs, fmt.Errorf("append the lagged records of %s: %w", r, err))
		}
	}
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return api.Ledger{}, err
	}
	return l.ledger()
}

func (l *Link) appendEntry(ctx context.Context, r ledgerRecord, decide api.DecideLedger) error {
	mt, err := l.mirror(r.Entry.Topic)
	if err != nil {
		return err
	}
	rec := mt.record()
	var stop stopRecord
	if _, err := l.mgr.store.Get(stopKey(rec.TopicID, r.Entry.Partition), &stop); err != nil {
		return err
	}
	if err := l.mgr.local.refresh(ctx, rec.Topic); err != nil {
		return err
	}
	t, _ := l.mgr.local.topic(rec.Topic)
	switch {
	case t.err != nil:
		return fmt.Errorf("topic %s on this cluster: %w", rec.Topic, t.err)
	case idString(t.id) != rec.TopicID:
		return api.Conflict("topic %s on this cluster was deleted and made anew since its mirror ended: export the lagged records", rec.Topic)
	case int(r.Entry.Partition) >= len(t.leaders):
		return api.BadRequest("topic %s has %d partitions on this cluster, the lagged records are of partition %d: add partitions there first, or export them", rec.Topic, len(t.leaders), r.Entry.Partition)
	}
	r.Intent = api.LedgerAppended
	c := &ledgerCopy{
		link: l, rec: &r, mirror: rec, into: topicPartition{rec.Topic, r.Entry.Partition}, scanFrom: stop.DestStop,
	}
	if r.Entry.Compacted {
		c.later, c.skipped = l.newLater(rec, r.Entry.Partition), map[keyHash]int64{}
	}
	if err := c.run(ctx); err != nil {
		return err
	}
	r.Entry.Appended, r.Entry.AppendedFrom, r.Entry.AppendedTo = c.written()
	if c.later != nil {
		r.Entry.Superseded, r.Entry.SupersededKeys = c.leftOut(), int64(len(c.skipped))
	}
	r.decide(api.LedgerAppended, decide)
	if err := l.putLedger(ctx, r); err != nil {
		return err
	}
	l.log.Info("lagged records appended", "topic", rec.Topic, "partition", r.Entry.Partition,
		"records", r.Entry.Appended, "superseded", c.leftOut(), "decided_by", decide.DecidedBy, "reason", decide.Reason)
	return nil
}

// ledgerCopy brings one lagged range into a partition of the local cluster.
type ledgerCopy struct {
	link   *Link
	rec    *ledgerRecord
	mirror mirrorRecord
	into   topicPartition
	// scanFrom is where copies of the range may begin.
	scanFrom int64
	// later is set on compacted topics: a record whose key has a later one is
	// left out, it would bring an old value back.
	later   *laterKeys
	skipped map[keyHash]int64 // records left out, by key

	// there are the copies that stand: source offset → destination offset.
	there map[int64]placed
	first int64
	last  int64
}

type placed struct {
	content uint64
	dest    int64
}

// written is the number of copies and their range of offsets.
func (c *ledgerCopy) written() (n, from, to int64) {
	if len(c.there) == 0 {
		return 0, -1, -1
	}
	return int64(len(c.there)), c.first, c.last + 1
}

// leftOut is how many records a later one of their key kept away.
func (c *ledgerCopy) leftOut() (n int64) {
	for _, records := range c.skipped {
		n += records
	}
	return n
}

func (c *ledgerCopy) run(ctx context.Context) error {
	src := topicPartition{c.mirror.SourceTopic, c.into.partition}
	var from int64
	err := patiently(ctx, func() (err error) {
		from, err = c.checkSource(ctx, src)
		return err
	})
	if err != nil {
		return err
	}
	if err := patiently(ctx, func() error { return c.silence(ctx) }); err != nil {
		return err
	}
	if err := patiently(ctx, func() error { return c.find(ctx) }); err != nil {
		return err
	}
	if c.later != nil {
		err := c.link.src.scan(ctx, src, from, c.rec.Entry.To, true, func(r *batch.Record) error {
			if r.Key != nil {
				c.later.watch(r.Key, r.Offset)
			}
			return nil
		})
		if err == nil {
			err = patiently(ctx, func() error { return c.later.follow(ctx, true) })
		}
		if err != nil {
			return err
		}
	}
	producer, err := c.producer(ctx)
	if err != nil {
		return err
	}
	defer producer.Close()
	return c.write(ctx, src, from, producer)
}

// checkSource makes sure that the source still is what the ledger was computed
// from and answers with the first offset to read.
func (c *ledgerCopy) checkSource(ctx context.Context, src topicPartition) (int64, error) {
	l, e := c.link, c.rec.Entry
	if err := l.src.refresh(ctx, src.topic); err != nil {
		return 0, api.Unavailable("the source of cluster link '%s' does not answer: %v", c.mirror.Link, err)
	}
	t, _ := l.src.topic(src.topic)
	if t.err != nil {
		return 0, fmt.Errorf("source topic %s: %w", src.topic, t.err)
	}
	if t.id != [16]byte{} && idString(t.id) != c.mirror.SourceTopicID {
		return 0, api.Conflict("source topic %s was deleted and made anew: compute the ledger again", src.topic)
	}
	start, err := l.src.offset(ctx, replicaConsumer, offsetEarliest, src.topic, src.partition)
	if err != nil {
		return 0, err
	}
	end, err := l.src.offset(ctx, replicaConsumer, offsetLatest, src.topic, src.partition)
	if err != nil {
		return 0, err
	}
	if end != e.To {
		return 0, api.Conflict("source %s partition %d ends at %d, the ledger was computed up to %d: fence the old primary's clients, then compute the ledger again", src.topic, src.partition, end, e.To)
	}
	return max(e.From, start), nil
}

// silence makes sure that no batch of an earlier try can land from here on: its
// producer is fenced by a marker, as our own writer is when a mirror ends.
func (c *ledgerCopy) silence(ctx context.Context) error {
	w := c.rec.Writer
	if w == nil {
		return nil
	}
	tp := topicPartition{w.Topic, c.into.partition}
	err := c.link.mgr.fence(ctx, []fenceTarget{{tp, batch.Stamp{ProducerID: w.ProducerID, ProducerEpoch: w.ProducerEpoch}}})[tp]
	switch {
	case err == nil, errors.Is(err, kerr.UnknownTopicOrPartition):
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		// Without the right to a marker it is waited out.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(requestTimeout):
		}
	default:
		return fmt.Errorf("fence the writer of the try before on %s partition %d: %w", tp.topic, tp.partition, err)
	}
	return nil
}

// find reads what stands of the range already.
func (c *ledgerCopy) find(ctx context.Context) error {
	local := c.link.mgr.local
	c.there = map[int64]placed{}
	end, err := local.settledHighWatermark(ctx, c.into)
	if err != nil {
		return err
	}
	start, err := local.offset(ctx, replicaConsumer, offsetEarliest, c.into.topic, c.into.partition)
	if err != nil {
		return err
	}
	e := c.rec.Entry
	return local.scan(ctx, c.into, max(c.scanFrom, start), end, false, func(r *batch.Record) error {
		p, ok := provenanceOf(r)
		if ok && p.link == c.mirror.Link && p.topic == c.mirror.SourceTopic && p.partition == e.Partition && p.offset >= e.From && p.offset < e.To {
			c.there[p.offset] = placed{content(r), r.Offset}
			c.spans(r.Offset)
		}
		return nil
	})
}

func (c *ledgerCopy) spans(dest int64) {
	if len(c.there) <= 1 {
		c.first, c.last = dest, dest
	}
	c.first, c.last = min(c.first, dest), max(c.last, dest)
}

// producer makes an idempotent producer and records its id before it writes.
func (c *ledgerCopy) producer(ctx context.Context) (*kgo.Client, error) {
	mgr := c.link.mgr
	limit, err := messageLimit(ctx, mgr.local, c.into.topic)
	if err != nil {
		return nil, err
	}
	opts := append(slices.Clone(mgr.opts.Local),
		kgo.ClientID(mgr.clientID(c.mirror.Link)+"-ledger"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.StopProducerOnDataLossDetected(), kgo.ProducerBatchMaxBytes(limit),
		kgo.RequestTimeoutOverhead(requestTimeout), kgo.RetryTimeout(requestTimeout))
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("producer for lagged records: %w", err)
	}
	id, epoch, err := client.ProducerID(ctx)
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("producer id from this cluster: %w", err)
	}
	c.rec.Writer = &ledgerWriter{Topic: c.into.topic, ProducerID: id, ProducerEpoch: epoch}
	if err := c.link.putLedger(ctx, *c.rec); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

// write copies what is missing, in order, chunk by chunk.
func (c *ledgerCopy) write(ctx context.Context, src topicPartition, from int64, producer *kgo.Client) error {
	var chunk []*batch.Record
	size := 0
	flush := func() error {
		err := c.flush(ctx, producer, chunk)
		chunk, size = nil, 0
		return err
	}
	err := c.link.src.scan(ctx, src, from, c.rec.Entry.To, true, func(r *batch.Record) error {
		if p, ok := c.there[r.Offset]; ok && p.content == content(r) {
			return nil
		}
		chunk = append(chunk, r)
		size += len(r.Key) + len(r.Value)
		if len(chunk) >= chunkRecords || size >= chunkBytes {
			return flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// flush writes a chunk and waits for it.
func (c *ledgerCopy) flush(ctx context.Context, producer *kgo.Client, chunk []*batch.Record) error {
	if c.later != nil && len(chunk) > 0 {
		// The applications go on writing: look again, as late as can be.
		if err := c.later.follow(ctx, true); err != nil {
			return err
		}
	}
	var out []*kgo.Record
	from := map[*kgo.Record]*batch.Record{}
	for _, r := range chunk {
		if c.later != nil && r.Key != nil && c.later.later[hashKey(r.Key)] {
			c.skipped[hashKey(r.Key)]++
			continue
		}
		k := c.record(r)
		from[k] = r
		out = append(out, k)
	}
	if len(out) == 0 {
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, 3*requestTimeout)
	defer cancel()
	for _, res := range producer.ProduceSync(ctx, out...) {
		if res.Err != nil {
			return c.refused(res.Err)
		}
		r := from[res.Record]
		c.there[r.Offset] = placed{content(r), res.Record.Offset}
		c.spans(res.Record.Offset)
	}
	return nil
}

// record is the copy of a record: as it was, with its provenance behind its own
// headers.
func (c *ledgerCopy) record(r *batch.Record) *kgo.Record {
	out := &kgo.Record{Topic: c.into.topic, Partition: c.into.partition, Key: r.Key, Value: r.Value}
	if r.Timestamp >= 0 {
		out.Timestamp = time.UnixMilli(r.Timestamp)
	}
	from := provenance{c.mirror.Link, c.mirror.SourceTopic, c.into.partition, r.Offset}
	for _, h := range slices.Concat(r.Headers, from.headers()) {
		out.Headers = append(out.Headers, kgo.RecordHeader(h))
	}
	return out
}

func (c *ledgerCopy) refused(err error) error {
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return api.Forbidden("the engine's principal may not write to %s on this cluster: allow it DESCRIBE and WRITE there, then try again", c.into.topic)
	case errors.Is(err, kerr.MessageTooLarge):
		return api.BadRequest("a lagged record is, with its provenance, larger than max.message.bytes of %s on this cluster: raise it, then try again", c.into.topic)
	}
	return fmt.Errorf("write to %s partition %d (what was acknowledged stays and is found at the next try): %w", c.into.topic, c.into.partition, err)
}

// batchLimit bounds what is produced at once where the topic would take more.
const batchLimit = 64 << 20

// messageLimit is the largest batch that a topic of a cluster takes.
func messageLimit(ctx context.Context, c *cluster, topic string) (int32, error) {
	text, err := configOf(ctx, c, topic, "max.message.bytes")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		n = 1048588 // Kafka's default
	}
	return int32(min(n, batchLimit)), nil
}
