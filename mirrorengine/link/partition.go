package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
// reads the destination's tail, then moves batches in order, some of them under
// way at a time. Whatever goes wrong it stops, awaits all answers, reads the tail
// again and goes on from what is really there.
type partition struct {
	mirror *MirrorTopic
	n      int32
	src    topicPartition
	dst    topicPartition
	shard  int32
	log    *slog.Logger

	mu  sync.Mutex // guards what follows
	pos position   // behind what was acknowledged
	// omap is nil until the segments were read from the state topic. The first used
	// of its segments are those up to what was handed over; behind them stand those
	// of batches that an earlier try may have sent.
	omap  *offsetmap.Map
	used  int
	lag   lagClock
	tip   time.Time // the mirror held all at that time (retention.go)
	marks []lagSample
	moved time.Time // when the position last changed
	// stalled says why nothing moves.
	stalled string
	stop    *stopRecord
	failure *failure // why it does not run any more
	// suspect: the destination's log end was seen beyond ours; the owner checks.
	suspect bool
	// passed is how far the tail was read back while the mirror ends (tails_walk.go).
	passed passed

	// refused counts out-of-order answers in a row without progress.
	refused int
	// stale: segments stand in the map that only a fence may remove, or would have to
	// stand there where a batch without them may land still.
	stale bool
	// unsure is behind the last batch that was sent and got no answer of the broker.
	unsure int64
	// merge bounds what small batches are merged to; nothing is merged without.
	merge batch.Limits
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
	// heard of from another replica, or of a time before another had it: good to tell
	// and to translate by, not to act on.
	heard bool
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
	line := &pipeline{p: p, sent: p.pos}
	p.stalled = ""
	p.mu.Unlock()
	defer func() {
		line.drain()
		moved = line.acked > 0
		if line.err != nil {
			err = line.err // it came first, or says more
		}
	}()
	rd, id, err := p.mirror.link.reader(ctx, p.src, p.mirror.record().SourceTopicID)
	if err != nil {
		return false, err
	}
	sub := rd.subscribe(p.src, id, line.sent.source)
	defer rd.unsubscribe(sub)
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-p.wake:
			if len(line.way) > 0 {
				break // an acknowledgement tells where its batch went
			}
			if err := p.checkForeign(ctx); err != nil {
				return false, err
			}
		case r := <-line.answer():
			if err := line.answered(r); err != nil {
				return false, err
			}
		case c := <-sub.got:
			rd.kick()
			if c.err != nil {
				return false, p.sourceError(ctx, line, c)
			}
			if err := p.take(ctx, line, c); err != nil {
				return false, err
			}
		}
	}
}

// take hands one chunk over: transforms it, writes ahead the segments that it
// opens, then sends batch by batch.
func (p *partition) take(ctx context.Context, line *pipeline, c chunk) error {
	defer c.release() // what is under way holds on to it
	if c.newEpoch(line.sent) {
		// Another leader: does it have what we read from the one before?
		if err := p.sourceKept(ctx, line.sent); err != nil {
			return err
		}
	}
	if err := p.tombstonesKept(ctx, c, line.sent.source); err != nil {
		return err
	}
	p.heard(c.highWatermark)
	outs, segs, err := prepare(c, line.sent, p.merge)
	if err != nil {
		return &failure{api.MirrorErrorFormat, fmt.Sprintf("source %s partition %d: %v", p.src.topic, p.n, err)}
	}
	end := line.sent.dest
	for _, o := range outs {
		end += int64(o.Records)
	}
	if err := p.openSegments(ctx, segs, end); err != nil {
		return err
	}
	for _, o := range outs {
		if err := line.send(ctx, c, o); err != nil {
			return err
		}
	}
	to := line.sent.readTo(c)
	if n := len(segs); n > 0 {
		to.epoch = segs[n-1].SourceLeaderEpoch
	}
	line.skip(to)
	return nil
}

// heard notes how far the source's log goes.
func (p *partition) heard(hw int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lag.sample(time.Now(), hw)
}

func (p *partition) advance(pos position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pos.source != p.pos.source {
		p.moved = time.Now()
	}
	p.pos = pos
}

