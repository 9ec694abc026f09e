package activities

import (
	"context"
	"fmt"
	"strconv"
	"strings"

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

// workloads says what a move of clients would stumble over.
func (c check) workloads(ctx context.Context, pair string, places []runbook.Workloads) {
	for _, p := range places {
		n, err := kube.Open(p)
		if err != nil {
			c.part(true, "see groups[].kubernetes of the plan", "%v", err)
			continue
		}
		for _, f := range n.Check(ctx, pair) {
			c.part(f.Blocker, f.Cure, "%s", f.What)
		}
	}
}

func (c check) part(blocker bool, cure, format string, args ...any) {
	c.out.Findings = append(c.out.Findings, workflows.Finding{Part: runbook.PartKubernetes, What: fmt.Sprintf(format, args...), Cure: cure, Blocker: blocker})
}
