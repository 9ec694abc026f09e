package link

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// countAll counts every request that a site is asked from now on but for the
// state topic's reading, heartbeats and handshakes, which come at any time.
func (s *site) countAll() *requests {
	c := &requests{n: map[kmsg.Key]int{}}
	s.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.KeepControl()
		switch r := req.(type) {
		case *kmsg.FetchRequest:
			if r.MaxWaitMillis == 1000 {
				return nil, nil, false // a follower of the state topic
			}
		case *kmsg.HeartbeatRequest, *kmsg.SASLHandshakeRequest, *kmsg.SASLAuthenticateRequest, *kmsg.ApiVersionsRequest:
			return nil, nil, false
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.n[kmsg.Key(req.Key())]++
		return nil, nil, false
	})
	return c
}

func sum(n map[kmsg.Key]int) int {
	total := 0
	for _, times := range n {
		total += times
	}
	return total
}

func named(n map[kmsg.Key]int) string {
	out := ""
	for _, key := range slices.SortedFunc(maps.Keys(n), func(a, b kmsg.Key) int { return cmp.Compare(a, b) }) {
		out += fmt.Sprintf(" %s=%d", key.Name(), n[key])
	}
	return out
}

// manyMirrors makes n mirrors with guards, records and the offsets of a few groups.
func manyMirrors(t testing.TB, src *site, m *Manager, n int) []string {
	t.Helper()
	topics := make([]string, n)
	for i := range topics {
		topics[i] = fmt.Sprintf("t%05d", i)
	}
	if _, err := src.adm.CreateTopics(t.Context(), 1, 1, nil, topics...); err != nil {
		t.Fatal(err)
	}
	var recs []*kgo.Record
	offsets := kadm.Offsets{}
	for _, topic := range topics {
		for range 3 {
			recs = append(recs, &kgo.Record{Topic: topic, Value: []byte("v")})
		}
		offsets.AddOffset(topic, 0, 2, -1)
	}
	if err := src.client.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for g := range 3 {
		if res, err := src.adm.CommitOffsets(t.Context(), fmt.Sprintf("g%d", g), offsets); err != nil || res.Error() != nil {
			t.Fatal(err, res.Error())
		}
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < n; i += 8 {
				if err := m.CreateMirror(t.Context(), "l", api.CreateMirror{SourceTopicName: topics[i], ReplicationFactor: 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "all mirrors hold all", func() error {
		all, err := m.Mirrors(t.Context(), "l", status.Active.String())
		for _, d := range all {
			if lag := d.MirrorLags[0]; lag.LastSourceFetchOffset < 3 {
				err = fmt.Errorf("%s at %d", d.MirrorTopicName, lag.LastSourceFetchOffset)
			}
		}
		if len(all) < n {
			err = fmt.Errorf("%d of %d are active", len(all), n)
		}
		return err
	})
	return topics
}

// failover is what one failover of many mirrors took.
type failover struct {
	topics   int
	wall     time.Duration
	took     time.Duration // with the guards' release: as long as requests were counted
	src, dst map[kmsg.Key]int
}

// failOverMany makes n mirrors between fresh clusters and fails them over by calls
// for each of them each, beside a name that is no mirror.
func failOverMany(t testing.TB, n, each int) failover {
	t.Helper()
	src, dst := newSite(t, "src"), newGuardedSite(t)
	m, stop := guardedEngine(t, dst, "admin", false)
	defer stop()
	newTestLink(t, m, src, syncing)
	topics := manyMirrors(t, src, m, n)
	if _, err := m.SyncGroups(t.Context(), "l"); err != nil {
		t.Fatal(err)
	}
	atSrc, atDst := src.countAll(), dst.countAll()
	began := time.Now()
	var res []api.AlterMirrorResult
	for some := range slices.Chunk(append(slices.Clone(topics), "none"), each) {
		got, err := m.AlterMirrors(t.Context(), "l", api.VerbFailover, api.AlterMirrors{MirrorTopicNames: some}, false)
		if err != nil {
			t.Fatal(err)
		}
		res = append(res, got...)
	}
	refused := map[string]bool{}
	for _, r := range res {
		if r.Err() != nil {
			refused[r.MirrorTopicName] = true
		}
	}
	if len(res) != n+1 || len(refused) != 1 || !refused["none"] {
		t.Errorf("%d results, refused are %v", len(res), refused)
	}
	for _, topic := range topics {
		awaitStatus(t, m, topic, status.Stopped)
	}
	out := failover{topics: n, wall: time.Since(began)}
	eventually(t, "all guards are released", func() error {
		p, err := m.Progress(t.Context(), "l")
		for _, mt := range p.Mirrors {
			if mt.Guard != api.GuardReleased {
				err = fmt.Errorf("the guard of %s is %s", mt.Topic, mt.Guard)
			}
		}
		return err
	})
	out.src, out.dst, out.took = atSrc.take(), atDst.take(), time.Since(began)
	t.Logf("%d topics in %s; source%s; destination%s", n, out.wall, named(out.src), named(out.dst))
	stopped, err := m.Mirrors(t.Context(), "l", status.Stopped.String())
	if err != nil || len(stopped) != n {
		t.Fatalf("%d are STOPPED: %v", len(stopped), err)
	}
	ledger, err := m.Ledger(t.Context(), "l")
	if err != nil || len(ledger.Entries) != n {
		t.Errorf("%d entries in the loss ledger: %v", len(ledger.Entries), err)
	}
	for _, topic := range []string{topics[0], topics[n/2], topics[n-1]} {
		if segs, err := m.Segments(t.Context(), "l", topic); err != nil || segs.Partitions[0].SourceStop != 3 || segs.Partitions[0].DestStop != 4 {
			t.Errorf("%s stopped at %+v: %v", topic, segs.Partitions, err) // three records and a marker
		}
		dst.expectCommit(t, "g1", topic, 0, 2)
	}
	wantDenials(t, m)
	return out
}

// Ten times the topics, and more, take a handful of requests more: those of the
// watcher, which go on meanwhile. Times are compared in long tests without the race
// detector only.
func TestAFailoverOfManyTopicsAsksBrokersAsOftenAsOneOfAFew(t *testing.T) {
	sizes, rounds := []int{10, 150}, 1
	if os.Getenv("DRAWBRIDGE_LONG") != "" {
		sizes, rounds = []int{100, 1000}, 3
	}
	var walls [2][]time.Duration
	for range rounds {
		few, many := failOverMany(t, sizes[0], sizes[0]+1), failOverMany(t, sizes[1], sizes[1]+1)
		walls[0], walls[1] = append(walls[0], few.wall), append(walls[1], many.wall)
		for _, side := range []struct {
			name      string
			few, many map[kmsg.Key]int
		}{{"source", few.src, many.src}, {"destination", few.dst, many.dst}} {
			// The watcher's looks, some a second, come in between.
			if a, b := sum(side.few), sum(side.many); b > 2*a+40+int(many.took.Seconds()*12) {
				t.Errorf("%s: %d requests for %d topics, %d for %d", side.name, a, few.topics, b, many.topics)
			}
		}
		if rounds > 1 {
			measured(t, "failover-scale", map[string]any{
				"topics": sizes, "wall_ms": []float64{millis(median(walls[0])), millis(median(walls[1]))}, "rounds": len(walls[0]),
				"requests_source": []int{sum(few.src), sum(many.src)}, "requests_destination": []int{sum(few.dst), sum(many.dst)},
			})
		}
	}
	if few, many := median(walls[0]), median(walls[1]); rounds > 1 && !raced && many > 8*few {
		t.Errorf("%d topics take %s, %d take %s, more than 8 times as long (medians of %d)", sizes[0], few, sizes[1], many, rounds)
	}
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// measured writes figures for people to out/.
func measured(t testing.TB, name string, figures map[string]any) {
	t.Helper()
	text, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s", name, text)
	dir := filepath.Join("..", "..", "out")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A script that calls for topic after topic, and does not look, is served as if it had asked for many at once: what is asked
// for while others end, ends together.
func TestMirrorsThatAreFailedOverByACallEachEndTogether(t *testing.T) {
	f := failOverMany(t, 150, 1)
	if n := f.dst[kmsg.WriteTxnMarkers]; n > f.topics/2 {
		t.Errorf("%d fences for %d topics", n, f.topics)
	}
}

// The next wave of a failover does not wait for the guards of the one before.
func TestAnEndHasHadItsTurnWhenItsMirrorsAreStopped(t *testing.T) {
	src, dst := newSite(t, "src"), newGuardedSite(t)
	m, stop := guardedEngine(t, dst, "admin", false)
	defer stop()
	newTestLink(t, m, src, syncing)
	topics := manyMirrors(t, src, m, 2)
	l, err := m.link("l")
	if err != nil {
		t.Fatal(err)
	}
	l.guards.Lock() // a guard that is not released yet
	for _, topic := range topics {
		if _, err := m.AlterMirrors(t.Context(), "l", api.VerbFailover, api.AlterMirrors{MirrorTopicNames: []string{topic}}, false); err != nil {
			t.Error(err)
		}
		awaitStatus(t, m, topic, status.Stopped)
		eventually(t, "the turn is given back", func() error {
			if n := len(l.endTurn); n > 0 {
				return fmt.Errorf("held by %d", n)
			}
			return nil
		})
	}
	l.guards.Unlock()
}
