package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// workloads starts what the lost operations scaled to 0 at the active site, if that is
// a site which was opened: clients may write there, and the record sends them there.
// What else stands at 0 is named, with the call to make. It comes last, when the record
// says open and the pair is given back, so that an API server that is away keeps nobody
// standing still; for the same reason it never waits for a person.
func (u *unfence) workloads(ctx workflow.Context) error {
	active := u.rec.Active[0]
	places := u.plan.Scaled(active)
	if len(places) == 0 {
		return nil
	}
	return u.do(ctx, "start workloads", func(ctx workflow.Context) (string, error) {
		left, away := 0, map[string]bool{}
		for _, p := range places {
			texts := u.startLost(ctx, p, away)
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			for _, text := range texts {
				u.find("%s", text)
			}
			left += len(texts)
		}
		return fmt.Sprintf("%d places, %d findings", len(places), left), nil
	})
}

// workloadsLeft tells of those that a run which is cut off did not come to.
func (u *unfence) workloadsLeft(err error) {
	if err != nil && u.changed && len(u.plan.Scaled(u.rec.Active[0])) > 0 {
		u.find("what the lost run scaled to 0 in Kubernetes may stand there still: drctl readiness %s names it, with the calls to make", u.plan.Pair)
	}
}

// startLost returns what is left to a person at one place.
func (u *unfence) startLost(ctx workflow.Context, p runbook.GroupWorkloads, away map[string]bool) []string {
	const unknown = "whether the lost run left workloads of group %s in %s at 0 is not known: %s; when it answers again, drctl readiness %s names them"
	if away[p.Server()] {
		return []string{fmt.Sprintf(unknown, p.Group, p.Where(), "its API server does not answer", u.plan.Pair)}
	}
	do, in := steps.ListWorkloads, WorkloadsInput{Group: p.Group, Place: p.Workloads}
	if slices.ContainsFunc(u.sites, func(f fenced) bool { return f.active }) {
		do, in.Of = steps.StartWorkloads, u.lost
	}
	got, err := u.story.workloads(ctx, kindOnce, "start workloads", do, in)
	if err != nil {
		away[p.Server()] = ErrorType(err) == ErrUnreachable
		return []string{fmt.Sprintf(unknown, p.Group, p.Where(), brief(err), u.plan.Pair)}
	}
	return runbook.LeftStopped(p, got.Workloads)
}
