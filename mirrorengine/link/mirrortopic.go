package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// MirrorTopic is one mirror of a link. It owns its status, which the leader
// changes only by status.Next and only after the change stands in the state topic,
// from where other replicas have it; and its partitions, of which those run whose
// shards this replica owns, while the status says so (running.go).
type MirrorTopic struct {
	link *Link
	log  *slog.Logger
	// loaded: it comes from the state topic, so that a creation which it shows
	// unfinished was interrupted. Any other has its creator at work.
	loaded bool

	mu         sync.Mutex // guards what follows; taken before partition.mu
	rec        mirrorRecord
	since      time.Time // when this process came to know of the status
	partitions []*partition
	facts      sourceFacts         // of the source topic, as of the last config sync
	ctx        context.Context     // of the running partitions
	cancel     context.CancelFunc  // nil when halted
	live       map[*partition]life // those that run here
	finishing  bool                // an end is under way, or done
	retired    bool                // another mirror has taken its place
	stopMaking context.CancelFunc  // breaks off what the maker asks
	running    sync.WaitGroup

	// change serialises status changes: read, decide, persist, take over.
	change sync.Mutex
	// making is held by the one who makes the mirror, or readies one that was not made
	// whole for its end.
	making sync.Mutex
}

// transitionsKept bounds the errors that a description shows.
const transitionsKept = 10

func newMirror(l *Link, rec mirrorRecord) *MirrorTopic {
	m := &MirrorTopic{link: l, rec: rec, since: time.Now(), log: l.log.With("topic", rec.Topic), loaded: true}
	m.renewPartitions()
	return m
}

// newPartition is called with the record's topic id known.
func (m *MirrorTopic) newPartition(n int32) *partition {
	p := &partition{
		mirror: m, n: n,
		src:   topicPartition{m.rec.SourceTopic, n},
		dst:   topicPartition{m.rec.Topic, n},
		shard: m.link.mgr.store.ShardOf(m.rec.TopicID, n),
		log:   m.log.With("partition", n),
		wake:  make(chan struct{}, 1),
		tip:   earlier(m.rec.TipAt, time.Now()), // another replica's clock may be ahead
		merge: m.link.mgr.merge,
	}
	var stop stopRecord
	if ok, err := m.link.mgr.store.Get(stopKey(m.rec.TopicID, n), &stop); ok && err == nil {
		p.stop = &stop
	}
	return p
}

// renewPartitions makes the partitions anew from what is recorded.
func (m *MirrorTopic) renewPartitions() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.partitions = nil
	for n := range m.rec.Partitions {
		m.partitions = append(m.partitions, m.newPartition(n))
	}
}

func (m *MirrorTopic) name() string { return m.record().Topic }

func (m *MirrorTopic) topicID() string { return m.record().TopicID }

func (m *MirrorTopic) record() mirrorRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rec
}

func (m *MirrorTopic) parts() []*partition {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.partitions)
}

// retire gives the record up to the mirror that takes this one's place: what a
// look from before then says must not be written over it.
func (m *MirrorTopic) retire() {
	m.change.Lock()
	defer m.change.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.retired = true
}

// replaced is the refusal of a mirror in whose place there is another one.
func (m *MirrorTopic) replaced() error {
	ended := m.link.running().Err() != nil
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.retired {
		return api.Conflict("mirror topic '%s' of cluster link '%s' was created again meanwhile", m.rec.Topic, m.rec.Link)
	}
	if ended {
		return api.Unavailable("cluster link '%s' ends or is begun anew just now: ask again for its mirror topic '%s'", m.rec.Link, m.rec.Topic)
	}
	return nil
}

// ending tells whether an end is under way.
func (m *MirrorTopic) ending() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.finishing
}

// claimEnd makes the caller the one who ends the mirror, or says that there is
// one already: a second end beside or behind the first would fence again and
// commit stop offsets anew when applications write already.
func (m *MirrorTopic) claimEnd() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	claimed := !m.finishing
	m.finishing = true
	return claimed
}

// unclaimEnd takes a claim back: nothing was ended.
func (m *MirrorTopic) unclaimEnd() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finishing = false
}

// claimEnds claims mirrors and answers with those that nobody else had.
func claimEnds(mirrors []*MirrorTopic) []*MirrorTopic {
	var out []*MirrorTopic
	for _, m := range mirrors {
		if m.claimEnd() {
			out = append(out, m)
		}
	}
	return out
}

// earlier is the first of two times.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// lastProgress is when a partition last moved, or when the status changed, as this
// process saw it: the record's time is of the clock of whoever wrote it.
func (m *MirrorTopic) lastProgress() time.Time {
	m.mu.Lock()
	at := m.since
	m.mu.Unlock()
	for _, p := range m.parts() {
		p.mu.Lock()
		if p.moved.After(at) {
			at = p.moved
		}
		p.mu.Unlock()
	}
	return at
}

