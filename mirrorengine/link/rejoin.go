package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// Rejoin starts mirrors over topics of the local cluster that were the source of
// mirrors of the opposite direction, after a planned move without divergence:
// each local log must end where the stopped mirror ended, so that both topics
// hold the same records and the mirror back goes on right behind them. All topics
// are looked at before anything is changed; those that fit are started, the
// others are refused, each with its reason. Nothing is ever deleted. Asked again
// for a mirror that it has started, it answers with success.
func (m *Manager) Rejoin(ctx context.Context, link string, req api.Rejoin) ([]api.AlterMirrorResult, error) {
	l, err := m.link(link)
	if err != nil {
		return nil, err
	}
	if err := m.admit(ctx, l); err != nil {
		return nil, err
	}
	l.rejoining.Lock()
	defer l.rejoining.Unlock()
	source, err := l.sourceID(ctx)
	if err != nil {
		return nil, api.Unavailable("the source of cluster link '%s' does not answer: %v", link, err)
	}
	out := make([]api.AlterMirrorResult, len(req.From))
	plans := make([]*rejoin, len(req.From))
	twice := map[string]bool{}
	for i, from := range req.From {
		out[i].MirrorTopicName, out[i].MirrorLags = from.SourceTopic, []api.MirrorLag{}
		p := &rejoin{link: l, from: from, source: source}
		err := p.check(ctx)
		if twice[from.SourceTopic] {
			err = api.BadRequest("Topic '%s' stands in the request twice.", from.SourceTopic)
		}
		twice[from.SourceTopic] = true
		if err != nil {
			out[i].Refuse(err)
			continue
		}
		plans[i] = p
	}
	for i, p := range plans {
		if p == nil {
			continue
		}
		if err := p.start(ctx); err != nil {
			out[i].Refuse(err)
		}
		if mt, err := l.mirror(p.from.SourceTopic); err == nil {
			out[i].MirrorLags = mt.lags()
		}
	}
	return out, nil
}

