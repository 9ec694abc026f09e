package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
)

// Peer is another replica of this engine, as the leader and readiness need it.
type Peer interface {
	// Healthy answers if the process does.
	Healthy(ctx context.Context) error
	// PutShard writes to a shard that the peer owns, for the leader.
	PutShard(ctx context.Context, shard int32, put api.ShardPut) (api.ShardRead, error)
	// ReplicaPartitions tells what the peer mirrors.
	ReplicaPartitions(ctx context.Context) (api.ReplicaPartitions, error)
}

// peerTimeout bounds a question to another replica.
const peerTimeout = 4 * time.Second

// putFor writes to any shard: to another replica's by way of its owner. Only the
// leader may; what it wrote can be read here when it returns. Without entries it
// only makes sure that all that the shard's owner has written can be read.
func (m *Manager) putFor(ctx context.Context, shard int32, entries ...state.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, m.opts.Session+requestTimeout)
	defer cancel()
	req := api.ShardPut{}
	for _, e := range entries {
		raw := api.ShardEntry{Key: e.Key}
		if e.Value != nil {
			var err error
			if raw.Value, err = json.Marshal(e.Value); err != nil {
				return fmt.Errorf("state %s: %w", e.Key, err)
			}
		}
		req.Entries = append(req.Entries, raw)
	}
	for {
		err := m.put(ctx, shard, entries...)
		if m.store.Owned(shard) {
			return err
		}
		leads := false
		if req.Term, leads = m.store.Term(); !leads {
			return unled(state.ErrNotOwner)
		}
		owner := m.store.Owner(shard).Address
		if owner == "" || owner == m.opts.Address || m.opts.Peer == nil {
			err = fmt.Errorf("shard %d of the state has no owner just now", shard)
		} else {
			err = m.putAt(ctx, owner, shard, req)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return api.Unavailable("a shard of the state waits for its new owner; ask again: %v", err)
		case <-time.After(retryMin):
		}
	}
}

func (m *Manager) putAt(ctx context.Context, owner string, shard int32, put api.ShardPut) error {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	res, err := m.opts.Peer(owner).PutShard(ctx, shard, put)
	if err != nil {
		return fmt.Errorf("shard %d of the state, at the replica %s: %w", shard, owner, err)
	}
	return m.store.Await(ctx, shard, res.Offset)
}

// PutShard writes to an owned shard for the leader.
func (m *Manager) PutShard(ctx context.Context, shard int32, put api.ShardPut) (api.ShardRead, error) {
	entries := make([]state.RawEntry, len(put.Entries))
	for i, e := range put.Entries {
		entries[i] = state.RawEntry(e)
	}
	at, err := m.store.PutFor(ctx, put.Term, shard, entries)
	return api.ShardRead{Offset: at}, unled(err)
}

// ReplicaPartitions tells where the partitions stand that run here.
func (m *Manager) ReplicaPartitions(context.Context) (api.ReplicaPartitions, error) {
	out := api.ReplicaPartitions{Address: m.opts.Address, Partitions: []api.ReplicaPartition{}}
	for _, l := range m.all() {
		for _, mt := range l.all() {
			rec := mt.record()
			if final(rec.Status) {
				continue
			}
			for _, p := range mt.parts() {
				if m.store.Owned(p.shard) {
					f := p.fact()
					f.Link, f.Topic, f.TopicID = rec.Link, rec.Topic, rec.TopicID
					out.Partitions = append(out.Partitions, f)
				}
			}
		}
	}
	return out, nil
}

// fact is where the partition stands.
func (p *partition) fact() api.ReplicaPartition {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := api.ReplicaPartition{
		Partition: p.n, Known: p.pos.known && p.omap != nil, Source: p.pos.source, Dest: p.pos.dest, Markers: p.pos.markers,
		HighWatermark: p.lag.highWatermark(), Stalled: p.stalled, Segment: -1,
	}
	if p.omap != nil {
		if last, ok := p.omap.Last(); ok {
			f.Segments, f.Segment = p.omap.Len(), last.DestStart
		}
	}
	if p.failure != nil {
		f.FailureCode, f.Failure = p.failure.code, p.failure.reason
	}
	return f
}

// watchPeers asks the other replicas where their partitions stand, for as long as
// this one leads, until ctx ends.
func (m *Manager) watchPeers(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if leading, _ := m.led(); leading {
			m.askPeers(ctx)
		}
	}
}

func (m *Manager) askPeers(ctx context.Context) {
	if m.opts.Peer == nil {
		return
	}
	peers := map[string]bool{}
	for n := range m.store.Shards() {
		if a := m.store.Owner(n).Address; a != "" && a != m.opts.Address && !m.store.Owned(n) {
			peers[a] = true
		}
	}
	var wg sync.WaitGroup
	for address := range peers {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, peerTimeout)
			defer cancel()
			res, err := m.opts.Peer(address).ReplicaPartitions(ctx)
			if ctx.Err() == nil || err != nil {
				m.hear(address, res, err)
			}
		})
	}
	wg.Wait()
}

