package link

import (
	"context"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// sourceGrace is how long a silent source still counts as reachable.
const sourceGrace = 5 * time.Second

// watchEvery is how often a link looks at its source and at its mirrors' logs.
const watchEvery = time.Second

// watch looks at the source and at the mirrors once.
func (l *Link) watch(ctx context.Context) {
	mirrors := l.all()
	var topics []string
	for _, m := range mirrors {
		if rec := m.record(); !final(rec.Status) {
			topics = append(topics, rec.SourceTopic)
		}
	}
	err := l.src.refresh(ctx, topics...)
	if ctx.Err() != nil {
		return
	}
	l.sourceAnswered(ctx, mirrors, err)
	if err == nil && l.leading {
		for _, m := range mirrors {
			l.compare(ctx, m)
		}
	}
	l.lookForGone(ctx, mirrors)
	l.lookForForeign(ctx, mirrors)
	if l.leading {
		l.drainPromotes(ctx, mirrors)
	}
	l.mgr.metrics.observe(l)
}

// final: the mirror will not read its source again.
func final(s string) bool { return s == status.Stopped.String() }

// sourceAnswered keeps the link's state and the mirrors' SOURCE_UNAVAILABLE.
func (l *Link) sourceAnswered(ctx context.Context, mirrors []*MirrorTopic, err error) {
	now := time.Now()
	l.mu.Lock()
	was := l.srcError
	l.srcError = err
	if err == nil {
		l.srcDown = time.Time{}
	} else if l.srcDown.IsZero() {
		l.srcDown = now
	}
	down, cfg := l.srcDown, l.cfg
	l.mu.Unlock()
	if (was == nil) != (err == nil) {
		l.log.Warn("source reachability changed", "reachable", err == nil, "error", err)
	}
	if !l.leading {
		return
	}
	lost := !down.IsZero() && now.Sub(down) > cfg.AvailabilityCheck*time.Duration(cfg.AvailabilityFailures)
	changed := map[*MirrorTopic]error{}
	event := status.SourceFound
	if lost {
		event = status.SourceLost
	}
	for _, m := range mirrors {
		switch s := m.record().Status; {
		case lost && s == status.Active.String(), err == nil && s == status.SourceUnavailable.String():
			changed[m] = nil
		}
	}
	// What is refused has changed meanwhile; what could not be written is due again
	// at the next look.
	l.recordAll(ctx, changed, func(m *MirrorTopic) (mirrorRecord, error) { return m.next(event, nil) })
}

// reachable tells whether the source answered lately.
func (l *Link) reachable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.srcError == nil && time.Since(l.src.lastContact()) < sourceGrace
}

// lookForForeign compares the mirrors' log ends with what this engine wrote.
func (l *Link) lookForForeign(ctx context.Context, mirrors []*MirrorTopic) {
	var tps []topicPartition
	byTP := map[topicPartition]*partition{}
	for _, m := range mirrors {
		if !runs(m.record().Status) {
			continue
		}
		for _, p := range m.parts() {
			if p.located() && l.mgr.store.Owned(p.shard) {
				tps = append(tps, p.dst)
				byTP[p.dst] = p
			}
		}
	}
	ends, _ := l.mgr.local.offsets(ctx, replicaConsumer, offsetLatest, tps...)
	for tp, end := range ends {
		p := byTP[tp]
		p.mu.Lock()
		beyond := end > p.pos.dest
		p.mu.Unlock()
		if beyond {
			p.suspectForeign()
		}
	}
}
