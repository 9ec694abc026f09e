package link

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/offsetmap"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/state"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// pair is two clusters with an engine and a link "l" each.
type pair struct {
	a, b   *site
	ma, mb *Manager // engines beside them
	stopA  func()
}

func newPair(t *testing.T) pair {
	t.Helper()
	p := pair{a: newSite(t, "a"), b: newSite(t, "b")}
	p.ma, p.stopA = newEngine(t, p.a)
	p.mb, _ = newEngine(t, p.b)
	newTestLink(t, p.mb, p.a, nil) // mirrors a → b
	newTestLink(t, p.ma, p.b, nil) // and back
	return p
}

// transact writes n records to partition 0 of orders in one transaction.
func (s *site) transact(t *testing.T, id string, first, n int, commit bool) {
	t.Helper()
	cl := newClient(t, s.ListenAddrs(), kgo.TransactionalID(id))
	var values []string
	for i := range n {
		values = append(values, fmt.Sprintf("v%d", first+i))
	}
	begin(t, cl, "orders", 0, values...)
	end(t, cl, commit)
}

// moved mirrors orders from a to b, with holes in the source, and promotes it.
func (p pair) moved(t *testing.T) api.Segments {
	t.Helper()
	p.a.topic(t, "orders", 2, nil)
	p.a.produce(t, "orders", 0, 0, 3)
	p.a.transact(t, "tx", 3, 2, true) // offsets 3 and 4, a marker at 5
	p.a.produce(t, "orders", 0, 5, 2) // offsets 6 and 7
	p.a.produce(t, "orders", 1, 100, 4)
	newTestMirror(t, p.mb, "orders")
	awaitLagZero(t, p.mb, p.a, "orders")
	alter(t, p.mb, api.VerbPromote, "orders")
	awaitStatus(t, p.mb, "orders", status.Stopped)
	from, err := p.mb.Segments(t.Context(), "l", "orders")
	if err != nil {
		t.Fatal(err)
	}
	return from
}

func rejoined(t *testing.T, m *Manager, from ...api.Segments) []error {
	t.Helper()
	res, err := m.Rejoin(t.Context(), "l", api.Rejoin{From: from})
	if err != nil {
		t.Fatal(err)
	}
	var out []error
	for _, r := range res {
		out = append(out, r.Err())
	}
	return out
}

func TestRejoinGoesOnBehindTheStopOffsetsWithoutCopyingAnythingAgain(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	from := p.moved(t)
	p.b.produce(t, "orders", 0, 7, 3) // the new active cluster takes writes before its mirror starts
	for range 2 {                     // asked again it is done
		if err := errors.Join(rejoined(t, p.ma, from)...); err != nil {
			t.Fatal(err)
		}
	}
	p.b.produce(t, "orders", 0, 10, 2)
	p.b.produce(t, "orders", 1, 104, 1)
	awaitLagZero(t, p.ma, p.b, "orders")
	got := p.a.read(t, "orders", 0, 0, 12)
	if want := "v0 v1 v2 v3 v4 v5 v6 v7 v8 v9 v10 v11"; values(got) != want {
		t.Fatalf("orders at home: %s, want %s", values(got), want)
	}
	var at []int64
	for _, r := range got {
		at = append(at, r.Offset)
	}
	if diff := cmp.Diff([]int64{0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12}, at); diff != "" {
		t.Fatalf("offsets at home (-want +got):\n%s", diff)
	}
	if got := values(p.a.read(t, "orders", 1, 4, 1)); got != "v104" {
		t.Fatalf("partition 1 goes on with %s", got)
	}

	// A group's position on b translates, before the stop and behind it.
	om := segmentsMap(t, p.ma, "orders")
	bRecords := p.b.read(t, "orders", 0, 0, 12)
	for i, r := range bRecords {
		if dest, _ := om.ToDest(r.Offset, bRecords[11].Offset+1, 13); dest != at[i] {
			t.Errorf("offset %d on b (%s) is %d on a, want %d", r.Offset, r.Value, dest, at[i])
		}
	}
}

