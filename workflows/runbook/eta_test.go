package runbook_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// ran is the report of an earlier run with so many waves of 2 s each and 1 s beside.
func ran(op string, day, waves int, approve int64) runbook.Report {
	at := time.Date(2026, 10, day, 12, 0, 0, 0, time.UTC)
	r := runbook.Report{OpID: op + at.Format("02"), Operation: op, Ended: at, RTO: []runbook.Segment{
		{Name: "attest", Millis: 1000}, {Name: "approve", Millis: approve}, {Name: "fence", Millis: 500}, {Name: "mirrors", Millis: int64(waves)*2000 + 1000}, {Name: "flip", Millis: 300}, {Name: "clients", Millis: 5000},
	}}
	for i := range waves {
		r.Steps = append(r.Steps, runbook.StepLine{Name: "fail over wave " + string(rune('1'+i)), State: runbook.StateDone, Millis: 2000})
	}
	r.Steps = append(r.Steps, runbook.StepLine{Name: "flip", State: runbook.StateDone, Millis: 200 * int64(day)}, runbook.StepLine{Name: "grow mirrors", State: runbook.StateSkipped, Millis: 9})
	return r
}

func TestAnEstimateComesFromEarlierRunsAndNothingElse(t *testing.T) {
	var past []runbook.RunTimes
	for _, r := range []runbook.Report{ran(runbook.OpFailover, 1, 1, 10_000), ran("drill", 2, 4, 30_000), ran(runbook.OpFailover, 3, 2, 90_000), ran(runbook.OpSwitchover, 4, 9, 1)} {
		past = append(past, runbook.Times(r))
	}
	e := runbook.Estimate(past, 6, 60)
	want := map[string]int64{"attest": 1000, "approve": 30_000, "fence": 500, "mirrors": 13_000, "flip": 300, "clients": 5000} // 6 waves of 2 s and 1 s beside, in each run
	for _, s := range e.Segments {
		if s.Expected != want[s.Name] || s.Runs != 3 { // a switchover has other segments of these names
			t.Errorf("%+v, want %d from 3 runs", s, want[s.Name])
		}
	}
	if ms, runs := runbook.StepTime(past, "fail over waves 1 to 6", 6); ms != 12_000 || runs != 4 {
		t.Errorf("waves %d from %d", ms, runs)
	}
	if ms, runs := runbook.StepTime(past, "flip", 6); ms != 500 || runs != 4 { // the mean of the middle two, of any operation
		t.Errorf("flip %d from %d", ms, runs)
	}
	if ms, runs := runbook.StepTime(past, "grow mirrors", 6); ms != 0 || runs != 0 {
		t.Errorf("a skipped step counts: %d from %d", ms, runs)
	}
	turned := ran(runbook.OpSwitchover, 5, 1, 1)
	turned.Turned = &runbook.Signed{By: "eve"}
	if got := runbook.Times(turned).Operation; got != runbook.OpFailover {
		t.Errorf("a turned switchover counts as %s", got)
	}
}

func TestTheEstimateFollowsTheRun(t *testing.T) {
	e := runbook.Estimate([]runbook.RunTimes{runbook.Times(ran(runbook.OpFailover, 1, 1, 10_000))}, 1, 20)
	began := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }
	for _, c := range []struct {
		name    string
		now     time.Time
		over    []runbook.Segment
		begun   time.Time
		spent   int64
		running string
		total   int64
		text    string
	}{
		{"at the start", at(0), nil, at(0), 0, "attest", 19_800, "attest runs, 0.0 s of about 1.0 s; clients moved about 12:00:19Z, RTO about 19.8 s, objective 20 s: met with 0.2 s to spare; median of 1 earlier runs"},
		{"quicker than it was", at(0.5), []runbook.Segment{{Name: "attest", Millis: 200}}, at(0.2), 200, "approve", 19_000, "approve runs, 0.3 s of about 10.0 s"},
		{"slower than it was", at(31), []runbook.Segment{{Name: "attest", Millis: 1000}}, at(1), 1000, "approve", 39_800, "missed by 19.8 s"},
		{"over", at(60), []runbook.Segment{{Name: "attest"}, {Name: "approve"}, {Name: "fence"}, {Name: "mirrors"}, {Name: "flip"}, {Name: "clients"}}, at(12), 12_000, "", 12_000, "RTO 12.0 s, objective 20 s: met with 8.0 s to spare"},
	} {
		got := e.At(c.now, c.over, c.begun, c.spent)
		if got.Running != c.running || got.TotalMillis != c.total || !strings.Contains(got.Text(), c.text) {
			t.Errorf("%s: %+v: %s", c.name, got, got.Text())
		}
	}
	if d := cmp.Diff(runbook.Estimate([]runbook.RunTimes{runbook.Times(ran(runbook.OpFailover, 1, 1, 10_000))}, 1, 20), e); d != "" {
		t.Errorf("At changed the estimate: %s", d)
	}
}

func TestWithoutAnEarlierRunThereIsNoNumber(t *testing.T) {
	began := time.Unix(0, 0)
	e := runbook.Estimate(nil, 3, 60).At(began.Add(2*time.Second), nil, began, 0)
	if !e.Done.IsZero() || e.TotalMillis != 0 || len(e.Missing) != 6 || !strings.Contains(e.Text(), "no kept report of an earlier failover of the pair, so no estimate") || strings.Contains(e.Text(), "about") {
		t.Errorf("%+v: %s", e, e.Text())
	}
	r := ran(runbook.OpFailover, 1, 1, 1)
	r.RTO = r.RTO[:4]
	e = runbook.Estimate([]runbook.RunTimes{runbook.Times(r)}, 3, 60).At(began, nil, began, 0)
	if !e.Done.IsZero() || !strings.Contains(e.Text(), "no earlier run tells how long these take: flip, clients") {
		t.Errorf("%+v: %s", e, e.Text())
	}
}
