package link

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/batch"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// skewed rewrites every time that the state holds of a mirror as a replica would
// have written it whose clock is wrong by so much.
func skewed(t *testing.T, m *Manager, by time.Duration) {
	t.Helper()
	mirrors, err := state.All[mirrorRecord](m.store, mirrorsPrefix)
	if err != nil {
		t.Fatal(err)
	}
	guards, err := state.All[guardRecord](m.store, "guard/")
	if err != nil {
		t.Fatal(err)
	}
	groups, err := state.All[groupRecord](m.store, groupKeys("l"))
	if err != nil {
		t.Fatal(err)
	}
	var entries []state.Entry
	for _, r := range mirrors {
		r.StateTime, r.TipAt = r.StateTime.Add(by), r.TipAt.Add(by)
		entries = append(entries, state.Entry{Key: mirrorKey(r.Link, r.Topic), Value: r})
	}
	for _, r := range guards {
		r.MadeAt = r.MadeAt.Add(by)
		entries = append(entries, state.Entry{Key: guardKey(r.Link, r.Topic), Value: r})
	}
	for _, r := range groups {
		r.WroteAt = r.WroteAt.Add(by)
		entries = append(entries, state.Entry{Key: groupAt{r.Group, r.Topic, r.Partition}.key("l"), Value: r})
	}
	if err := m.put(t.Context(), 0, entries...); err != nil {
		t.Fatal(err)
	}
}

// A replica takes over from one whose clock was hours ahead or behind: records, the
// map, ownership of group offsets, guards and stop offsets are as ever, a promote
// has its time, and no lag is negative.
func TestAReplicaWithASkewedClockLeavesNothingWrongBehind(t *testing.T) {
	for _, by := range []time.Duration{6 * time.Hour, -6 * time.Hour} {
		t.Run(fmt.Sprint(by), func(t *testing.T) {
			src, dst := newSite(t, "src"), newGuardedSite(t)
			src.topic(t, "orders", 1, nil)
			src.produce(t, "orders", 0, 0, 10)
			src.commit(t, "app", "orders", 0, 4)
			m, stop := guardedEngine(t, dst, "admin", false)
			newTestLink(t, m, src, syncing)
			newTestMirror(t, m, "orders")
			awaitLagZero(t, m, src, "orders")
			syncNow(t, m)
			dst.expectCommit(t, "app", "orders", 0, 4)
			wantDenials(t, m, "User:* WRITE orders")
			skewed(t, m, by)
			stop()
			entry := denial(everybody, "orders", opWrite)

			m, _ = guardedEngine(t, dst, "admin", false)
			src.produce(t, "orders", 0, 10, 5)
			src.commit(t, "app", "orders", 0, 7)
			awaitLagZero(t, m, src, "orders")
			if s := syncNow(t, m)[groupAt{"app", "orders", 0}]; !s.Owned || s.Problem != "" {
				t.Errorf("the group's offset: %+v", s)
			}
			dst.expectCommit(t, "app", "orders", 0, 7)
			p, err := m.Progress(t.Context(), "l")
			if err != nil || p.Mirrors[0].Partitions[0].LagSeconds < 0 {
				t.Errorf("lag of %+v: %v", p.Mirrors, err)
			}
			// Somebody takes the guard away: it is made again, now.
			if bad, err := m.deleteACLs(t.Context(), []api.ACLEntry{entry}); err != nil || len(bad) > 0 {
				t.Fatal(bad, err)
			}
			l, err := m.link("l")
			if err != nil {
				t.Fatal(err)
			}
			mt, err := l.mirror("orders")
			if err != nil {
				t.Fatal(err)
			}
			if by > 0 { // behind, the record says that it was made long ago
				if level, err := m.setGuard(t.Context(), l, "orders"); err != nil || level != api.GuardSet {
					t.Errorf("guard %s: %v", level, err)
				}
				wantDenials(t, m, "User:* WRITE orders")
			}
			if since := time.Since(mt.lastProgress()); since < 0 || since > time.Minute {
				t.Errorf("its last progress was %s ago: a promote would be given up at once, or never", since)
			}
			mt.parts()[0].mu.Lock()
			tip := mt.parts()[0].tipNow()
			mt.parts()[0].mu.Unlock()
			if tip.After(time.Now()) {
				t.Errorf("the mirror is said to hold all up to %s", tip)
			}
			alter(t, m, api.VerbPromote, "orders")
			awaitStatus(t, m, "orders", status.Stopped)
			segs, err := m.Segments(t.Context(), "l", "orders")
			if err != nil || segs.Partitions[0].SourceStop != 15 || segs.Partitions[0].DestStop != 16 {
				t.Errorf("stopped at %+v: %v", segs.Partitions, err)
			}
			if got, want := atOffsets(dst.rawRecords(t, "orders")), atOffsets(src.rawRecords(t, "orders")); got != want {
				t.Errorf("the mirror has %s, the source %s", got, want)
			}
		})
	}
}

// rawRecords are the records of partition 0 that are there, as the site's own client
// reads them.
func (s *site) rawRecords(t *testing.T, topic string) []batch.Record {
	t.Helper()
	var out []batch.Record
	c := newCluster(s.client)
	end, err := c.offset(t.Context(), replicaConsumer, offsetLatest, topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = c.scan(t.Context(), topicPartition{topic, 0}, 0, end, true, func(r *batch.Record) error {
		out = append(out, *r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func atOffsets(recs []batch.Record) string {
	var out []string
	for _, r := range recs {
		out = append(out, fmt.Sprintf("%d:%s", r.Offset, r.Value))
	}
	return strings.Join(out, " ")
}
