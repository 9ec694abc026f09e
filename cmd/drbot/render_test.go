package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/test/fakeslack"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/*.golden anew; review the difference")

var t0 = time.Date(2026, 11, 23, 3, 4, 5, 0, time.UTC)

func examplePlan() *planned {
	return &planned{Plan: plan.Plan{
		Pair: "orders", People: []plan.Person{
			{Name: "ann", Roles: []string{"operator"}, SlackID: "U1"}, {Name: "bob", Roles: []string{"approver"}, SlackID: "U2"}, {Name: "eve", Roles: []string{"approver"}},
		},
		Owners: []plan.Owner{{Topics: []string{"orders"}, By: []string{"ann"}}, {Topics: []string{"^audit-.*"}, By: []string{"audit team"}}},
		Bot:    &plan.Bot{Name: "drbot", Channel: "C1"},
	}}
}

func exampleStatus() workflows.Status {
	return workflows.Status{
		Pair: "orders", Operation: "failover", OpID: "failover-01a2", Phase: workflows.PhaseApproval, Requester: "ann", PlanHash: "0123456789abcdef", Epoch: 3, Started: t0,
		Steps: []runbook.StepLine{
			{Name: "load plan", State: runbook.StateDone, Millis: 120},
			{Name: "attest outage", State: runbook.StateDone, Millis: 3010, Detail: "worker and engine west: no answer from <east>"},
			{Name: "approve", State: runbook.StateWaiting},
		},
		Waiting: &workflows.Waiting{
			For: workflows.WaitApproval, Text: "about 3 records at risk & nothing else", Question: "1 approve", Deadline: t0.Add(30 * time.Minute), Have: 1, Need: 2, Roles: []string{"approver"},
			Overrides: []string{runbook.OverrideFence}, EscalatedTo: []string{"ann"}, Commands: []string{runbook.Approve, runbook.Deny, runbook.BreakGlass, runbook.Abort, runbook.Pause},
		},
		Approvals:   []runbook.Signed{{By: "bob", Via: "drbot", Decision: runbook.Approve, At: t0, Reason: "read <it>", Question: "1 approve", Overrides: []string{runbook.OverrideFence}}},
		Escalations: []runbook.Escalation{{Question: "1 approve", To: []string{"ann"}, At: t0, Have: 1, Need: 2}},
		Told:        []runbook.Told{{At: t0, Kind: "approval", Title: "failover of orders needs 2 approvals", PagerDuty: "sent"}},
		Findings:    []string{"consul of east does not answer"},
		Forecast:    &runbook.Forecast{Topics: []runbook.TopicForecast{{Topic: "orders", Known: 3, AtRisk: 3, Redeliver: 7}}, AtRisk: 3, Known: 3, AtMost: 7},
	}
}

