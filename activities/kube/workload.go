package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Annotations of a workload.
const (
	// Remembered is how many replicas it had before it was stopped. A person sets it on
	// a workload that stands at 0 by a standby site until its first move there.
	Remembered = "drawbridge.dev/replicas"
	// StoppedBy is the operation that did.
	StoppedBy = "drawbridge.dev/stopped-by"
	// Asked is by which request a run last stopped, started or restarted it: see
	// Request. It stays when the others go.
	Asked = "drawbridge.dev/asked"
	// RestartedBy is set on the pod template, and so restarts the pods: the operation.
	RestartedBy = "drawbridge.dev/restarted-by"
	// restartedAt is what kubectl rollout restart sets, for whoever reads it.
	restartedAt = "kubectl.kubernetes.io/restartedAt"
)

const (
	deployment  = "deployment"
	statefulSet = "statefulset"
)

// workload is what Deployments and StatefulSets have in common.
type workload struct {
	kind string
	meta.ObjectMeta
	replicas int32
	ready    int32
	selector *meta.LabelSelector
	template core.PodTemplateSpec
	rollout  rollout
}

func (w workload) name() string { return w.kind + "/" + w.Name }

func (w workload) line() runbook.Workload {
	return runbook.Workload{Name: w.name(), Replicas: w.replicas, Ready: w.ready, StoppedBy: w.Annotations[StoppedBy], Was: w.Annotations[Remembered]}
}

func ofDeployment(d apps.Deployment) workload {
	s := d.Status
	w := workload{
		kind: deployment, ObjectMeta: d.ObjectMeta, replicas: count(d.Spec.Replicas), ready: s.ReadyReplicas,
		selector: d.Spec.Selector, template: d.Spec.Template,
	}
	w.rollout = rollout{
		seen: s.ObservedGeneration >= d.Generation, updated: s.UpdatedReplicas, all: s.Replicas, available: s.AvailableReplicas,
	}
	if d.Spec.Paused {
		w.rollout.never = "it is paused, so that nothing of it is restarted: kubectl rollout resume " + w.name()
	}
	for _, c := range s.Conditions {
		if w.rollout.seen && c.Type == apps.DeploymentProgressing && c.Reason == "ProgressDeadlineExceeded" {
			w.rollout.failed = "its rollout does not get on (" + c.Message + ")"
		}
	}
	return w
}

func ofStatefulSet(d apps.StatefulSet) workload {
	s := d.Status
	w := workload{
		kind: statefulSet, ObjectMeta: d.ObjectMeta, replicas: count(d.Spec.Replicas), ready: s.ReadyReplicas,
		selector: d.Spec.Selector, template: d.Spec.Template,
	}
	w.rollout = rollout{
		seen: s.ObservedGeneration >= d.Generation, updated: s.UpdatedReplicas, all: s.Replicas, available: s.AvailableReplicas,
	}
	if s.UpdateRevision != "" && s.CurrentRevision == s.UpdateRevision {
		w.rollout.updated = s.Replicas // once a rollout is over, updatedReplicas counts nothing any more
	}
	u := d.Spec.UpdateStrategy
	switch {
	case u.Type == apps.OnDeleteStatefulSetStrategyType:
		w.rollout.never = "its update strategy is OnDelete, so that nothing restarts its pods: use way scale"
	case u.RollingUpdate != nil && count(u.RollingUpdate.Partition) > 0 && u.RollingUpdate.Partition != nil:
		w.rollout.never = fmt.Sprintf("its rolling update has partition %d, so that not all pods are restarted: use way scale", *u.RollingUpdate.Partition)
	}
	return w
}

