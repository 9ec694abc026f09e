package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Break-glass lets somebody act on a night when those who approve cannot be
// reached: the plan says who, for which operations, and how many approvals remain.
// It is a signed command that names each override and the reason, is paged to
// everybody and stands in the report. It lessens approvals and nothing else: split
// brain, the epoch and what stands in the fence registers are no overrides, so no
// glass reaches them.
//
// It is either the request itself, for a whole run, or the answer to one question.

// glassed notes that the glass was broken, and tells everybody.
func (s *story) glassed(ctx workflow.Context, by runbook.Signed) {
	s.status.BreakGlass = append(s.status.BreakGlass, by)
	s.report.BreakGlass = s.status.BreakGlass
	text := by.Reason
	for _, o := range by.Overrides {
		text += fmt.Sprintf("; takes upon himself %s: %s", o, runbook.OverrideMeaning(o))
	}
	workflow.GetLogger(ctx).Warn("break-glass", "by", by.By, "reason", by.Reason, "overrides", by.Overrides, "question", by.Question)
	s.page(ctx, NotifyBreakGlass, fmt.Sprintf("BREAK-GLASS: %s of %s without its approvals, by %s", s.path, s.status.Pair, by.By), text, s.plan.People)
}

// glassCovers: the request broke the glass and names all of these overrides. It was
// a request for op, so that it does not count once the run is turned.
func (s *story) glassCovers(overrides []string) bool {
	return s.glass != nil && s.path == s.op && len(runbook.Missing(overrides, s.glass.Overrides)) == 0
}

// rolesOf are a person's, by the plan.
func (s *story) rolesOf(name string) []string {
	for _, who := range s.plan.People {
		if who.Name == name {
			return who.Roles
		}
	}
	return nil
}

// needed is how many approvals a question needs, and whether these are fewer
// because the glass was broken.
func (s *story) needed(overrides []string) (n int, glass bool) {
	n = runbook.Needed(s.rule(), s.requester, overrides)
	if s.glassCovers(overrides) && s.plan.BreakGlass.Approvals < n {
		return s.plan.BreakGlass.Approvals, true
	}
	return n, false
}

// breakable tells whether the plan lets a question of this path be answered so.
func (s *story) breakable() bool {
	return s.plan.BreakGlass != nil && slices.Contains(s.plan.BreakGlass.Operations, s.path)
}

// breakGlass answers the open question.
func (s *story) breakGlass(ctx workflow.Context, by runbook.Signed) string {
	g := s.gate
	s.glassed(ctx, by)
	g.glass, g.need = by.By, min(g.need, s.plan.BreakGlass.Approvals)
	s.status.Waiting.Need = g.need
	if s.status.Waiting.Have >= g.need {
		g.by, g.verdict = by, runbook.BreakGlass
	}
	return fmt.Sprintf("the glass is broken: everybody is paged, %d of %d approvals are there", s.status.Waiting.Have, g.need)
}

// grant notes overrides that are taken: by the path, since a turned run asks anew.
func (s *story) grant(overrides []string) {
	for _, o := range overrides {
		s.granted = append(s.granted, s.path+" "+o)
		if !slices.Contains(s.report.Overrides, o) {
			s.report.Overrides = append(s.report.Overrides, o)
		}
	}
}

// unapproved is what the step table says of a question that nobody had to answer.
func (s *story) unapproved(overrides []string) string {
	text := "by nobody: the glass was broken by " + s.glass.By
	if len(overrides) > 0 {
		text += ", overriding " + strings.Join(overrides, ", ")
	}
	return text
}
