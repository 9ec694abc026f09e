package workflows

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestAnAcknowledgementQuietsThePageCountsOnceAndApprovesNothing(t *testing.T) {
	w := lost()
	s := newStage(t, w)
	n := 0
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil {
			return nil
		}
		n++
		if n < 4 { // each time in other words: not the very same command sent again
			c := signed(st, "eve", runbook.Acknowledge)
			c.Question, c.Via, c.Reason = "", "drbot", strings.Repeat("!", n)
			stranger := signed(st, "mallory", runbook.Acknowledge)
			return []runbook.Command{c, stranger}
		}
		return agree(st)
	}
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	r := s.res.Report
	if got := runbook.Who(r.Approvals, runbook.Acknowledge); !slices.Equal(got, []string{"eve"}) || r.Approvals[0].Via != "drbot" || r.Approvals[0].Question != "" {
		t.Errorf("acknowledged by %v: %+v", got, r.Approvals)
	}
	if got := runbook.Who(r.Approvals, runbook.Approve); !slices.Equal(got, []string{"bob"}) {
		t.Errorf("approved by %v", got)
	}
	s.refused(ErrNotAllowed, 5) // eve's second and third, and a stranger's
	quiet := 0
	for _, note := range w.notes {
		if note.Kind == NotifyAcknowledged {
			quiet++
			if note.Page {
				t.Errorf("an acknowledgement pages: %+v", note)
			}
		}
	}
	if quiet != 1 {
		t.Errorf("people were told %d times who looks after it", quiet)
	}
	if !slices.ContainsFunc(r.Told, func(o runbook.Told) bool { return o.Kind == NotifyApproval && o.Slack == "sent" }) {
		t.Errorf("told %+v", r.Told)
	}
	if md := r.Markdown(); !strings.Contains(md, "paged at ") {
		t.Errorf("the report does not say who was paged:\n%s", md)
	}
}

// PagerDuty takes a page late when it is busy. An end that is sent meanwhile ends nothing, and the page behind it stays.
func TestTheEndOfAPageComesBehindThePage(t *testing.T) {
	for _, end := range []string{NotifyFinished, NotifyAcknowledged} {
		t.Run(end, func(t *testing.T) {
			w := lost()
			busy := temporal.NewApplicationError("busy", ErrUnreachable)
			w.fail["Notify"] = []error{busy, busy}
			w.fail["AttestOutage"] = []error{no(ErrRefused, "it says no")} // the run ends at once
			s := newStage(t, w)
			w.hook = func(method string, _ Call) {
				if method == "AttestOutage" && end == NotifyAcknowledged {
					s.during(func(done func()) {
						c := signed(s.status(), "eve", runbook.Acknowledge)
						c.Question, c.Via = "", "drbot"
						s.sendThen(c, done)
					})
				}
			}
			s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
			s.failed(ErrRefused)
			var kinds []string
			for _, n := range w.notes {
				kinds = append(kinds, n.Kind)
			}
			if i := slices.Index(kinds, end); i < 0 || kinds[0] != NotifyStarted || slices.Contains(kinds[i:], NotifyStarted) {
				t.Errorf("people were told in this order: %v", kinds)
			}
		})
	}
}

// A run may wait for weeks for two thousand decisions: each reminder stays in its history.
func TestAReminderIsCutWhereAPageEnds(t *testing.T) {
	w := failedOver()
	w.ledger = nil
	for i := range 300 {
		topic := fmt.Sprintf("topic-%03d", i)
		w.mirrors["there"][topic] = runbook.StatusStopped
		w.ledger = append(w.ledger, runbook.LedgerLine{Topic: topic, Records: 1, Decision: runbook.LedgerUndecided})
	}
	s := newStage(t, w)
	waited := ""
	s.react = func(st Status) []runbook.Command {
		if st.Waiting == nil || st.Waiting.For != WaitDecide {
			return nil
		}
		waited = st.Waiting.Text
		c := signed(st, "bob", runbook.Decide)
		c.Choices = map[string]string{"*": runbook.ChooseDiscard}
		return []runbook.Command{c}
	}
	s.run(RecoverLaggedData, RecoverInput{Start: request(runbook.OpRecover)})
	longest := 0
	for _, n := range w.notes {
		longest = max(longest, utf8.RuneCountInString(n.Text))
	}
	if !strings.Contains(waited, "topic-299") || longest > mostSaid+2 || longest < mostSaid {
		t.Errorf("the status says it in %d characters, the longest message has %d", len(waited), longest)
	}
}

func TestTheEndOfARunIsToldInAsManyWordsAsAPageHas(t *testing.T) {
	w := calm()
	for i := range 300 {
		w.fail["CompareTopics"] = append(w.fail["CompareTopics"], no(ErrRefused, "%s", strings.Repeat(fmt.Sprintf("topic-%03d is not there; ", i), 300)))
	}
	s := newStage(t, w)
	s.run(Switchover, planned())
	last := w.notes[len(w.notes)-1]
	if n := utf8.RuneCountInString(last.Text); last.Kind != NotifyFinished || n != mostSaid+2 {
		t.Errorf("%s: %d characters", last.Kind, n)
	}
}

// A page that is still on its way when the run ends is in the report all the same: whoever reads it must see whom nobody reached.
func TestAPageThatHangsAtTheEndIsInTheKeptReport(t *testing.T) {
	w := lost()
	w.plan.Groups = append(w.plan.Groups, runbook.Group{Name: "loose", Move: runbook.MovePage})
	slow := &slowPager{world: w}
	s := newStageOf(t, w, slow)
	s.react = agree
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if !slow.unlocked {
		t.Error("the pair stood locked until the page was through")
	}
	for what, told := range map[string][]runbook.Told{"kept": w.report.Told, "returned": s.res.Report.Told} {
		i := slices.IndexFunc(told, func(o runbook.Told) bool { return o.Kind == NotifyMove })
		if i < 0 || told[i].Webhook != "the webhook did not answer" {
			t.Errorf("the %s report tells of %+v", what, told)
		}
	}
}

// slowPager takes its time over by-hand groups, and then says that it reached nobody.
type slowPager struct {
	*world
	unlocked bool // the pair, while people were being told
}

func (p *slowPager) Notify(ctx context.Context, in NotifyInput) (NotifyResult, error) {
	out, err := p.world.Notify(ctx, in)
	if in.Kind != NotifyMove {
		return out, err
	}
	if activity.GetInfo(ctx).Attempt < 3 {
		return out, temporal.NewApplicationError("later", ErrUnreachable)
	}
	p.unlocked = p.count("EngineUnlock") > 0
	return NotifyResult{Slack: runbook.NotConfigured, PagerDuty: runbook.NotConfigured, Webhook: "the webhook did not answer"}, nil
}
