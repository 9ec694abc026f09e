package link

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// A replica that does not lead keeps no tip while a partition is idle, and asks for the
// source's configs once. What the leader has written, and the source says now, counts.
func TestAReplicaFailsACompactedMirrorByTheNewestTipAndConfigs(t *testing.T) {
	t.Parallel()
	now := time.Now()
	old, hour := now.Add(-2*time.Hour), sourceFacts{known: true, compacted: true, deleteRetention: time.Hour, retention: -1, retentionBytes: -1}
	for name, tc := range map[string]struct {
		recorded time.Time
		keep     string // delete.retention.ms at the source
		want     status.Status
	}{
		"all was held a short while ago":  {now, "3600000", status.Active},
		"tombstones stand for longer now": {old, "86400000", status.Active},
		"tombstones may be gone":          {old, "3600000", status.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			src := newSite(t, "src", kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "86400000"}))
			compact, small := "compact", "1"
			src.topic(t, "orders", spreadOver, map[string]*string{"cleanup.policy": &compact, "delete.retention.ms": &tc.keep, "segment.bytes": &small})
			c := newCrew(t, "a", "b")
			m := c.leader(t)
			newTestLink(t, m, src, nil)
			newTestMirror(t, m, "orders")
			c.spread(t, "orders", spreadOver)
			other := mirrorOf(t, c.all[c.name(func(r *Manager) bool { return r != m })], "orders")
			var p *partition
			for _, p = range other.parts() {
				if other.link.mgr.store.Owned(p.shard) {
					break
				}
			}
			write := func(key, value string) {
				r := &kgo.Record{Topic: "orders", Partition: p.n, Key: []byte(key), Value: []byte(value)}
				if err := src.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			write("a", "1")
			write("b", "1")
			awaitLagZero(t, m, src, "orders")
			alter(t, m, api.VerbPause, "orders")
			c.halted(t, "orders")
			p.mu.Lock()
			p.tip, p.lag, p.marks = old, lagClock{}, nil
			p.mu.Unlock()
			other.learn(hour)
			if err := mirrorOf(t, m, "orders").edit(t.Context(), func(r *mirrorRecord) { r.TipAt = tc.recorded }); err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				write("d", fmt.Sprint(i))
			}
			src.Compact()
			if n := len(src.committed(t, "orders", p.n)); n == 6 {
				t.Fatal("the log has no hole")
			}
			alter(t, m, api.VerbResume, "orders")
			end := src.end(t, "orders", p.n)
			eventually(t, "the partition has gone on or failed", func() error {
				p.mu.Lock()
				defer p.mu.Unlock()
				if p.failure == nil && p.pos.source < end {
					return errors.New(p.stalled)
				}
				if failed := p.failure != nil; failed != (tc.want == status.Failed) {
					t.Fatalf("failed %v: %+v", failed, p.failure)
				}
				return nil
			})
			awaitStatus(t, m, "orders", tc.want)
		})
	}
}
