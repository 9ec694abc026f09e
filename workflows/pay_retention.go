package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// payRetention puts back what a run that is gone held at a site, by what it wrote down.
// While records that the hold keeps wait for a decision it stays: the recovery that
// decides about them takes it over.
func (r *recovery) payRetention(ctx workflow.Context) error {
	if !r.noted() {
		return nil
	}
	open, err := r.keeps(ctx)
	if err != nil {
		return err
	}
	for _, c := range r.copies {
		at, err := r.plan.Site(c.Site)
		if err != nil {
			continue // a copy is of a site of the plan
		}
		for _, h := range c.Retention {
			site, err := r.plan.Site(h.Site)
			if err != nil {
				r.find("retention of %d topics is held at %s, which the plan no longer has: %v", h.Topics, h.Site, err)
				continue
			}
			if len(open) > 0 {
				r.find("retention of %d topics at %s stays held since %s (%s): lagged records of %s are undecided; drctl recover %s takes it over", h.Topics, h.Site, h.Since.UTC().Format("2006-01-02 15:04:05Z"), h.OpID, strings.Join(open, ", "), r.plan.Pair)
				continue
			}
			name := "pay retention debt " + h.Site
			err = r.do(ctx, name, func(ctx workflow.Context) (string, error) {
				got, err := run(with(ctx, kindLong, "put back retention at "+h.Site), steps.PutBackRetention, PutBackRetentionInput{Call: r.call(name), Site: site, RegisterAt: at})
				if err == nil {
					r.struck(at.Name, site.Name)
				}
				return fmt.Sprintf("%d values that %s held", len(got.Held), h.OpID), err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// keeps are the topics whose lagged records wait for a decision.
func (r *recovery) keeps(ctx workflow.Context) (open []string, err error) {
	if _, lagged := runbook.LaggedSite(r.rec); !lagged {
		return nil, nil
	}
	err = r.must(ctx, "ledger decided?", func(ctx workflow.Context) (string, error) {
		got, err := run(with(ctx, kindLong, "loss ledger of "+r.link.Name), steps.ComputeLedger, LedgerInput{Call: r.call("ledger decided"), Site: r.active, Link: r.link, IfLink: true})
		open = slices.Clone(runbook.Undecided(got.Lines))
		return fmt.Sprintf("%d topics undecided", len(open)), err
	})
	return open, err
}
