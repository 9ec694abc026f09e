package activities

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// writer writes one record after the other.
type writer struct {
	client *kgo.Client
	topic  string

	mu    sync.Mutex // guards what follows
	begun time.Time  // when the last stored record was produced
	gap   time.Duration
}

// run writes until ctx ends.
func (w *writer) run(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		began := time.Now()
		if err := w.client.ProduceSync(ctx, &kgo.Record{Topic: w.topic, Value: []byte("x")}).FirstErr(); err != nil {
			if ctx.Err() == nil {
				t.Errorf("the super user: %v", err)
			}
			return
		}
		w.stored(began)
	}
}

func (w *writer) stored(began time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gap = max(w.gap, time.Since(w.begun))
	w.begun = began
}

// pause is the longest time since it was last asked in which the log may have stood still.
func (w *writer) pause() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := max(w.gap, time.Since(w.begun))
	w.gap = 0
	return longest
}

func TestAFenceThatASuperUserWritesThroughIsNotProven(t *testing.T) {
	f := newFenced(t, local.KFake, 1, ops, false)
	made := f.fence(t, "op-1", "orders")
	client, err := kgo.NewClient(append(f.cluster.Options(admin), kgo.DisableIdempotentWrite())...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	w := &writer{client: client, topic: "orders", begun: time.Now()}
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	var done sync.WaitGroup
	done.Go(func() { w.run(ctx, t) })
	defer done.Wait()
	defer stop()
	for {
		w.pause()
		ev := f.prove(t, "op-1", made.CanaryBefore, "orders")
		if ev.LogsStill && w.pause() >= holdFor && ctx.Err() == nil {
			continue // the log did stand still: the writer got no time on this machine
		}
		if line := runbook.Fence(ev); ev.LogsStill || !ev.CanaryRefused || line.Proven() {
			t.Errorf("evidence %+v gives %s", ev, line.Level)
		}
		return
	}
}
