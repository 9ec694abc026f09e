package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// pay pays everybody: a fence that cannot be proven keeps no record waiting.
func (r *recovery) pay(ctx workflow.Context) error {
	err := r.payFences(ctx)
	if err != nil && !r.dutiful {
		return err
	}
	if rerr := r.payRecords(ctx); err == nil {
		err = rerr
	}
	return err
}

// payFences fences each cluster that was left without a proven fence. The fence
// stays: it is handed to the guards when the cluster becomes a standby.
func (r *recovery) payFences(ctx workflow.Context) error {
	for _, d := range r.rec.Debts(record.DebtFence) {
		site, err := r.plan.Site(d.Site)
		if err != nil {
			r.find("a fence is owed to %s, which the plan no longer has: %v", d.Site, err)
			continue
		}
		topics, err := r.listTopics(ctx, site)
		if err != nil {
			return err
		}
		err = r.do(ctx, "pay fence debt "+site.Name, func(ctx workflow.Context) (string, error) {
			return r.payFence(ctx, site, d, topics)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) payFence(ctx workflow.Context, site runbook.Site, d record.FenceDebt, topics []string) (string, error) {
	ev, err := r.raiseOnce(ctx, fence{site: site, registerAt: r.active, topics: topics, groups: r.plan.GroupNames(), effort: kindLong, keep: true})
	if err != nil {
		return "", err
	}
	line := runbook.Fence(ev)
	r.status.Fences = slices.DeleteFunc(r.status.Fences, func(l runbook.FenceLine) bool { return l.Site == site.Name })
	r.status.Fences = append(r.status.Fences, line)
	if !line.Proven() {
		return "", refuse(ErrHalted, "the fence on %s is %s, not proven: %s; the debt stays open", site.Name, line.Level, line.Reason)
	}
	if err := r.settle(ctx, WriteDebt, "pay fence debt "+site.Name, runbook.WithoutDebt(r.rec, d, r.by(ctx))); err != nil {
		return "", err
	}
	r.report.DebtsPaid = append(r.report.DebtsPaid, d)
	return line.Level + ", debt closed", nil
}

// payRecords writes the newest record to each Consul that has not got it; only
// when that worked is the debt taken out, by one more write to all.
func (r *recovery) payRecords(ctx workflow.Context) error {
	for _, d := range r.rec.Debts(record.DebtRecord) {
		site, err := r.plan.Site(d.Site)
		if err != nil {
			r.find("a record is owed to %s, which the plan no longer has: %v", d.Site, err)
			continue
		}
		name := "pay record debt " + site.Name
		err = r.do(ctx, name, func(ctx workflow.Context) (string, error) {
			if err := r.offer(ctx, site, name, r.rec); err != nil {
				return "", fmt.Errorf("consul of %s: %w", site.Name, err)
			}
			delete(r.owed, site.Name)
			if !slices.Contains(r.rec.FenceDebt, d) {
				return "debt was closed already", nil
			}
			return "debt closed", r.settle(ctx, WriteDebt, name, r.rec)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
