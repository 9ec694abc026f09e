package runbook

import (
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

func TestOnlyTheSameRecordsInTheSamePlacesAreTheSameCopy(t *testing.T) {
	part := func(p int32, records int64, digest string, committed int64) DrillPartition {
		return DrillPartition{Partition: p, Records: records, Digest: digest, Committed: committed}
	}
	want := DrillCopy{Site: "east", Partitions: []DrillPartition{part(0, 3, "abc", 1), part(1, 0, "", -1)}}
	for name, tc := range map[string]struct {
		got    []DrillPartition
		groups bool
		says   string // "" for alike
	}{
		"alike":                     {got: want.Partitions, groups: true},
		"a record less":             {got: []DrillPartition{part(0, 2, "ab", 1), part(1, 0, "", -1)}, says: "3 records at east and 2 at west"},
		"another record":            {got: []DrillPartition{part(0, 3, "abd", 1), part(1, 0, "", -1)}, says: "they differ"},
		"a partition less":          {got: []DrillPartition{part(0, 3, "abc", 1)}, says: "partition 1 is missing at west"},
		"a partition more":          {got: append([]DrillPartition{part(2, 0, "", -1)}, want.Partitions...), says: "west has 3"},
		"another offset":            {got: []DrillPartition{part(0, 3, "abc", 2), part(1, 0, "", -1)}, groups: true, says: "stands at 1 of partition 0 at east, and at 2 at west"},
		"another offset, not asked": {got: []DrillPartition{part(0, 3, "abc", 2), part(1, 0, "", -1)}},
	} {
		t.Run(name, func(t *testing.T) {
			v := SameCopy(want, DrillCopy{Site: "west", Partitions: tc.got}, tc.groups)
			if v.OK != (tc.says == "") || !strings.Contains(v.Text(), tc.says) {
				t.Errorf("%+v", v)
			}
		})
	}
	if v := SameCopy(DrillCopy{Site: "east"}, DrillCopy{Site: "west"}, true); v.OK {
		t.Error("nothing is as good as nothing")
	}
}

func TestADrillMayBePlayedOrNot(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	open := func(change func(*Truth)) *Truth {
		t := &Truth{Record: &record.Record{Pair: "orders", Active: []string{"east"}, Phase: record.Open, OpID: "setup-1"}}
		if change != nil {
			change(t)
		}
		return t
	}
	red := func(part string) Readiness {
		return Readiness{Checks: []Check{{Name: part, State: CheckBad, Detail: "it is bad"}}}
	}
	for name, tc := range map[string]struct {
		kind  string
		truth *Truth
		ready Readiness
		code  string
	}{
		"all is well":          {DrillFull, open(nil), Readiness{}, ""},
		"nothing is known":     {DrillTabletop, nil, Readiness{}, RefusePrecondition},
		"split":                {DrillTabletop, open(func(t *Truth) { t.Split = "two" }), Readiness{}, RefuseSplit},
		"held":                 {DrillTabletop, open(func(t *Truth) { t.Lock = &record.Lock{OpID: "failover-2"} }), Readiness{}, RefuseBusy},
		"left by a run":        {DrillCanary, open(func(t *Truth) { t.Lock = &record.Lock{OpID: "setup-1"} }), Readiness{}, ""},
		"frozen":               {DrillCanary, open(func(t *Truth) { t.Record.Phase = record.Frozen }), Readiness{}, RefuseBusy},
		"in debt":              {DrillTabletop, open(func(t *Truth) { t.Record.FenceDebt = []record.FenceDebt{{Kind: record.DebtFence}} }), Readiness{}, RefusePrecondition},
		"silent":               {DrillCanary, open(func(t *Truth) { t.Silent = []string{"engine west"} }), Readiness{}, RefusePrecondition},
		"silent, tabletop":     {DrillTabletop, open(func(t *Truth) { t.Silent = []string{"engine west"} }), Readiness{}, ""},
		"an outage":            {DrillCanary, open(nil), Readiness{Proposal: "fail over"}, RefusePrecondition},
		"red":                  {DrillFull, open(nil), red(PartMirrors), RefusePrecondition},
		"red, canary":          {DrillCanary, open(nil), red(PartMirrors), ""},
		"red for want of this": {DrillFull, open(nil), red(PartDrills), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := MayDrill(tc.kind, ReadyFacts{Now: at, Plan: Plan{Pair: "orders"}, Truth: tc.truth, Problems: map[string]string{}}, tc.ready)
			if (r == nil) != (tc.code == "") || r != nil && (r.Code != tc.code || r.Text == "") {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestAFailedOrOverdueDrillMakesAPairUnready(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	ago := func(h int) time.Time { return now.Add(-time.Duration(h) * time.Hour) }
	daily := func(change func(*DrillWatch)) []DrillWatch {
		w := DrillWatch{Kind: DrillCanary, Schedule: "dr-drill/orders/canary", Exists: true, Created: ago(1000), PeriodSeconds: 24 * 3600}
		if change != nil {
			change(&w)
		}
		return []DrillWatch{w}
	}
	for name, tc := range map[string]struct {
		watches []DrillWatch
		past    []PastDrill
		state   string
		says    string
	}{
		"well":            {daily(nil), []PastDrill{{Kind: DrillCanary, Good: ago(20), Last: ago(20)}}, CheckOK, "canary on 2026-11-21"},
		"one late":        {daily(nil), []PastDrill{{Kind: DrillCanary, Good: ago(47), Last: ago(47)}}, CheckOK, "canary on"},
		"overdue":         {daily(func(w *DrillWatch) { w.Missed = 2 }), []PastDrill{{Kind: DrillCanary, Good: ago(50), Last: ago(50)}}, CheckBad, "(2 missed, 0 skipped)"},
		"never, and new":  {daily(func(w *DrillWatch) { w.Created = ago(3) }), nil, CheckOK, "none has come due yet"},
		"never":           {daily(nil), []PastDrill{{Kind: DrillFull, Good: ago(1)}}, CheckBad, "no canary drill went well"},
		"failed":          {daily(nil), []PastDrill{{Kind: DrillCanary, Good: ago(20), Last: ago(2), Error: "they differ"}}, CheckBad, "failed: they differ"},
		"paused":          {daily(func(w *DrillWatch) { w.Paused, w.Note = true, "by ann" }), []PastDrill{{Kind: DrillCanary, Good: ago(20)}}, CheckWarning, "paused: by ann"},
		"no Schedule":     {daily(func(w *DrillWatch) { w.Exists = false }), nil, CheckWarning, "no Schedule plays them"},
		"not looked at":   {nil, nil, CheckUnknown, "not looked at"},
		"unknown periods": {daily(func(w *DrillWatch) { w.PeriodSeconds = 0 }), nil, CheckOK, "none has come due"},
	} {
		t.Run(name, func(t *testing.T) {
			f := ReadyFacts{Now: now, Plan: Plan{Pair: "orders", Drills: []DrillPlan{{Kind: DrillCanary, EverySeconds: 24 * 3600}}}, Drills: tc.watches, Past: &PastRuns{Drills: tc.past}, Problems: map[string]string{}}
			j := &readyJudge{f: f, r: &Readiness{}}
			j.drills()
			if len(j.r.Checks) != 1 || j.r.Checks[0].State != tc.state || !strings.Contains(j.r.Checks[0].Detail, tc.says) {
				t.Errorf("%+v", j.r.Checks)
			}
		})
	}
}

func TestWhatWasNotPlayedIsToldOnce(t *testing.T) {
	made := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	before := []DrillWatch{{Kind: DrillCanary, Created: made, Missed: 1}}
	for name, tc := range map[string]struct {
		now  DrillWatch
		says string
	}{
		"as before":  {DrillWatch{Kind: DrillCanary, Created: made, Missed: 1}, ""},
		"missed":     {DrillWatch{Kind: DrillCanary, Created: made, Missed: 3}, "2 canary drills came due"},
		"skipped":    {DrillWatch{Kind: DrillCanary, Created: made, Missed: 1, Skipped: 1}, "1 canary drills were skipped"},
		"paused":     {DrillWatch{Kind: DrillCanary, Created: made, Missed: 1, Paused: true, Note: "failed"}, "paused: failed"},
		"made anew":  {DrillWatch{Kind: DrillCanary, Created: made.Add(time.Hour), Missed: 5}, ""},
		"a new kind": {DrillWatch{Kind: DrillFull, Created: made, Missed: 5}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			for _, u := range SkippedSince(before, []DrillWatch{tc.now}, made) {
				got += u.What
			}
			if !strings.Contains(got, tc.says) || (got == "") != (tc.says == "") {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestADrillIsUnplayedUntilOneOfItsKindIsPlayed(t *testing.T) {
	told := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	played := func(kind string, after time.Duration) *PastRuns {
		return &PastRuns{Drills: []PastDrill{{Kind: kind, Last: told.Add(after), Error: "a failed one is played too"}}}
	}
	for name, tc := range map[string]struct {
		wanted string
		now    []DrillWatch
		past   *PastRuns
		still  bool
	}{
		"played since":       {DrillCanary, []DrillWatch{{Kind: DrillCanary}}, played(DrillCanary, time.Hour), false},
		"played before":      {DrillCanary, []DrillWatch{{Kind: DrillCanary}}, played(DrillCanary, -time.Hour), true},
		"another was played": {DrillCanary, []DrillWatch{{Kind: DrillCanary}}, played(DrillFull, time.Hour), true},
		"still paused":       {DrillCanary, []DrillWatch{{Kind: DrillCanary, Paused: true}}, played(DrillCanary, time.Hour), true},
		"not looked at":      {DrillCanary, nil, played(DrillCanary, time.Hour), true},
		"reports unknown":    {DrillCanary, []DrillWatch{{Kind: DrillCanary}}, nil, true},
		"not wanted now":     {DrillFull, []DrillWatch{{Kind: DrillCanary}}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			before := []Unplayed{{Kind: DrillCanary, Since: told}}
			got := StillUnplayed(before, []DrillPlan{{Kind: tc.wanted}}, tc.now, tc.past)
			if (len(got) == 1) != tc.still || before[0].Kind == "" {
				t.Errorf("%+v, of %+v", got, before)
			}
		})
	}
}

func TestADrillsLinkKeepsWhatReachesTheSourceOnly(t *testing.T) {
	l := DrillLink("orders", Link{Name: "there", Source: "east", Destination: "west", Configs: map[string]string{
		"request.timeout.ms": "5000", "auto.create.mirror.topics.enable": "true", "acl.sync.enable": "true", "consumer.offset.sync.ms": "30000",
	}})
	if l.Name != "drawbridge-drill-orders" || l.Source != "east" || len(l.Configs) != 2 || l.Configs["request.timeout.ms"] != "5000" || l.Configs["consumer.offset.sync.ms"] != "1000" {
		t.Errorf("%+v", l)
	}
}
