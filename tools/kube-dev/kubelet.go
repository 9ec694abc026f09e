package main

import (
	"context"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// broken images are never to be had.
const broken = "broken"

// kubelet stands in for scheduler and kubelet: pods are never bound to a node, and so end at once when they are deleted,
// unless they have a finalizer. It says of each pod that it runs and is ready, but of those with a broken image.
func kubelet(ctx context.Context, client *kubernetes.Clientset) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		list, err := client.CoreV1().Pods("").List(ctx, meta.ListOptions{})
		if err != nil {
			continue
		}
		for _, p := range list.Items {
			if p.DeletionTimestamp == nil && p.Status.Phase == core.PodPending && !strings.HasPrefix(p.Spec.Containers[0].Image, broken) {
				now := meta.Now()
				p.Status.Phase, p.Status.StartTime = core.PodRunning, &now
				p.Status.Conditions = []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue, LastTransitionTime: now}}
				_, _ = client.CoreV1().Pods(p.Namespace).UpdateStatus(ctx, &p, meta.UpdateOptions{}) // tried again with the next tick
			}
		}
	}
}