// hear takes over what a peer told, or that it did not answer.
func (m *Manager) hear(address string, told api.ReplicaPartitions, err error) {
	type at struct {
		link, topic, id string
		n               int32
	}
	facts := map[at]api.ReplicaPartition{}
	for _, f := range told.Partitions {
		facts[at{f.Link, f.Topic, f.TopicID, f.Partition}] = f
	}
	for _, l := range m.all() {
		for _, mt := range l.all() {
			rec := mt.record()
			if final(rec.Status) {
				continue
			}
			for _, p := range mt.parts() {
				if m.store.Owned(p.shard) || m.store.Owner(p.shard).Address != address {
					continue
				}
				f, ok := facts[at{rec.Link, rec.Topic, rec.TopicID, p.n}]
				switch {
				case err != nil:
					p.mu.Lock()
					p.stalled = fmt.Sprintf("the replica %s, which mirrors this partition, does not answer: %v; another one takes over when its session ends", address, err)
					p.mu.Unlock()
				case ok:
					p.believe(f)
					if f.Failure != "" && rec.moves() {
						fault := &failure{f.FailureCode, f.Failure}
						l.background(func(ctx context.Context) { mt.failed(ctx, fault) })
					}
				}
			}
		}
	}
}

// believe takes over where another replica says that the partition stands. The
// position counts only together with the map that it was reached by: with an older
// one it would translate to other offsets.
func (p *partition) believe(f api.ReplicaPartition) {
	var m *offsetmap.Map
	if f.Known {
		m = p.mapOf(f)
	}
	answers := p.mirror.link.reachable()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mirror.link.mgr.store.Owned(p.shard) {
		return // taken over since that was asked; who starts or ends it here takes mu after it is owned
	}
	now := time.Now()
	p.stalled = f.Stalled
	// Of a source that is silent the same again says nothing of now (tips).
	if hw := p.lag.highWatermark(); f.HighWatermark > hw || f.HighWatermark >= 0 && answers {
		p.lag.sample(now, max(f.HighWatermark, hw))
	}
	if m == nil || p.stop != nil {
		return
	}
	if f.Source != p.pos.source {
		p.moved = now
	}
	p.omap = m
	p.pos = position{source: f.Source, dest: f.Dest, markers: f.Markers, continues: -1, known: true, heard: true}
}

// mapOf is the partition's map as the state has it, nil while the state that was
// read here is not the one that f speaks of.
func (p *partition) mapOf(f api.ReplicaPartition) *offsetmap.Map {
	fits := func(m *offsetmap.Map) bool {
		last, ok := m.Last()
		return ok && last.DestStart == f.Segment && m.Len() == f.Segments
	}
	p.mu.Lock()
	old := p.omap
	p.mu.Unlock()
	if old != nil && fits(old) {
		return old
	}
	segs, err := loadSegments(p.mirror.link.mgr.store, p.mirror.topicID(), p.n)
	if err != nil || len(segs) == 0 {
		return nil
	}
	m, err := offsetmap.New(segs)
	if err != nil || !fits(m) {
		return nil
	}
	return m
}

// readStop takes over the stop offsets that the state has, of whatever replica
// ended the partition, with the map that leads to them, and tells whether there are
// any. A mirror that was made anew from the state has the stop offsets alone.
func (p *partition) readStop() (bool, error) {
	p.mu.Lock()
	known := p.stop != nil && p.omap != nil
	p.mu.Unlock()
	if known {
		return true, nil
	}
	var stop stopRecord
	store := p.mirror.link.mgr.store
	ok, err := store.Get(stopKey(p.mirror.topicID(), p.n), &stop)
	if !ok || err != nil {
		return false, err
	}
	segs, err := loadSegments(store, p.mirror.topicID(), p.n)
	if err != nil {
		return false, err
	}
	m, err := offsetmap.New(segs)
	if err != nil {
		return false, p.illegal("%v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop == nil || p.omap == nil {
		p.stop, p.omap = &stop, m
		p.pos = position{source: stop.SourceStop, dest: stop.DestStop, continues: -1, known: true, heard: true}
	}
	return true, nil
}

// errUnended: another replica has not ended its part of a mirror yet.
var errUnended = errors.New("another replica has not ended its part yet")

// stopWait is how long one look waits for the other replicas' stop offsets.
const stopWait = 2 * time.Second

// awaitStops waits until all partitions of the mirrors that are still without
// error have their stop offsets in the state.
func (l *Link) awaitStops(ctx context.Context, mirrors map[*MirrorTopic]error) {
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	for {
		left := map[*MirrorTopic]error{}
		for m, err := range mirrors {
			if err != nil {
				continue
			}
			for _, p := range m.parts() {
				if ok, err := p.readStop(); err != nil {
					mirrors[m] = err
				} else if !ok {
					p.mu.Lock()
					stalled := p.stalled
					p.mu.Unlock()
					left[m] = fmt.Errorf("partition %d, at the replica %s: %w %s", p.n, l.mgr.store.Owner(p.shard).Address, errUnended, stalled)
				}
			}
		}
		if len(left) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			for m, err := range left {
				if mirrors[m] == nil {
					mirrors[m] = err
				}
			}
			return
		case <-time.After(stopLook):
		}
	}
}

const stopLook = 20 * time.Millisecond
