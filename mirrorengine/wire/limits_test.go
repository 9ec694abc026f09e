package wire

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

func TestABudgetIsNeverOverdrawnByReservations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 1000
		b := NewBudget(limit)
		ends := make(chan struct{})
		for range 20 {
			go func() {
				for range 200 {
					n := int64(1 + rand.IntN(limit))
					if err := b.Reserve(t.Context(), n); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Duration(rand.IntN(100))) //nolint:forbidigo // synctest's clock: the bubble's, not the wall's
					held := rand.Int64N(n + 1)
					b.Settle(n, held)
					b.Release(held)
				}
				ends <- struct{}{}
			}()
		}
		for range 20 {
			<-ends
		}
		if used, peak := b.Used(); used != 0 || peak > limit {
			t.Errorf("%d used in the end, %d at most of %d", used, peak, limit)
		}
	})
}

func TestABudgetGrantsOneTooLargeReservationAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(10)
		if err := b.Reserve(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Reserve(ctx, 1); err == nil {
			t.Fatal("reserved beyond the limit")
		}
		got := make(chan error)
		go func() { got <- b.Reserve(t.Context(), 10) }()
		synctest.Wait()
		b.Settle(50, 60) // a batch larger than what was asked for
		b.Release(60)
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		if used, peak := b.Used(); used != 10 || peak != 60 {
			t.Errorf("used %d, peak %d", used, peak)
		}
	})
}

func TestAPaceHoldsOnAverageWhateverTheSizes(t *testing.T) {
	now := time.Unix(0, 0)
	p := NewPace(1000)
	total := 0
	for now.Before(time.Unix(100, 0)) {
		if wait := p.Wait(now); wait > 0 {
			now = now.Add(wait)
			continue
		}
		n := 1 + rand.IntN(3000)
		p.Paid(now, n)
		total += n
	}
	if total < 100_000 || total > 103_000 {
		t.Errorf("%d bytes in 100 s at 1000 bytes a second", total)
	}
	if got := p.Portion(1<<20, 64); got != 200 {
		t.Errorf("a portion of %d bytes", got)
	}
	var none Pace
	none.Paid(now, 1<<30)
	if none.Wait(now) != 0 || none.Portion(77, 1) != 77 {
		t.Error("the zero value bounds")
	}
}
