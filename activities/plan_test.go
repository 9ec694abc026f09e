package activities

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func plans(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "orders.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestThePlanIsLoadedNormalisedWithItsHash(t *testing.T) {
	a := newActivities(t, Options{PlansDir: plans(t, plan.Example())})
	got, err := a.LoadPlan(t.Context(), workflows.LoadPlanInput{Call: call("load")})
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Parse([]byte(plan.Example()))
	if err != nil {
		t.Fatal(err)
	}
	if hash, err := p.Hash(); err != nil || got.Hash != hash {
		t.Errorf("hash %s, want %s (%v)", got.Hash, hash, err)
	}
	// Nothing is lost on the way over the seam.
	var want, have any
	if err := convert(p, &want); err != nil {
		t.Fatal(err)
	}
	for i := range got.Plan.Freezes {
		if f := &got.Plan.Freezes[i]; f.Zone != "" && len(f.Offsets) < 4 {
			t.Errorf("the zone of %s is not resolved for two years: %v", f.Name, f.Offsets)
		}
		got.Plan.Freezes[i].Offsets = nil // which the plan does not have
	}
	if err := convert(got.Plan, &have); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("(-plan +result)\n%s", d)
	}
	if _, err := a.LoadPlan(t.Context(), workflows.LoadPlanInput{Call: call("load"), PlanHash: got.Hash}); err != nil {
		t.Error(err)
	}
	_, err = a.LoadPlan(t.Context(), workflows.LoadPlanInput{Call: call("load"), PlanHash: "abc"})
	typed(t, err, workflows.ErrPlanDiffers, false)
	for _, hash := range []string{"abc", got.Hash} {
		if !strings.Contains(err.Error(), hash) {
			t.Errorf("%v does not name %s", err, hash)
		}
	}
	other := call("load")
	other.Pair = "payments"
	_, err = a.LoadPlan(t.Context(), workflows.LoadPlanInput{Call: other})
	typed(t, err, workflows.ErrPlanInvalid, false)
}

func TestAllFaultsOfAPlanAreToldAtOnce(t *testing.T) {
	a := newActivities(t, Options{PlansDir: plans(t, "pair: orders\nmode: both\nhome: nowhere\nsitez: []\n")})
	_, err := a.LoadPlan(t.Context(), workflows.LoadPlanInput{Call: call("load")})
	typed(t, err, workflows.ErrPlanInvalid, false)
	for _, key := range []string{"mode", "sitez", "sites", "topics", "home"} {
		if !strings.Contains(err.Error(), key+": ") {
			t.Errorf("%s is not told: %v", key, err)
		}
	}
}