func TestARejoinedMirrorGoesOnAfterARestartOfItsEngine(t *testing.T) {
	t.Parallel()
	a, b := newSite(t, "a"), newSite(t, "b")
	p := pair{a: a, b: b}
	var stop func()
	p.ma, stop = newEngine(t, a)
	p.mb, _ = newEngine(t, b)
	newTestLink(t, p.mb, a, nil)
	newTestLink(t, p.ma, b, nil)
	from := p.moved(t)
	if err := errors.Join(rejoined(t, p.ma, from)...); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, p.ma, "orders", status.Active)
	stop()
	b.produce(t, "orders", 0, 7, 2)
	p.ma, stop = newEngine(t, a)
	awaitLagZero(t, p.ma, b, "orders")
	stop()
	b.produce(t, "orders", 0, 9, 1)
	p.ma, _ = newEngine(t, a)
	awaitLagZero(t, p.ma, b, "orders")
	if got, want := values(a.read(t, "orders", 0, 0, 10)), "v0 v1 v2 v3 v4 v5 v6 v7 v8 v9"; got != want {
		t.Fatalf("orders at home: %s, want %s", got, want)
	}
}

func TestThereAndBackTwiceKeepsEachRecordOnce(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	from := p.moved(t)
	next := 7
	sides := []struct {
		home, away         *site
		homeEngine, engine *Manager
	}{{p.a, p.b, p.ma, p.mb}, {p.b, p.a, p.mb, p.ma}}
	for round := range 4 {
		s := sides[round%2] // writes happen away; home rejoins, catches up and is promoted
		if err := errors.Join(rejoined(t, s.homeEngine, from)...); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		s.away.produce(t, "orders", 0, next, 3)
		next += 3
		awaitLagZero(t, s.homeEngine, s.away, "orders")
		alter(t, s.homeEngine, api.VerbPromote, "orders")
		awaitStatus(t, s.homeEngine, "orders", status.Stopped)
		var err error
		if from, err = s.homeEngine.Segments(t.Context(), "l", "orders"); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	for i := range next {
		want = append(want, fmt.Sprintf("v%d", i))
	}
	for _, s := range []*site{p.a, p.b} {
		if got := values(s.read(t, "orders", 0, 0, next)); got != strings.Join(want, " ") {
			t.Errorf("%s: %s, want %s", s.id(t), got, strings.Join(want, " "))
		}
	}
}

func TestRejoinRefusesWhatDiverged(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	from := p.moved(t)
	clone := func(change func(*api.Segments)) api.Segments {
		c := from
		c.Partitions = slices.Clone(from.Partitions)
		change(&c)
		return c
	}
	for name, tc := range map[string]struct {
		from api.Segments
		want string
	}{
		"another source":           {clone(func(s *api.Segments) { s.SourceClusterID = "c" }), "source was cluster c"},
		"another destination":      {clone(func(s *api.Segments) { s.DestClusterID = "c" }), "stood on cluster c"},
		"a mirror that still runs": {clone(func(s *api.Segments) { s.Partitions[1].SourceStop = -1 }), "no stop offsets"},
		"a missing partition":      {clone(func(s *api.Segments) { s.Partitions = s.Partitions[:1] }), "has 2 partitions"},
		"no segments":              {clone(func(s *api.Segments) { s.Partitions[0].Segments = nil }), "no segments"},
		"a log that shrank":        {clone(func(s *api.Segments) { s.Partitions[0].SourceStop = 20 }), "log moved: it ends at 8, before the stop offset 20"},
		"a source that shrank":     {clone(func(s *api.Segments) { s.Partitions[0].DestStop = 20 }), "before the stop offset 20"},
		"no such topic":            {clone(func(s *api.Segments) { s.SourceTopic = "nothing" }), "does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := rejoined(t, p.ma, tc.from)[0]; err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want %q", err, tc.want)
			}
		})
	}
	p.a.produce(t, "orders", 0, 900, 2) // written at home after the move
	err := rejoined(t, p.ma, from)[0]
	if err == nil || !strings.Contains(err.Error(), "it ends at 10, the mirror was stopped at 8; 2 records") {
		t.Fatalf("a log that moved rejoined: %v", err)
	}
	if got, err := p.ma.Mirrors(t.Context(), "l", ""); err != nil || len(got) > 0 {
		t.Fatalf("mirrors after refusals: %+v, error %v", got, err)
	}
	if keys := append(p.ma.store.Keys("segment/"), p.ma.store.Keys("mirror/")...); len(keys) > 0 {
		t.Fatalf("refusals wrote %q", keys)
	}
}

func TestRejoinLeavesOutMarkersBehindTheStop(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	from := p.moved(t)
	p.a.transact(t, "none", 0, 2, false) // two aborted records and their marker: nobody reads them
	if err := errors.Join(rejoined(t, p.ma, from)...); err != nil {
		t.Fatal(err)
	}
	p.b.produce(t, "orders", 0, 7, 1)
	awaitLagZero(t, p.ma, p.b, "orders")
	got := p.a.read(t, "orders", 0, 6, 3)
	if values(got) != "v5 v6 v7" || got[2].Offset != 11 {
		t.Fatalf("behind the marker: %s at %d", values(got), got[2].Offset)
	}
}

