package link

import (
	"context"
	"sync"
)

// gather makes one question of those that come while another is under way: a
// thousand partitions that start at the same time ask a broker a few times, not a
// thousand.
type gather[K comparable, V any] struct {
	// ask answers for all keys; each has a value or an error.
	ask func(ctx context.Context, keys []K) (map[K]V, map[K]error)

	turn sync.Mutex // held while a question is under way; taken before mu

	mu   sync.Mutex // guards next
	next *asking[K, V]
}

// asking is a question that is being put together, then asked.
type asking[K comparable, V any] struct {
	keys   []K
	values map[K]V
	errs   map[K]error
	done   chan struct{} // closed when values and errs are there
}

// one asks for a key. The question goes on without a caller whose ctx ends: others
// may wait for it.
func (g *gather[K, V]) one(ctx context.Context, key K) (V, error) {
	g.mu.Lock()
	a := g.next
	if a == nil {
		a = &asking[K, V]{done: make(chan struct{})}
		g.next = a
		go g.put(context.WithoutCancel(ctx), a)
	}
	a.keys = append(a.keys, key)
	g.mu.Unlock()
	select {
	case <-a.done:
		return a.values[key], a.errs[key]
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

func (g *gather[K, V]) put(ctx context.Context, a *asking[K, V]) {
	g.turn.Lock()
	defer g.turn.Unlock()
	g.mu.Lock()
	g.next = nil // whoever comes from here on waits for the next
	g.mu.Unlock()
	a.values, a.errs = g.ask(ctx, a.keys)
	close(a.done)
}

// byLeader gathers the questions to each leader for themselves, so that a broker that hangs holds up only what it leads.
type byLeader[K comparable, V any] struct {
	ask func(ctx context.Context, broker int32, keys []K) (map[K]V, map[K]error)

	mu sync.Mutex // guards by
	by map[int32]*gather[K, V]
}

func (l *byLeader[K, V]) one(ctx context.Context, broker int32, key K) (V, error) {
	l.mu.Lock()
	g := l.by[broker]
	if g == nil {
		g = &gather[K, V]{ask: func(ctx context.Context, keys []K) (map[K]V, map[K]error) { return l.ask(ctx, broker, keys) }}
		if l.by == nil {
			l.by = map[int32]*gather[K, V]{}
		}
		l.by[broker] = g
	}
	l.mu.Unlock()
	return g.one(ctx, key)
}