func TestASignatureIsTheNamedPersonsOrDoesNotCount(t *testing.T) {
	public, private, err := plan.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := plan.ParsePrivate(private)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := plan.Sign(key, plan.Approval{Pair: "orders", Operation: "failover", OpID: "failover-1", Epoch: 7, PlanHash: "h", Decision: "approve", By: "bob", Overrides: []string{"unproven-fence"}, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	var command runbook.Command
	if err := convert(signed, &command); err != nil {
		t.Fatal(err)
	}
	a := newActivities(t, Options{})
	verify := func(c runbook.Command) workflows.VerifySignatureResult {
		got, err := a.VerifySignature(t.Context(), workflows.VerifySignatureInput{Call: call("verify"), Command: c, People: []runbook.Person{{Name: "bob", Roles: []string{"approver"}, PublicKey: public}}})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := verify(command); !got.Valid || got.By != "bob" || !cmp.Equal(got.Roles, []string{"approver"}) {
		t.Errorf("bob's own: %+v", got)
	}
	for name, change := range map[string]func(*runbook.Command){
		"another override": func(c *runbook.Command) { c.Overrides = append(c.Overrides, "break-lock") },
		"another epoch":    func(c *runbook.Command) { c.Epoch++ },
		"another person":   func(c *runbook.Command) { c.By = "ann" },
		"no signature":     func(c *runbook.Command) { c.Signature = "" },
	} {
		c := command
		change(&c)
		if got := verify(c); got.Valid || got.Problem == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAReportIsKeptAsJSONAndMarkdown(t *testing.T) {
	dir := plans(t, plan.Example())
	reports := t.TempDir()
	a := newActivities(t, Options{PlansDir: dir, ReportsDir: reports})
	loaded, err := a.LoadPlan(t.Context(), workflows.LoadPlanInput{Call: call("load")})
	if err != nil {
		t.Fatal(err)
	}
	in := workflows.SaveReportInput{Call: call("report"), Folder: "kept", Report: runbook.Report{Pair: "orders", Operation: "failover", OpID: "failover-1", Outcome: runbook.Done, PlanHash: loaded.Hash}}
	for range 2 {
		got, err := a.SaveReport(t.Context(), in)
		want := workflows.SaveReportResult{JSON: filepath.Join(reports, "kept", "failover-1.json"), Markdown: filepath.Join(reports, "kept", "failover-1.md")}
		if got.Build = nil; err != nil || got != want {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	body, err := os.ReadFile(filepath.Join(reports, "kept", "failover-1.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back runbook.Report
	if err := json.Unmarshal(body, &back); err != nil || back.Outcome != runbook.Done {
		t.Errorf("JSON %s, %v", body, err)
	}
	if md, err := os.ReadFile(filepath.Join(reports, "kept", "failover-1.md")); err != nil || !strings.HasPrefix(string(md), "# failover of pair orders: done") {
		t.Errorf("Markdown %s, %v", md, err)
	}
	if list, err := os.ReadDir(filepath.Join(reports, "kept")); err != nil || len(list) != 2 {
		t.Errorf("left behind: %v, %v", list, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "orders.yaml"), []byte(strings.Replace(plan.Example(), "rto_seconds: 900", "rto_seconds: 901", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := a.SaveReport(t.Context(), in); err != nil || !got.PlanChanged {
		t.Errorf("a changed plan is not told: %+v, %v", got, err)
	}
	in.Report.OpID = "../evil"
	_, err = a.SaveReport(t.Context(), in)
	typed(t, err, workflows.ErrRefused, false)
}

func TestTheExactRPOIsWrittenIntoTheFailoversReportOnce(t *testing.T) {
	dir := t.TempDir()
	a := newActivities(t, Options{ReportsDir: dir})
	estimate, took := int64(9), 12.5
	keep := func(r runbook.Report) {
		t.Helper()
		if _, err := a.SaveReport(t.Context(), workflows.SaveReportInput{Call: workflows.Call{Pair: "orders"}, Report: r}); err != nil {
			t.Fatal(err)
		}
	}
	failover := runbook.Report{Pair: "orders", Operation: runbook.OpFailover, OpID: "failover-1", EpochBefore: 1, EpochAfter: 2, Active: []string{"west"}, RPOEstimate: &estimate, RPOTime: &runbook.RPOTime{AtMost: 60, Objective: 30}}
	older, other, dry := failover, failover, failover
	older.OpID, older.EpochBefore, older.EpochAfter = "failover-0", 0, 1
	other.OpID, other.Pair = "failover-x", "payments"
	dry.OpID, dry.DryRun = "failover-d", true
	for _, r := range []runbook.Report{failover, older, other, dry, {Pair: "orders", Operation: runbook.OpRecover, OpID: "recover-0", EpochBefore: 2, EpochAfter: 2, Active: []string{"west"}}} {
		keep(r)
	}
	in := workflows.AmendReportInput{Call: workflows.Call{Pair: "orders", OperationID: "recover-1"}, Active: "west", Epoch: 2, Exact: 7, Topics: map[string]int64{"a": 7}, Time: &runbook.RPOTime{Exact: &took}}
	for n := range 2 {
		got, err := a.AmendReport(t.Context(), in)
		if err != nil || got.OpID != "failover-1" || got.Changed != (n == 0) {
			t.Fatalf("time %d: %+v, %v", n, got, err)
		}
	}
	for _, name := range []string{"failover-1", "failover-0", "failover-x", "failover-d", "recover-0"} {
		raw, err := os.ReadFile(filepath.Join(dir, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var r runbook.Report
		if err := json.Unmarshal(raw, &r); err != nil {
			t.Fatal(err)
		}
		if amended := r.RPOExact != nil && *r.RPOExact == 7 && r.AmendedBy == "recover-1"; amended != (name == "failover-1") {
			t.Errorf("%s: exact %v by %q", name, r.RPOExact, r.AmendedBy)
		}
		if name == "failover-1" && (r.RPOEstimate == nil || *r.RPOEstimate != 9) {
			t.Error("the estimate is lost")
		}
		if name == "failover-1" && (r.RPOTime.AtMost != 60 || r.RPOTime.Exact == nil || *r.RPOTime.Exact != took || r.RPOTime.Verdict() != runbook.ObjectiveMet) {
			t.Errorf("RPO in time: %+v", r.RPOTime)
		}
	}
	md, err := os.ReadFile(filepath.Join(dir, "failover-1.md"))
	if err != nil || !strings.Contains(string(md), "RPO exact: 7 records (found out by recover-1)") {
		t.Errorf("%v\n%s", err, md)
	}
	in.Epoch = 3
	if got, err := a.AmendReport(t.Context(), in); err != nil || got.OpID != "" {
		t.Errorf("no failover made epoch 3: %+v, %v", got, err)
	}
}