// What people read, word for word. Run with -rewrite to change it on purpose.
func TestMessagesReadAsTheyDo(t *testing.T) {
	p, st := examplePlan(), exampleStatus()
	ended := st
	ended.Phase, ended.Waiting, ended.Outcome = workflows.PhaseEnded, nil, runbook.Done
	failed := st
	failed.Waiting = &workflows.Waiting{For: workflows.WaitPerson, Text: `step "flip" failed: no answer`, Question: "2 flip", Step: "flip", Commands: []string{runbook.Retry, runbook.Skip}}
	failed.PastPivot = true
	decide := st
	decide.Operation = runbook.OpRecover
	decide.Waiting = &workflows.Waiting{For: workflows.WaitDecide, Text: "what becomes of 3 records?", Question: "1 decide", Topics: []string{"orders", "audit-1"}, Commands: []string{runbook.Decide}}
	moving, moved := st, 1
	moving.Waiting, moving.PastPivot, moving.Phase = nil, true, workflows.PhasePivot
	moving.Approvals = []runbook.Signed{{By: "eve", Decision: runbook.Acknowledge, Team: "payments", At: t0, Reason: "on <it>"}}
	moving.Teams = []runbook.TeamLine{
		{Team: "payments", Groups: []string{"billing"}, Told: []runbook.Told{{At: t0, PagerDuty: "sent", Slack: "sent"}}, AcknowledgedBy: "eve", AcknowledgedAt: t0},
		{Team: "web", Groups: []string{"a&b", "c"}, Told: []runbook.Told{{At: t0}, {At: t0, PagerDuty: runbook.NotConfigured, Slack: runbook.NotConfigured, Email: "no <answer>"}}, EscalatedAt: t0, Moved: &moved, Left: []string{"c"}},
	}
	approving, err := answerView(p, st, press{Pair: "orders", OpID: st.OpID, Question: "1 approve", Decision: runbook.Approve})
	if err != nil {
		t.Fatal(err)
	}
	deciding, err := answerView(p, decide, press{Pair: "orders", OpID: st.OpID, Question: "1 decide", Decision: runbook.Decide})
	if err != nil {
		t.Fatal(err)
	}
	starting, err := startView(meta{Pair: "orders", Operation: runbook.OpFailover}, facts(p, runbook.Report{Forecast: st.Forecast, ETA: &runbook.ETA{}, Findings: st.Findings, Planned: make([]runbook.PlannedStep, 17)})...)
	if err != nil {
		t.Fatal(err)
	}
	ready := runbook.Readiness{Pair: "orders", Score: 65, At: t0, Expires: t0.Add(time.Hour), Proposal: "drctl failover orders", Checks: []runbook.Check{{Name: "lag", State: runbook.CheckBad, Detail: "9 s", Cure: "wait"}, {Name: "guards", State: runbook.CheckOK}}}
	lost := int64(3)
	reports := []operator.ReportLine{{Operation: "failover", Outcome: "done", Requester: "ann", Ended: t0, RTOMillis: 12300, RPOExact: &lost}, {Operation: "switchover", DryRun: true, State: "completed", Ended: t0}}
	for name, v := range map[string]any{
		"approval": runView(p, st, "").blocks, "ended": runView(p, ended, "Ended: done.").blocks, "failed-step": runView(p, failed, "").blocks, "teams": runView(p, moving, "").blocks,
		"approve": approving, "decide": deciding, "start": starting, "readiness": readinessView(ready).blocks, "reports": reportsView("orders", reports).blocks,
		"notices": notices(p, st, ""),
	} {
		if n, ok := v.([]notice); ok {
			var lines []string
			for _, o := range n {
				lines = append(lines, o.about+": "+o.text)
			}
			v = lines
		} else {
			checked(t, name, v)
		}
		var out strings.Builder
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
		got := []byte(out.String())
		file := filepath.Join("testdata", name+".golden")
		if *rewrite {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// checked holds blocks, or a dialog's, against Slack's limits.
func checked(t *testing.T, name string, v any) {
	t.Helper()
	modal := false
	if view, ok := v.(slack.ModalViewRequest); ok {
		v, modal = view.Blocks.BlockSet, true
		if len(view.PrivateMetadata) > 3000 {
			t.Errorf("%s: it remembers %d bytes", name, len(view.PrivateMetadata))
		}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fakeslack.CheckBlocks(raw, modal) {
		t.Errorf("%s: Slack would refuse: %s", name, f)
	}
}

// However much a run is about, what people read has its bounds.
func TestTenThousandTopicsFit(t *testing.T) {
	p, st := examplePlan(), exampleStatus()
	long := strings.Repeat("&", 200) + strings.Repeat("<ö>", 300)
	f := &runbook.Forecast{}
	for i := range 10_000 {
		name := fmt.Sprintf("%s-%d", strings.Repeat("t", 240), i)
		f.Topics = append(f.Topics, runbook.TopicForecast{Topic: name, Known: int64(i), AtRisk: 1 << 50, Redeliver: 1 << 50, Unseen: 1})
		f.Groups = append(f.Groups, runbook.GroupForecast{Group: long, Topic: name, Redelivered: 9})
		p.Owners = append(p.Owners, plan.Owner{Topics: []string{name}, By: []string{fmt.Sprintf("team-%d-%s", i, long)}})
		p.People = append(p.People, plan.Person{Name: name, Roles: []string{"approver"}, SlackID: fmt.Sprintf("U%d", i)})
		st.Findings = append(st.Findings, long)
		st.Steps = append(st.Steps, runbook.StepLine{Name: long, Detail: long, State: runbook.StateDone})
		st.Approvals = append(st.Approvals, runbook.Signed{By: long, Reason: long, Decision: runbook.Approve, Overrides: []string{long}})
		st.Waiting.EscalatedTo = append(st.Waiting.EscalatedTo, name)
		st.Told = append(st.Told, runbook.Told{Title: long, PagerDuty: long})
		st.Teams = append(st.Teams, runbook.TeamLine{Team: fmt.Sprintf("%s-%d", strings.Repeat("t", 90), i), Groups: []string{name, long}, Told: []runbook.Told{{PagerDuty: long}}})
		st.Waiting.Topics = append(st.Waiting.Topics, name)
	}
	st.Waiting.Text, st.Forecast = long+long+long, f
	st.Waiting.Commands = []string{runbook.Approve, runbook.Deny, runbook.Abort, runbook.Decide, runbook.Retry, runbook.Skip, runbook.Pause, runbook.Resume, runbook.IntoFailover}
	m := runView(p, st, "")
	checked(t, "a run", m.blocks)
	shown, err := json.Marshal(m.blocks)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(shown), "… and 9975 teams more that nobody looks after: drctl acknowledge orders --team TEAM") {
		t.Error("nothing says that there are teams without a button")
	}
	checked(t, "an ended run", runView(p, st, long+long+long+long).blocks)
	began := time.Now()
	start, err := startView(meta{Pair: "orders", Operation: runbook.OpFailover, PlanHash: st.PlanHash}, facts(p, runbook.Report{Forecast: f, Findings: st.Findings, Planned: make([]runbook.PlannedStep, 10_000)})...)
	if err != nil {
		t.Fatal(err)
	}
	checked(t, "a dry run", start)
	if text := fmt.Sprint(start.Blocks.BlockSet[1]); text == "" {
		t.Error("it says nothing")
	}
	raw, err := json.Marshal(start.Blocks.BlockSet)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"in 10000 topics", "topics more", "teams more"} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("nothing says %q", want)
		}
	}
	t.Logf("facts of 10,000 topics with as many owners took %s", time.Since(began).Round(time.Millisecond))
	for _, d := range []string{runbook.Approve, runbook.Decide} {
		v, err := answerView(p, st, press{Pair: "orders", OpID: st.OpID, Question: st.Waiting.Question, Decision: d})
		if err != nil {
			t.Fatal(err)
		}
		checked(t, d, v)
	}
	for _, n := range tail(notices(p, st, long), 5) {
		if len([]rune(n.text)) > 4000 {
			t.Errorf("notice %s has %d characters", n.about, len([]rune(n.text)))
		}
	}
	var lines []operator.ReportLine
	ready := runbook.Readiness{Pair: "orders", Proposal: long + long}
	for range 1000 {
		lines = append(lines, operator.ReportLine{Operation: long, Outcome: long, Requester: long})
		ready.Checks = append(ready.Checks, runbook.Check{Name: long, State: runbook.CheckBad, Detail: long, Cure: long})
	}
	checked(t, "reports", reportsView("orders", lines).blocks)
	checked(t, "readiness", readinessView(ready).blocks)
}

