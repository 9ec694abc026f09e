package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// cameOf is what a page has come to, for whoever asks who was told.
func cameOf(ctx workflow.Context, in NotifyInput, got NotifyResult, err error) runbook.Told {
	t := runbook.Told{At: workflow.Now(ctx), Kind: in.Kind, Title: in.Title, Slack: got.Slack, PagerDuty: got.PagerDuty, Webhook: got.Webhook, Email: got.Email, Mention: in.Mention}
	if err != nil {
		failed := func(has bool) string {
			if has {
				return said(err)
			}
			return runbook.NotConfigured
		}
		n := in.Notify
		t.Slack, t.PagerDuty, t.Webhook, t.Email = failed(n.Slack != nil), failed(n.PagerDuty != nil), failed(n.Webhook != nil), failed(n.SMTP != nil && len(n.SMTP.To) > 0)
	}
	return t
}

// acknowledged: the person has, for the run.
func (s *story) acknowledged(person string) bool {
	return slices.ContainsFunc(s.status.Approvals, func(a runbook.Signed) bool {
		return a.By == person && a.Decision == runbook.Acknowledge && a.Team == ""
	})
}

// acknowledge quiets the run's page; whoever else was told sees who looks after it.
func (s *story) acknowledge(ctx workflow.Context, by runbook.Signed) string {
	if by.Team != "" {
		return s.acknowledgeFor(ctx, by)
	}
	s.notify(ctx, NotifyAcknowledged, fmt.Sprintf("%s of %s: %s looks after it", s.path, s.status.Pair, by.By), by.Reason, false)
	return "acknowledged: " + by.By + " looks after it"
}

// notify tells the pair's own channels.
func (s *story) notify(ctx workflow.Context, what, title, text string, page bool) {
	s.tellPeople(ctx, NotifyInput{Kind: what, Title: title, Text: text, Page: page})
}

// page is notify that names people and pages those too whom things are escalated to.
func (s *story) page(ctx workflow.Context, what, title, text string, people []runbook.Person) {
	in := NotifyInput{Kind: what, Title: title, Text: text, Page: true, Wide: true}
	for _, who := range people {
		if who.SlackID != "" {
			in.Mention = append(in.Mention, who.SlackID)
		}
	}
	s.tellPeople(ctx, in)
}

func (s *story) tellPeople(ctx workflow.Context, in NotifyInput) {
	in.Notify = s.plan.Notify
	s.send(ctx, in, nil, func(t runbook.Told) {
		s.status.Told = append(s.status.Told, t)
		s.report.Told = s.status.Told
	})
}

// send never fails and never blocks a run for long; keep gets what came of a page.
// What has a turn in common is sent one after the other: the end of a page that
// overtook the page would leave it open. Without a turn only such an end waits, until
// the pages before it are through: each has its bounded time (kindPaper).
func (s *story) send(ctx workflow.Context, in NotifyInput, turn workflow.Mutex, keep func(runbook.Told)) {
	if s.status.DryRun || in.Notify.Silent() {
		return
	}
	in.Call = s.call("notify " + in.Kind)
	summary := "notify: " + in.Kind
	if in.Team != "" {
		summary += ", team " + in.Team
	}
	free, _ := workflow.NewDisconnectedContext(ctx)
	s.telling++
	pages := turn == nil && in.Page
	if pages {
		s.paging++
	}
	kept := s.keeping(in.Page)
	workflow.Go(free, func(ctx workflow.Context) {
		defer func() { s.telling-- }()
		defer kept()
		if turn != nil && turn.Lock(ctx) == nil {
			defer turn.Unlock()
		}
		if pages {
			defer func() { s.paging-- }()
		}
		if turn == nil && EndsPage(in.Kind) && workflow.Await(ctx, func() bool { return s.paging == 0 }) != nil {
			return
		}
		if in.Team != "" { // the pair's own people wait for nobody
			defer s.teller(ctx)()
		}
		got, err := run(with(ctx, kindPaper, summary), steps.Notify, in)
		if in.Page {
			keep(cameOf(ctx, in, got, err))
		}
		if err != nil {
			workflow.GetLogger(ctx).Warn("notification was not sent", "kind", in.Kind, "error", err)
			return
		}
		workflow.GetLogger(ctx).Info("notified", "kind", in.Kind, "team", in.Team, "slack", got.Slack, "pagerduty", got.PagerDuty, "webhook", got.Webhook, "email", got.Email)
	})
}

// teller waits for a place among those notifications that are under way, and returns what
// gives it back.
func (s *story) teller(ctx workflow.Context) (done func()) {
	if s.tellers == nil {
		s.tellers = workflow.NewSemaphore(ctx, mostTelling)
	}
	if s.tellers.Acquire(ctx, 1) != nil {
		return func() {}
	}
	return func() { s.tellers.Release(1) }
}

// keeping notes a page whose outcome the report is to have, until what it returns is
// called.
func (s *story) keeping(page bool) (kept func()) {
	if !page {
		return func() {}
	}
	s.unkept++
	return func() { s.unkept-- }
}
