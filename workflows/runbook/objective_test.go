package runbook_test

import (
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestAnRPOIsHeldAgainstItsObjective(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(1700000000+int64(s), 0).UTC() }
	lagged := func(lines ...runbook.LedgerLine) runbook.RPOTime { return runbook.ExactRPO(lines, 30) }
	cast := func(blind float64, objective int64, topics ...runbook.TopicForecast) runbook.RPOTime {
		return runbook.EstimateRPO(runbook.Forecast{BlindSeconds: blind, Topics: topics}, objective)
	}
	topic := func(known int64, lag float64) runbook.TopicForecast {
		return runbook.TopicForecast{Topic: "a", Known: known, LagSeconds: lag}
	}
	for name, tc := range map[string]struct {
		rpo           runbook.RPOTime
		verdict, says string
	}{
		"no objective":                         {cast(0, 0, topic(3, 9)), "", "between 9.0 s and 9.0 s"},
		"nothing lags":                         {cast(0, 30, topic(0, 0)), runbook.ObjectiveMet, "between 0.0 s and 0.0 s, objective 30 s: met with 30.0 s to spare"},
		"behind at the last contact":           {cast(100, 30, topic(3, 145)), runbook.ObjectiveMissed, "between 45.0 s and 145.0 s, objective 30 s: missed by 15.0 s"},
		"silent for longer than the objective": {cast(100, 30, topic(0, 100), topic(3, 101)), runbook.ObjectiveOpen, "met or not is known when a recovery has counted"},
		"silent for less, and little behind":   {cast(5, 30, topic(3, 12)), runbook.ObjectiveMet, "between 7.0 s and 12.0 s, objective 30 s: met with 18.0 s to spare"},
		"counted, across topics": {
			lagged(runbook.LedgerLine{Topic: "a", Records: 1, FirstTime: at(0), LastTime: at(0)}, runbook.LedgerLine{Topic: "b", Records: 2, FirstTime: at(31), LastTime: at(42)}),
			runbook.ObjectiveMissed, "42.0 s, objective 30 s: missed by 12.0 s",
		},
		"counted, nothing lagged": {lagged(runbook.LedgerLine{Topic: "a"}), runbook.ObjectiveMet, "0.0 s, objective 30 s: met"},
		"counted, some are gone":  {lagged(runbook.LedgerLine{Topic: "a", Records: 1, FirstTime: at(0), LastTime: at(2), Unrecoverable: 4}), runbook.ObjectiveMet, "of 4 more records nobody knows the time"},
	} {
		if got := tc.rpo.Verdict(); got != tc.verdict || !strings.Contains(tc.rpo.Text(), tc.says) {
			t.Errorf("%s: %q, %q", name, got, tc.rpo.Text())
		}
	}
	estimate := cast(100, 30, topic(3, 101))
	counted := estimate.Counted(lagged(runbook.LedgerLine{Topic: "a", Records: 2, FirstTime: at(0), LastTime: at(2)}))
	if counted.Verdict() != runbook.ObjectiveMet || counted.AtMost != 101 || *counted.Exact != 2 {
		t.Errorf("%+v", counted)
	}
}

func TestReadinessTellsWhichObjectiveTheLastMoveMissed(t *testing.T) {
	late, early := 45.0, 1.0
	for name, tc := range map[string]struct {
		rto         int64
		rpo         runbook.RPOTime
		state, says string
	}{
		"both met":       {rto: 60_000, rpo: runbook.RPOTime{Exact: &early}, state: runbook.CheckOK, says: "within the objectives"},
		"RTO missed":     {rto: 1_000_000, rpo: runbook.RPOTime{Exact: &early}, state: runbook.CheckWarning, says: "RTO of the failover"},
		"RPO missed":     {rto: 60_000, rpo: runbook.RPOTime{Exact: &late, Objective: 60}, state: runbook.CheckWarning, says: "missed by 15.0 s"},
		"not known yet":  {rto: 60_000, rpo: runbook.RPOTime{AtMost: 45}, state: runbook.CheckWarning, says: "when a recovery has counted"},
		"no RPO at all":  {rto: 60_000, state: runbook.CheckOK, says: "within"},
		"nothing is set": {rto: 9_000_000, state: runbook.CheckOK, says: "within"},
	} {
		p := plan()
		p.Objectives.RTOSeconds, p.Objectives.RPOSeconds = 900, 30
		if name == "nothing is set" {
			p.Objectives.RTOSeconds, p.Objectives.RPOSeconds = 0, 0
		}
		last := &runbook.Measured{OpID: "failover-1", Operation: runbook.OpFailover, Ended: time.Unix(1700000000, 0), RTOMillis: tc.rto, RPO: &tc.rpo}
		r := runbook.JudgeReadiness(runbook.ReadyFacts{Plan: p, Past: &runbook.PastRuns{Last: last}}, time.Hour)
		found := false
		for _, c := range r.Checks {
			if c.Name == runbook.PartObjectives {
				found = c.State == tc.state && strings.Contains(c.Detail, tc.says) && (c.State == runbook.CheckOK || c.Cure != "")
			}
		}
		if !found || r.Last == nil || r.Objectives == nil {
			t.Errorf("%s: no %s that says %q in %+v", name, tc.state, tc.says, r.Checks)
		}
	}
	if r := runbook.JudgeReadiness(runbook.ReadyFacts{Plan: plan(), Past: &runbook.PastRuns{}}, time.Hour); strings.Contains(r.Markdown(), runbook.PartObjectives) {
		t.Error("a pair that never moved has no numbers to hold against anything")
	}
}

// Behind a failover the link back does not exist: the way on is no entry of the worker's log.
func TestReadinessBehindAFailoverNamesTheWaysOn(t *testing.T) {
	cure := func(operation string) string {
		r := record.Record{Active: []string{"west"}, Moves: []record.Move{{Operation: operation, Active: "west"}}}
		f := runbook.ReadyFacts{Plan: plan(), Truth: &runbook.Truth{Record: &r}, Problems: map[string]string{runbook.PartMirrors: "the cluster link doesn't exist"}}
		for _, c := range runbook.JudgeReadiness(f, time.Hour).Checks {
			if c.Name == runbook.PartMirrors {
				return c.Cure
			}
		}
		return ""
	}
	if got := cure(runbook.OpFailover); !strings.Contains(got, "nothing mirrors west") || !strings.Contains(got, "drctl restore "+plan().Pair) || !strings.Contains(got, "drctl failback "+plan().Pair) {
		t.Errorf("behind a failover: %q", got)
	}
	if got := cure(runbook.OpSwitchover); strings.Contains(got, "restore") || !strings.Contains(got, "worker's log") {
		t.Errorf("behind a planned move: %q", got)
	}
}

func TestReadinessDoesNotTakeALeftoverLockForAnOperation(t *testing.T) {
	for holder, held := range map[string]bool{"switchover-1": false, "failback-9": true} {
		f := runbook.ReadyFacts{Plan: plan(), Truth: &runbook.Truth{
			Record: &record.Record{OpID: "switchover-1", Active: []string{"west"}}, Lock: &record.Lock{OpID: holder, Operation: runbook.OpSwitchover}, LockAt: "state topic of east",
		}}
		said := false
		for _, c := range runbook.JudgeReadiness(f, time.Hour).Checks {
			said = said || c.Name == runbook.PartRecord && strings.Contains(c.Detail, "holds the pair")
		}
		if said != held {
			t.Errorf("%s: said to hold the pair: %t", holder, said)
		}
	}
}
