package link

import (
	"math/rand/v2"
	"testing"
	"time"
)

// wholeClock is the lag clock without thinning, as a dumb twin.
type wholeClock struct{ lagClock }

func (w *wholeClock) sample(now time.Time, hw int64) {
	w.seen = now
	if n := len(w.samples); n > 1 && now.Sub(w.samples[n-2].at) < lagEvery {
		w.samples[n-1] = lagSample{now, hw}
		return
	}
	w.samples = append(w.samples, lagSample{now, hw})
}

func TestAThinnedLagClockTellsWhatAWholeOneDoes(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 7))
		var thin lagClock
		var whole wholeClock
		now, hw := time.Unix(1_700_000_000, 0), int64(0)
		for range 500 {
			now = now.Add(time.Duration(rng.IntN(40_000)) * time.Millisecond)
			if rng.IntN(4) == 0 {
				hw += int64(rng.IntN(50))
			}
			thin.sample(now, hw)
			whole.sample(now, hw)
			at := hw - int64(rng.IntN(20))
			if a, b := thin.rate(now), whole.rate(now); a != b {
				t.Fatalf("seed %d: rate %v, whole %v", seed, a, b)
			}
			a, _ := thin.heldAt(at)
			b, _ := whole.heldAt(at)
			if len(whole.samples) < lagKeep && !a.Equal(b) {
				t.Fatalf("seed %d: held %d at %s, whole %s", seed, at, a, b)
			}
			if a, b := thin.seconds(now, at, now, sourceGrace), whole.seconds(now, at, now, sourceGrace); a != b {
				t.Fatalf("seed %d: %v seconds, whole %v", seed, a, b)
			}
		}
	}
}

// A day of looks at an idle partition leaves a few samples.
func TestAnIdlePartitionKeepsFewSamples(t *testing.T) {
	var l lagClock
	now := time.Unix(1_700_000_000, 0)
	for range 24 * 120 {
		now = now.Add(retentionEvery)
		l.sample(now, 7)
	}
	if len(l.samples) > 8 {
		t.Errorf("%d samples", len(l.samples))
	}
}