// What is given up for good must not be told apart by what was cut off.
func TestTopicsToDecideHaveTheirWholeNames(t *testing.T) {
	name := strings.Repeat("a", 248)
	raw, err := json.Marshal(decideInputs(runbook.OpRecover, []string{name + "1", name + "2"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{name + "1", name + "2"} {
		if !strings.Contains(string(raw), topic) {
			t.Errorf("%s is not shown", topic)
		}
	}
}

func TestTheLastWordNamesWhatIsOwedAndWhatPaysIt(t *testing.T) {
	estimate := int64(1564)
	got := endText("shop", workflows.Result{
		Outcome: runbook.Partly, Active: []string{"west"}, Epoch: 2,
		Report: runbook.Report{RTOMillis: 11000, RPOEstimate: &estimate, DebtsOpen: []record.FenceDebt{{Kind: record.DebtFence, Site: "east"}, {Kind: record.DebtFence, Site: "east"}}},
	})
	want := "Ended: partly, with something left to do. Active: west at epoch 2. RTO 11.0 s. Records at risk: about 1564. Owed: fence at east; `drctl debts shop` tells what pays it."
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTextIsCutAndEscapedWithoutBreakingEither(t *testing.T) {
	for _, s := range []string{"", "a", "<&>", strings.Repeat("&", 100), strings.Repeat("ö<", 400)} {
		for _, n := range []int{12, 50, 300} {
			got := safe(s, n)
			if len([]rune(got)) > n {
				t.Errorf("safe(%q, %d) has %d characters", s, n, len([]rune(got)))
			}
			back := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(got)
			if strings.ContainsAny(strings.NewReplacer("&lt;", "", "&gt;", "", "&amp;", "").Replace(got), "<>&") {
				t.Errorf("safe(%q, %d) = %q has mark-up", s, n, got)
			}
			if len([]rune(escape(s))) <= n && back != s {
				t.Errorf("safe(%q, %d) = %q", s, n, got)
			}
		}
	}
}
