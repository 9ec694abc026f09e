package link

import (
	"slices"
	"time"
)

// lagClock measures a partition's lag on the engine's clock: it keeps samples of
// the source's high watermark, so that lag in seconds needs neither the source's
// clock nor the records' timestamps.
type lagClock struct {
	samples []lagSample // oldest first, high watermarks rising
	seen    time.Time   // last time that the source told a high watermark
}

type lagSample struct {
	at time.Time
	hw int64
}

// Samples are kept apart by lagEvery, lagKeep of them: ten minutes.
const (
	lagEvery = time.Second
	lagKeep  = 600
	rateOver = 30 * time.Second
)

func (l *lagClock) sample(now time.Time, hw int64) {
	l.seen = now
	n := len(l.samples)
	if n > 1 && now.Sub(l.samples[n-2].at) < lagEvery {
		l.samples[n-1] = lagSample{now, hw}
		return
	}
	l.samples = append(l.samples, lagSample{now, hw})
	l.thin(now)
	if len(l.samples) > lagKeep {
		l.samples = append(l.samples[:0], l.samples[len(l.samples)-lagKeep:]...)
	}
}

// thin drops a sample within a stretch without news, of which the first and the
// last say all: an idle partition would otherwise come to hold lagKeep of them.
// What rate looks at stays.
func (l *lagClock) thin(now time.Time) {
	i := len(l.samples) - 1
	for i >= 0 && now.Sub(l.samples[i].at) <= rateOver {
		i--
	}
	if i >= 2 && l.samples[i].hw == l.samples[i-2].hw {
		l.samples = slices.Delete(l.samples, i-1, i)
	}
}

// highWatermark is the last one seen, -1 if none was.
func (l *lagClock) highWatermark() int64 {
	if len(l.samples) == 0 {
		return -1
	}
	return l.samples[len(l.samples)-1].hw
}

// seconds is the age of the newest sample at or below the mirrored position;
// while that is the newest one of all, the time since the source was last
// heard of beyond grace, since nobody knows what it took since.
func (l *lagClock) seconds(now time.Time, position int64, contact time.Time, grace time.Duration) float64 {
	if len(l.samples) == 0 {
		return 0
	}
	newest := l.samples[len(l.samples)-1]
	if newest.hw <= position {
		if blind := now.Sub(contact); blind > grace {
			return blind.Seconds()
		}
		return 0
	}
	for i := len(l.samples) - 1; i >= 0; i-- {
		if l.samples[i].hw <= position {
			return max(0, now.Sub(l.samples[i].at).Seconds())
		}
	}
	return max(0, now.Sub(l.samples[0].at).Seconds())
}

// rate is the source's production in records per second over the time before
// the source last answered: a source that answers without news produces
// nothing, one that does not answer is taken to go on as it did.
func (l *lagClock) rate(contact time.Time) float64 {
	n := len(l.samples)
	if n == 0 {
		return 0
	}
	last := l.samples[n-1]
	end := last.at
	if contact.After(end) {
		end = contact
	}
	first := last
	for i := n - 1; i >= 0 && end.Sub(l.samples[i].at) <= rateOver; i-- {
		first = l.samples[i]
	}
	if d := end.Sub(first.at).Seconds(); d > 0 {
		return float64(last.hw-first.hw) / d
	}
	return 0
}
