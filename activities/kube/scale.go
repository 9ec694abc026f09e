package kube

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Stop scales the workloads to 0, remembering what they were, and waits until they
// have no pod. Those that have one when within is over have a Problem. One that
// somebody scales up meanwhile is scaled to 0 again.
func (n *Namespace) Stop(ctx context.Context, operation string, within time.Duration) ([]runbook.Workload, error) {
	var out []runbook.Workload
	err := look(ctx, within, func(ctx context.Context) (bool, error) {
		list, err := n.workloads(ctx)
		if err != nil {
			return false, err
		}
		out = out[:0]
		still := true
		for _, w := range list {
			line, err := n.stop(ctx, w, operation)
			if err != nil {
				return false, err
			}
			still = still && line.Problem == ""
			out = append(out, line)
		}
		return still, nil
	})
	return out, err
}

func (n *Namespace) stop(ctx context.Context, w workload, operation string) (runbook.Workload, error) {
	line := w.line()
	if w.replicas > 0 {
		was := strconv.Itoa(int(w.replicas))
		if w.Annotations[StoppedBy] == operation && w.Annotations[Remembered] != "" {
			was = w.Annotations[Remembered] // somebody has scaled it up against us
		}
		err := n.patch(ctx, w, map[string]any{
			"metadata": map[string]any{"annotations": map[string]any{Remembered: was, StoppedBy: operation}},
			"spec":     map[string]any{"replicas": 0},
		})
		if err != nil && !isConflict(err) {
			return line, err
		}
		line.Problem = "it was being scaled to 0"
		if w.Annotations[StoppedBy] == operation {
			line.Problem = "something scales it up again and again: hold KEDA, Argo CD, Flux or whoever sets its replicas"
		}
	}
	var err error
	if line.Pods, err = n.pods(ctx, w); err != nil {
		return line, err
	}
	if line.Problem == "" && line.Pods > 0 {
		line.Problem = fmt.Sprintf("%d of its pods still run: see kubectl -n %s get pods; they may need longer to end than wait_seconds, or hang on a lost node", line.Pods, n.place.Namespace)
	}
	return line, nil
}

// Start scales the workloads up to what they were when they were stopped; it does
// not wait for pods. What nobody stopped is left as it is.
func (n *Namespace) Start(ctx context.Context) ([]runbook.Workload, error) {
	var out []runbook.Workload
	err := look(ctx, callTimeout, func(ctx context.Context) (bool, error) {
		list, missing, err := n.there(ctx)
		if err != nil {
			return false, err
		}
		out = append(out[:0], missing...)
		done := true
		for _, w := range list {
			line, again, err := n.start(ctx, w)
			if err != nil {
				return false, err
			}
			done = done && !again
			out = append(out, line)
		}
		return done, nil
	})
	return out, err
}

func (n *Namespace) start(ctx context.Context, w workload) (line runbook.Workload, again bool, err error) {
	line = w.line()
	was, remembered := w.Annotations[Remembered]
	_, ours := w.Annotations[StoppedBy]
	switch {
	case !remembered && !ours && w.replicas == 0:
		line.Problem = fmt.Sprintf("it stands at 0 and nobody wrote down how many it should be: kubectl -n %s scale %s --replicas=<n>, and for the next time kubectl -n %s annotate %s %s=<n> while it stands at 0",
			n.place.Namespace, w.name(), n.place.Namespace, w.name(), Remembered)
		return line, false, nil
	case !remembered && !ours:
		return line, false, nil
	}
	change := map[string]any{"metadata": map[string]any{"annotations": map[string]any{Remembered: nil, StoppedBy: nil}}}
	if w.replicas == 0 {
		want, err := strconv.ParseInt(was, 10, 32)
		if err == nil && want == 0 {
			return line, false, nil // that is what somebody wrote down: it stays at 0
		}
		if err != nil || want < 0 {
			line.Problem = fmt.Sprintf("its annotation %s is %q, not a number of replicas: kubectl -n %s scale %s --replicas=<n>", Remembered, was, n.place.Namespace, w.name())
			return line, false, nil
		}
		change["spec"] = map[string]any{"replicas": want}
	}
	line.Problem = "it was being scaled up"
	if err = n.patch(ctx, w, change); isConflict(err) {
		err = nil
	}
	return line, true, err // looked at again
}
