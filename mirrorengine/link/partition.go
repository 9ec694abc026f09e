package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
)

// partition is the record path of one mirrored partition: one goroutine that
// reads the destination's tail, then moves batches in order, one unacknowledged
// at a time. Whatever goes wrong it stops, reads the tail again and goes on from
// what is really there.
type partition struct {
	mirror *MirrorTopic
	n      int32
	src    topicPartition
	dst    topicPartition
	shard  int32
	log    *slog.Logger

	mu  sync.Mutex // guards what follows
	pos position
	// omap is nil until the segments were read from the state topic.
	omap  *offsetmap.Map
	lag   lagClock
	tip   time.Time // the mirror held all at that time (retention.go)
	marks []lagSample
	moved time.Time // when the position last changed
	// stalled says why nothing moves.
	stalled string
	stop    *stopRecord
	// suspect: the destination's log end was seen beyond ours; the owner checks.
	suspect bool

	// refused counts out-of-order answers in a row without progress.
	refused int
	// gapTo is behind a range that the source's retention took unmirrored.
	gapTo int64
	wake  chan struct{} // buffered 1: suspect was set
	// underWay are the bytes sent to the destination and not answered yet.
	underWay atomic.Int64
}

// position is where a partition stands: source is the first source offset not
// in the mirror, dest the mirror's log end, and the stamp the next batch's.
type position struct {
	source int64
	dest   int64
	stamp  batch.Stamp
	// continues is the source offset that the open segment expects at dest; a
	// record with another one needs a new segment. -1 fits none.
	continues int64
	// markers stand directly before dest, behind our last record.
	markers int64
	// epoch is the source leader's of the open segment, read that of the last
	// batch that was read; -1 if unknown.
	epoch, read int32
	known       bool
}

// failure is final for a mirror until a person acts: its topic error and why.
type failure struct {
	code   string // api.MirrorError…
	reason string
}

func (f *failure) Error() string { return f.reason }

// retryMin and retryMax bound the pause after a transient error.
const (
	retryMin = 100 * time.Millisecond
	retryMax = 5 * time.Second
)

// run mirrors until ctx ends (nil) or the mirror cannot go on (*failure).
func (p *partition) run(ctx context.Context) error {
	pause := retryMin
	var told string
	for {
		moved, err := p.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var f *failure
		if errors.As(err, &f) {
			p.mu.Lock()
			p.stalled = f.reason
			p.mu.Unlock()
			return f
		}
		p.mu.Lock()
		p.stalled = err.Error()
		p.mu.Unlock()
		if moved {
			pause, told = retryMin, ""
		}
		// Each partition of a link is here when a cluster is away: the same again is
		// for debugging only, Progress tells it all the time.
		level := slog.LevelWarn
		if err.Error() == told {
			level = slog.LevelDebug
		}
		told = err.Error()
		p.log.Log(ctx, level, "mirroring interrupted, resuming from the destination's tail", "error", err, "pause", pause)
		p.mirror.link.src.forget(p.src.topic)
		p.mirror.link.mgr.local.forget(p.dst.topic)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(pause*2, retryMax)
	}
}

// follow resumes and mirrors until something goes wrong. moved tells whether a
// record was acknowledged.
func (p *partition) follow(ctx context.Context) (moved bool, err error) {
	if err := p.resume(ctx); err != nil {
		return false, err
	}
	p.mu.Lock()
	from := p.pos.source
	p.stalled = ""
	p.mu.Unlock()
	rd, id, err := p.mirror.link.reader(ctx, p.src, p.mirror.record().SourceTopicID)
	if err != nil {
		return false, err
	}
	sub := rd.subscribe(p.src, id, from)
	defer rd.unsubscribe(sub)
	for {
		select {
		case <-ctx.Done():
			return moved, ctx.Err()
		case <-p.wake:
			if err := p.checkForeign(ctx); err != nil {
				return moved, err
			}
		case c := <-sub.got:
			rd.kick()
			if c.err != nil {
				return moved, p.sourceError(ctx, c)
			}
			n, err := p.take(ctx, c)
			moved = moved || n > 0
			if err != nil {
				return moved, err
			}
		}
	}
}

