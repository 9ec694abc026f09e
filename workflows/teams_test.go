package workflows

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// teamed gives w's plan the teams payments (g, by itself; speaks: eve) and web (h,
// by hand, and i; anybody speaks). i does not move.
func teamed(w *world) *world {
	w.plan.Groups = append(w.plan.Groups, runbook.Group{Name: "h", Move: runbook.MovePage}, runbook.Group{Name: "i", Move: runbook.MoveRebootstrap}, runbook.Group{Name: "loose", Move: runbook.MovePage})
	w.plan.Limits.ClientsSeconds = 300
	w.plan.Notify.PagerDuty = &runbook.PagerDuty{RoutingKey: "${env:PAIR}", EscalationRoutingKey: "${env:MANAGEMENT}"}
	w.plan.Teams = []runbook.Team{
		{Name: "payments", Groups: []string{"g"}, People: []string{"eve"}, EscalateSeconds: 300, Webhook: &runbook.Webhook{URL: "http://hook", Secret: "${env:HOOK}"}},
		{Name: "web", Groups: []string{"h", "i"}, EscalateSeconds: 300, PagerDuty: &runbook.PagerDuty{RoutingKey: "${env:WEB}"}, Slack: &runbook.TeamSlack{Mention: []string{"S1"}}},
	}
	w.moves = []runbook.ClientMove{{Group: "g", MembersNew: 1, Moved: true}, {Group: "h", MembersNew: 1, Moved: true}, {Group: "i", MembersOld: 2}, {Group: "loose"}}
	return w
}

// said are the notes about a team, "" for the pair's.
func (w *world) said(team string) []string {
	var out []string
	for _, n := range w.notes {
		if n.Team == team {
			out = append(out, n.Kind)
		}
	}
	return out
}

func forTeam(st Status, by, team string) runbook.Command {
	c := signed(st, by, runbook.Acknowledge)
	c.Question, c.Team = "", team
	return c
}

func TestEachTeamIsToldOnceAndTheReportSaysWhoAcknowledgedAndWhoMoved(t *testing.T) {
	w := teamed(lost())
	s := newStage(t, w)
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		return append(agree(st), forTeam(st, "eve", "payments")) // too early: refused
	}
	w.hook = func(method string, _ Call) {
		if method != "AwaitClientsMoved" {
			return
		}
		for _, c := range []struct{ by, team string }{{"ann", "payments"}, {"eve", "nobodys"}, {"eve", "payments"}, {"eve", "payments"}} {
			s.during(func(done func()) {
				said := forTeam(s.status(), c.by, c.team)
				said.Reason += fmt.Sprint(len(s.acks)) // another command, not the same one sent twice
				s.sendThen(said, done)
			})
		}
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	s.refused(ErrNotAllowed, 4)
	for _, says := range []string{"was not told of anything in this run yet", "ann does not speak for team payments: its people are eve", `no team "nobodys"`, "eve has acknowledged for team payments already"} {
		if !slices.ContainsFunc(s.nays, func(err error) bool { return strings.Contains(err.Error(), says) }) {
			t.Errorf("nobody was told %q: %v", says, s.nays)
		}
	}
	if got := w.said("payments"); !slices.Equal(got, []string{NotifyMove, NotifyAcknowledged, NotifyMoved}) {
		t.Errorf("payments was told %v", got)
	}
	if got := w.said("web"); !slices.Equal(got, []string{NotifyMove, NotifyEscalated}) { // i has not moved, and nobody looks after it
		t.Errorf("web was told %v", got)
	}
	r := s.res.Report
	if len(r.Teams) != 2 {
		t.Fatalf("teams %+v", r.Teams)
	}
	payments, web := r.Teams[0], r.Teams[1]
	if payments.AcknowledgedBy != "eve" || payments.AcknowledgedAt.IsZero() || !payments.EscalatedAt.IsZero() || !payments.AllMoved() || len(payments.Told) != 1 {
		t.Errorf("payments %+v", payments)
	}
	if web.AcknowledgedBy != "" || web.EscalatedAt.IsZero() || web.Moved == nil || *web.Moved != 1 || !slices.Equal(web.Left, []string{"i"}) || len(web.Told) != 2 {
		t.Errorf("web %+v", web)
	}
	for _, n := range w.notes {
		switch {
		case n.Team == "web" && n.Kind == NotifyEscalated:
			if !n.Page || !n.Wide || n.Notify.PagerDuty.EscalationRoutingKey != "${env:MANAGEMENT}" || n.Notify.PagerDuty.RoutingKey != "${env:WEB}" || !slices.Equal(n.Mention, []string{"S1"}) {
				t.Errorf("escalated by %+v", n)
			}
			if strings.Contains(n.Text, "drctl acknowledge") || !strings.Contains(n.Text, "the run ends now") {
				t.Errorf("nobody can acknowledge when the run ends: %q", n.Text)
			}
		case n.Team == "payments" && n.Kind == NotifyMove:
			if !n.Page || n.Mild || n.Notify.Slack != nil || n.Notify.Webhook == nil || n.Notify.PagerDuty.RoutingKey != "" || n.Site != away || !slices.Equal(n.Groups, []string{"g"}) {
				t.Errorf("told by %+v", n)
			}
			if !strings.Contains(n.Text, "by themselves: g") || !strings.Contains(n.Text, "drctl acknowledge orders --team payments") {
				t.Errorf("told %q", n.Text)
			}
		case n.Team == "" && n.Kind == NotifyMove:
			if !strings.Contains(n.Title, "loose") {
				t.Errorf("the pair's people are told of a team's group: %+v", n)
			}
		}
	}
	if slices.ContainsFunc(r.Told, func(o runbook.Told) bool { return o.Kind == NotifyMove && !strings.Contains(o.Title, "loose") }) {
		t.Errorf("the run's own pages %+v", r.Told)
	}
	for _, line := range []string{"| payments | g |", "by eve at ", "1 of 2, not i", "acknowledge for team payments"} {
		if !strings.Contains(r.Markdown(), line) {
			t.Errorf("the report lacks %q:\n%s", line, r.Markdown())
		}
	}
	if !slices.ContainsFunc(r.Findings, func(f string) bool { return strings.HasPrefix(f, "group i of team web has not moved") }) {
		t.Errorf("findings %q", r.Findings)
	}
	if w.report.Teams == nil || len(w.report.Teams[1].Told) != 2 {
		t.Errorf("the kept report's teams %+v", w.report.Teams)
	}
}