// sourceID is the id of the link's source, asked where the link was made
// without looking.
func (l *Link) sourceID(ctx context.Context) (string, error) {
	if id := l.record().SourceClusterID; id != "" {
		return id, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	meta, err := l.src.adm.BrokerMetadata(ctx)
	return meta.Cluster, err
}

// rejoin is one topic on its way: what was asked and what check found out. In
// from the roles are those of the stopped mirror: its source topic is the local
// one, which becomes the mirror now.
type rejoin struct {
	link   *Link
	from   api.Segments
	source string // cluster id of the link's source

	done          bool // started by an earlier call
	topicID       string
	sourceTopicID string
	configs       map[string]string
	segments      [][]offsetmap.Segment // by partition, still without a producer id
}

// start writes the maps down, then the mirror, then does what is left of its
// creation. A crash in between leaves a mirror that goes on by itself, or
// segments that the next call writes again.
func (r *rejoin) start(ctx context.Context) error {
	if r.done {
		return nil
	}
	l, m, topic := r.link, r.link.mgr, r.from.SourceTopic
	for n, segs := range r.segments {
		if err := r.writeSegments(ctx, int32(n), segs); err != nil {
			return fmt.Errorf("segments of %s partition %d: %w", topic, n, err)
		}
	}
	rec := mirrorRecord{
		Link: l.record().Name, Topic: topic, TopicID: r.topicID,
		SourceTopic: r.from.Topic, SourceTopicID: r.sourceTopicID,
		SourceClusterID: r.source, DestClusterID: m.clusterID,
		Status: status.PendingMirror.String(), Error: api.MirrorErrorNone, StateTime: time.Now().UTC(),
		Partitions: int32(len(r.segments)), WriterFence: m.writerFence, Guard: api.GuardNone,
		Configs: r.configs, Rejoined: true, Unmade: true,
	}
	mt, err := l.enter(ctx, rec)
	if err != nil {
		return err
	}
	if _, err := l.build(ctx, mt); err != nil {
		l.background(func(ctx context.Context) { l.complete(ctx, mt) })
		return fmt.Errorf("mirror topic '%s' was rejoined but is not ready yet; the engine goes on with it: %w", topic, err)
	}
	mt.startIn(l)
	return nil
}

// openRejoined does what is left once record and segments stand: the old stop
// offsets go, and what the ledger says of them; guard and configs come. Like build it
// may be called again.
func (l *Link) openRejoined(ctx, ask context.Context, m *MirrorTopic) error {
	rec := m.record()
	if err := l.forgetStops(ctx, rec); err != nil {
		return err
	}
	if err := l.forgetLedger(ctx, rec); err != nil {
		return err
	}
	guard, err := l.mgr.setGuard(ctx, l, rec.Topic)
	if err != nil {
		return fmt.Errorf("read-only guard of %s: %w", rec.Topic, err)
	}
	configs, err := l.wantedConfigs(ask, rec)
	if err != nil {
		return err
	}
	if err := l.mgr.setTopic(ctx, rec.Topic, configs); err != nil {
		return err
	}
	m.renewPartitions()
	return m.activate(ctx, func(r *mirrorRecord) { r.Guard = guard })
}

// forgetStops takes away what ended a topic's former life as a mirror.
func (l *Link) forgetStops(ctx context.Context, rec mirrorRecord) error {
	for n := range rec.Partitions {
		err := l.mgr.putFor(ctx, l.mgr.store.ShardOf(rec.TopicID, n),
			state.Entry{Key: stopKey(rec.TopicID, n)}, state.Entry{Key: gapKey(rec.TopicID, n)}, state.Entry{Key: markersKey(rec.TopicID, n)})
		if err != nil {
			return err
		}
	}
	return nil
}

// segmentsPerPiece keeps a piece well below what a broker takes as one record.
const segmentsPerPiece = 1000

// writeSegments replaces a partition's stored map, in one transaction: the
// reversed segments, and behind them ours under a new producer id.
func (r *rejoin) writeSegments(ctx context.Context, n int32, segs []offsetmap.Segment) error {
	m := r.link.mgr
	id, err := m.newProducerID(ctx)
	if err != nil {
		return err
	}
	own := segs[len(segs)-1]
	own.ProducerID, own.ProducerEpoch, own.FirstSequence = id, 0, 0
	pieces := cut(segs[:len(segs)-1], segmentsPerPiece)
	// Ours shares the last piece: the first batch may open another segment at the
	// same offset, whose key must not replace it.
	if len(pieces) == 0 {
		pieces = append(pieces, nil)
	}
	last := len(pieces) - 1
	pieces[last] = append(pieces[last], own)
	shard := m.store.ShardOf(r.topicID, n)
	if err := m.putFor(ctx, shard); err != nil { // what stands there must be known to be replaced
		return err
	}
	entries := map[string]state.Entry{}
	for _, k := range m.store.Keys(segmentPrefix(r.topicID, n)) {
		entries[k] = state.Entry{Key: k}
	}
	for _, piece := range pieces {
		k := segmentKey(r.topicID, n, piece[0].DestStart)
		entries[k] = state.Entry{Key: k, Value: segmentsRecord{Segments: piece}}
	}
	list := make([]state.Entry, 0, len(entries))
	for _, e := range entries {
		list = append(list, e)
	}
	return m.putFor(ctx, shard, list...)
}

// cut divides segments into pieces of about n, only where the destination
// offset rises: it is the piece's key.
func cut(segs []offsetmap.Segment, n int) [][]offsetmap.Segment {
	var out [][]offsetmap.Segment
	var piece []offsetmap.Segment
	for _, s := range segs {
		if len(piece) >= n && s.DestStart > piece[len(piece)-1].DestStart {
			out = append(out, piece)
			piece = nil
		}
		piece = append(piece, s)
	}
	if len(piece) > 0 {
		out = append(out, piece)
	}
	return out
}

// errOpenTransaction: a log cannot be read to its end.
var errOpenTransaction = errors.New("a transaction is open")
