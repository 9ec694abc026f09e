package link

import (
	"testing"
	"time"
)

func TestGroupValueIsWrittenOnlyWhileTheDestinationHoldsWhatTheLinkWrote(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	rec := func(source, wrote, before int64) *groupRecord {
		return &groupRecord{Group: "g", Topic: "t", Source: source, Wrote: wrote, Before: before, WroteAt: now.Add(-time.Minute)}
	}
	base := groupFacts{at: groupAt{"g", "t", 0}, source: -1, dest: -1, explicit: -1, answered: true, located: true, mayDrop: true, now: now, refresh: time.Hour}
	cases := []struct {
		name   string
		change func(*groupFacts)
		act    groupAct
		wrote  int64
		owned  bool
		told   bool // a problem
	}{
		{"first time, nothing there", func(f *groupFacts) { f.source, f.wanted = 5, 5 }, groupWrite, 5, true, false},
		{"first time, somebody's value there", func(f *groupFacts) { f.source, f.wanted, f.dest = 5, 5, 3 }, groupKeep, -1, false, true},
		{"first time, the very same value there", func(f *groupFacts) { f.source, f.wanted, f.dest = 5, 5, 5 }, groupKeep, -1, false, true},
		{"forwards", func(f *groupFacts) { f.rec, f.source, f.wanted, f.dest = rec(5, 5, 5), 8, 8, 5 }, groupWrite, 8, true, false},
		{"back", func(f *groupFacts) { f.rec, f.source, f.wanted, f.dest = rec(8, 8, 8), 2, 2, 8 }, groupWrite, 2, true, false},
		{"unchanged", func(f *groupFacts) { f.rec, f.source, f.wanted, f.dest = rec(8, 8, 8), 8, 8, 8 }, groupKeep, 8, true, false},
		{"unchanged for too long", func(f *groupFacts) {
			f.rec, f.source, f.wanted, f.dest, f.refresh = rec(8, 8, 8), 8, 8, 8, time.Minute
		}, groupWrite, 8, true, false},
		{"expired on the destination", func(f *groupFacts) { f.rec, f.source, f.wanted = rec(8, 8, 8), 8, 8 }, groupWrite, 8, true, false},
		{"clamped earlier", func(f *groupFacts) { f.rec, f.source, f.wanted, f.dest = rec(8, 6, 6), 8, 8, 6 }, groupWrite, 8, true, false},
		{"foreign value", func(f *groupFacts) { f.rec, f.source, f.wanted, f.dest = rec(8, 8, 8), 9, 9, 4 }, groupKeep, 8, false, true},
		{"crash before the commit", func(f *groupFacts) { f.rec, f.source, f.wanted, f.dest = rec(9, 9, 8), 9, 9, 8 }, groupWrite, 9, true, false},
		{"crash behind the commit", func(f *groupFacts) { f.rec, f.source, f.wanted, f.dest = rec(9, 9, 8), 9, 9, 9 }, groupKeep, 9, true, false},
		{"members on the destination", func(f *groupFacts) { f.rec, f.source, f.wanted, f.dest, f.inUse = rec(8, 8, 8), 9, 9, 8, true }, groupKeep, 8, true, true},
		{"mirror not located", func(f *groupFacts) { f.rec, f.source, f.dest, f.located = rec(8, 8, 8), 9, 8, false }, groupKeep, 8, true, false},
		{"deleted at the source", func(f *groupFacts) { f.rec, f.dest = rec(8, 8, 8), 8 }, groupDrop, 8, true, false},
		{"deleted at the source and here", func(f *groupFacts) { f.rec = rec(8, 8, 8) }, groupForget, 8, true, false},
		{"deleted at the source, foreign here", func(f *groupFacts) { f.rec, f.dest = rec(8, 8, 8), 3 }, groupForget, 8, false, false},
		{"deleted at the source, members here", func(f *groupFacts) { f.rec, f.dest, f.inUse = rec(8, 8, 8), 8, true }, groupKeep, 8, true, true},
		{"source silent", func(f *groupFacts) { f.rec, f.dest, f.answered = rec(8, 8, 8), 8, false }, groupKeep, 8, true, false},
		{"mirror not active", func(f *groupFacts) { f.rec, f.dest, f.mayDrop = rec(8, 8, 8), 8, false }, groupKeep, 8, true, false},
		{"taken over, never at the source", func(f *groupFacts) { f.rec, f.dest = rec(-1, 8, 8), 8 }, groupKeep, 8, true, false},
		{"explicit at the end", func(f *groupFacts) { f.explicit = 0 }, groupWrite, 0, true, false},
		{"explicit only without a commit", func(f *groupFacts) { f.explicit, f.dest = 0, 4 }, groupForget, -1, false, false},
		{"explicit not with members", func(f *groupFacts) { f.explicit, f.inUse = 0, true }, groupKeep, -1, true, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := base
			c.change(&f)
			d := decideGroup(f)
			if d.act != c.act || d.next.Wrote != c.wrote || d.owned != c.owned || (d.problem != "") != c.told {
				t.Errorf("got act %d, wrote %d, owned %v, problem %q; want act %d, wrote %d, owned %v, problem %v", d.act, d.next.Wrote, d.owned, d.problem, c.act, c.wrote, c.owned, c.told)
			}
			if d.act == groupWrite && d.next.Before != f.dest {
				t.Errorf("before %d, want what stands there, %d", d.next.Before, f.dest)
			}
			if f.source >= 0 && d.next.Source != f.source {
				t.Errorf("raw source offset %d not kept: %d", f.source, d.next.Source)
			}
		})
	}
}
