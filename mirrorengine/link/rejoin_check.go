package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// check compares a stopped mirror of the opposite direction with both logs as
// they are, and changes nothing. It trusts that the topics are still those that
// were mirrored: ids of the stopped mirror are not among the segments.
func (r *rejoin) check(ctx context.Context) error {
	l, m, f := r.link, r.link.mgr, r.from
	switch {
	case f.SourceTopic == "" || f.Topic == "":
		return api.BadRequest("from has a mirror without topic and source_topic")
	case f.SourceClusterID != m.clusterID:
		return api.BadRequest("Topic '%s': the stopped mirror's source was cluster %s, this engine's is %s; a mirror rejoins the topic that was its source.", f.SourceTopic, f.SourceClusterID, m.clusterID)
	case f.DestClusterID != r.source:
		return api.BadRequest("Topic '%s': the stopped mirror stood on cluster %s, cluster link '%s' mirrors from %s.", f.SourceTopic, f.DestClusterID, l.record().Name, r.source)
	case len(f.Partitions) == 0:
		return api.BadRequest("Topic '%s': the stopped mirror has no partition.", f.SourceTopic)
	}
	slices.SortFunc(f.Partitions, func(a, b api.PartitionSegments) int { return int(a.Partition - b.Partition) })
	for n, p := range f.Partitions {
		switch {
		case p.Partition != int32(n):
			return api.BadRequest("Topic '%s': partition %d is missing from the stopped mirror's segments.", f.SourceTopic, n)
		case p.SourceStop < 0 || p.DestStop < 0:
			return api.BadRequest("Topic '%s' partition %d: the mirror in the other direction has no stop offsets; promote it first.", f.SourceTopic, n)
		case len(p.Segments) == 0:
			return api.BadRequest("Topic '%s' partition %d: the stopped mirror has no segments, so that offsets cannot be translated.", f.SourceTopic, n)
		}
	}
	if err := r.checkMirrors(); err != nil || r.done {
		return err
	}
	if err := r.checkTopics(ctx); err != nil {
		return err
	}
	for _, p := range f.Partitions {
		segs, err := r.checkPartition(ctx, p)
		if err != nil {
			return err
		}
		r.segments = append(r.segments, segs)
	}
	return nil
}

// checkMirrors looks at mirrors that this engine has or had of the local topic.
func (r *rejoin) checkMirrors() error {
	m, topic := r.link.mgr, r.from.SourceTopic
	for _, other := range m.all() {
		mt, err := other.mirror(topic)
		if err != nil {
			continue
		}
		rec := mt.record()
		switch {
		case other == r.link && rec.Rejoined && rec.Status != status.Stopped.String() && r.started(rec):
			r.done = true
		case rec.Status != status.Stopped.String():
			return api.BadRequest("Topic '%s' is already a mirror topic of cluster link '%s' (%s).", topic, rec.Link, rec.Status)
		case rec.SourceClusterID != r.source:
			// Both would keep their offsets under the same topic id.
			return api.BadRequest("Topic '%s' was a mirror of cluster %s (cluster link '%s'), whose offsets are still kept; it cannot rejoin cluster %s.", topic, rec.SourceClusterID, rec.Link, r.source)
		case other == r.link:
			r.configs = rec.Configs
		}
	}
	return nil
}

// started tells whether a rejoined mirror began at the stop offsets of this
// very request.
func (r *rejoin) started(rec mirrorRecord) bool {
	if int(rec.Partitions) != len(r.from.Partitions) {
		return false
	}
	for _, p := range r.from.Partitions {
		segs, err := loadSegments(r.link.mgr.store, rec.TopicID, p.Partition)
		if err != nil {
			return false
		}
		i := slices.IndexFunc(segs, func(s offsetmap.Segment) bool { return s.ProducerID >= 0 })
		if i < 0 || segs[i].SourceStart != p.DestStop || segs[i].DestStart-segs[i].Skip != p.SourceStop {
			return false
		}
	}
	return true
}

// checkTopics looks whether both topics stand with as many partitions as were
// mirrored.
func (r *rejoin) checkTopics(ctx context.Context) error {
	l, m, f := r.link, r.link.mgr, r.from
	want := len(f.Partitions)
	if err := l.src.refresh(ctx, f.Topic); err != nil {
		return api.Unavailable("the source of cluster link '%s' does not answer: %v", l.record().Name, err)
	}
	if err := m.local.refresh(ctx, f.SourceTopic); err != nil {
		return api.Unavailable("the local cluster does not answer: %v", err)
	}
	for _, side := range []struct {
		of   string
		name string
		c    *cluster
		id   *string
	}{{"source", f.Topic, l.src, &r.sourceTopicID}, {"local", f.SourceTopic, m.local, &r.topicID}} {
		t, ok := side.c.topic(side.name)
		switch {
		case !ok || errors.Is(t.err, kerr.UnknownTopicOrPartition):
			side.c.forget(side.name)
			return api.BadRequest("%s topic '%s' does not exist; without both topics there is nothing to rejoin, create the mirror anew.", side.of, side.name)
		case t.err != nil:
			return api.BadRequest("%s topic '%s' cannot be described: %v", side.of, side.name, t.err)
		case len(t.leaders) != want:
			return api.BadRequest("%s topic '%s' has %d partitions, the stopped mirror had %d.", side.of, side.name, len(t.leaders), want)
		}
		*side.id = idString(t.id)
	}
	return nil
}