// openSegments writes segments ahead of the first batch that uses them; end is
// where the log will end behind all batches of their chunk.
//
// Segments may stand there already: a former try wrote them ahead of batches
// that were not in the log when this one read it. They may come still, as long as
// they are on their way to the broker, and are then the same batches. So these
// segments stay as long as the source says the same again. If it does not (it was
// compacted or cut meanwhile) they go only behind a fence, which keeps out what
// they were for. Nor does a segment come where a batch that needed none may land still.
func (p *partition) openSegments(ctx context.Context, segs []offsetmap.Segment, end int64) error {
	p.mu.Lock()
	var ahead []offsetmap.Segment
	if p.used < p.omap.Len() {
		ahead = p.omap.Segments()[p.used:]
	}
	p.mu.Unlock()
	due := 0
	for due < len(ahead) && ahead[due].DestStart < end {
		due++
	}
	same := 0
	for same < min(due, len(segs)) && ahead[same] == segs[same] {
		same++
	}
	segs = segs[same:]
	if same < due || len(segs) > 0 && (due < len(ahead) || segs[0].DestStart < p.unsure) {
		p.stale = true
		other := append(slices.Clone(ahead), segs...)[same]
		return fmt.Errorf("%s partition %d: the source's records from %d on are not those that an earlier try was about to send: a fence comes first", p.dst.topic, p.n, other.SourceStart)
	}
	replaced := false // the last segment: nothing was mirrored by it
	if len(segs) > 0 {
		store, key := p.mirror.link.mgr.store, segmentKey(p.mirror.topicID(), p.n, segs[0].DestStart)
		var err error
		if replaced, err = store.Get(key, &segmentsRecord{}); err == nil {
			err = p.mirror.link.mgr.put(ctx, p.shard, state.Entry{Key: key, Value: segmentsRecord{Segments: segs}})
		}
		if err != nil {
			return fmt.Errorf("write segments of %s partition %d ahead: %w", p.dst.topic, p.n, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used += same
	if len(segs) == 0 {
		return nil
	}
	all := p.omap.Segments()
	if n := len(all); replaced && n > 0 && all[n-1].DestStart == segs[0].DestStart {
		all = all[:n-1] // as in the state topic, where the new one has taken its key
	}
	m, err := offsetmap.New(append(all, segs...))
	if err != nil {
		return &failure{api.MirrorErrorIllegalState, fmt.Sprintf("%s partition %d: %v", p.dst.topic, p.n, err)}
	}
	p.omap, p.used = m, m.Len()
	return nil
}

// produceError says what a refused or unanswered batch means.
func (p *partition) produceError(err error, u underway) error {
	pos := u.at
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
	case errors.Is(err, kerr.MessageTooLarge) && u.out.Reencoded&batch.ReasonMerged != 0:
		p.merge = batch.Limits{}
		return fmt.Errorf("merged batches of %d bytes are larger than the max.message.bytes of %s partition %d, from here on its batches pass as they are: %w",
			len(u.out.Bytes), p.dst.topic, p.n, err)
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("the batch at source offset %d of %s partition %d is larger than the mirror's max.message.bytes; raise it on %s: %w",
			pos.source, p.src.topic, p.n, p.dst.topic, err)
	}
	return fmt.Errorf("produce to %s partition %d at %d: %w", p.dst.topic, p.n, pos.dest, p.mirror.link.mgr.lacking(err, opWrite, resourceTopic, p.dst.topic))
}

// sourceError says what a failed Fetch means.
func (p *partition) sourceError(ctx context.Context, line *pipeline, c chunk) error {
	switch {
	case errors.Is(c.err, kerr.OffsetOutOfRange):
		// What is under way may be the only copy left, and is lost only if it does not
		// land. If it does not, the source is asked again from where the mirror ends.
		p.stall(fmt.Errorf("the source has nothing at the offsets behind what was read (%w): awaiting what is under way", c.err))
		if err := line.settle(ctx); err != nil {
			return err
		}
		return p.outOfRange(ctx)
	case errors.Is(c.err, kerr.UnknownTopicID), errors.Is(c.err, kerr.InconsistentTopicID):
		p.mirror.link.src.forget(p.src.topic)
	}
	return p.mirror.link.lacking(c.err, opRead, resourceTopic, p.src.topic)
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

// checkForeign is called when nothing of ours is under way.
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
