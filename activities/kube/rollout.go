package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// rollout is how far a restart has got.
type rollout struct {
	seen                    bool // by its controller
	updated, all, available int32
	failed                  string
	never                   string // why it cannot be restarted so
}

// List finds the workloads and says how they stand.
func (n *Namespace) List(ctx context.Context) ([]runbook.Workload, error) {
	list, err := n.workloads(ctx)
	if err != nil {
		return nil, err
	}
	var out []runbook.Workload
	for _, w := range list {
		out = append(out, w.line())
	}
	return out, nil
}

// Restart restarts the named workloads for an operation, each once, and waits until
// all their pods are new and available. Those that are not when within is over, or
// that their controller gave up, have a Problem.
func (n *Namespace) Restart(ctx context.Context, r Request, names []string, within time.Duration) ([]runbook.Workload, error) {
	var out []runbook.Workload
	err := look(ctx, within, func(ctx context.Context) (bool, error) {
		out = out[:0]
		settled := true
		for _, name := range names {
			w, err := n.workload(ctx, name)
			if err != nil {
				return false, err
			}
			problem, final, err := n.restart(ctx, w, r)
			if err != nil {
				return false, err
			}
			line := w.line()
			line.Problem = problem
			settled = settled && final
			out = append(out, line)
		}
		return settled, nil
	})
	return out, err
}

// restart sets the annotation once, then looks. final: another look tells nothing new.
func (n *Namespace) restart(ctx context.Context, w workload, r Request) (problem string, final bool, err error) {
	if w.rollout.never != "" {
		return w.rollout.never, true, nil
	}
	if w.template.Annotations[RestartedBy] != r.Operation {
		if r.late(w) {
			return n.lateFor(w), true, nil
		}
		marks := map[string]any{RestartedBy: r.Operation, restartedAt: time.Now().UTC().Format(time.RFC3339)}
		err := n.patch(ctx, w, map[string]any{
			"metadata": map[string]any{"annotations": map[string]any{Asked: r.text()}},
			"spec":     map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": marks}}},
		})
		if isConflict(err) {
			err = nil
		}
		return "it was not restarted yet", false, err
	}
	is := w.rollout
	switch {
	case is.failed != "":
		return is.failed + ": " + n.advice(w), true, nil
	case !is.seen:
		return "its controller has not seen the restart: is the controller manager of this Kubernetes up?", false, nil
	case slices.Min([]int32{is.updated, is.available}) < w.replicas || is.all > is.updated:
		return fmt.Sprintf("%d of %d pods are new, %d available: %s", is.updated, w.replicas, is.available, n.advice(w)), false, nil
	}
	return "", true, nil
}

func (n *Namespace) advice(w workload) string {
	return fmt.Sprintf("%s rollout status %s, %[1]s describe pods", n.place.Kubectl(), w.name())
}
