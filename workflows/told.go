package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// told keeps what came of a page, for whoever asks who was told.
func (s *story) told(ctx workflow.Context, in NotifyInput, got NotifyResult, err error) {
	if !in.Page {
		return
	}
	t := runbook.Told{At: workflow.Now(ctx), Kind: in.Kind, Title: in.Title, Slack: got.Slack, PagerDuty: got.PagerDuty, Mention: in.Mention}
	if err != nil {
		t.Slack, t.PagerDuty = said(err), said(err)
	}
	s.status.Told = append(s.status.Told, t)
	s.report.Told = s.status.Told
}

func (s *story) acknowledged(person string) bool {
	return slices.Contains(runbook.Who(s.status.Approvals, runbook.Acknowledge), person)
}

// acknowledge quiets the run's page; whoever else was told sees who looks after it.
func (s *story) acknowledge(ctx workflow.Context, by runbook.Signed) string {
	s.notify(ctx, NotifyAcknowledged, fmt.Sprintf("%s of %s: %s looks after it", s.path, s.status.Pair, by.By), by.Reason, false)
	return "acknowledged: " + by.By + " looks after it"
}

// notify never fails and never blocks a run for long.
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
	if s.status.DryRun || (s.plan.Notify.Slack == nil && s.plan.Notify.PagerDuty == nil) {
		return
	}
	in.Call, in.Notify = s.call("notify "+in.Kind), s.plan.Notify
	free, _ := workflow.NewDisconnectedContext(ctx)
	s.telling++
	workflow.Go(free, func(ctx workflow.Context) {
		defer func() { s.telling-- }()
		got, err := run(with(ctx, kindPaper, "notify: "+in.Kind), steps.Notify, in)
		s.told(ctx, in, got, err)
		if err != nil {
			workflow.GetLogger(ctx).Warn("notification was not sent", "kind", in.Kind, "error", err)
			return
		}
		workflow.GetLogger(ctx).Info("notified", "kind", in.Kind, "slack", got.Slack, "pagerduty", got.PagerDuty)
	})
}
