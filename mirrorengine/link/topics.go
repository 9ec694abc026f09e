package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// CreateMirror makes a mirror topic. It answers when the topic stands and its
// first segments are written; mirroring starts at once.
func (m *Manager) CreateMirror(ctx context.Context, link string, req api.CreateMirror) error {
	l, err := m.link(link)
	if err != nil {
		return err
	}
	if err := m.admit(ctx, l); err != nil {
		return err
	}
	if req.SourceTopicName == "" {
		return api.BadRequest("source_topic_name is missing")
	}
	if req.MirrorTopicName != "" && req.MirrorTopicName != req.SourceTopicName {
		return api.BadRequest("Topic renaming for mirroring not yet supported")
	}
	topic := req.SourceTopicName
	if !l.claimName(topic) {
		return api.Conflict("mirror topic '%s' of cluster link '%s' is being created by another call just now", topic, link)
	}
	defer l.unclaimName(topic)
	if err := l.src.refresh(ctx, topic); err != nil {
		return api.Unavailable("the source of cluster link '%s' does not answer: %v", link, err)
	}
	src, _ := l.src.topic(topic)
	if src.err != nil {
		return api.BadRequest("source topic '%s' cannot be mirrored: %v", topic, l.lacking(src.err, opRead, resourceTopic, topic))
	}
	if err := m.local.refresh(ctx, topic); err != nil {
		return api.Unavailable("the local cluster does not answer: %v", err)
	}
	dst, ok := m.local.topic(topic)
	switch {
	case ok && dst.err == nil && l.has(topic):
		return api.BadRequest("Topic '%s' is already a mirror topic of cluster link '%s'. To build it anew, delete the topic first.", topic, link)
	case ok && dst.err == nil:
		return api.BadRequest("Topic '%s' already exists on this cluster: a mirror cannot be made over an existing topic. Delete it first if its records are not needed, or rejoin it after a planned move.", topic)
	}
	m.local.forget(topic)
	l.absent("local/"+topic, false) // that was its predecessor
	// A mirror whose topic was deleted is over: the new one takes its place.
	if old, err := l.mirror(topic); err == nil {
		old.halt()
		old.retire()
		old.unmake()
		if err := old.awaitMaker(ctx); err != nil {
			return err
		}
		old.making.Unlock()
	}
	rec := mirrorRecord{
		Link: link, Topic: topic, SourceTopic: topic, SourceTopicID: idString(src.id),
		SourceClusterID: l.record().SourceClusterID, DestClusterID: m.clusterID,
		Status: status.PendingMirror.String(), Error: api.MirrorErrorNone, StateTime: time.Now().UTC(), TipAt: time.Now().UTC(),
		ReplicationFactor: req.ReplicationFactor, Partitions: int32(len(src.leaders)),
		WriterFence: m.writerFence, Guard: api.GuardNone, Configs: map[string]string{}, Unmade: true,
	}
	for _, c := range req.Configs {
		if c.Value != nil {
			rec.Configs[c.Name] = *c.Value
		}
	}
	// Recorded first: a topic that exists without it would be somebody else's.
	mt, err := l.enter(ctx, rec)
	if err != nil {
		return err
	}
	made, err := l.build(ctx, mt)
	if err == nil {
		mt.startIn(l)
		return nil
	}
	if !made {
		if gone, fault := mt.abandon(ctx); gone {
			return errors.Join(err, fault)
		}
	}
	if mt.record().Status != status.PendingMirror.String() || mt.replaced() != nil {
		return api.Conflict("mirror topic '%s' of cluster link '%s' is not made by this call any more, it was failed over or its link begun anew meanwhile: %v", topic, link, err)
	}
	l.background(func(ctx context.Context) { l.complete(ctx, mt) })
	return fmt.Errorf("mirror topic '%s' was made, its first segments were not; the engine goes on with it: %w", topic, err)
}

// claimName makes the caller the only one who creates a mirror of that name.
func (l *Link) claimName(topic string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	claimed := !l.making[topic]
	l.making[topic] = true
	return claimed
}

