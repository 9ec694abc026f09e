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
