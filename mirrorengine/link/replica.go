package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// Replicas. Each holds all links and mirrors and mirrors the partitions whose
// shards it owns. The owner of shard 0 leads: it alone changes links and mirrors,
// runs their tasks and ends them. The others follow what it writes. When a replica
// begins or ceases to lead it makes all its links anew from the state, as a
// process does that starts: nothing that it thought before outlives that.

// replication is what the Manager knows of its share.
type replication struct {
	mu sync.Mutex // guards what follows; taken after all other locks
	// leading: the links are run as the leader's, since the takeover numbered term.
	leading bool
	term    int64
	// dirty are keys that changed since they were last looked at.
	dirty map[string]bool

	wake chan struct{} // buffered 1: something changed
	// remaking serialises what replaces or stops all links.
	remaking sync.Mutex
}

// changed is told by the store; it must not block.
func (m *Manager) changed(key string) {
	if strings.HasPrefix(key, linkPrefix) || strings.HasPrefix(key, mirrorsPrefix) {
		m.replicas.mu.Lock()
		m.replicas.dirty[key] = true
		m.replicas.mu.Unlock()
	} else if key != "" {
		return
	}
	select {
	case m.replicas.wake <- struct{}{}:
	default:
	}
}

// release stops what rests on a shard, before another replica may have it.
func (m *Manager) release(shard int32) {
	if shard == 0 {
		m.replicas.remaking.Lock()
		defer m.replicas.remaking.Unlock()
		m.replicas.lead(false, -1)
		m.stopAll()
	}
	for _, l := range m.all() {
		l.release(shard)
	}
}

func (r *replication) lead(leading bool, term int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leading, r.term = leading, term
}

// led tells whether this replica leads, and since which takeover.
func (m *Manager) led() (bool, int64) {
	m.replicas.mu.Lock()
	defer m.replicas.mu.Unlock()
	return m.replicas.leading, m.replicas.term
}

// Leader tells which replica answers for links and mirrors: this one, or the one
// at address, which may be away; empty if none is known.
func (m *Manager) Leader() (address string, here bool) {
	leading, term := m.led()
	if now, ok := m.store.Term(); ok {
		// Taken over, and the links are not made yet: nobody leads.
		return "", leading && now == term
	}
	owner := m.store.Owner(0).Address
	if owner == m.opts.Address {
		return "", false // its own former life's, or just lost
	}
	return owner, false
}

// Away tells why no broker of the own cluster can be reached, nil if one can.
func (m *Manager) Away(ctx context.Context) error { return m.local.away(ctx) }

// asLeader does what adds, replaces or removes a link, unless the lead was lost or
// the link made anew since old was looked up (nil: there is none).
func (m *Manager) asLeader(name string, old *Link, do func() error) error {
	m.replicas.remaking.Lock()
	defer m.replicas.remaking.Unlock()
	leading, _ := m.led()
	if now, _ := m.link(name); !leading || now != old {
		return unled(state.ErrNotOwner)
	}
	return do()
}

// stopAll ends all links and waits for them.
func (m *Manager) stopAll() {
	var wg sync.WaitGroup
	for _, l := range m.all() {
		wg.Go(l.stop)
	}
	wg.Wait()
}

// follow keeps the links as the state has them and the partitions as the shards
// are shared, until ctx ends.
func (m *Manager) follow(ctx context.Context) error {
	for {
		if err := m.reconcile(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-m.store.Failed():
			return fmt.Errorf("the state topic cannot be followed: %w", err)
		case <-m.replicas.wake:
		}
	}
}

func (m *Manager) reconcile(ctx context.Context) error {
	m.replicas.remaking.Lock()
	defer m.replicas.remaking.Unlock()
	leading, term := m.led()
	now, lead := m.store.Term()
	switch {
	case ctx.Err() != nil:
		return nil
	case lead != leading || lead && now != term:
		if err := m.remake(lead, now); err != nil {
			return err
		}
	case !leading:
		if err := m.followKeys(); err != nil {
			return err
		}
	}
	for _, l := range m.all() {
		for _, mt := range l.all() {
			mt.launchOwned()
		}
		l.kickEnds()
	}
	return nil
}

// remake makes all links anew from the state. Called with remaking.
func (m *Manager) remake(lead bool, term int64) error {
	m.replicas.lead(false, -1)
	m.stopAll()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.links = map[string]*Link{}
	m.takeDirty() // what follows reads all
	if err := m.load(); err != nil {
		return err
	}
	m.log.Info("links made from the state", "links", len(m.links), "leading", lead)
	m.replicas.lead(lead, term)
	for _, l := range m.links {
		m.launch(l)
	}
	return nil
}

func (m *Manager) takeDirty() []string {
	m.replicas.mu.Lock()
	defer m.replicas.mu.Unlock()
	var keys []string
	for k := range m.replicas.dirty {
		keys = append(keys, k)
	}
	clear(m.replicas.dirty)
	slices.Sort(keys) // links before their mirrors
	return keys
}

