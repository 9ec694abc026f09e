package kube

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Stop scales the workloads to 0, remembering what they were, and waits until their
// controllers have seen it and they have no pod. Those that have one when within is
// over have a Problem. One that somebody scales up meanwhile is scaled to 0 again,
// unless a later request did.
func (n *Namespace) Stop(ctx context.Context, r Request, within time.Duration) ([]runbook.Workload, error) {
	var out []runbook.Workload
	err := look(ctx, within, func(ctx context.Context) (bool, error) {
		list, err := n.workloads(ctx)
		if err != nil {
			return false, err
		}
		out = out[:0]
		settled := true
		for _, w := range list {
			line, final, err := n.stop(ctx, w, r)
			if err != nil {
				return false, err
			}
			settled = settled && final
			out = append(out, line)
		}
		return settled, nil
	})
	return out, err
}

// stop makes one change, or looks. final: another look tells nothing new.
func (n *Namespace) stop(ctx context.Context, w workload, r Request) (line runbook.Workload, final bool, err error) {
	line = w.line()
	by := w.Annotations[StoppedBy]
	switch {
	case w.replicas > 0 && r.late(w):
		line.Problem = n.lateFor(w)
		return line, true, nil
	case w.replicas > 0:
		was := strconv.Itoa(int(w.replicas))
		if by == r.Operation && w.Annotations[Remembered] != "" {
			was = w.Annotations[Remembered] // somebody has scaled it up against us
		}
		err = n.patch(ctx, w, map[string]any{
			"metadata": map[string]any{"annotations": map[string]any{Remembered: was, StoppedBy: r.Operation, Asked: r.text()}},
			"spec":     map[string]any{"replicas": 0},
		})
		line.Problem = "it was being scaled to 0"
		if by == r.Operation {
			line.Problem = "something scales it up again and again: hold KEDA, Argo CD, Flux or whoever sets its replicas"
		}
	case by != "" && by != r.Operation && r.news(w):
		// What an earlier request stopped is ours now, so that nobody starts it for that one.
		err = n.patch(ctx, w, map[string]any{"metadata": map[string]any{"annotations": map[string]any{StoppedBy: r.Operation, Asked: r.text()}}})
		if isConflict(err) {
			line.Problem = "it was being marked as stopped by " + r.Operation
		}
	}
	if err != nil && !isConflict(err) {
		return line, false, err
	}
	if line.Pods, err = n.pods(ctx, w); err != nil {
		return line, false, err
	}
	if line.Problem == "" {
		line.Problem = n.stirs(w, line.Pods)
	}
	return line, line.Problem == "", nil
}

// stirs is why a workload that is to have no replicas is not known to stand still. w
// was read before its pods: a controller that has not seen the 0 may be making some.
func (n *Namespace) stirs(w workload, pods int) string {
	switch {
	case pods > 0:
		return fmt.Sprintf("%d of its pods still run: see %s get pods; they may need longer to end than wait_seconds, or hang on a lost node", pods, n.place.Kubectl())
	case !w.rollout.seen:
		return "it has no pod, but its controller has not seen that it is to have none and may make one: is the controller manager of this Kubernetes up?"
	case w.rollout.all > 0:
		return fmt.Sprintf("it has no pod, but its controller still counts %d: is the controller manager of this Kubernetes up?", w.rollout.all)
	}
	return ""
}

// Start scales the workloads up to what they were when they were stopped; it does
// not wait for pods. What nobody stopped keeps its replicas, and so, if operations are
// given, does what none of them stopped.
func (n *Namespace) Start(ctx context.Context, r Request, of []string) ([]runbook.Workload, error) {
	var out []runbook.Workload
	err := look(ctx, callTimeout, func(ctx context.Context) (bool, error) {
		list, missing, err := n.there(ctx)
		if err != nil {
			return false, err
		}
		out = append(out[:0], missing...)
		done := true
		for _, w := range list {
			line, again, err := n.start(ctx, w, r, of)
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

func (n *Namespace) start(ctx context.Context, w workload, r Request, of []string) (line runbook.Workload, again bool, err error) {
	line = w.line()
	was, remembered := w.Annotations[Remembered]
	by, stopped := w.Annotations[StoppedBy]
	marks := map[string]any{Asked: r.text()}
	change := map[string]any{"metadata": map[string]any{"annotations": marks}}
	marked := remembered || stopped
	switch {
	case len(of) > 0 && !slices.Contains(of, by) && (marked || w.replicas == 0):
		return line, false, nil
	case !marked && w.replicas == 0:
		line.Problem = fmt.Sprintf("it stands at 0 and nobody wrote down how many it should be: %s scale %s --replicas=<n>, and for the next time %[1]s annotate %[2]s %[3]s=<n> while it stands at 0",
			n.place.Kubectl(), w.name(), Remembered)
		return line, false, nil
	case r.late(w) && w.replicas == 0:
		line.Problem = n.lateFor(w)
		return line, false, nil
	case r.late(w), !marked && !r.news(w):
		return line, false, nil
	case marked:
		marks[Remembered], marks[StoppedBy] = nil, nil
	}
	if w.replicas == 0 {
		want, err := strconv.ParseInt(was, 10, 32)
		if err == nil && want == 0 {
			return line, false, nil // that is what somebody wrote down: it stays at 0
		}
		if err != nil || want < 0 {
			line.Problem = fmt.Sprintf("its annotation %s is %q, not a number of replicas: %s scale %s --replicas=<n>", Remembered, was, n.place.Kubectl(), w.name())
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