// checkPartition compares one partition's logs with the stop offsets and makes
// the map of the way back. Its last segment is ours, with a producer id to come.
func (r *rejoin) checkPartition(ctx context.Context, p api.PartitionSegments) ([]offsetmap.Segment, error) {
	l, m, topic := r.link, r.link.mgr, r.from.SourceTopic
	var segs []offsetmap.Segment
	for _, s := range p.Segments {
		segs = append(segs, offsetmap.Segment(s))
	}
	forth, err := offsetmap.New(segs)
	if err != nil {
		return nil, api.BadRequest("Topic '%s' partition %d: %v", topic, p.Partition, err)
	}
	srcEnd, err := l.src.offset(ctx, replicaConsumer, offsetLatest, r.from.Topic, p.Partition)
	if err != nil {
		return nil, api.Unavailable("log end of source topic '%s' partition %d: %v", r.from.Topic, p.Partition, err)
	}
	if srcEnd < p.DestStop {
		return nil, api.BadRequest("source topic '%s' partition %d ends at %d, before the stop offset %d: it was made anew or lost records; it cannot be rejoined.", r.from.Topic, p.Partition, srcEnd, p.DestStop)
	}
	end, err := m.settledLogEnd(ctx, topic, p.Partition)
	if err != nil {
		return nil, api.Unavailable("log end of topic '%s' partition %d: %v", topic, p.Partition, err)
	}
	if end < p.SourceStop {
		return nil, api.BadRequest("Topic '%s' partition %d: log moved: it ends at %d, before the stop offset %d; it was made anew or lost records.", topic, p.Partition, end, p.SourceStop)
	}
	if end > p.SourceStop {
		n, err := m.recordsBetween(ctx, topic, p.Partition, p.SourceStop, end)
		switch {
		case errors.Is(err, errOpenTransaction):
			return nil, api.BadRequest("Topic '%s' partition %d: log moved: it ends at %d, the mirror was stopped at %d, and %v between; end it, then look again.", topic, p.Partition, end, p.SourceStop, err)
		case err != nil:
			return nil, api.Unavailable("read topic '%s' partition %d behind the stop offset: %v", topic, p.Partition, err)
		case n > 0:
			return nil, api.BadRequest("Topic '%s' partition %d: log moved: it ends at %d, the mirror was stopped at %d; %d records were written here after the stop.", topic, p.Partition, end, p.SourceStop, n)
		}
	}
	back := forth.Reverse(p.SourceStop, p.DestStop)
	own := offsetmap.Segment{SourceStart: p.DestStop, DestStart: end, Skip: end - p.SourceStop, SourceLeaderEpoch: -1}
	if err := back.Append(own); err != nil {
		return nil, api.BadRequest("Topic '%s' partition %d: the stopped mirror's segments do not lead to its stop offsets: %v", topic, p.Partition, err)
	}
	return back.Segments(), nil
}

// settledLogEnd is the true log end of a local partition once the high
// watermark has reached it, so that all of it can be read.
func (m *Manager) settledLogEnd(ctx context.Context, topic string, n int32) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for {
		end, err := m.local.offset(ctx, replicaDebug, offsetLatest, topic, n)
		if err != nil {
			return 0, err
		}
		hw, err := m.local.offset(ctx, replicaConsumer, offsetLatest, topic, n)
		if err != nil {
			return 0, err
		}
		if hw >= end {
			return end, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("the high watermark stands at %d, the log ends at %d: replicas are not in sync", hw, end)
		case <-time.After(retryMin):
		}
	}
}

// recordsBetween counts the records of a local partition in [from, to) that
// readers of the committed view see: control batches and aborted data are none.
func (m *Manager) recordsBetween(ctx context.Context, topic string, n int32, from, to int64) (int64, error) {
	count := int64(0)
	for at := from; at < to; {
		c, err := m.readLocal(ctx, topic, n, at)
		if err != nil {
			return 0, err
		}
		if len(c.batches) == 0 {
			return 0, fmt.Errorf("%w from offset %d on", errOpenTransaction, at)
		}
		open := abortedIn(c.aborted)
		for _, b := range c.batches {
			switch {
			case b.LastOffset() < at:
			case b.IsControl():
				if err := open.marker(b); err != nil {
					return 0, err
				}
			case open.drops(b):
			default:
				count += min(int64(b.NumRecords()), b.LastOffset()+1-at)
			}
		}
		if c.next <= at {
			return 0, fmt.Errorf("a Fetch at %d brought nothing behind it", at)
		}
		at = c.next
	}
	return count, nil
}

// readLocal fetches one piece of a local partition as a committed reader.
func (m *Manager) readLocal(ctx context.Context, topic string, n int32, at int64) (chunk, error) {
	broker, id, err := m.local.leader(ctx, topic, n)
	if err != nil {
		return chunk{}, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxBytes, req.IsolationLevel = -1, 1<<20, 1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = topic, id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = n, at, 1<<20, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	res, err := request[*kmsg.FetchResponse](ctx, m.local, broker, req)
	if err == nil {
		err = kerr.ErrorForCode(res.ErrorCode)
	}
	if err != nil {
		return chunk{}, err
	}
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return chunk{}, fmt.Errorf("broker %d left the partition out of its answer", broker)
	}
	c := readChunk(&res.Topics[0].Partitions[0], at)
	return c, c.err
}
