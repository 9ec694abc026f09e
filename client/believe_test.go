package client

import (
	"errors"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// rec makes a valid record of the pair orders with sites east and west.
func rec(t *testing.T, epoch int64, active string, change ...func(*record.Record)) record.Record {
	t.Helper()
	standby := map[string]string{"east": "west", "west": "east"}[active]
	r := record.Record{
		Pair: "orders", Mode: record.ActivePassive, Phase: record.Open, Epoch: epoch, PrevEpoch: epoch - 1,
		Active: []string{active}, Standby: []string{standby},
		Bootstrap:   map[string][]string{"east": {"127.0.0.1:1001", "127.0.0.1:1002"}, "west": {"127.0.0.1:2001"}},
		SecurityRef: map[string]string{"east": "ref-east", "west": "ref-west"},
		OpID:        "op-" + active, ChangedAt: time.Unix(1700000000, 0), ChangedBy: "test",
	}
	for _, c := range change {
		c(&r)
	}
	r = r.Normalised()
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	return r
}

func phase(p record.Phase) func(*record.Record) { return func(r *record.Record) { r.Phase = p } }
func by(op string) func(*record.Record)         { return func(r *record.Record) { r.OpID = op } }

func twoSites() *belief {
	return newBelief([]Consul{{Address: "e", Site: "east"}, {Address: "w", Site: "west"}})
}

const east, west = 0, 1

// shows lets a source show r and wants it to be used or not, without a problem.
func shows(t *testing.T, b *belief, source int, r record.Record, use bool) {
	t.Helper()
	if got, problem := b.show(source, "s", r); got != use || problem != nil {
		t.Fatalf("epoch %d phase %s: use %v, problem %v; want use %v and none", r.Epoch, r.Phase, got, problem, use)
	}
}

func TestBeliefTakesTheHigherEpochFromAnySource(t *testing.T) {
	b := twoSites()
	for i, step := range []struct {
		source int
		r      record.Record
		use    bool
	}{
		{east, rec(t, 1, "east"), true},
		{west, rec(t, 1, "east"), false}, // the same again
		{west, rec(t, 2, "west"), true},
		{east, rec(t, 2, "west"), false},
		{east, rec(t, 3, "east"), true},
	} {
		use, problem := b.show(step.source, "s", step.r)
		if use != step.use || problem != nil {
			t.Errorf("step %d: use %v, problem %v; want %v, none", i, use, problem, step.use)
		}
	}
	if b.current.Epoch != 3 {
		t.Errorf("epoch %d in use, want 3", b.current.Epoch)
	}
}

func TestBeliefIgnoresALowerEpochThanTheOneOnDisk(t *testing.T) {
	b := twoSites()
	b.kept(rec(t, 7, "west"))
	use, problem := b.show(east, "consul east", rec(t, 6, "east"))
	var lower *LowerEpochError
	if use || !errors.As(problem, &lower) {
		t.Fatalf("use %v, problem %v; want no use and a LowerEpochError", use, problem)
	}
	if lower.Seen != 6 || lower.Kept != 7 || lower.Source != "consul east" {
		t.Errorf("reported %+v", lower)
	}
	if b.current.Epoch != 7 {
		t.Errorf("epoch %d in use, want 7", b.current.Epoch)
	}
}

func TestBeliefKeepsItsRecordInASplitBrain(t *testing.T) {
	for name, other := range map[string]record.Record{
		"another operation":    rec(t, 4, "east", by("op-other")),
		"another active site":  rec(t, 4, "west", by("op-east")),
		"another group's site": rec(t, 4, "east", func(r *record.Record) { r.Groups = map[string]record.Group{"g": {Site: "west"}} }),
	} {
		t.Run(name, func(t *testing.T) {
			b := twoSites()
			shows(t, b, east, rec(t, 4, "east"), true)
			use, problem := b.show(west, "west", other)
			var split *SplitBrainError
			if use || !errors.As(problem, &split) {
				t.Fatalf("use %v, problem %v; want no use and a SplitBrainError", use, problem)
			}
			if split.Epoch != 4 || b.current.OpID != "op-east" || b.current.Active[0] != "east" {
				t.Errorf("reported %+v, in use %+v", split, b.current)
			}
			// It does not vouch for itself later: the source that shows it has no say in this epoch.
			if use, _ := b.show(east, "east", rec(t, 4, "east", phase(record.Frozen))); !use {
				t.Error("the phase of the record in use could not change any more")
			}
		})
	}
}

func TestBeliefTakesThePhaseOfTheActiveSitesConsul(t *testing.T) {
	b := twoSites()
	shows(t, b, west, rec(t, 5, "west", phase(record.Frozen)), true)
	// East is configured first, but west is active.
	if use, problem := b.show(east, "east", rec(t, 5, "west", phase(record.Open))); use || problem != nil {
		t.Errorf("a stale copy of the standby was used (%v) or reported (%v)", use, problem)
	}
	if use, _ := b.show(west, "west", rec(t, 5, "west", phase(record.Open))); !use {
		t.Error("the active site's change was not used")
	}
}

func TestBeliefDoesNotUnfreezeBecauseAConsulDied(t *testing.T) {
	b := twoSites()
	shows(t, b, east, rec(t, 5, "east"), true)
	shows(t, b, west, rec(t, 5, "east"), false)
	shows(t, b, east, rec(t, 5, "east", phase(record.Frozen)), true)
	b.lost(east)
	if use, _ := b.show(west, "west", rec(t, 5, "east")); use {
		t.Error("the standby's old copy lifted the freeze")
	}
	b.lost(west)
	if use, _ := b.show(west, "west", rec(t, 5, "east")); use {
		t.Error("the standby's old copy lifted the freeze when it came back")
	}
	// A copy that is written after the active site's Consul died is the surviving site's word.
	if use, _ := b.show(west, "west", rec(t, 5, "east", phase(record.Moving))); !use {
		t.Error("the surviving site's change was not used")
	}
}
