package link

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// keyedAs writes one record per key; an empty value is a tombstone.
func (s *site) keyedAs(t *testing.T, topic string, pairs ...string) {
	t.Helper()
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		r := &kgo.Record{Topic: topic, Key: []byte(key)}
		if value != "" {
			r.Value = []byte(value)
		}
		if err := s.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// A paused mirror of a compacted topic misses a tombstone that the cleaner takes.
// It may go on as long as tombstones stand, and must not afterwards.
func TestACompactedMirrorThatWasBehindForLongerThanTombstonesStandIsFailed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		keep string
		want status.Status
	}{
		"longer":   {"1", status.Failed},
		"not long": {"86400000", status.Active},
	} {
		t.Run(name, func(t *testing.T) {
			src := newSite(t, "src", kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "86400000"}))
			dst := newSite(t, "dst")
			compact, small := "compact", "1"
			src.topic(t, "orders", 1, map[string]*string{"cleanup.policy": &compact, "delete.retention.ms": &tc.keep, "segment.bytes": &small})
			src.keyedAs(t, "orders", "a=1", "b=1", "c=1")
			m, _ := newEngine(t, dst)
			newTestLink(t, m, src, nil)
			newTestMirror(t, m, "orders")
			awaitLagZero(t, m, src, "orders")
			alter(t, m, api.VerbPause, "orders")
			src.keyedAs(t, "orders", "a=", "d=1", "d=2", "d=3", "e=1")
			eventually(t, "the log has a hole", func() error {
				src.Compact()
				recs := src.committed(t, "orders", 0)
				if n := recs[len(recs)-1].Offset + 1; int64(len(recs)) == n {
					return fmt.Errorf("all of %d offsets stand", n)
				}
				return nil
			})
			alter(t, m, api.VerbResume, "orders")
			if tc.want == status.Failed {
				expectFailed(t, m, "orders", api.MirrorErrorIllegalState, "keeps tombstones for 1ms", "raise delete.retention.ms")
				return
			}
			awaitLagZero(t, m, src, "orders")
			awaitStatus(t, m, "orders", status.Active)
		})
	}
}

func TestAFirstCopyOfACompactedTopicWithHolesIsNoFault(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "src"), newSite(t, "dst")
	compact, small := "compact", "1"
	src.topic(t, "orders", 1, map[string]*string{"cleanup.policy": &compact, "segment.bytes": &small})
	src.keyedAs(t, "orders", "a=1", "a=2", "b=1", "a=3", "c=1")
	src.Compact()
	m, _ := newEngine(t, dst)
	newTestLink(t, m, src, nil)
	newTestMirror(t, m, "orders")
	awaitLagZero(t, m, src, "orders")
	awaitStatus(t, m, "orders", status.Active)
}

// retaining is a mirror with 10 records whose source keeps records for so many
// milliseconds, as the link knows.
func retaining(t *testing.T, ms string) (src, dst *site, m *Manager, stop func()) {
	t.Helper()
	o := orders{records: 10, topic: map[string]*string{"retention.ms": &ms}, link: map[string]string{"topic.config.sync.ms": "100"}}
	src, dst, m, stop = o.mirror(t)
	eventually(t, "the source's configs are known", func() error {
		if !mirrorOf(t, m, "orders").sourceFacts().known {
			return errors.New("not yet")
		}
		return nil
	})
	return src, dst, m, stop
}

// behindBy is a paused mirror, taken for running, whose tip is that old; its source
// keeps records for an hour.
func behindBy(t *testing.T, age time.Duration) (*Manager, *Link, *partition) {
	t.Helper()
	src, _, m, _ := retaining(t, "3600000")
	mt := mirrorOf(t, m, "orders")
	mt.halt()
	src.produce(t, "orders", 0, 10, 100)
	p := mt.parts()[0]
	p.mu.Lock()
	p.tip = time.Now().Add(-age)
	p.lag = lagClock{}
	p.mu.Unlock()
	return m, linkOf(t, m), p
}