// slowMove has the wait for clients fail once; a person looks at it for that many
// seconds and tries again. What react returns meanwhile is sent.
func slowMove(s *stage, seconds int, meanwhile func(second int, st Status) []runbook.Command) {
	s.w.fail["AwaitClientsMoved"] = []error{temporal.NewNonRetryableApplicationError("no broker answers", ErrRefused, nil)}
	n := 0
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != WaitPerson {
			return agree(st)
		}
		if n++; n == seconds {
			c := signed(st, "bob", runbook.Retry)
			c.Step = st.Waiting.Step
			return []runbook.Command{c}
		}
		return meanwhile(n, st)
	}
}

func TestATeamThatDoesNotAcknowledgeInThePlansTimeIsToldAgainOnce(t *testing.T) {
	w := teamed(lost())
	w.plan.Teams[0].EscalateSeconds, w.plan.Teams[1].EscalateSeconds = 60, 90
	s := newStage(t, w)
	slowMove(s, 120, func(second int, st Status) []runbook.Command {
		if second == 80 {
			return []runbook.Command{forTeam(st, "ann", "web")}
		}
		return nil
	})
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	payments, web := s.res.Report.Teams[0], s.res.Report.Teams[1]
	if len(payments.Told) != 2 || !slices.Equal(w.said("payments"), []string{NotifyMove, NotifyEscalated, NotifyMoved}) {
		t.Fatalf("payments %+v, told %v", payments, w.said("payments"))
	}
	if took := payments.EscalatedAt.Sub(payments.Told[0].At).Seconds(); took < 59 || took > 61 {
		t.Errorf("escalated after %.0f s, the plan says 60", took)
	}
	if web.AcknowledgedBy != "ann" || !web.EscalatedAt.IsZero() || !slices.Equal(w.said("web"), []string{NotifyMove, NotifyAcknowledged}) {
		t.Errorf("web %+v, told %v", web, w.said("web"))
	}
	for _, n := range w.notes {
		if n.Kind == NotifyEscalated && !strings.Contains(n.Text, "drctl acknowledge orders --team payments") {
			t.Errorf("the run goes on, and says nothing of how to acknowledge: %q", n.Text)
		}
	}
}

// A group whose wave has not come stands still: nobody is to start its clients yet.
func TestAnEscalationNamesNoGroupWhoseWaveHasNotCome(t *testing.T) {
	f := inWaves(lost()) // billing; then orders (by hand) and reports; then audit
	f.plan.Teams = []runbook.Team{{Name: "money", Groups: []string{"audit", "billing"}, EscalateSeconds: 60, Email: []string{"a@example.org"}}}
	f.plan.Notify.SMTP = &runbook.SMTP{Server: "smtp:25"}
	s := newStageOf(t, f.world, f)
	slowMove(s, 120, func(int, Status) []runbook.Command { return nil }) // in the first wave
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	var got []string
	for _, n := range f.notes {
		if n.Team == "money" {
			got = append(got, fmt.Sprint(n.Kind, " ", n.Groups))
		}
		if n.Kind == NotifyEscalated && strings.Contains(n.Title+n.Text, "audit") {
			t.Errorf("it waits for its wave: %q %q", n.Title, n.Text)
		}
	}
	if text := strings.Join(got, ", "); text != "move [billing], escalated [billing], moved [audit billing]" {
		t.Errorf("told %s", text)
	}
}

