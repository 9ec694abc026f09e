package activities

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/activities/kube"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// ListWorkloads finds the workloads of a place.
func (a *Activities) ListWorkloads(ctx context.Context, in workflows.WorkloadsInput) (workflows.WorkloadsResult, error) {
	return a.workloads(ctx, in, func(n *kube.Namespace) ([]runbook.Workload, error) { return n.List(ctx) })
}

// StopWorkloads scales them to 0 and waits until their pods are gone.
func (a *Activities) StopWorkloads(ctx context.Context, in workflows.WorkloadsInput) (workflows.WorkloadsResult, error) {
	return a.workloads(ctx, in, func(n *kube.Namespace) ([]runbook.Workload, error) { return n.Stop(ctx, request(in), in.Within) })
}

// StartWorkloads scales them up to what they were, or of them what given operations
// stopped.
func (a *Activities) StartWorkloads(ctx context.Context, in workflows.WorkloadsInput) (workflows.WorkloadsResult, error) {
	return a.workloads(ctx, in, func(n *kube.Namespace) ([]runbook.Workload, error) { return n.Start(ctx, request(in), in.Of) })
}

// RestartWorkloads restarts a wave and waits until it is rolled out.
func (a *Activities) RestartWorkloads(ctx context.Context, in workflows.WorkloadsInput) (workflows.WorkloadsResult, error) {
	return a.workloads(ctx, in, func(n *kube.Namespace) ([]runbook.Workload, error) {
		return n.Restart(ctx, request(in), in.Names, in.Within)
	})
}

func request(in workflows.WorkloadsInput) kube.Request {
	return kube.Request{Operation: in.Operation, Epoch: in.Epoch, At: in.Asked}
}

func (a *Activities) workloads(ctx context.Context, in workflows.WorkloadsInput, do func(*kube.Namespace) ([]runbook.Workload, error)) (workflows.WorkloadsResult, error) {
	defer a.beat(ctx)()
	n, err := kube.Open(in.Place)
	if err != nil {
		return workflows.WorkloadsResult{}, settle(err)
	}
	list, err := do(n)
	if err != nil {
		return workflows.WorkloadsResult{}, settle(fmt.Errorf("clients of group %s: %w", in.Group, err))
	}
	return workflows.WorkloadsResult{Workloads: list}, nil
}

// TellWorkloads keeps the place's ConfigMap, in the names that drctl exec gives its
// child.
func (a *Activities) TellWorkloads(ctx context.Context, in workflows.TellWorkloadsInput) (workflows.TellWorkloadsResult, error) {
	n, err := kube.Open(in.Place)
	if err != nil {
		return workflows.TellWorkloadsResult{}, settle(err)
	}
	err = n.Tell(ctx, map[string]string{
		kube.PairKey:              in.Call.Pair,
		"DRAWBRIDGE_SITE":         in.Site,
		"DRAWBRIDGE_BOOTSTRAP":    strings.Join(in.Bootstrap, ","),
		"DRAWBRIDGE_SECURITY_REF": in.SecurityRef,
		kube.EpochKey:             strconv.FormatInt(in.Epoch, 10),
	})
	return workflows.TellWorkloadsResult{Told: in.Place.ConfigMap != ""}, settle(err)
}

// placesWithin bounds the look at all places of a plan, some of which may hang.
const placesWithin = 30 * time.Second

// workloads says what a move of clients would stumble over. All places are asked at
// once: API servers that hang hold up neither each other nor the rest.
func (c check) workloads(ctx context.Context, pair, active string, places []runbook.Workloads) {
	ctx, cancel := context.WithTimeout(ctx, placesWithin)
	defer cancel()
	found := make([][]kube.Finding, len(places))
	var all sync.WaitGroup
	for i, p := range places {
		all.Go(func() {
			n, err := kube.Open(p)
			if err != nil {
				found[i] = []kube.Finding{{What: err.Error(), Cure: "see groups[].kubernetes of the plan", Blocker: true}}
				return
			}
			found[i] = n.Check(ctx, pair, active)
		})
	}
	all.Wait()
	for _, f := range slices.Concat(found...) {
		c.part(f.Blocker, f.Cure, "%s", f.What)
	}
}

func (c check) part(blocker bool, cure, format string, args ...any) {
	c.out.Findings = append(c.out.Findings, workflows.Finding{Part: runbook.PartKubernetes, What: fmt.Sprintf(format, args...), Cure: cure, Blocker: blocker})
}