func (l *Link) unclaimName(topic string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.making, topic)
}

func (l *Link) has(topic string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mirrors[topic] != nil
}

// firstSegments writes the first segment of partitions [from, to) that have
// none: where the source is read from, and under which producer id.
func (l *Link) firstSegments(ctx context.Context, m *MirrorTopic, from, to int32, startOf func(n int32) (int64, error)) error {
	rec := m.record()
	for n := from; n < to; n++ {
		shard := l.mgr.store.ShardOf(rec.TopicID, n)
		if err := l.mgr.putFor(ctx, shard); err != nil { // a former leader may have written it
			return err
		}
		if len(l.mgr.store.Keys(segmentPrefix(rec.TopicID, n))) > 0 {
			continue
		}
		id, err := l.mgr.newProducerID(ctx)
		if err != nil {
			return err
		}
		start, err := startOf(n) // last, since that is what an end breaks off
		if err != nil {
			return err
		}
		seg := offsetmap.Segment{SourceStart: start, ProducerID: id, SourceLeaderEpoch: -1}
		err = l.mgr.putFor(ctx, shard, state.Entry{
			Key: segmentKey(rec.TopicID, n, 0), Value: segmentsRecord{Segments: []offsetmap.Segment{seg}},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// startOffset is where a partition's mirror begins (mirror.start.offset.spec).
// A partition that the source grew later begins at its start, whatever the spec.
func (l *Link) startOffset(ctx context.Context, topic string, n int32, grown bool) (int64, error) {
	spec := l.config().StartOffset
	at := int64(offsetEarliest)
	switch {
	case grown || spec == "" || spec == "earliest":
	case spec == "latest":
		at = offsetLatest
	default:
		t, err := time.Parse(time.RFC3339, spec)
		if err != nil {
			return 0, api.BadRequest("mirror.start.offset.spec %q is neither earliest, latest nor an ISO-8601 time", spec)
		}
		at = t.UnixMilli()
	}
	off, err := l.src.offset(ctx, replicaConsumer, at, topic, n)
	if err == nil && off < 0 { // no record at or after that time
		off, err = l.src.offset(ctx, replicaConsumer, offsetLatest, topic, n)
	}
	if err != nil {
		return 0, fmt.Errorf("start offset of source %s partition %d: %w", topic, n, err)
	}
	return off, nil
}

// errEnding: a mirror ends and is not grown any more.
var errEnding = errors.New("the mirror ends with the partitions that it has")

// grow follows the source's partition count.
func (l *Link) grow(ctx context.Context, m *MirrorTopic, partitions int32) error {
	rec := m.record()
	if t, ok := l.mgr.local.topic(rec.Topic); !ok || len(t.leaders) < int(partitions) {
		res, err := l.mgr.local.adm.UpdatePartitions(ctx, int(partitions), rec.Topic)
		if err == nil {
			err = res.Error()
		}
		if err != nil && !errors.Is(err, kerr.InvalidPartitions) {
			return fmt.Errorf("grow to %d partitions: %w", partitions, err)
		}
	}
	if _, err := l.awaitTopic(ctx, rec.Topic, partitions); err != nil {
		return err
	}
	err := l.firstSegments(ctx, m, rec.Partitions, partitions, func(n int32) (int64, error) { return l.startOffset(ctx, rec.SourceTopic, n, true) })
	if err != nil {
		return err
	}
	grown := map[*MirrorTopic]error{m: nil}
	l.recordAll(ctx, grown, func(m *MirrorTopic) (mirrorRecord, error) {
		r := m.record()
		if !r.moves() { // to be ended, with the partitions that it had
			return r, errEnding
		}
		r.Partitions = partitions
		return r, m.replaced()
	})
	if err := grown[m]; err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := int32(len(m.partitions)); n < partitions; n++ {
		m.partitions = append(m.partitions, m.newPartition(n))
	}
	m.launchWanted()
	l.log.Info("mirror followed its source's partitions", "topic", rec.Topic, "partitions", partitions)
	return nil
}