// gauge is the only series of a metric, -1 if there is none.
func gauge(t *testing.T, m *Manager, name string) float64 {
	t.Helper()
	families, err := m.opts.Registry.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name && len(f.GetMetric()) == 1 {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}

func TestRetentionThatComesNearIsToldAhead(t *testing.T) {
	t.Parallel()
	m, l, p := behindBy(t, 50*time.Minute)
	before, now := lagsSeen{}, time.Now()
	if faults := l.lookAtRetention(t.Context(), before, now); len(faults) > 0 {
		t.Errorf("one look tells no rate: %+v", faults)
	}
	faults := l.lookAtRetention(t.Context(), before, now.Add(time.Minute))
	if text := fmt.Sprint(faults); len(faults) != 1 || !strings.Contains(text, "orders partition 0: 100 records behind and not catching up, 9m0s left") {
		t.Errorf("%s", text)
	}
	if got := gauge(t, m, "drawbridge_retention_left_seconds"); got < 500 || got > 600 {
		t.Errorf("%v seconds left, want about 540", got)
	}
	// It catches up: 50 records in a minute, the other 50 in another, in time.
	p.mu.Lock()
	p.pos.source += 50
	p.mu.Unlock()
	if faults := l.lookAtRetention(t.Context(), before, now.Add(2*time.Minute)); len(faults) > 0 {
		t.Errorf("in time: %+v", faults)
	}
	p.mu.Lock()
	p.pos.source++
	p.mu.Unlock()
	faults = l.lookAtRetention(t.Context(), before, now.Add(3*time.Minute))
	if text := fmt.Sprint(faults); len(faults) != 1 || !strings.Contains(text, "49 records behind, 49m0s to catch up at this rate") {
		t.Errorf("%s", text)
	}
}

func TestRetentionThatIsFarAwayIsNotTold(t *testing.T) {
	t.Parallel()
	m, l, _ := behindBy(t, 10*time.Minute)
	before, now := lagsSeen{}, time.Now()
	for i := range 3 {
		if faults := l.lookAtRetention(t.Context(), before, now.Add(time.Duration(i)*time.Minute)); len(faults) > 0 {
			t.Errorf("%+v", faults)
		}
	}
	if got := gauge(t, m, "drawbridge_retention_left_seconds"); got < 2800 || got > 3000 {
		t.Errorf("%v seconds left", got)
	}
}

func TestATipIsKeptOverARestart(t *testing.T) {
	t.Parallel()
	_, dst, m, stop := retaining(t, "60000")
	later := time.Now().Truncate(time.Millisecond)
	old := func(r *mirrorRecord) { r.TipAt = later.Add(-2 * time.Minute) }
	if err := mirrorOf(t, m, "orders").edit(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	linkOf(t, m).lookAtRetention(t.Context(), lagsSeen{}, later)
	stop()
	m, _ = newEngine(t, dst)
	p := mirrorOf(t, m, "orders").parts()[0]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tip.Before(later) {
		t.Errorf("tip %s, want %s", p.tip, later)
	}
}

func TestAMirrorThatIsSteadilyBehindHasATip(t *testing.T) {
	const horizon, behind = 24 * time.Hour, 2 * time.Hour
	start := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	p := &partition{pos: position{known: true}, tip: start}
	for now := start; now.Before(start.Add(5 * horizon)); now = now.Add(retentionEvery) {
		end := int64(now.Sub(start) / time.Second) // a record a second
		p.lag.sample(now, end)
		p.mark(now, end, horizon)
		p.pos.source = max(0, end-int64(behind/time.Second))
		age := now.Sub(p.tipNow())
		if age > behind+horizon/(tipKept*2)+retentionEvery {
			t.Fatalf("after %s the tip is %s old, the mirror %s behind", now.Sub(start), age, behind)
		}
		if held := int64(p.tip.Sub(start) / time.Second); held > p.pos.source {
			t.Fatalf("after %s the tip is said to be %s, when the source had %d records and the mirror has %d", now.Sub(start), p.tip, held, p.pos.source)
		}
	}
	if n := len(p.marks); n > tipKept*2+1 {
		t.Errorf("%d marks", n)
	}
}
