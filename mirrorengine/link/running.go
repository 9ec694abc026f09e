package link

import (
	"context"
	"errors"
)

// start runs the partitions if they do not run yet, unless the mirror is to end where
// it stands: whoever ends it halts what ran before, and nothing comes behind that.
func (m *MirrorTopic) start(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cancel != nil || !m.rec.moves() {
		return
	}
	run, cancel := context.WithCancel(ctx)
	m.ctx, m.cancel, m.live = run, cancel, map[*partition]life{}
	m.launchWanted()
}

// life is a partition's while it runs.
type life struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// launchOwned runs the partitions whose shards have come to this replica, if the
// mirror runs.
func (m *MirrorTopic) launchOwned() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.launchWanted()
}

// launchWanted is launchOwned. Called with mu: so a shard that is lost meanwhile is
// either seen here, or its partitions are seen by release.
func (m *MirrorTopic) launchWanted() {
	if m.cancel == nil {
		return
	}
	for _, p := range m.partitions {
		if _, runs := m.live[p]; !runs && m.link.mgr.store.Owned(p.shard) {
			m.launch(m.ctx, p)
		}
	}
}

// launch runs one partition; a failure there fails the mirror. Called with mu.
func (m *MirrorTopic) launch(ctx context.Context, p *partition) {
	ctx, cancel := context.WithCancel(ctx)
	l := life{cancel, make(chan struct{})}
	m.live[p] = l
	p.mu.Lock()
	p.omap, p.failure, p.stop, p.passed = nil, nil, nil, passed{} // another replica may have gone on meanwhile
	p.mu.Unlock()
	m.running.Go(func() {
		defer close(l.done)
		defer cancel()
		var f *failure
		if err := p.run(ctx); errors.As(err, &f) {
			p.mu.Lock()
			p.failure = f
			p.mu.Unlock()
			if m.link.leading {
				m.link.background(func(ctx context.Context) { m.failed(ctx, f) })
			}
		}
	})
}

// release stops the partitions of a shard and waits for what they have under way.
func (m *MirrorTopic) release(shard int32) {
	for _, p := range m.parts() {
		if p.shard == shard {
			defer p.outdate()
		}
	}
	m.mu.Lock()
	var gone []life
	for p, l := range m.live {
		if p.shard == shard {
			l.cancel()
			gone = append(gone, l)
			delete(m.live, p)
		}
	}
	halting := m.live == nil
	m.mu.Unlock()
	for _, l := range gone {
		<-l.done
	}
	if halting {
		m.running.Wait()
	}
}

// outdate: another replica may go on from here.
func (p *partition) outdate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pos.heard, p.passed = true, passed{}
}

// halt stops the partitions and waits for what they have under way.
func (m *MirrorTopic) halt() { haltAll([]*MirrorTopic{m}) }

// haltAll is halt for many: all are told before one is waited for.
func haltAll(mirrors []*MirrorTopic) {
	for _, m := range mirrors {
		m.mu.Lock()
		cancel := m.cancel
		m.cancel, m.live = nil, nil
		m.mu.Unlock()
		if cancel != nil {
			cancel()
		}
	}
	for _, m := range mirrors {
		m.running.Wait()
	}
}