func TestRejoinKeepsLargeMapsInPiecesThatReadBackAlike(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var segs []offsetmap.Segment
	for i := range int64(2 * segmentsPerPiece) {
		segs = append(segs, offsetmap.Segment{SourceStart: 3 * i, DestStart: (i / 2) * 4, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, SourceLeaderEpoch: -1})
	}
	segs = append(segs, offsetmap.Segment{SourceStart: 20000, DestStart: 20000, SourceLeaderEpoch: -1})
	l, err := p.ma.link("l")
	if err != nil {
		t.Fatal(err)
	}
	r := &rejoin{link: l, topicID: "id"}
	for range 2 { // the second time replaces
		if err := r.writeSegments(t.Context(), 0, segs); err != nil {
			t.Fatal(err)
		}
	}
	got, err := loadSegments(p.ma.store, "id", 0)
	if err != nil || len(got) != len(segs) || len(p.ma.store.Keys(segmentPrefix("id", 0))) < 2 {
		t.Fatalf("%d segments in %d pieces, want %d, error %v", len(got), len(p.ma.store.Keys("segment/")), len(segs), err)
	}
	if diff := cmp.Diff(segs[:len(segs)-1], got[:len(got)-1]); diff != "" {
		t.Fatal(diff)
	}
}

// crashedRejoin moves orders to b and rejoins it at a, whose engine then leaves what it
// does after a crash before the mirror was activated: the record, changed so, and a stop
// offset of the topic's former life.
func (p pair) crashedRejoin(t *testing.T, change func(*mirrorRecord)) mirrorRecord {
	t.Helper()
	from := p.moved(t)
	if err := errors.Join(rejoined(t, p.ma, from)...); err != nil {
		t.Fatal(err)
	}
	mt := mirrorOf(t, p.ma, "orders")
	mt.halt()
	rec := mt.record()
	change(&rec)
	stop := stopRecord{Partition: 0, SourceStop: 1, DestStop: 1}
	err := errors.Join(p.ma.put(t.Context(), 0, state.Entry{Key: mirrorKey("l", "orders"), Value: rec}),
		p.ma.put(t.Context(), p.ma.store.ShardOf(rec.TopicID, 0), state.Entry{Key: stopKey(rec.TopicID, 0), Value: stop}))
	if err != nil {
		t.Fatal(err)
	}
	p.stopA()
	return rec
}

func TestARejoinThatACrashInterruptedGoesOnByItself(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.crashedRejoin(t, func(r *mirrorRecord) { r.Status = status.PendingMirror.String() })
	p.ma, _ = newEngine(t, p.a)
	awaitStatus(t, p.ma, "orders", status.Active)
	p.b.produce(t, "orders", 0, 7, 1)
	awaitLagZero(t, p.ma, p.b, "orders")
	if got := values(p.a.read(t, "orders", 0, 8, 1)); got != "v7" {
		t.Fatalf("goes on with %s", got)
	}
}

func TestWhatARejoinedSourceMirroredFromHereIsNoLaggedData(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	from := p.moved(t)
	if err := errors.Join(rejoined(t, p.ma, from)...); err != nil {
		t.Fatal(err)
	}
	p.b.produce(t, "orders", 0, 7, 3)
	awaitLagZero(t, p.ma, p.b, "orders")
	records := func() (n int64) {
		ledger, err := p.mb.ComputeLedger(t.Context(), "l")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range ledger.Entries {
			n += e.Records
		}
		return n
	}
	if n := records(); n != 3 {
		t.Fatalf("the ledger counts %d records before it is told: the test shows nothing", n)
	}
	other := from
	other.Partitions = slices.Clone(from.Partitions)
	other.Partitions[0].DestStop++
	for _, tc := range []struct {
		from   api.Segments
		closed bool
	}{{other, false}, {from, true}, {from, true}} {
		res, err := p.mb.ReverseMirrors(t.Context(), "l", api.Rejoin{From: []api.Segments{tc.from}})
		if err != nil {
			t.Fatal(err)
		}
		if got := res[0].Err(); (got == nil) != tc.closed {
			t.Errorf("stop offset %d: %v", tc.from.Partitions[0].DestStop, got)
		}
	}
	if n := records(); n != 0 {
		t.Errorf("the ledger counts %d records that this cluster wrote itself", n)
	}
	if open := p.mb.undecided("l"); open != "" {
		t.Errorf("undecided: %s", open)
	}
}
