package link

import (
	"errors"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

// noGaps checks that a ledger speaks of an end that nothing was computed of yet.
func noGaps(t *testing.T, m *Manager, entries int) {
	t.Helper()
	got, err := m.Ledger(t.Context(), "l")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Entries) != entries || !got.ComputedAt.IsZero() {
		t.Errorf("%d entries, want %d; computed at %v", len(got.Entries), entries, got.ComputedAt)
	}
	for _, e := range got.Entries {
		if e.Unrecoverable != 0 || len(e.Gaps) > 0 {
			t.Errorf("of another life: %+v", e)
		}
	}
}

// The topic is deleted behind a failover and mirrored again: what retention took in
// its first life was copied again, or is no part of the second.
func TestTheLedgerOfAMirrorThatIsMadeAnewBeginsAnew(t *testing.T) {
	t.Parallel()
	src, dst, m, _ := orders{records: 10}.mirror(t)
	if err := linkOf(t, m).recordGap(t.Context(), mirrorOf(t, m, "orders").parts()[0], 3, 7); err != nil {
		t.Fatal(err)
	}
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	if e := computed(t, m)[0]; e.Unrecoverable != 4 {
		t.Fatalf("the first life lost nothing: the test shows nothing: %+v", e)
	}
	if _, err := dst.adm.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the mirror is made anew", func() error {
		return m.CreateMirror(t.Context(), "l", api.CreateMirror{SourceTopicName: "orders", ReplicationFactor: 1})
	})
	awaitLagZero(t, m, src, "orders")
	noGaps(t, m, 0)
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	noGaps(t, m, 1)
}

func TestTheLedgerOfAMirrorThatIsRejoinedBeginsAnew(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.a.topic(t, "orders", 1, nil)
	p.a.produce(t, "orders", 0, 0, 10)
	newTestMirror(t, p.mb, "orders")
	awaitLagZero(t, p.mb, p.a, "orders")
	if err := linkOf(t, p.mb).recordGap(t.Context(), mirrorOf(t, p.mb, "orders").parts()[0], 3, 7); err != nil {
		t.Fatal(err)
	}
	for _, way := range []struct{ from, to *Manager }{{p.mb, p.ma}, {p.ma, p.mb}} {
		alter(t, way.from, api.VerbPromote, "orders")
		awaitStatus(t, way.from, "orders", status.Stopped)
		segs, err := way.from.Segments(t.Context(), "l", "orders")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(rejoined(t, way.to, segs)...); err != nil {
			t.Fatal(err)
		}
		awaitStatus(t, way.to, "orders", status.Active)
	}
	noGaps(t, p.mb, 0)
}

// A record that stands there all the same, of whatever life, is not added to.
func TestTheEndOfAMirrorReplacesWhatItsLedgerSaid(t *testing.T) {
	t.Parallel()
	for verb, entries := range map[api.MirrorVerb]int{api.VerbFailover: 1, api.VerbPromote: 0} {
		t.Run(string(verb), func(t *testing.T) {
			t.Parallel()
			_, _, m, _ := orders{records: 10}.mirror(t)
			old := newLedgerRecord(mirrorOf(t, m, "orders").record(), 0)
			old.Entry.Decision, old.ComputedAt, old.Intent = api.LedgerAppended, time.Now(), api.LedgerAppended
			old.addGaps([]offsetRange{{3, 7}})
			if err := linkOf(t, m).putLedger(t.Context(), old); err != nil {
				t.Fatal(err)
			}
			alter(t, m, verb, "orders")
			awaitStatus(t, m, "orders", status.Stopped)
			noGaps(t, m, entries)
		})
	}
}

// An engine dies before it has recorded the end: the next try knows nothing of the
// source's log any more, if that does not answer, but what the first one wrote.
func TestAnEndThatIsTriedAgainKeepsWhatWasSeenOfTheSource(t *testing.T) {
	t.Parallel()
	src, dst, m, stop := orders{records: 10}.mirror(t)
	mt := mirrorOf(t, m, "orders")
	mt.halt()
	src.produce(t, "orders", 0, 10, 5)
	p := mt.parts()[0]
	p.mu.Lock()
	p.lag.sample(time.Now(), 15)
	p.mu.Unlock()
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	seen := func() (from, to int64) {
		got, err := m.Ledger(t.Context(), "l")
		if err != nil || len(got.Entries) != 1 {
			t.Fatalf("%+v %v", got, err)
		}
		return got.Entries[0].From, got.Entries[0].To
	}
	if from, to := seen(); from != 10 || to != 15 {
		t.Fatalf("from %d to %d", from, to)
	}
	unrecorded := func(r *mirrorRecord) {
		r.Status, r.Intent, r.Fenced = status.PendingStopped.String(), string(api.VerbFailover), true
	}
	if err := mt.edit(t.Context(), unrecorded); err != nil {
		t.Fatal(err)
	}
	src.Close()
	stop()
	m, _ = newEngine(t, dst)
	awaitStatus(t, m, "orders", status.Stopped)
	if from, to := seen(); from != 10 || to != 15 {
		t.Errorf("from %d to %d, 15 was seen", from, to)
	}
}
