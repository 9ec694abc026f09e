package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	consul "github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// ReadHold asks the sites' Consuls whether somebody holds the pair, or all pairs.
func (a *Activities) ReadHold(ctx context.Context, in workflows.ReadHoldInput) (workflows.ReadHoldResult, error) {
	all := make([][]runbook.HoldCopy, len(in.Sites))
	var wg sync.WaitGroup
	for i, s := range in.Sites {
		wg.Go(func() { all[i] = a.holdsAt(ctx, in.Call.Pair, s) })
	}
	wg.Wait()
	var out workflows.ReadHoldResult
	for _, copies := range all {
		out.Holds = append(out.Holds, copies...)
	}
	return out, ctx.Err()
}

// holdsAt reads both holds of one Consul, at the same time.
func (a *Activities) holdsAt(ctx context.Context, pair string, s runbook.Site) []runbook.HoldCopy {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	out := []runbook.HoldCopy{{Site: s.Name, Scope: runbook.HoldPair}, {Site: s.Name, Scope: runbook.HoldAll}}
	c, token, err := a.consul(s)
	if err != nil {
		out[0].Problem, out[1].Problem = err.Error(), err.Error()
		return out
	}
	p, _, perr := a.plan(pair) // as it is now: who has left the plan holds and releases nothing
	var wg sync.WaitGroup
	for i, key := range []string{runbook.HoldKey(pair), runbook.HoldKey("")} {
		wg.Go(func() {
			opts := &consul.QueryOptions{RequireConsistent: true, Token: token}
			kv, _, err := c.KV().Get(key, opts.WithContext(ctx))
			if err != nil {
				out[i].Problem = fmt.Sprintf("read key %s in the consul of %s: %v", key, s.Name, err)
				return
			}
			out[i].Reachable = true
			if kv == nil {
				return
			}
			var h runbook.Hold
			if err := json.Unmarshal(kv.Value, &h); err != nil {
				out[i].Problem = fmt.Sprintf("key %s: %v", key, err)
				return
			}
			out[i].Hold = &h
			order := plan.HoldOrder{Key: key, Held: h.Held, Seq: h.Seq, By: h.By, Reason: h.Reason, Since: h.Since, Signature: h.Signature}
			if perr != nil {
				out[i].Unproven = "whether it is signed is not known: " + perr.Error()
			} else if err := plan.VerifyHold(p.People, order); err != nil {
				out[i].Unproven = err.Error()
			}
		})
	}
	wg.Wait()
	return out
}
