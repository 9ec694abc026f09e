package activities

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// stillTries is how many watches of the log ends may see them move before that
// is the finding: what was on its way when the fence went up lands in the first.
const stillTries = 3

// ProveFence gathers evidence, and judges nothing: the operation's entries that
// stand, what every broker tells the canary, whether log ends move.
func (a *Activities) ProveFence(ctx context.Context, in workflows.ProveFenceInput) (workflows.ProveFenceResult, error) {
	defer a.beat(ctx)()
	ev := runbook.FenceEvidence{Site: in.Site.Name, CanaryBefore: in.CanaryBefore}
	k, err := a.kafka(in.Site)
	if err != nil {
		return workflows.ProveFenceResult{}, settle(err)
	}
	if err := k.reach(ctx); err != nil {
		ev.Problem = err.Error()
		return workflows.ProveFenceResult{Evidence: ev}, ctx.Err()
	}
	ev.Reachable = true
	var problems []string
	if ev.Entries, err = a.standing(ctx, k, in); err != nil {
		problems = append(problems, err.Error())
	}
	if ev.CanaryRefused, err = a.refusedEverywhere(ctx, in); err != nil {
		problems = append(problems, err.Error())
	}
	if ev.LogsStill, err = k.still(ctx, in.Topics, in.HoldFor); err != nil {
		problems = append(problems, err.Error())
	}
	if ctx.Err() != nil {
		return workflows.ProveFenceResult{}, ctx.Err()
	}
	ev.Problem = strings.Join(problems, "; ")
	return workflows.ProveFenceResult{Evidence: ev}, nil
}

// standing counts the entries of the operation's register that every broker
// has.
func (a *Activities) standing(ctx context.Context, k *kafka, in workflows.ProveFenceInput) (int, error) {
	mine, _, err := a.registers(ctx, in.Call.Pair, in.Site, in.RegisterAt, in.Call.OperationID)
	if err != nil {
		return 0, err
	}
	cluster, err := k.clusterID(ctx)
	if err != nil {
		return 0, err
	}
	var entries []api.ACLEntry
	for _, r := range mine {
		for _, e := range r.Entries {
			if e.ClusterID == cluster {
				entries = append(entries, e.ACLEntry)
			}
		}
	}
	if len(entries) == 0 {
		return 0, nil
	}
	if err := k.awaitACLs(ctx, entries, true); err != nil {
		return 0, err
	}
	return len(entries), nil
}

func (a *Activities) refusedEverywhere(ctx context.Context, in workflows.ProveFenceInput) (bool, error) {
	if in.Site.Canary == nil {
		return false, fmt.Errorf("site %s has no canary principal in the plan", in.Site.Name)
	}
	var heard song
	done, err := poll(ctx, settleACLs, func(ctx context.Context) (bool, error) {
		var err error
		heard, err = a.sing(ctx, in.Site, in.Topics)
		return heard.allRefused(), err
	})
	switch {
	case err != nil:
		return false, fmt.Errorf("canary: %w", err)
	case done:
		return true, nil
	case len(heard.through) > 0:
		return false, fmt.Errorf("the canary is still let through: %s", strings.Join(heard.through, ", "))
	}
	return false, fmt.Errorf("canary: %s", strings.Join(heard.other, "; "))
}

// still watches the log ends for a while: no one may move, and each must stand
// at its high watermark.
func (k *kafka) still(ctx context.Context, topics []string, hold time.Duration) (bool, error) {
	before, err := k.ends(ctx, topics)
	if err != nil {
		return false, err
	}
	if gone := missing(topics, before); len(gone) > 0 {
		return false, errors.New(strings.Join(gone, "; "))
	}
	var moved error
	for range stillTries {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(hold):
		}
		now, err := k.ends(ctx, topics)
		if err != nil {
			return false, err
		}
		if moved = moving(before, now); moved == nil {
			return true, nil
		}
		before = now
	}
	return false, moved
}

func moving(before, now []logEnd) error {
	if len(before) != len(now) {
		return fmt.Errorf("the topics have %d partitions, had %d", len(now), len(before))
	}
	for i, n := range now {
		switch {
		case n.end != before[i].end:
			return fmt.Errorf("%s/%d grew from %d to %d in spite of the fence: somebody still writes, a super user perhaps", n.topic, n.partition, before[i].end, n.end)
		case n.end != n.high:
			return fmt.Errorf("%s/%d ends at %d, its high watermark is %d: replicas are behind", n.topic, n.partition, n.end, n.high)
		}
	}
	return nil
}