// take mirrors one chunk: transforms it, writes ahead the segments that it
// opens, then produces batch by batch.
func (p *partition) take(ctx context.Context, c chunk) (int, error) {
	defer c.release()
	p.mu.Lock()
	pos := p.pos
	p.mu.Unlock()
	if c.newEpoch(pos) {
		// Another leader: does it have what we read from the one before?
		if err := p.sourceKept(ctx, pos); err != nil {
			return 0, err
		}
	}
	if err := p.tombstonesKept(ctx, c); err != nil {
		return 0, err
	}
	outs, segs, err := prepare(c, pos)
	if err != nil {
		return 0, &failure{api.MirrorErrorFormat, fmt.Sprintf("source %s partition %d: %v", p.src.topic, p.n, err)}
	}
	if len(segs) > 0 {
		if err := p.openSegments(ctx, segs); err != nil {
			return 0, err
		}
	}
	for i, o := range outs {
		p.underWay.Add(int64(len(o.Bytes)))
		base, err := p.mirror.link.mgr.writers.produce(ctx, p.dst, o.Bytes)
		p.underWay.Add(-int64(len(o.Bytes)))
		if err != nil {
			return i, p.produceError(err, pos)
		}
		if base != pos.dest {
			return i, p.foreign(pos.dest, base)
		}
		pos = pos.behind(o)
		p.advance(pos, c.highWatermark)
		p.mirror.link.mgr.metrics.mirrored(p, o)
		p.refused = 0
	}
	if n := len(segs); n > 0 {
		pos.epoch = segs[n-1].SourceLeaderEpoch
	}
	p.advance(pos.readTo(c), c.highWatermark)
	return len(outs), nil
}

func (p *partition) advance(pos position, hw int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if pos.source != p.pos.source {
		p.moved = now
	}
	p.pos = pos
	p.lag.sample(now, hw)
}

// prepare makes of a chunk the batches to produce, and the segments that they
// need. It is pure: the same chunk and position give the same bytes, so a batch
// that is sent twice is the same batch.
func prepare(c chunk, pos position) ([]batch.Out, []offsetmap.Segment, error) {
	var outs []batch.Out
	var segs []offsetmap.Segment
	open := abortedIn(c.aborted)
	for _, b := range c.batches {
		if b.LastOffset() < pos.source {
			continue // a Fetch answers with whole batches, from before its offset
		}
		if err := b.Check(); err != nil {
			return nil, nil, err
		}
		if b.IsControl() {
			if err := open.marker(b); err != nil {
				return nil, nil, err
			}
			continue
		}
		if open.drops(b) || b.NumRecords() == 0 {
			continue
		}
		from := pos.source
		if mutant == "drop-one-record" && b.BaseOffset() <= mutantOffset && mutantOffset <= b.LastOffset() {
			from = max(from, b.BaseOffset()+1)
		}
		o, err := batch.Rewrite(b, pos.stamp, from)
		if err != nil {
			return nil, nil, err
		}
		if o.Records == 0 {
			continue
		}
		at := pos
		for _, run := range o.Runs {
			if epoch := epochOf(b, at.epoch); run.SourceStart != at.continues || epoch != at.epoch {
				at.epoch = epoch
				segs = append(segs, offsetmap.Segment{
					SourceStart: run.SourceStart, DestStart: at.dest, Skip: at.markers,
					ProducerID: at.stamp.ProducerID, ProducerEpoch: at.stamp.ProducerEpoch,
					FirstSequence: at.stamp.BaseSequence, SourceLeaderEpoch: epoch,
				})
			}
			at.markers = 0
			at.continues = run.SourceStart + int64(run.Count)
			at.dest += int64(run.Count)
			at.stamp.BaseSequence = batch.NextSequence(at.stamp.BaseSequence, run.Count)
		}
		outs = append(outs, o)
		pos = pos.behind(o)
		pos.epoch = at.epoch
	}
	return outs, segs, nil
}

// mutantOffset is the source offset whose batch the mutant drop-one-record robs
// of its first record.
const mutantOffset = 200