func TestATeamMayBeLeftUnescalated(t *testing.T) {
	w := teamed(lost())
	w.plan.Teams[1].EscalateSeconds = -1
	s := newStage(t, w)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if got := w.said("web"); !slices.Equal(got, []string{NotifyMove}) {
		t.Errorf("web was told %v", got)
	}
}

func TestAPlannedMoveTellsTeamsToo(t *testing.T) {
	w := teamed(calm())
	w.moves[2] = runbook.ClientMove{Group: "i", MembersNew: 1, Moved: true}
	s := newStage(t, w)
	s.react = agree
	s.run(Switchover, planned())
	s.outcome(runbook.Done)
	for _, team := range []string{"payments", "web"} {
		if got := w.said(team); !slices.Equal(got, []string{NotifyMove, NotifyMoved}) {
			t.Errorf("%s was told %v", team, got)
		}
	}
	for _, n := range w.notes {
		if n.Team != "" && strings.Contains(n.Text, "may be missing") {
			t.Errorf("a planned move loses nothing: %q", n.Text)
		}
		if n.Kind == NotifyMove && n.Mild != (n.Team == "payments") { // whose clients move by themselves
			t.Errorf("mild %t: %+v", n.Mild, n)
		}
	}
}

// A team whose channels are all dead is told of in the report, and nothing more.
func TestATeamThatCannotBeReachedHoldsNothingUp(t *testing.T) {
	w := teamed(lost())
	s := newStage(t, w)
	s.react = agree
	dead := make([]error, 0, 200)
	for range cap(dead) {
		dead = append(dead, temporal.NewNonRetryableApplicationError("no such host", ErrUnreachable, nil))
	}
	w.fail["Notify"] = dead
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	web := s.res.Report.Teams[1]
	if len(web.Told) != 2 || !strings.Contains(web.Told[0].PagerDuty, "no such host") {
		t.Errorf("web %+v", web)
	}
	if told := s.res.Report.Teams[0].Told[0]; told.Slack != runbook.NotConfigured || told.Email != runbook.NotConfigured || !strings.Contains(told.Webhook, "no such host") {
		t.Errorf("a channel that payments has not is told of, or its own is not: %+v", told)
	}
	if md := s.res.Report.Markdown(); !strings.Contains(md, "PagerDuty: no such host") {
		t.Errorf("the report does not say so:\n%s", md)
	}
}

// With waves a team is called with the first of its groups; again only for what it
// has to do by hand, when that has its turn.
func TestATeamIsCalledWhenItsWaveHasItsTurn(t *testing.T) {
	f := inWaves(lost()) // billing; then orders (by hand) and reports; then audit
	f.plan.Teams = []runbook.Team{
		{Name: "money", Groups: []string{"audit", "billing"}, EscalateSeconds: -1, Email: []string{"a@example.org"}},
		{Name: "shop", Groups: []string{"orders", "reports"}, EscalateSeconds: -1, Email: []string{"b@example.org"}},
		{Name: "split", EscalateSeconds: -1, Email: []string{"c@example.org"}},
	}
	f.plan.Groups = append(f.plan.Groups, runbook.Group{Name: "early", Move: runbook.MoveWatch}, runbook.Group{Name: "late", Move: runbook.MovePage, Wave: 7})
	f.plan.Teams[2].Groups = []string{"early", "late"}
	f.plan.Notify.SMTP = &runbook.SMTP{Server: "smtp:25"}
	s := newStageOf(t, f.world, f)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	for team, want := range map[string]string{
		"money": "move [billing], moved [audit billing]",
		"shop":  "move [orders reports], moved [orders reports]",
		"split": "move [early], move [late], moved [early late]",
	} {
		var got []string
		for _, n := range f.notes {
			if n.Team == team {
				got = append(got, fmt.Sprint(n.Kind, " ", n.Groups))
			}
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("team %s: %s, want %s", team, text, want)
		}
	}
	for _, n := range f.notes {
		if n.Team == "" && n.Kind == NotifyMove {
			t.Errorf("the pair's people are told of a team's group: %+v", n)
		}
	}
	for _, l := range s.res.Report.Teams {
		if !l.AllMoved() || l.Since.IsZero() {
			t.Errorf("%+v", l)
		}
	}
}
