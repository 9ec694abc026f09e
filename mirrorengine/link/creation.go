package link

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// The making of a mirror topic, behind its record: it may be interrupted anywhere, goes
// on by itself, and ends when the mirror is failed over first.

// errNotMade: this mirror is not to be made (any more), or not by this one.
var errNotMade = errors.New("it is not to be made here any more: it was failed over, or created again, or its link was begun anew")

// makes makes the caller the one who makes the mirror, until done. What it asks under
// ask an end breaks off; writes to the state are not broken off, for the store would
// give up their shard.
func (m *MirrorTopic) makes(ctx context.Context) (ask context.Context, done func(), err error) {
	if err := m.awaitMaker(ctx); err != nil {
		return nil, nil, err
	}
	ask, cancel := context.WithCancel(ctx)
	run := m.link.running()
	stop := context.AfterFunc(run, cancel)
	done = func() { stop(); cancel(); m.making.Unlock() }
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.retired || run.Err() != nil || m.rec.Status != status.PendingMirror.String() {
		defer done()
		return nil, nil, errNotMade
	}
	m.stopMaking = cancel
	return ask, done, nil
}

// awaitMaker takes making as soon as nobody has it.
func (m *MirrorTopic) awaitMaker(ctx context.Context) error {
	for !m.making.TryLock() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("mirror topic %s is still being made: %w", m.name(), ctx.Err())
		case <-time.After(stopLook):
		}
	}
	return nil
}

// enter makes a mirror known and records it, PENDING_MIRROR; in that order, so that who
// begins the link anew meanwhile finds it.
func (l *Link) enter(ctx context.Context, rec mirrorRecord) (*MirrorTopic, error) {
	m := &MirrorTopic{link: l, rec: rec, since: time.Now(), log: l.log.With("topic", rec.Topic)}
	m.change.Lock()
	defer m.change.Unlock()
	l.mu.Lock()
	old := l.mirrors[rec.Topic]
	l.mirrors[rec.Topic] = m
	l.mu.Unlock()
	err := m.replaced()
	if err == nil {
		err = l.mgr.put(ctx, 0, state.Entry{Key: mirrorKey(rec.Link, rec.Topic), Value: rec})
	}
	if err == nil {
		return m, nil
	}
	m.mu.Lock()
	m.retired = true
	m.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.mirrors, rec.Topic); old != nil {
		l.mirrors[rec.Topic] = old
	}
	return nil, err
}

// unmake breaks off what the maker asks; whoever then takes making finds him gone. The
// status that keeps the next one off stands by then.
func (m *MirrorTopic) unmake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopMaking != nil {
		m.stopMaking()
	}
}

// abandon forgets a mirror of which nothing was made, unless it is to be ended, or is
// somebody else's by now: then it answers false.
func (m *MirrorTopic) abandon(ctx context.Context) (bool, error) {
	m.change.Lock()
	defer m.change.Unlock()
	rec := m.record()
	if m.replaced() != nil || rec.Status != status.PendingMirror.String() {
		return false, nil
	}
	m.mu.Lock()
	m.retired = true
	m.mu.Unlock()
	m.link.mu.Lock()
	delete(m.link.mirrors, rec.Topic)
	m.link.mu.Unlock()
	return true, m.link.mgr.deleteMirrorRecords(ctx, rec)
}

// activate ends the making of a mirror: it is ACTIVE, or paused with its link. One
// record, since other replicas do what stands there.
func (m *MirrorTopic) activate(ctx context.Context, change func(*mirrorRecord)) error {
	first := status.Active
	if m.link.config().Paused {
		var err error
		if first, err = status.Next(first, status.LinkIsPaused); err != nil {
			return err
		}
	}
	return m.apply(ctx, status.Activated, func(r *mirrorRecord) {
		change(r)
		r.Status, r.Unmade = first.String(), false
	})
}

