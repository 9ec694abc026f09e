package workflows

import (
	"errors"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// look runs Readiness on a world; last is what the look before found.
func look(t *testing.T, w *world, last *runbook.Readiness) runbook.Readiness {
	t.Helper()
	s := newStage(t, w)
	s.id(ReadyID("orders") + "-2026-11-22T10:00:00Z")
	if last != nil {
		s.env.SetLastCompletionResult(*last)
	}
	s.env.ExecuteWorkflow(Readiness, ReadinessInput{Pair: "orders"})
	var r runbook.Readiness
	if err := s.env.GetWorkflowResult(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestASteadyPairIsReady(t *testing.T) {
	w := steady()
	r := look(t, w, nil)
	if !r.Ready || r.Proposal != "" || r.Score < 90 || !r.Expires.After(r.At) {
		t.Errorf("%+v", r)
	}
	if w.ready.Score != r.Score || w.ready.Pair != "orders" {
		t.Errorf("%+v was kept", w.ready)
	}
	if len(w.notes) > 0 {
		t.Errorf("people were told of nothing: %+v", w.notes)
	}
	// Looking changes nothing.
	for _, call := range w.calls {
		switch call {
		case "LoadPlan", "ReadRecord", "CheckPrivileges", "AttestOutage", "MeasureRisk", "InspectLink", "ListDRTopics", "OpenTransactions", "PastRuns", "SaveReadiness":
		default:
			t.Errorf("it called %s", call)
		}
	}
}

func TestWhatWouldFailTodayIsFound(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*world)
		check  string
		state  string
		says   string
	}{
		"nobody set the pair up":           {func(w *world) { w.consul = map[string]*record.Record{} }, runbook.PartRecord, runbook.CheckBad, "no Consul that answers"},
		"the standby's engine is down":     {func(w *world) { w.down[away+" engine"] = true }, runbook.PartRecord, runbook.CheckBad, "engine west does not answer"},
		"the active site's Consul is down": {func(w *world) { w.down[home+" consul"] = true }, runbook.PartRecord, runbook.CheckWarning, "consul east does not answer"},
		"a group runs at one site only":    {func(w *world) { w.inKubernetes(scaled(home, "deployment/a")) }, runbook.PartKubernetes, runbook.CheckWarning, "group g has workloads at east only: while west is active, as after a failover to it, nothing of it is started and it stands still"},
		"a mirror has failed":              {func(w *world) { w.mirrors["there"]["a"] = "FAILED" }, runbook.PartMirrors, runbook.CheckBad, "mirror a is FAILED"},
		"a topic has no mirror":            {func(w *world) { delete(w.mirrors["there"], "b") }, runbook.PartTopics, runbook.CheckBad, "b"},
		"a task of the link is in error":   {func(w *world) { w.link.Faults = []string{"AclSync: no right"} }, runbook.PartLink, runbook.CheckWarning, "AclSync: no right"},
		"guards are not proven":            {func(w *world) { w.link.Guards = map[string]int{"set": 2, "proven": 1} }, runbook.PartGuards, runbook.CheckWarning, "2 set"},
		"a right is missing":               {func(w *world) { w.findings = []Finding{{Site: home, What: "no ALTER", Cure: "give it", Blocker: true}} }, runbook.PartRights, runbook.CheckBad, "no ALTER"},
		"the link cannot be looked at":     {func(w *world) { w.fail["InspectLink"] = repeat(refuse(ErrRefused, "no such link"), 20) }, runbook.PartLink, runbook.CheckUnknown, "no such link"},
		"nobody is paged":                  {func(*world) {}, runbook.PartPeople, runbook.CheckWarning, "nobody is paged"},
	} {
		t.Run(name, func(t *testing.T) {
			w := steady()
			tc.change(w)
			r := look(t, w, nil)
			found := false
			for _, c := range r.Checks {
				found = found || c.Name == tc.check && c.State == tc.state && strings.Contains(c.Detail, tc.says)
			}
			if !found {
				t.Errorf("no %s of %s that says %q in %+v", tc.state, tc.check, tc.says, r.Checks)
			}
			if bad := tc.state == runbook.CheckBad || tc.state == runbook.CheckUnknown; r.Ready == bad {
				t.Errorf("ready %t", r.Ready)
			}
			if tc.state != runbook.CheckOK && !strings.Contains(r.Markdown(), "| "+tc.check+" | "+tc.state+" |") {
				t.Errorf("the table does not show it:\n%s", r.Markdown())
			}
		})
	}
}

func repeat(err error, n int) []error {
	out := make([]error, n)
	for i := range out {
		out[i] = err
	}
	return out
}

// An outage proposes a failover and starts none; people are paged once, and told
// when it is over.
func TestALostSiteProposesAFailover(t *testing.T) {
	w := lost()
	w.plan.Notify.PagerDuty = &runbook.PagerDuty{RoutingKey: "${env:X}"}
	first := look(t, w, nil)
	if !strings.Contains(first.Proposal, "drctl failover orders --dry-run") || first.Ready {
		t.Errorf("%+v", first)
	}
	if len(w.notes) != 1 || !w.notes[0].Page || w.notes[0].Kind != NotifyUnready {
		t.Fatalf("notes %+v", w.notes)
	}
	look(t, w, &first)
	if w.notes[0].Call.OperationID != w.notes[1].Call.OperationID {
		t.Error("the second page is another incident")
	}
	back := steady()
	back.plan = w.plan
	now := look(t, back, &first)
	if now.Proposal != "" || len(back.notes) != 1 || back.notes[0].Page || back.notes[0].Kind != NotifyReadyAgain {
		t.Errorf("%+v, notes %+v", now, back.notes)
	}
	if w.count("FailoverMirrors")+w.count("EngineLock") > 0 {
		t.Error("it did more than look")
	}
}

func TestPeopleHearOfAChangeOnce(t *testing.T) {
	bad := steady()
	bad.mirrors["there"]["a"] = "FAILED"
	first := look(t, bad, &runbook.Readiness{Ready: true})
	look(t, bad, &first)
	if len(bad.notes) != 1 || bad.notes[0].Page {
		t.Errorf("notes %+v", bad.notes)
	}
	good := steady()
	look(t, good, &first)
	if len(good.notes) != 1 || good.notes[0].Kind != NotifyReadyAgain {
		t.Errorf("notes %+v", good.notes)
	}
}

func TestALookHasAnIDOfItsOwn(t *testing.T) {
	s := newStage(t, steady())
	s.id(ID("orders"))
	s.env.ExecuteWorkflow(Readiness, ReadinessInput{Pair: "orders"})
	if err := s.env.GetWorkflowError(); ErrorType(err) != ErrWrongID {
		t.Errorf("got %v", err)
	}
}

func TestSetUpHasThePairWatched(t *testing.T) {
	w := newWorld()
	w.fail["WatchReadiness"] = repeat(errors.New("no Schedules here"), 40)
	s := newStage(t, w).run(SetUp, SetUpInput{request(runbook.OpSetUp)})
	if s.res.Outcome != runbook.Done || !strings.Contains(strings.Join(s.res.Report.Findings, "\n"), "nobody looks at the pair's readiness") {
		t.Errorf("outcome %s, findings %q: %v", s.res.Outcome, s.res.Report.Findings, s.err)
	}
}
