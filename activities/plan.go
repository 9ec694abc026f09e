package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

// LoadPlan reads plans/<pair>.yaml as it is now.
func (a *Activities) LoadPlan(_ context.Context, in workflows.LoadPlanInput) (workflows.LoadPlanResult, error) {
	var out workflows.LoadPlanResult
	p, hash, err := a.plan(in.Call.Pair)
	if err != nil {
		return out, refuse(workflows.ErrPlanInvalid, "%v", err)
	}
	if in.PlanHash != "" && in.PlanHash != hash {
		return out, refuse(workflows.ErrPlanDiffers, "the plan of pair %s has hash %s here, %s at the starter: bring both copies to the same state, or start without a hash", in.Call.Pair, hash, in.PlanHash)
	}
	out.Hash = hash
	if err := convert(p, &out.Plan); err != nil {
		return out, settle(err)
	}
	for i, f := range out.Plan.Freezes {
		offsets, err := plan.Offsets(f.Zone, time.Now())
		if err != nil {
			return out, refuse(workflows.ErrPlanInvalid, "change freeze %q of pair %s: %v", f.Name, in.Call.Pair, err)
		}
		if err := convert(offsets, &out.Plan.Freezes[i].Offsets); err != nil {
			return out, settle(err)
		}
	}
	return out, nil
}

func (a *Activities) plan(pair string) (plan.Plan, string, error) {
	if a.opts.PlansDir == "" {
		return plan.Plan{}, "", fmt.Errorf("this worker has no plans folder")
	}
	p, err := plan.Load(a.opts.PlansDir, pair)
	if err != nil {
		return p, "", err
	}
	hash, err := p.Hash()
	return p, hash, err
}

// convert goes over the JSON that both sides of the seam share.
func convert(from, to any) error {
	b, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	return err
}

// VerifySignature checks a command against the public keys of the run's plan.
func (a *Activities) VerifySignature(_ context.Context, in workflows.VerifySignatureInput) (workflows.VerifySignatureResult, error) {
	out := workflows.VerifySignatureResult{By: in.Command.By}
	var people []plan.Person
	var command plan.Approval
	if err := convert(in.People, &people); err != nil {
		return out, settle(err)
	}
	if err := convert(in.Command, &command); err != nil {
		return out, settle(err)
	}
	var bot *plan.Bot
	if err := convert(in.Bot, &bot); err != nil {
		return out, settle(err)
	}
	who, err := plan.Verify(people, bot, command)
	if err != nil {
		out.Problem = err.Error()
		return out, nil
	}
	out.Valid, out.Roles = true, who.Roles
	return out, nil
}
