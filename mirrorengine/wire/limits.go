package wire

import (
	"context"
	"sync"
	"time"
)

// Budget bounds the bytes that are fetched and not done with. What is asked for
// is reserved before, and the reservation made to fit what came; a broker may
// send more than it was asked for (at least one batch, KIP-74), so the budget
// can be overdrawn by one answer of each reader.
type Budget struct {
	mu    sync.Mutex // guards what follows
	limit int64
	used  int64
	peak  int64
	freed chan struct{} // closed and replaced when used falls
}

// NewBudget allows limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit, freed: make(chan struct{})} }

// Reserve waits until n bytes fit, or for ctx, and then nothing is reserved. While
// nothing is used anything fits.
func (b *Budget) Reserve(ctx context.Context, n int64) error {
	for ctx.Err() == nil {
		b.mu.Lock()
		if b.used == 0 || b.used+n <= b.limit {
			b.take(n)
			b.mu.Unlock()
			return nil
		}
		freed := b.freed
		b.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-freed:
		}
	}
	return ctx.Err()
}

// Settle puts what is held in the place of what was reserved.
func (b *Budget) Settle(reserved, held int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.take(held - reserved)
}

// Release gives bytes back.
func (b *Budget) Release(n int64) { b.Settle(n, 0) }

// take is called with mu.
func (b *Budget) take(n int64) {
	b.used += n
	b.peak = max(b.peak, b.used)
	if n < 0 {
		close(b.freed)
		b.freed = make(chan struct{})
	}
}

// Used is how many bytes are reserved or held, and Peak the most that ever were.
func (b *Budget) Used() (used, peak int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used, b.peak
}

// Pace bounds a flow to so many bytes a second. It is paid afterwards: who has
// taken bytes waits before the next ones until they are worked off, so that the
// average holds whatever the sizes are. The zero value and a rate of 0 bound nothing.
type Pace struct {
	rate float64 // bytes a second

	mu    sync.Mutex // guards ready
	ready time.Time
}

// NewPace allows rate bytes a second; 0 is no bound.
func NewPace(rate int64) *Pace { return &Pace{rate: float64(rate)} }

// Paid notes that n bytes were taken at now.
func (p *Pace) Paid(now time.Time, n int) {
	if p.rate <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready.Before(now) {
		p.ready = now
	}
	p.ready = p.ready.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
}

// Wait is how long nothing more may be taken, from now on.
func (p *Pace) Wait(now time.Time) time.Duration {
	if p.rate <= 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.ready.Sub(now))
}

// Portion is what may be asked for at once so that the flow stays even: about a
// fifth of a second of it, at least low.
func (p *Pace) Portion(n, low int32) int32 {
	if p.rate <= 0 {
		return n
	}
	return min(n, max(low, int32(min(p.rate/5, float64(n)))))
}