// followKeys brings links and mirrors to what the leader has written.
func (m *Manager) followKeys() error {
	for _, key := range m.takeDirty() {
		if name, ok := strings.CutPrefix(key, linkPrefix); ok {
			if err := m.followLink(name); err != nil {
				return err
			}
			continue
		}
		name, topic, _ := strings.Cut(strings.TrimPrefix(key, mirrorsPrefix), "/")
		if l, err := m.link(name); err == nil {
			if err := l.followMirror(topic); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Manager) followLink(name string) error {
	var rec linkRecord
	ok, err := m.store.Get(linkKey(name), &rec)
	if err != nil {
		return err
	}
	old, _ := m.link(name)
	if old != nil && ok && old.record().same(rec) {
		return nil
	}
	if old != nil {
		m.mu.Lock()
		delete(m.links, name)
		m.mu.Unlock()
		old.stop()
	}
	if !ok {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l, err := m.loadOne(rec)
	if err != nil {
		return err
	}
	m.links[name] = l
	m.launch(l)
	return nil
}

// mended makes a follower's link anew whose secrets can be read again.
func (m *Manager) mended(old *Link, rec linkRecord) {
	m.replicas.remaking.Lock()
	defer m.replicas.remaking.Unlock()
	if now, _ := m.link(rec.Name); now != old {
		return
	}
	old.stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	l, err := m.loadOne(rec)
	if err != nil {
		m.log.Error("a link whose secrets are back could not be started anew", "link", rec.Name, "error", err)
		return
	}
	m.links[rec.Name] = l
	m.launch(l)
}

// followMirror brings a mirror to what the leader has written of it.
func (l *Link) followMirror(topic string) error {
	var rec mirrorRecord
	ok, err := l.mgr.store.Get(mirrorKey(l.record().Name, topic), &rec)
	if err != nil {
		return err
	}
	old, _ := l.mirror(topic)
	if old != nil && (!ok || old.madeAnew(rec)) {
		old.halt()
		l.mu.Lock()
		delete(l.mirrors, topic)
		l.mu.Unlock()
		l.mgr.metrics.forget(l.record().Name, topic)
		old = nil
	}
	if !ok {
		return nil
	}
	if old == nil {
		old = newMirror(l, rec)
		l.mu.Lock()
		l.mirrors[topic] = old
		l.mu.Unlock()
	}
	old.adopt(rec)
	old.addPartitions()
	old.obey()
	return nil
}

// madeAnew: rec is of another life of the mirror, of which nothing holds that is
// known of this one.
func (m *MirrorTopic) madeAnew(rec mirrorRecord) bool {
	old := m.record()
	return old.TopicID != rec.TopicID || old.SourceTopicID != rec.SourceTopicID || old.Partitions > rec.Partitions ||
		old.Status == status.PendingMirror.String() || final(old.Status) && !final(rec.Status)
}

// addPartitions follows the record's number of partitions upwards.
func (m *MirrorTopic) addPartitions() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := int32(len(m.partitions)); n < m.rec.Partitions; n++ {
		m.partitions = append(m.partitions, m.newPartition(n))
	}
}

// obey runs or halts the mirror as its record says.
func (m *MirrorTopic) obey() {
	if m.record().moves() {
		m.startIn(m.link)
	} else {
		m.halt()
	}
}

// moves tells whether records are to be moved: not once the mirror is to end
// where it stands.
func (r mirrorRecord) moves() bool {
	return runs(r.Status) && !r.Fenced && r.Intent != string(api.VerbFailover)
}

// release stops the partitions of a shard, and an end that is under way, which
// goes on with the shards that are left.
func (l *Link) release(shard int32) {
	l.mu.Lock()
	stop := l.stopEnd
	l.mu.Unlock()
	if stop != nil {
		stop()
	}
	for _, mt := range l.all() {
		mt.release(shard)
	}
	l.ending.Lock() // until it has stopped
	defer l.ending.Unlock()
}

// kickEnds wakes the link's end loop.
func (l *Link) kickEnds() {
	select {
	case l.endWake <- struct{}{}:
	default:
	}
}

// keepEnds ends the partitions of this replica of mirrors that the leader ends,
// until ctx ends.
func (l *Link) keepEnds(ctx context.Context) {
	pause, again := retryMin, false
	for {
		var ending []*MirrorTopic
		for _, m := range l.all() {
			if rec := m.record(); rec.Status == status.PendingStopped.String() && rec.Fenced && len(m.unended()) > 0 {
				ending = append(ending, m)
			}
		}
		failed := false
		for m, err := range l.endOwned(ctx, ending, again) {
			if err != nil && ctx.Err() == nil {
				failed = true
				l.log.Error("partitions of a mirror could not be ended, trying again", "topic", m.name(), "error", err, "pause", pause)
				m.stall(err)
			}
		}
		if again = failed; !failed {
			pause = retryMin
		}
		var retry <-chan time.Time
		if failed {
			retry = time.After(pause)
			pause = min(pause*2, retryMax)
		}
		select {
		case <-ctx.Done():
			return
		case <-l.endWake:
		case <-retry:
		}
	}
}

// stall shows an error in the progress of the partitions that are to be ended.
func (m *MirrorTopic) stall(err error) {
	for _, p := range m.unended() {
		p.mu.Lock()
		p.stalled = err.Error()
		p.mu.Unlock()
	}
}

// unled is the answer of a replica that has lost the lead to a call that it was
// at work on.
func unled(err error) error {
	if errors.Is(err, state.ErrNotOwner) || errors.Is(err, state.ErrFenced) {
		return api.Unavailable("another replica of the engine takes over, and this call has not changed what it would have changed last: ask again (%v)", err)
	}
	return err
}