// behind is the position after a batch was acknowledged.
func (pos position) behind(o batch.Out) position {
	last := o.Runs[len(o.Runs)-1]
	pos.source = last.SourceStart + int64(last.Count)
	pos.continues, pos.markers = pos.source, 0
	pos.dest += int64(o.Records)
	pos.stamp.BaseSequence = batch.NextSequence(pos.stamp.BaseSequence, o.Records)
	return pos
}

// openSegments writes segments ahead of the first batch that uses them.
func (p *partition) openSegments(ctx context.Context, segs []offsetmap.Segment) error {
	mgr := p.mirror.link.mgr
	err := mgr.put(ctx, p.shard, state.Entry{
		Key:   segmentKey(p.mirror.topicID(), p.n, segs[0].DestStart),
		Value: segmentsRecord{Segments: segs},
	})
	if err != nil {
		return fmt.Errorf("write segments of %s partition %d ahead: %w", p.dst.topic, p.n, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range segs {
		if err := p.omap.Append(s); err != nil {
			return &failure{api.MirrorErrorIllegalState, fmt.Sprintf("%s partition %d: %v", p.dst.topic, p.n, err)}
		}
	}
	return nil
}

// produceError says what a refused or unanswered batch means.
func (p *partition) produceError(err error, pos position) error {
	switch {
	case errors.Is(err, kerr.OutOfOrderSequenceNumber), errors.Is(err, kerr.InvalidProducerEpoch), errors.Is(err, kerr.UnknownProducerID):
		// The compare-and-set said no: the log's tail is not what we thought.
		p.refused++
		return fmt.Errorf("%s partition %d at %d: the destination's log is not where this engine thought (sequence %d, epoch %d): %w",
			p.dst.topic, p.n, pos.dest, pos.stamp.BaseSequence, pos.stamp.ProducerEpoch, err)
	case errors.Is(err, kerr.InvalidRecord), errors.Is(err, kerr.InvalidTimestamp), errors.Is(err, kerr.UnsupportedForMessageFormat):
		return &failure{api.MirrorErrorFormat, fmt.Sprintf(
			"the destination refuses the batch for %s partition %d offset %d (source offset %d): %v; compare the topic's configs on both sides (a compacted mirror takes no null keys)",
			p.dst.topic, p.n, pos.dest, pos.source, err)}
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("the batch at source offset %d of %s partition %d is larger than the mirror's max.message.bytes; raise it on %s: %w",
			pos.source, p.src.topic, p.n, p.dst.topic, err)
	}
	return fmt.Errorf("produce to %s partition %d at %d: %w", p.dst.topic, p.n, pos.dest, err)
}

// sourceError says what a failed Fetch means.
func (p *partition) sourceError(ctx context.Context, c chunk) error {
	switch {
	case errors.Is(c.err, kerr.OffsetOutOfRange):
		return p.outOfRange(ctx)
	case errors.Is(c.err, kerr.UnknownTopicID), errors.Is(c.err, kerr.InconsistentTopicID):
		p.mirror.link.src.forget(p.src.topic)
	}
	return c.err
}

// foreign is a data batch that we did not write, or an offset that we did not
// expect: somebody else writes into the mirror.
func (p *partition) foreign(want, got int64) error {
	return &failure{api.MirrorErrorIllegalState, fmt.Sprintf(
		"somebody else writes into mirror topic %s partition %d: the next batch was due at offset %d, the log ends at %d; find the writer (its ACLs on this cluster), then delete the topic and create the mirror again, or fail it over",
		p.dst.topic, p.n, want, got)}
}

// suspectForeign is told by the link's watcher that the log end looks too far.
func (p *partition) suspectForeign() {
	p.mu.Lock()
	p.suspect = true
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// checkForeign runs between batches, when nothing of ours is under way.
func (p *partition) checkForeign(ctx context.Context) error {
	p.mu.Lock()
	suspect, dest := p.suspect, p.pos.dest
	p.suspect = false
	p.mu.Unlock()
	if !suspect {
		return nil
	}
	end, err := p.mirror.link.mgr.local.offset(ctx, replicaDebug, offsetLatest, p.dst.topic, p.n)
	if err != nil {
		return err
	}
	if end != dest {
		// Records of others fail the mirror there; a marker does not.
		return fmt.Errorf("%s partition %d ends at %d, not at %d: reading what was written", p.dst.topic, p.n, end, dest)
	}
	return nil
}