// count is a number of replicas as Kubernetes reads it: left out, 1.
func count(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// workloads finds them, in the order of their names.
func (n *Namespace) workloads(ctx context.Context) ([]workload, error) {
	var out []workload
	if n.place.Selector != "" {
		return n.selected(ctx)
	}
	for _, name := range n.place.Workloads {
		w, err := n.workload(ctx, name)
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

// there is workloads of which some may be missing: those have a line with the Problem.
func (n *Namespace) there(ctx context.Context) (list []workload, missing []runbook.Workload, err error) {
	if n.place.Selector != "" {
		list, err = n.selected(ctx)
		return list, nil, err
	}
	for _, name := range n.place.Workloads {
		w, err := n.workload(ctx, name)
		switch gone := new(Missing); {
		case errors.As(err, &gone):
			missing = append(missing, runbook.Workload{Name: name, Problem: gone.text})
		case err != nil:
			return nil, nil, err
		default:
			list = append(list, w)
		}
	}
	return list, missing, nil
}

func (n *Namespace) selected(ctx context.Context) ([]workload, error) {
	var out []workload
	by := meta.ListOptions{LabelSelector: n.place.Selector}
	ds, err := n.apps.Deployments(n.place.Namespace).List(ctx, by)
	if err != nil {
		return nil, n.explain(err, "list", deployment, "")
	}
	for _, d := range ds.Items {
		out = append(out, ofDeployment(d))
	}
	ss, err := n.apps.StatefulSets(n.place.Namespace).List(ctx, by)
	if err != nil {
		return nil, n.explain(err, "list", statefulSet, "")
	}
	for _, s := range ss.Items {
		out = append(out, ofStatefulSet(s))
	}
	if len(out) == 0 {
		return nil, &Missing{fmt.Sprintf("no Deployment and no StatefulSet of %s has the labels %s: correct groups[].kubernetes[].selector of the plan", n.place.Where(), n.place.Selector)}
	}
	slices.SortFunc(out, func(a, b workload) int { return cmp.Compare(a.name(), b.name()) })
	return out, nil
}

func (n *Namespace) workload(ctx context.Context, full string) (workload, error) {
	kind, name, _ := strings.Cut(full, "/")
	if kind == statefulSet {
		s, err := n.apps.StatefulSets(n.place.Namespace).Get(ctx, name, meta.GetOptions{})
		if err != nil {
			return workload{}, n.explain(err, "get", kind, name)
		}
		return ofStatefulSet(*s), nil
	}
	d, err := n.apps.Deployments(n.place.Namespace).Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return workload{}, n.explain(err, "get", kind, name)
	}
	return ofDeployment(*d), nil
}

// patch changes a workload as it was seen: if it has been changed since, the answer
// is a conflict, and the caller looks again.
func (n *Namespace) patch(ctx context.Context, w workload, change map[string]any) error {
	m, _ := change["metadata"].(map[string]any)
	if m == nil {
		m = map[string]any{}
		change["metadata"] = m
	}
	m["resourceVersion"] = w.ResourceVersion
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	if w.kind == statefulSet {
		_, err = n.apps.StatefulSets(n.place.Namespace).Patch(ctx, w.Name, types.MergePatchType, body, meta.PatchOptions{})
	} else {
		_, err = n.apps.Deployments(n.place.Namespace).Patch(ctx, w.Name, types.MergePatchType, body, meta.PatchOptions{})
	}
	if err != nil {
		return n.explain(err, "patch", w.kind, w.Name)
	}
	return nil
}

// pods counts those of a workload that have not ended: one that is being deleted
// still works.
func (n *Namespace) pods(ctx context.Context, w workload) (int, error) {
	by, err := meta.LabelSelectorAsSelector(w.selector)
	if err != nil {
		return 0, fmt.Errorf("selector of %s: %w", w.name(), err)
	}
	list, err := n.core.Pods(n.place.Namespace).List(ctx, meta.ListOptions{LabelSelector: by.String()})
	if err != nil {
		return 0, n.explain(err, "list", "pod", "")
	}
	left := 0
	for _, p := range list.Items {
		if p.Status.Phase != core.PodSucceeded && p.Status.Phase != core.PodFailed {
			left++
		}
	}
	return left, nil
}