// complete goes on with a mirror whose creation was interrupted.
func (l *Link) complete(ctx context.Context, m *MirrorTopic) {
	pause := retryMin
	for ctx.Err() == nil {
		_, err := l.build(ctx, m)
		switch {
		case err == nil:
			m.startIn(l)
			return
		case errors.Is(err, errNotMade):
			return
		}
		l.log.Error("a mirror's creation was interrupted and cannot go on yet", "topic", m.name(), "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(pause*2, retryMax)
	}
}

// build makes guard, topic and first segments, each only where it is missing.
// made tells that the topic stands and is ours.
func (l *Link) build(ctx context.Context, m *MirrorTopic) (made bool, err error) {
	ask, done, err := m.makes(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	if m.record().Rejoined {
		return true, l.openRejoined(ctx, ask, m)
	}
	return l.openNew(ctx, ask, m)
}

// openNew makes a mirror over a topic that it makes too.
func (l *Link) openNew(ctx, ask context.Context, m *MirrorTopic) (made bool, err error) {
	rec := m.record()
	configs, err := l.wantedConfigs(ask, rec)
	if err != nil {
		return false, err
	}
	// The guard first: between the topic and its guard nobody must get in.
	guard, err := l.mgr.setGuard(ctx, l, rec.Topic)
	if err != nil {
		return false, fmt.Errorf("read-only guard of %s: %w", rec.Topic, err)
	}
	rf := rec.ReplicationFactor
	if rf == 0 {
		rf = -1
	}
	res, err := l.mgr.local.adm.CreateTopic(ctx, rec.Partitions, rf, configs, rec.Topic)
	if err == nil {
		err = res.Err
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return false, api.BadRequest("mirror topic '%s' could not be created: %v %s", rec.Topic, l.mgr.lacking(err, "CREATE", resourceTopic, rec.Topic), res.ErrMessage)
	}
	existed := err != nil
	id, err := l.awaitTopic(ask, rec.Topic, rec.Partitions)
	if err != nil {
		return true, err
	}
	if existed {
		// Somebody else may have made it between our look and our creation.
		n, err := l.filled(ask, rec)
		if err == nil && n >= 0 {
			err = api.BadRequest("Topic '%s' already exists on this cluster and partition %d holds records: a mirror cannot be made over it.", rec.Topic, n)
		}
		if err != nil {
			return false, err
		}
	}
	if err := ask.Err(); err != nil { // what follows writes its record and maps
		return true, err
	}
	if err := m.edit(ctx, func(r *mirrorRecord) { r.TopicID, r.Guard = idString(id), guard }); err != nil {
		return true, err
	}
	err = l.firstSegments(ctx, m, 0, rec.Partitions, func(n int32) (int64, error) { return l.startOffset(ask, rec.SourceTopic, n, false) })
	if err != nil {
		return true, err
	}
	if err := l.forgetLedger(ctx, rec); err != nil {
		return true, err
	}
	m.renewPartitions()
	return true, m.activate(ctx, func(*mirrorRecord) {})
}

// filled is the first partition of a topic of this cluster that holds records; -1 if
// none does.
func (l *Link) filled(ctx context.Context, rec mirrorRecord) (int32, error) {
	var tps []topicPartition
	for n := range rec.Partitions {
		tps = append(tps, topicPartition{rec.Topic, n})
	}
	ends, err := l.mgr.local.offsets(ctx, replicaDebug, offsetLatest, tps...)
	if err != nil {
		return -1, err
	}
	for _, tp := range tps {
		if ends[tp] > 0 {
			return tp.partition, nil
		}
	}
	return -1, nil
}

// awaitTopic waits until all of a new topic's partitions have leaders.
func (l *Link) awaitTopic(ctx context.Context, topic string, partitions int32) ([16]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*requestTimeout)
	defer cancel()
	for {
		l.mgr.local.forget(topic)
		_, id, err := l.mgr.local.leader(ctx, topic, partitions-1)
		if err == nil {
			ready := true
			t, _ := l.mgr.local.topic(topic)
			for _, b := range t.leaders {
				ready = ready && b >= 0
			}
			if ready {
				return id, nil
			}
		}
		select {
		case <-ctx.Done():
			return id, fmt.Errorf("mirror topic %s was created but has no leaders yet: %w", topic, errors.Join(err, ctx.Err()))
		case <-time.After(retryMin):
		}
	}
}

// endUnmade readies mirrors that are still without error and were not made whole for
// their end, which needs a map of each partition and cannot ask the source for it: what
// has no map has mirrored nothing, so that it stopped at the source's offset 0, wherever
// it would have begun.
func (l *Link) endUnmade(ctx context.Context, mirrors map[*MirrorTopic]error) {
	_, unmade := halves(without(mirrors))
	errs := make([]error, len(unmade))
	var wg sync.WaitGroup
	for i, m := range unmade {
		wg.Go(func() { errs[i] = l.mapUnmade(ctx, m) })
	}
	wg.Wait()
	for i, m := range unmade {
		mirrors[m] = errs[i]
	}
}

// halves parts mirrors that end into those that were made whole and those of which that
// is not known.
func halves(mirrors []*MirrorTopic) (whole, unmade []*MirrorTopic) {
	for _, m := range mirrors {
		// Before alone, from an engine that did not record Unmade.
		if rec := m.record(); rec.Unmade || rec.Before == status.PendingMirror.String() {
			unmade = append(unmade, m)
		} else {
			whole = append(whole, m)
		}
	}
	return whole, unmade
}

func (l *Link) mapUnmade(ctx context.Context, m *MirrorTopic) error {
	m.unmake()
	if err := m.awaitMaker(ctx); err != nil {
		return err
	}
	defer m.making.Unlock()
	rec := m.record()
	if rec.TopicID == "" {
		id, err := l.foundUnmade(ctx, rec)
		if err != nil {
			return err
		}
		if err := m.edit(ctx, func(r *mirrorRecord) { r.TopicID = id }); err != nil {
			return err
		}
	}
	var err error
	switch {
	case !rec.Rejoined:
		err = l.firstSegments(ctx, m, 0, rec.Partitions, func(int32) (int64, error) { return 0, nil })
	case !rec.Fenced: // with maps, and perhaps with the stop offsets of its former life
		err = l.forgetStops(ctx, rec)
	}
	if err != nil {
		return fmt.Errorf("mirror topic %s was not made whole before its end: %w", rec.Topic, err)
	}
	m.renewPartitions()
	return nil
}

// foundUnmade finds the topic of a mirror of which a crash left no more than the record:
// empty, or it is not ours; a *failure if there is none to end.
func (l *Link) foundUnmade(ctx context.Context, rec mirrorRecord) (id string, err error) {
	if err := l.mgr.local.refresh(ctx, rec.Topic); err != nil {
		return "", fmt.Errorf("look for mirror topic %s: %w", rec.Topic, err)
	}
	t, ok := l.mgr.local.topic(rec.Topic)
	missing := !ok || errors.Is(t.err, kerr.UnknownTopicOrPartition)
	since := l.absent("local/"+rec.Topic, missing)
	switch {
	case missing && since < goneAfter:
		return "", fmt.Errorf("mirror topic %s is not there", rec.Topic)
	case missing:
		return "", topicGone(rec, "was never made")
	case t.err != nil:
		return "", fmt.Errorf("look for mirror topic %s: %w", rec.Topic, t.err)
	case len(t.leaders) != int(rec.Partitions):
		return "", topicGone(rec, fmt.Sprintf("has %d partitions for the mirror's %d, and is somebody else's", len(t.leaders), rec.Partitions))
	}
	n, err := l.filled(ctx, rec)
	if err == nil && n >= 0 {
		err = topicGone(rec, fmt.Sprintf("holds records of somebody else, in partition %d,", n))
	}
	return idString(t.id), err
}