// failed turns the mirror FAILED for the reason that one of its partitions
// gave; the others stop with it, so that nothing is half alive.
func (m *MirrorTopic) failed(ctx context.Context, f *failure) {
	err := m.apply(ctx, status.Fault, func(r *mirrorRecord) {
		r.Error, r.Reason, r.Gone = f.wire(), f.reason, r.Gone || f.gone()
		r.remember(f.wire(), f.reason)
	})
	if err != nil {
		m.log.Warn("a failing mirror keeps its status", "error", err, "reason", f.reason)
		return
	}
	m.log.Error("mirror cannot go on", "status", m.record().Status, "code", f.wire(), "reason", f.reason)
	m.halt()
}

// apply changes the status by an event: decide, persist, take over.
func (m *MirrorTopic) apply(ctx context.Context, e status.Event, change func(*mirrorRecord)) error {
	m.change.Lock()
	defer m.change.Unlock()
	rec, err := m.next(e, change)
	if err != nil {
		return err
	}
	if err := m.link.mgr.put(ctx, 0, state.Entry{Key: mirrorKey(rec.Link, rec.Topic), Value: rec}); err != nil {
		return fmt.Errorf("record %s of mirror topic %s: %w", rec.Status, rec.Topic, err)
	}
	m.adopt(rec)
	return nil
}

// next is the record after an event, or the refusal.
func (m *MirrorTopic) next(e status.Event, change func(*mirrorRecord)) (mirrorRecord, error) {
	rec := m.record()
	if err := m.replaced(); err != nil {
		return rec, err
	}
	from, err := status.Parse(rec.Status)
	if err != nil {
		return rec, err
	}
	to, err := status.Next(from, e)
	if err != nil {
		var refused *status.Refusal
		if errors.As(err, &refused) {
			return rec, api.Malformed("%s", refused.Text(rec.Topic, rec.Link))
		}
		return rec, err
	}
	if to != from {
		rec.StateTime = time.Now().UTC()
	}
	rec.Status = to.String()
	rec.Transition = slices.Clone(rec.Transition)
	if change != nil {
		change(&rec)
	}
	return rec, nil
}

func (m *MirrorTopic) adopt(rec mirrorRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.rec.StateTime.Equal(rec.StateTime) {
		m.since = time.Now()
	}
	m.rec = rec
}

// edit changes the record without a change of status.
func (m *MirrorTopic) edit(ctx context.Context, change func(*mirrorRecord)) error {
	m.change.Lock()
	defer m.change.Unlock()
	if err := m.replaced(); err != nil {
		return err
	}
	rec := m.record()
	rec.Transition = slices.Clone(rec.Transition)
	change(&rec)
	if err := m.link.mgr.put(ctx, 0, state.Entry{Key: mirrorKey(rec.Link, rec.Topic), Value: rec}); err != nil {
		return err
	}
	m.adopt(rec)
	return nil
}

// note remembers an error of a transition that is still under way.
func (m *MirrorTopic) note(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rec.Reason = err.Error()
	m.rec.Transition = slices.Clone(m.rec.Transition)
	m.rec.remember(api.MirrorErrorIllegalState, err.Error())
}

func (r *mirrorRecord) remember(code, message string) {
	r.Transition = append(r.Transition, transitionError{Time: time.Now().UTC(), Code: code, Message: message})
	if n := len(r.Transition); n > transitionsKept {
		r.Transition = r.Transition[n-transitionsKept:]
	}
}

// unended are the partitions of this replica that have no stop offsets yet.
func (m *MirrorTopic) unended() []*partition {
	store := m.link.mgr.store
	var out []*partition
	for _, p := range m.parts() {
		if !store.Owned(p.shard) {
			continue
		}
		var stop stopRecord
		if ended, err := store.Get(stopKey(m.topicID(), p.n), &stop); err != nil || !ended {
			out = append(out, p)
		}
	}
	return out
}

func (p *partition) located() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pos.known && !p.pos.heard
}

// fenceStamp is the stamp under which a late batch of ours could still land.
func (p *partition) fenceStamp() batch.Stamp {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pos.stamp
}

// fenced tells whether a marker of ours stands at the end of the log with an
// epoch that no segment has: what was sent before it is kept out, and nothing was
// sent since, for segments are written ahead of their batches.
func (p *partition) fenced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, ok := p.omap.Last()
	return ok && p.pos.known && p.pos.markers > 0 && p.pos.stamp.ProducerID == last.ProducerID && p.pos.stamp.ProducerEpoch > last.ProducerEpoch
}
